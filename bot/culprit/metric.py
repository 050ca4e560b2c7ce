"""A metric that dropped instead of a check that failed: where did its mean change?

Every commit's values are normal with one unknown variance and one of two unknown means: one
before the culprit, one from it on. Means and variance have Normal-inverse-gamma priors and are
integrated out (Murphy 2007, "Conjugate Bayesian analysis of the Gaussian distribution").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, lgamma, log, sqrt

import numpy as np
from numpy.typing import NDArray

from bot.culprit.graph import Ancestry, CommitGraph
from bot.culprit.verdict import Candidate, SearchStatus, cautious

Floats = NDArray[np.float64]

END_RUNS = 5
"""Interleaved runs at each end before anything else."""
MORE_END_RUNS = 10
"""So many where the ends differ little."""
TOO_SMALL = 1.5
"""Effects of fewer standard deviations cost too many runs to pin on a commit."""
_PRIOR_RUNS = 0.05
_PRIOR_SHAPE = 1.0


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """What is concluded of a metric.

    Attributes:
        status: `SEARCHING`, `CULPRIT`, `NO_CULPRIT` (the effect is too small to find), `BUDGET`.
        culprit: the commit, if `CULPRIT`.
        candidates: the 95% credible set, likeliest first.
        confidence: probability of the likeliest commit.
        effect: bad mean minus good mean, in the metric's own unit.
        interval: its 95% interval.
        deviations: the effect in standard deviations of a single run.
        runs: how many values were seen.
        reason: one plain sentence.
    """

    status: SearchStatus
    culprit: str | None
    candidates: tuple[Candidate, ...]
    confidence: float
    effect: float
    interval: tuple[float, float]
    deviations: float
    runs: int
    reason: str


class MetricSearch:
    """The state of one search for a metric's drop. Same shape as `Search`, but for values."""

    def __init__(
        self,
        graph: CommitGraph,
        *,
        confidence: float = 0.98,
        budget: int = 150,
        weights: Sequence[float] | None = None,
    ) -> None:
        """Start a search.

        Args:
            graph: the range, with at least one good end.
            confidence: probability at which to stop.
            budget: at most so many runs.
            weights: prior weight of each commit; equal if not given.

        Raises:
            ValueError: the graph has no good end to compare with.
        """
        if not graph.goods:
            raise ValueError("A metric needs a good end to compare with.")
        self.graph = graph
        self.confidence = confidence
        self.budget = budget
        self._ancestry = Ancestry(graph)
        self._prior = np.ones(len(graph)) if weights is None else np.asarray(weights, np.float64)
        self._count = np.zeros(len(graph) + 1)
        self._sum = np.zeros(len(graph) + 1)
        self._square = np.zeros(len(graph) + 1)
        self._values: list[tuple[int, float]] = []
        self._pending: list[int] = []

    def next_runs(self, count: int = 1) -> tuple[str, ...]:
        """Ask for up to `count` runs, SHAs in order; empty once there is a verdict."""
        count = min(count, self.budget - len(self._values) - len(self._pending))
        if count < 1 or self.verdict().status is not SearchStatus.SEARCHING:
            return ()
        chosen: list[int] = []
        for _ in range(count):
            node = self._next([*self._pending, *chosen])
            if node is None:
                break
            chosen.append(node)
        self._pending += chosen
        return tuple(self._sha(n) for n in chosen)

    def record(self, commit: str, value: float) -> None:
        """Learn a value. A run that gave none is recorded as not a number: it is only forgotten.

        Raises:
            KeyError: the commit is neither in the range nor its first good end.
        """
        node = self._node(commit)
        if node in self._pending:
            self._pending.remove(node)
        if not np.isfinite(value):
            return
        self._values.append((node, value))
        self._count[node] += 1
        self._sum[node] += value
        self._square[node] += value * value

    def probability(self) -> Floats:
        """Give the probability of each commit."""
        log_evidence = self._log_evidence() + np.log(self._prior)
        weight = np.exp(log_evidence - log_evidence.max())
        result: Floats = weight / weight.sum()
        return result

    def verdict(self) -> MetricVerdict:
        """Say what is concluded, or how things stand."""
        ends_done = min(self._count[self.graph.bad], self._count[-1]) >= END_RUNS
        if not ends_done:
            status, why = SearchStatus.SEARCHING, "The ends are being measured."
            if len(self._values) >= self.budget:
                status, why = SearchStatus.BUDGET, "The budget is spent."
            return self._say(status, why, self._prior / self._prior.sum())
        probability = self.probability()
        best = float(probability.max())
        if cautious(best) >= self.confidence:
            return self._say(SearchStatus.CULPRIT, "One commit is guilty.", probability)
        if self._surely_small():
            why = (
                f"The ends differ by less than {TOO_SMALL} standard deviations of a run: "
                "too little to pin on a commit."
            )
            return self._say(SearchStatus.NO_CULPRIT, why, probability)
        if len(self._values) >= self.budget:
            return self._say(SearchStatus.BUDGET, "The budget is spent.", probability)
        return self._say(SearchStatus.SEARCHING, "Still searching.", probability)

    def _next(self, pending: list[int]) -> int | None:
        good = len(self.graph)
        ends = [(self._count[e] + pending.count(e), e) for e in (self.graph.bad, good)]
        fewest, end = min(ends, key=lambda pair: (pair[0], -pair[1]))
        if fewest < self._ends_wanted():
            return end
        if min(self._count[self.graph.bad], self._count[good]) < END_RUNS:
            return None
        # With values, a run tells most where bad and good are equally likely. Of several at
        # once, the j-th of n looks where the chance is j/(n+1).
        probability = self.probability()
        bad = self._ancestry.sums(probability[:, None])[:, 0]
        inside = [p for p in pending if p not in (self.graph.bad, good)]
        aim = 0.5 if not inside else ((0.25, 0.75)[len(inside) % 2])
        return int(np.abs(bad - aim).argmin())

    def _log_evidence(self) -> Floats:
        """Log marginal likelihood of all values under each culprit."""
        values = np.array([v for _, v in self._values])
        centre, scale = float(values.mean()), float(values.var()) or 1.0
        count, total = self._count, self._sum - self._count * centre
        square = self._square - 2 * centre * self._sum + self._count * centre**2
        stats = np.column_stack([count, total, square])
        # Descendants of c are bad: all values less those of the commits that c does not reach.
        bad = self._over_descendants(stats[: len(self.graph)])
        good = stats.sum(axis=0) - bad
        shape = _PRIOR_SHAPE + len(values) / 2
        # Within-run variance is surely below the overall one: start it at a quarter.
        rate = _PRIOR_SHAPE * scale / 4
        for n, s, q in (bad.T, good.T):
            rate = rate + 0.5 * (q - s**2 / (n + _PRIOR_RUNS))
        penalty = sum(
            0.5 * (log(_PRIOR_RUNS) - np.log(part[:, 0] + _PRIOR_RUNS)) for part in (bad, good)
        )
        result: Floats = penalty - shape * np.log(rate) + lgamma(shape)
        return result

    def _over_descendants(self, stats: Floats) -> Floats:
        """Sum statistics over the descendants of each commit."""
        if self.graph.is_chain:
            sums: Floats = np.cumsum(stats[::-1], axis=0)[::-1]
            return sums
        sums = np.zeros_like(stats)
        for node in np.flatnonzero(stats[:, 0]):
            sums[self._ancestry.of(int(node))] += stats[node]
        return sums

    def _effect(self, probability: Floats) -> tuple[float, tuple[float, float], float]:
        """Effect, its 95% interval and a run's standard deviation under the likeliest culprit."""
        best = int(probability.argmax())
        bad = np.array(
            [n < len(self.graph) and self._ancestry.of(n)[best] for n, _ in self._values]
        )
        values = np.array([v for _, v in self._values])
        if not bad.any() or bad.all():
            return 0.0, (0.0, 0.0), float(values.std())
        after, before = values[bad], values[~bad]
        squares = ((after - after.mean()) ** 2).sum() + ((before - before.mean()) ** 2).sum()
        spread = sqrt(squares / max(1, len(values) - 2))
        effect = float(after.mean() - before.mean())
        margin = 2.0 * spread * sqrt(1 / len(after) + 1 / len(before))
        return effect, (effect - margin, effect + margin), spread

    def _ends_wanted(self) -> int:
        """Runs wanted at each end: more where the effect looks small but may not be."""
        if min(self._count[self.graph.bad], self._count[-1]) < END_RUNS:
            return END_RUNS
        difference, _ = self._between_ends()
        return MORE_END_RUNS if difference < TOO_SMALL else END_RUNS

    def _surely_small(self) -> bool:
        """Whether the difference of the ends is below `TOO_SMALL`, all but surely.

        Asked of the first look: two standard errors of margin; of the longer one: 1.3.
        """
        difference, error = self._between_ends()
        longer = min(self._count[self.graph.bad], self._count[-1]) >= MORE_END_RUNS
        return difference + (1.3 if longer else 2.0) * error < TOO_SMALL

    def _between_ends(self) -> tuple[float, float]:
        """Absolute difference of the ends and its error, in standard deviations of a run."""
        bad = np.array([v for n, v in self._values if n == self.graph.bad])
        good = np.array([v for n, v in self._values if n == len(self.graph)])
        squares = ((bad - bad.mean()) ** 2).sum() + ((good - good.mean()) ** 2).sum()
        spread = sqrt(squares / (len(bad) + len(good) - 2))
        difference = abs(float(bad.mean() - good.mean()))
        if spread == 0.0:
            return (inf if difference else 0.0), 0.0
        return difference / spread, sqrt(1 / len(bad) + 1 / len(good))

    def _say(self, status: SearchStatus, reason: str, probability: Floats) -> MetricVerdict:
        order = np.argsort(-probability, kind="stable")
        enough = int(np.searchsorted(np.cumsum(probability[order]), 0.95)) + 1
        best = int(order[0])
        effect, interval, spread = (
            self._effect(probability) if len(self._values) > 2 else (0.0, (0.0, 0.0), 0.0)
        )
        return MetricVerdict(
            status=status,
            culprit=self.graph.commits[best] if status is SearchStatus.CULPRIT else None,
            candidates=tuple(
                Candidate(self.graph.commits[int(c)], float(probability[c])) for c in order[:enough]
            ),
            confidence=cautious(float(probability[best])),
            effect=effect,
            interval=interval,
            deviations=effect / spread if spread else 0.0,
            runs=len(self._values),
            reason=reason,
        )

    def _node(self, commit: str) -> int:
        node = self.graph.number[commit]
        if node > len(self.graph):
            raise KeyError(commit)
        return node

    def _sha(self, node: int) -> str:
        return self.graph.commits[node] if node < len(self.graph) else self.graph.goods[0]
