"""Which commits to try next: those whose results would tell most about the culprit.

The measure is mutual information, in bits, between the results and the hypotheses, times what a
trial is worth (chance of a usable result, over its cost). Several trials at once are chosen
greedily by *joint* information: trials under way count as if about to answer either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.culprit.ancestry import sampled_descendants
from bot.culprit.posterior import Posterior

Floats = NDArray[np.float64]

SAMPLES = 4_096
"""Culprits drawn where the graph is too large for exact sums (error of a probability < 0.001)."""
PATTERNS = 64
"""At most so many joint results of the trials under way are weighed; beyond, they are sampled."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A node to try, and the information it is expected to bring, in bits times worth."""

    node: int
    score: float


def choose(
    posterior: Posterior,
    worth: Floats,
    pending: Sequence[int],
    count: int,
    rng: np.random.Generator,
) -> list[Choice]:
    """Pick nodes to try, best first.

    Args:
        posterior: what is believed now.
        worth: per node (commits, then good ends), what a trial is worth; 0 forbids it.
        pending: nodes being tried now.
        count: how many to pick.
        rng: used only for large graphs and where many trials are under way.

    Returns:
        At most `count` choices; a node may be chosen twice, as two runs tell more than one.
    """
    scorer = _Exact(posterior) if posterior.ancestry.exact else _Sampled(posterior, worth, rng)
    for node in pending:
        scorer.assume(node, rng)
    chosen: list[Choice] = []
    for _ in range(count):
        scores = scorer.gains() * worth[scorer.nodes]
        best = int(scores.argmax())
        node = int(scorer.nodes[best])
        if worth[node] <= 0.0:
            break
        chosen.append(Choice(node, float(scores[best])))
        if len(chosen) < count:
            scorer.assume(node, rng)
    return chosen


def entropy(probability: Floats) -> Floats:
    """Entropy of a coin, in bits."""
    p = np.clip(probability, 1e-12, 1.0 - 1e-12)
    result: Floats = -(p * np.log2(p) + (1.0 - p) * np.log2(1.0 - p))
    return result


class _Exact:
    """Scores by sums over all ancestor sets."""

    def __init__(self, posterior: Posterior) -> None:
        self._posterior = posterior
        beliefs = posterior.beliefs
        self._commits = posterior.commits
        self._if_good, self._if_bad = beliefs.fails_if_good, beliefs.fails_if_bad
        self._joint = beliefs.probability[:, None]
        noise_good, noise_bad = entropy(self._if_good), entropy(self._if_bad)
        self._noise = float(beliefs.probability @ noise_good)
        self._more_noise = beliefs.probability * (noise_bad - noise_good)
        self.nodes = np.arange(self._commits + len(posterior.ancestry.graph.goods))

    def assume(self, node: int, rng: np.random.Generator) -> None:
        """Count a trial of a node as under way: weigh both of its results."""
        fails = np.where(self._posterior.makes_bad(node), self._if_bad, self._if_good)[:, None]
        self._joint = _extend(self._joint, fails, rng)

    def gains(self) -> Floats:
        """Expected information of one more trial, for each node."""
        count = self._commits
        columns = np.column_stack(
            [self._joint * (self._if_bad - self._if_good)[:, None], self._more_noise]
        )
        under = columns[count + 1]  # `before range` makes every node bad
        sums = np.empty((len(self.nodes), columns.shape[1]))
        sums[:count] = self._posterior.ancestry.sums(columns[:count])
        sums[:count] += under
        sums[count:] = under
        total = self._joint.sum(axis=0)
        fails = (self._joint * self._if_good[:, None]).sum(axis=0) + sums[:, :-1]
        gained: Floats = entropy(fails / total) @ total - self._noise - sums[:, -1]
        return gained


class _Sampled:
    """Scores by a sample of culprits; flake rates are averaged over the posterior."""

    def __init__(self, posterior: Posterior, worth: Floats, rng: np.random.Generator) -> None:
        beliefs = posterior.beliefs
        count = posterior.commits
        self._posterior = posterior
        self._if_good = float(beliefs.probability @ beliefs.fails_if_good)
        self._if_bad = float(beliefs.probability @ beliefs.fails_if_bad)
        mass = beliefs.probability[:count]
        cumulative = np.cumsum(mass)
        steps = (np.arange(SAMPLES) + rng.random()) / SAMPLES * cumulative[-1]
        self._samples = np.minimum(np.searchsorted(cumulative, steps), count - 1)
        words = sampled_descendants(posterior.ancestry.graph, self._samples)
        drawn = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
        # Commits that split the sample alike are alike to us: keep the worthiest of each.
        usable = np.flatnonzero(worth[:count] > 0.0)
        order = usable[np.lexsort((-worth[usable], drawn[usable]))]
        kept = order[np.unique(drawn[order], return_index=True)[1]]
        goods = np.arange(count, len(worth))
        self.nodes = np.concatenate([kept, goods])
        none = np.zeros((len(goods), words.shape[1]), words.dtype)
        bits = np.unpackbits(
            np.concatenate([words[kept], none]).view(np.uint8), axis=1, bitorder="little"
        )
        # Columns: the samples, then no culprit, then before range.
        special = np.tile(np.array([[0.0, 1.0]]), (len(self.nodes), 1))
        self._bad = np.concatenate([bits.astype(np.float32), special.astype(np.float32)], axis=1)
        weight = np.full(SAMPLES, cumulative[-1] / SAMPLES)
        self._joint = np.append(weight, beliefs.probability[count:])[:, None]
        self._noise = entropy(np.array([self._if_good, self._if_bad]))

    def assume(self, node: int, rng: np.random.Generator) -> None:
        """Count a trial of a node as under way: weigh both of its results."""
        marks = self._posterior.makes_bad(node)
        bad = np.append(marks[self._samples], marks[-2:])
        fails = np.where(bad, self._if_bad, self._if_good)[:, None]
        self._joint = _extend(self._joint, fails, rng)

    def gains(self) -> Floats:
        """Expected information of one more trial, for each kept node."""
        total = self._joint.sum(axis=0)
        share = (self._bad @ self._joint.astype(np.float32)).astype(np.float64)
        fails = self._if_good * total + (self._if_bad - self._if_good) * share
        bad = share.sum(axis=1)
        noise: Floats = bad * self._noise[1] + (1.0 - bad) * self._noise[0]
        gained: Floats = entropy(fails / total) @ total - noise
        return gained


def _extend(joint: Floats, fails: Floats, rng: np.random.Generator) -> Floats:
    """Weigh a further trial's two results, or one drawn of them once there are too many."""
    if joint.shape[1] * 2 <= PATTERNS:
        return np.concatenate([joint * fails, joint * (1.0 - fails)], axis=1)
    total = joint.sum(axis=0)
    chance = (joint * fails).sum(axis=0) / total
    failed = rng.random(len(chance)) < chance
    result: Floats = joint * np.where(failed, fails / chance, (1.0 - fails) / (1.0 - chance))
    return result
