"""Which commits to try next: by expected gain, past untestable ones, in stages. Pure.

What breaks a build stays until it is mended, so untestable commits come in stretches. Known
commits vote for their neighbours by inverse squared distance in the graph.

The measure is mutual information, in bits, between the results and the hypotheses, times what a
trial is worth (chance of a usable result, over its cost). Several trials at once are chosen
greedily by *joint* information: trials under way count as if about to answer either way.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from bot import LazyModule
from bot.culprit.evidence import Granularity, Trial
from bot.culprit.flake_rates import RAREST_FAILURE
from bot.culprit.graph import CommitGraph, sampled_descendants
from bot.culprit.posterior import MOST_FLAKY, Posterior

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")

Floats: TypeAlias = "NDArray[np.float64]"

INSIDE = 0.5
"""From this probability of a merge on, the commits of its branch are tried too."""


def open_commits(graph: CommitGraph, granularity: Granularity, probability: Floats) -> Floats:
    """Mark with 1 the commits that may be tried at this stage, with 0 the others.

    Commits of a branch often do not build on their own, so they are left out until their merge
    is the likely culprit, or for good if only first parents are wanted.

    Args:
        graph: the range.
        granularity: how finely to look.
        probability: of each commit.
    """
    # What looks like a chain may begin inside a branch, where its merge's first parent is good.
    is_open = graph.is_chain and granularity is not Granularity.FIRST_PARENT
    if granularity is Granularity.COMMIT or is_open:
        return np.ones(len(graph))
    allowed = np.zeros(len(graph))
    allowed[list(graph.first_parent_line)] = 1.0
    if granularity is Granularity.STAGED:
        owner = np.array(graph.merged_by)
        mass = np.bincount(owner, probability, len(graph))
        allowed[mass[owner] >= INSIDE] = 1.0
    return allowed


def next_good(
    history: Sequence[str], known_green: Sequence[str] = (), tried: Sequence[str] = ()
) -> str | None:
    """Name the next commit to try as a good end, or None if the history is used up.

    Args:
        history: first-parent history before the bad end, newest first.
        known_green: commits believed good from elsewhere (check-runs, tags).
        tried: commits that were tried as good ends and failed.

    Returns:
        The newest known-green commit older than all that were tried; failing that, the commit
        at twice the distance of the oldest tried one (at first, distance 1); in the end the
        oldest of all.
    """
    if not history:
        return None
    place = {sha: i for i, sha in enumerate(history)}
    reached = max((place[sha] for sha in tried if sha in place), default=-1)
    if reached >= len(history) - 1:
        return None
    green = [place[sha] for sha in known_green if place.get(sha, -1) > reached]
    if green:
        return history[min(green)]
    return history[min(2 * (reached + 1), len(history) - 1)]


def choose_environment(
    names: Sequence[str],
    posterior: Posterior,
    node: int,
    trial: Trial,
    pending: Collection[Trial],
) -> str:
    """Choose where this commit was tried least, then the machine least stuck, then least busy.

    Args:
        names: of the lasting machines; without any, each trial gets a fresh one.
        posterior: what was run where.
        node: the number under which the commit's results are kept.
        trial: the trial to place.
        pending: trials under way.
    """
    if not names:
        return f"fresh-{trial.id}"
    here = Counter(t.environment for t in pending if t.commit == trial.commit)
    busy = Counter(t.environment for t in pending)
    start = trial.id % len(names)
    return min(
        [*names[start:], *names[:start]],
        key=lambda e: (posterior.runs(node, e) + here[e], posterior.stuck(e), busy[e]),
    )


PRESUMED = 0.75
"""From this probability on a commit is taken for untestable and not tried."""


class Testability:
    """What is known of which commits can be tried."""

    __test__ = False  # its name is not that of a test class

    def __init__(self, graph: CommitGraph) -> None:
        """Start with every commit testable."""
        self._graph = graph
        self.untestable: set[int] = set()
        self._testable: set[int] = set()
        self._counted: dict[int, bool] = {}
        self._against = np.zeros(len(graph))
        self._in_favour = np.zeros(len(graph))
        self._surprises = 0
        self._seeded = False

    def learn(self, commit: int, *, testable: bool) -> None:
        """Learn that a commit could be tried, or not; the last word counts."""
        if testable:
            if self.untestable and self.probability()[commit] > 0.5:
                self._surprises += 1
            self._testable.add(commit)
            self.untestable.discard(commit)
        else:
            self.untestable.add(commit)
            self._testable.discard(commit)

    def probability(self) -> Floats:
        """Give the probability of being untestable for each commit."""
        if not self.untestable:
            return np.zeros(len(self._graph))
        self._count_votes()
        result = self._together * self._against / (self._against + self._in_favour)
        result[list(self._testable)] = 0.0
        result[list(self.untestable)] = 1.0
        return result

    def by_neighbours(self, commit: int) -> float:
        """Give the probability of being untestable that a commit's neighbours alone suggest."""
        if not self.untestable:
            return 0.0
        self._count_votes()
        against, in_favour = self._against[commit], self._in_favour[commit]
        if commit in self._testable:
            in_favour = max(in_favour - _vote(np.zeros(1))[0], 0.0)
        return float(self._together * against / (against + in_favour))

    @property
    def _together(self) -> float:
        """How far a stretch may be trusted to be one: by the rule of succession."""
        known = len(self.untestable)
        return (known + 1.0) / (known + self._surprises + 1.5)

    def _count_votes(self) -> None:
        """Bring the votes up to date. Not before they matter: distances cost a walk each."""
        if not self._seeded:
            # Both ends were tried by whoever found the failure: they vote from the start.
            self._seeded = True
            self._in_favour += _vote(self._distances([self._graph.bad]))
            roots = [c for c, parents in enumerate(self._graph.parents) if not parents]
            self._in_favour += _vote(self._distances(roots) + 1.0)
        for commit in self.untestable | self._testable:
            testable = commit in self._testable
            if self._counted.get(commit) == testable:
                continue
            vote = _vote(self._distances([commit]))
            if commit in self._counted:
                (self._against if testable else self._in_favour)[:] -= vote
            (self._in_favour if testable else self._against)[:] += vote
            self._counted[commit] = testable

    def _distances(self, sources: Sequence[int]) -> Floats:
        """Steps from the nearest of some commits to every other, along parents and children."""
        count = len(self._graph)
        if self._graph.is_chain:
            return np.abs(np.arange(count) - sources[0]).astype(np.float64)
        steps = np.full(count, float(count))
        steps[list(sources)] = 0.0
        queue = deque(sources)
        around = self._graph.neighbours
        while queue:
            at = queue.popleft()
            for near in around[at]:
                if steps[near] == count:
                    steps[near] = steps[at] + 1
                    queue.append(near)
        return steps


def _vote(distance: Floats) -> Floats:
    """What a commit's being testable or not says of others at a distance."""
    vote: Floats = 1.0 / np.maximum(distance, 0.5) ** 2
    return vote


SAMPLES = 4_096
"""Culprits drawn where the graph is too large for exact sums (error of a probability < 0.001)."""
PATTERNS = 64
"""At most so many joint results of the trials under way are weighed; beyond, they are sampled."""


TELLING = 0.2
"""A run of another commit comes before a repeat if it tells this share of it."""


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
    *,
    apart: Collection[int] | None = (),
) -> list[Choice]:
    """Pick nodes to try, best first. Several at once are of different nodes.

    Failures close in time are not independent, so repeats are never back to back.

    Args:
        posterior: what is believed now.
        worth: per node (commits, then good ends), what a trial is worth; 0 forbids it.
        pending: nodes being tried now.
        count: how many to pick.
        rng: used only for large graphs and where many trials are under way.
        apart: nodes tried just now; where one is wanted, another comes first if it tells anything.
            None: repeats are as good as any.

    Returns:
        At most `count` choices, of different nodes unless nothing else tells anything.
    """
    scorer = _scorer(posterior, worth, rng)
    for node in pending:
        scorer.assume(node, rng)
    chosen: list[Choice] = []
    near = () if apart is None else [*apart, *pending] if count == 1 else [*pending]
    avoided = np.isin(scorer.nodes, near)
    for _ in range(count):
        scores = scorer.gains() * worth[scorer.nodes]
        best = int(scores.argmax())
        if avoided[best]:
            other = int(np.where(avoided, 0.0, scores).argmax())
            best = other if scores[other] >= scores[best] * TELLING else best
        node = int(scorer.nodes[best])
        if worth[node] <= 0.0:
            break
        chosen.append(Choice(node, float(scores[best])))
        avoided[best] = apart is not None
        if len(chosen) < count:
            scorer.assume(node, rng)
    return chosen


def entropy(probability: Floats) -> Floats:
    """Entropy of a coin, in bits."""
    p = np.clip(probability, 1e-12, 1.0 - 1e-12)
    result: Floats = -(p * np.log2(p) + (1.0 - p) * np.log2(1.0 - p))
    return result


def _scorer(
    posterior: Posterior, worth: Floats, rng: np.random.Generator
) -> _Exact | _Sampled | _Changing:
    found = posterior.changing(EXPLANATIONS)
    if found is not None:
        scorer = _Changing(posterior, *found)
        if scorer.gains().max() >= SLOW:
            return scorer
    return _Exact(posterior) if posterior.ancestry.exact else _Sampled(posterior, worth, rng)


SLOW = 0.01
"""Bits below which both are known; then what counts is who is guilty."""
EXPLANATIONS = 40
"""So many pairs of a culprit and a change of a rate are told apart at once."""


class _Changing:
    """Scores where a rate changes along the range: by both, the culprit and that change.

    The rates before and behind the change are what the runs there would show under each pair.
    """

    def __init__(self, posterior: Posterior, pairs: NDArray[np.intp], weights: Floats) -> None:
        count, goods = posterior.commits, len(posterior.ancestry.graph.goods)
        ends = np.unique(pairs[:, :2])
        ends = ends[ends < count]
        between = (ends[1:] + ends[:-1]) // 2
        good_ends = np.arange(count, count + goods)
        near = np.concatenate([ends, ends[ends > 0] - 1, between, [count - 1], good_ends])
        self.nodes = np.unique(near)
        culprit, change, kind = (pairs[:, [column]] for column in range(3))

        def stretch(nodes: NDArray[np.intp]) -> NDArray[np.intp]:
            """Number the four stretches: good or bad, before the change or behind it."""
            place = np.where(nodes < count, nodes, -1)  # good ends lie before everything
            bad = place >= culprit
            result: NDArray[np.intp] = 2 * bad + ((place >= change) & (bad == (kind == 1)))
            return result

        tried, fails, runs = posterior.tallies()
        own = stretch(tried)[:, :, None] == np.arange(4)
        failed, seen = (np.einsum("hns,n->hs", own, each) for each in (fails, runs))
        least = np.array([0.01, 0.01, 1.0 - RAREST_FAILURE, 1.0 - RAREST_FAILURE])
        most = np.array([MOST_FLAKY, MOST_FLAKY, 0.99, 0.99])
        rates = np.clip((failed + 0.5) / (seen + 1.5), least, most)
        self._fails: Floats = np.take_along_axis(rates, stretch(self.nodes), axis=1)
        self._joint = (weights / weights.sum())[:, None]
        self._noise: Floats = self._joint[:, 0] @ entropy(self._fails)

    def assume(self, node: int, rng: np.random.Generator) -> None:
        """Count a trial of a node as under way; one that no pair is about tells nothing."""
        at = np.flatnonzero(self.nodes == node)
        if len(at):
            self._joint = _extend(self._joint, self._fails[:, at], rng)

    def gains(self) -> Floats:
        """Expected information of one more trial, for each node."""
        total = self._joint.sum(axis=0)
        gained: Floats = entropy(self._fails.T @ self._joint / total) @ total - self._noise
        return gained


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
