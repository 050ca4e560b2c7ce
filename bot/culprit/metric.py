"""A metric that dropped instead of a check that failed: where did it change?

Every commit's values lie about one of two levels: one before the culprit, one from it on. Levels
and spreads are unknown on each side and summed over a grid. The likelihood is robust: Student's t
with few degrees of freedom, so that an outlier says little (Lange, Little and Taylor 1989), and
every commit may be noisier or quieter than the others. Where values close in time resemble each
other, all of them count for less, as fewer independent ones would.

Rival hypotheses: no change at all, and a drift along the range or a good part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, lgamma, log, pi, sqrt
from typing import TYPE_CHECKING, Literal, TypeAlias

from bot import LazyModule
from bot.culprit.graph import Ancestry, CommitGraph, indistinguishable, masses
from bot.culprit.posterior import BoundaryKind
from bot.culprit.verdict import Boundary, Candidate, SearchStatus, Verdict, VerdictCause, cautious

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")

Floats: TypeAlias = "NDArray[np.float64]"

END_RUNS = 5
"""Interleaved runs at each end before anything else."""
MORE_END_RUNS = 20
"""So many where the ends differ little."""
TOO_SMALL = 1.2
"""Effects of fewer standard deviations cost too many runs to pin on a commit."""
NO_CHANGE, DRIFT = 0.1, 0.2
"""How likely each rival is beforehand."""
TAILS = 3.0
"""Degrees of freedom of Student's t: values far off are rare, not impossible."""
_LEVELS = 48
_SPREADS = (0.04, 2.5, 9)
"""From, to, how many: spreads, as shares of the distance between the outermost usual values."""
_NOISIER = tuple(exp(each / 2.0) for each in range(-3, 4))
_NOISIER_WEIGHTS = (0.015, 0.083, 0.236, 0.332, 0.236, 0.083, 0.015)
"""How much noisier than the others one commit's runs are: log-normal, with a sigma of 0.6."""
Worse = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """What is concluded of a metric.

    Attributes:
        status: `SEARCHING`, `CULPRIT`, `NO_CULPRIT` (too little changed, or it drifts), `BUDGET`.
        culprit: the commit, if `CULPRIT`.
        candidates: the 95% credible set, likeliest first.
        confidence: probability of what `status` says.
        effect: bad level minus good level, in the metric's own unit.
        interval: its 95% interval.
        deviations: the effect in standard deviations of a single run.
        runs: how many values were seen.
        reason: one plain sentence.
        cause: `DRIFT` where it changes bit by bit.
        boundaries: the commit where it changed, if one was found.
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
    cause: VerdictCause | None = None
    boundaries: tuple[Boundary, ...] = ()

    @property
    def final(self) -> bool:
        """Whether the search is over."""
        return self.status is not SearchStatus.SEARCHING


def as_verdict(found: MetricVerdict, confidence: float, rounds: int) -> Verdict:
    """Put it into the words of every search.

    Args:
        found: what is concluded of the metric.
        confidence: from which probability on one may act.
        rounds: how often runs were asked for.
    """
    over = found.status not in {SearchStatus.SEARCHING, SearchStatus.BUDGET}
    sure = over and found.confidence >= confidence
    return Verdict(
        status=found.status,
        culprit=found.culprit,
        candidates=found.candidates,
        confidence=found.confidence,
        may_act=sure,
        may_report=sure,
        reason=found.reason,
        splitters=(),
        trials=found.runs,
        rounds=rounds,
        p_no_culprit=0.0,
        p_before_range=0.0,
        cause=found.cause,
        boundaries=found.boundaries,
    )


@dataclass(frozen=True, slots=True)
class _Posterior:
    """Of each commit, then of no change, and of a drift."""

    probability: Floats
    commits: int

    @property
    def unchanged(self) -> float:
        return float(self.probability[self.commits])

    @property
    def drifts(self) -> float:
        return float(self.probability[self.commits + 1])


class MetricSearch:
    """The state of one search for a metric's drop. Same shape as `Search`, but for values."""

    def __init__(
        self,
        graph: CommitGraph,
        *,
        confidence: float = 0.99,
        budget: int = 150,
        weights: Sequence[float] | None = None,
        worse: Worse | None = None,
    ) -> None:
        """Start a search.

        Args:
            graph: the range, with at least one good end.
            confidence: probability at which to stop.
            budget: at most so many runs.
            weights: prior weight of each commit; equal if not given.
            worse: which direction is a regression; None: any change is.

        Raises:
            ValueError: the graph has no good end to compare with.
        """
        if not graph.goods:
            raise ValueError("A metric needs a good end to compare with.")
        self.graph = graph
        self.confidence = confidence
        self.budget = budget
        self.worse = worse
        self._ancestry = Ancestry(graph)
        prior = np.ones(len(graph)) if weights is None else np.asarray(weights, np.float64)
        self._prior = prior / prior.sum()
        self._values: list[tuple[int, float]] = []
        self._pending: list[int] = []
        self._known: _Posterior | None = None
        self._skipped: set[int] = set()
        self._grid = (inf, inf)
        self._seen: Floats = np.zeros(0)

    @property
    def pending(self) -> tuple[str, ...]:
        """Runs asked for that have not been recorded."""
        return tuple(self._sha(node) for node in self._pending)

    def next_runs(self, count: int = 1) -> tuple[str, ...]:
        """Ask for up to `count` runs, SHAs in order; empty once there is a verdict."""
        count = min(count, self.budget - len(self._values) - len(self._pending))
        if count < 1 or self.verdict().final:
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
        if np.isfinite(value):
            self._values.append((node, value))
            self._known = None

    def skip(self, commit: str) -> None:
        """Never ask for a commit again: it cannot be measured."""
        node = self._node(commit)
        self._skipped.add(node)
        self._pending = [each for each in self._pending if each != node]

    def probability(self) -> Floats:
        """Give the probability of each commit."""
        return self._posterior().probability[: len(self.graph)]

    def verdict(self) -> MetricVerdict:
        """Say what is concluded, or how things stand."""
        spent = len(self._values) >= self.budget
        if min(self._runs_of(self.graph.bad), self._runs_of(len(self.graph))) < END_RUNS:
            if spent:
                return self._say(SearchStatus.BUDGET, "The budget is spent.", self._prior)
            return self._say(SearchStatus.SEARCHING, "The ends are being measured.", self._prior)
        found = self._posterior()
        commits = found.probability[: len(self.graph)]
        if self._surely_small():
            why = (
                f"The ends differ by less than {TOO_SMALL} standard deviations of a run: "
                "too little to pin on a commit."
            )
            return self._say(SearchStatus.NO_CULPRIT, why, commits, 1.0 - float(commits.max()))
        classes = masses(indistinguishable(self._ancestry, self._skipped), commits)
        if cautious(float(classes.max())) >= self.confidence:
            if self._is_worse(commits):
                return self._guilty(commits, cautious(float(classes.max())))
            why = "It changed at one commit, but for the better."
            return self._say(SearchStatus.NO_CULPRIT, why, commits)
        if cautious(found.drifts) >= self.confidence:
            why = "It drifts: it changes bit by bit along the range, not at one commit."
            return self._say(
                SearchStatus.NO_CULPRIT, why, commits, cautious(found.drifts), VerdictCause.DRIFT
            )
        if cautious(found.unchanged) >= self.confidence:
            why = "It does not differ between the ends."
            return self._say(SearchStatus.NO_CULPRIT, why, commits, cautious(found.unchanged))
        if spent:
            return self._say(SearchStatus.BUDGET, "The budget is spent.", commits)
        return self._say(SearchStatus.SEARCHING, "Still searching.", commits)

    def _guilty(self, probability: Floats, confidence: float) -> MetricVerdict:
        """Name the commit, or all that cannot be told apart."""
        labels = indistinguishable(self._ancestry, self._skipped)
        members = np.where(labels == labels[int(probability.argmax())], probability, 0.0)
        if np.count_nonzero(members) == 1:
            why = "It changed at this commit."
            return self._say(SearchStatus.CULPRIT, why, probability, confidence)
        why = "It changed at one of these commits; none that can be measured tells them apart."
        return self._say(SearchStatus.CLASS, why, members, confidence)

    def _next(self, pending: list[int]) -> int | None:
        good = len(self.graph)
        ends = [(self._runs_of(e) + pending.count(e), e) for e in (self.graph.bad, good)]
        fewest, end = min(ends, key=lambda pair: (pair[0], -pair[1]))
        if fewest < self._ends_wanted():
            return end
        if min(self._runs_of(self.graph.bad), self._runs_of(good)) < END_RUNS:
            return None
        # A value tells most where bad and good are equally likely. Of several at once, the j-th
        # looks where the chance is another; and no commit is run twice in a row, as values close
        # in time may resemble each other.
        probability = self.probability() + 1e-9
        probability = probability / probability.sum()
        bad = self._ancestry.sums(probability[:, None])[:, 0]
        inside = [p for p in pending if p not in (self.graph.bad, good)]
        aims = (0.5, 0.25, 0.75, 0.4, 0.6)
        aim = aims[len(inside) % len(aims)]
        order = np.argsort(np.abs(bad - aim), kind="stable")
        order = order[~np.isin(order, list(self._skipped))][:6]
        last = {*pending, *(node for node, _ in self._values[-1:])}
        return next((int(node) for node in order if node not in last), int(order[0]))

    def _posterior(self) -> _Posterior:
        if self._known is None:
            self._known = self._infer()
        return self._known

    def _infer(self) -> _Posterior:
        count = len(self.graph)
        nodes = sorted({node for node, _ in self._values}, key=lambda n: -1 if n == count else n)
        rows = self._table(nodes)
        flat = rows.reshape(len(nodes), -1)
        reach = np.zeros((len(nodes), count), np.bool_)
        for row, node in enumerate(nodes):
            if node < count:
                reach[row] = self._ancestry.of(node)
        patterns, group = np.unique(reach.T, axis=0, return_inverse=True)
        bad = patterns.astype(np.float64) @ flat
        good = flat.sum(axis=0) - bad
        step = (_mean_of(good) + _mean_of(bad))[group.ravel()]
        even = _mean_of(flat.sum(axis=0)[None, :])[0]
        places = np.array([0.0 if n == count else (n + 1) / count for n in nodes])
        logs = np.concatenate(
            [
                step + np.log(self._prior * (1.0 - NO_CHANGE - DRIFT)),
                [even + log(NO_CHANGE), _drift(rows, places) + log(DRIFT)],
            ]
        )
        weight = np.exp(logs - logs.max())
        return _Posterior(weight / weight.sum(), count)

    def _table(self, nodes: Sequence[int]) -> Floats:
        """Log-likelihood of each node's values, by level and spread."""
        values = np.array([v for _, v in self._values])
        each = self._each(values)
        places = np.array([nodes.index(node) for node, _ in self._values])
        own = (places == np.arange(len(nodes))[:, None]) * self._worth(values)
        by_scale = (own @ each.reshape(len(values), -1)).reshape(len(nodes), *each.shape[1:])
        top = by_scale.max(axis=-1, keepdims=True)
        mixed = np.log(np.exp(by_scale - top) @ np.array(_NOISIER_WEIGHTS)) + top[..., 0]
        result: Floats = mixed
        return result

    def _each(self, values: Floats) -> Floats:
        """Log-likelihood of each value, by level, spread and noise of its commit."""
        low, high = self._usual(values)
        least, most, count = _SPREADS
        if (low, high) != self._grid:
            self._grid = (low, high)
            self._seen = np.zeros((0, _LEVELS, count, len(_NOISIER)))
        width = (high - low) or abs(high) or 1.0
        levels = np.linspace(low - 0.15 * width, high + 0.15 * width, _LEVELS)
        spreads = np.exp(np.linspace(log(least), log(most), count)) * width
        scales = spreads[:, None] * np.array(_NOISIER)
        fresh = values[len(self._seen) :]
        away = (fresh[:, None, None, None] - levels[None, :, None, None]) / scales
        new = -(TAILS + 1) / 2 * np.log1p(away**2 / TAILS) - np.log(scales / width) + _STUDENT
        self._seen = np.concatenate([self._seen, new])
        return self._seen

    @staticmethod
    def _usual(values: Floats) -> tuple[float, float]:
        """The outermost values that are no outliers, by the median's absolute deviations."""
        middle = _median(values)
        usual = _median(np.abs(values - middle))
        near = values[np.abs(values - middle) <= 6.0 * usual] if usual else values
        return float(near.min()), float(near.max())

    def _worth(self, values: Floats) -> float:
        """How many independent values each one counts for, if those close in time are alike.

        The share of independent values in an autoregressive series is (1 - r) / (1 + r).
        """
        if len(values) < 4 * END_RUNS:
            return 1.0
        nodes = np.array([node for node, _ in self._values])
        rest = values.copy()
        for node in {node for node, _ in self._values}:
            own = nodes == node
            rest[own] -= _median(values[own])
        spread = _median(np.abs(rest))
        if spread == 0.0:
            return 1.0
        rest = np.clip(rest, -4 * spread, 4 * spread)
        alike = float((rest[1:] * rest[:-1]).sum() / (rest**2).sum())
        alike = min(max(0.0, alike - 0.5 / sqrt(len(rest))), 0.9)
        return (1.0 - alike) / (1.0 + alike)

    def _is_worse(self, probability: Floats) -> bool:
        if self.worse is None:
            return True
        effect, _, _ = self._effect(probability)
        return effect < 0.0 if self.worse == "lower" else effect > 0.0

    def _effect(self, probability: Floats) -> tuple[float, tuple[float, float], float]:
        """Effect, its 95% interval and a run's standard deviation under the likeliest culprit.

        Medians and median deviations, so that outliers move none of them.
        """
        best = int(probability.argmax())
        bad = np.array(
            [n < len(self.graph) and self._ancestry.of(n)[best] for n, _ in self._values], np.bool_
        )
        values = np.array([v for _, v in self._values])
        if not bad.any() or bad.all():
            return 0.0, (0.0, 0.0), float(values.std())
        after, before = values[bad], values[~bad]
        spread_after, spread_before = _deviation(after), _deviation(before)
        effect = _median(after) - _median(before)
        # A median's error is that of a mean times sqrt(pi / 2).
        error = sqrt(pi / 2 * (spread_after**2 / len(after) + spread_before**2 / len(before)))
        spread = sqrt((spread_after**2 * len(after) + spread_before**2 * len(before)) / len(values))
        return effect, (effect - 1.96 * error, effect + 1.96 * error), spread

    def _runs_of(self, node: int) -> int:
        return sum(n == node for n, _ in self._values)

    def _ends_wanted(self) -> int:
        """Runs wanted at each end: more where the effect looks small but may not be."""
        if min(self._runs_of(self.graph.bad), self._runs_of(len(self.graph))) < END_RUNS:
            return END_RUNS
        difference, _ = self._between_ends()
        return MORE_END_RUNS if difference < TOO_SMALL + 0.5 else END_RUNS

    def _surely_small(self) -> bool:
        """Whether the difference of the ends is below `TOO_SMALL`, all but surely."""
        difference, error = self._between_ends()
        longer = min(self._runs_of(self.graph.bad), self._runs_of(len(self.graph)))
        return difference + (1.3 if longer >= MORE_END_RUNS else 2.0) * error < TOO_SMALL

    def _between_ends(self) -> tuple[float, float]:
        """Absolute difference of the ends and its error, in standard deviations of a run."""
        bad = np.array([v for n, v in self._values if n == self.graph.bad])
        good = np.array([v for n, v in self._values if n == len(self.graph)])
        spread = sqrt((_deviation(bad) ** 2 + _deviation(good) ** 2) / 2)
        difference = abs(_median(bad) - _median(good))
        if spread == 0.0:
            return (inf if difference else 0.0), 0.0
        return difference / spread, sqrt(pi / 2 * (1 / len(bad) + 1 / len(good)))

    def _say(
        self,
        status: SearchStatus,
        reason: str,
        probability: Floats,
        confidence: float | None = None,
        cause: VerdictCause | None = None,
    ) -> MetricVerdict:
        order = np.argsort(-probability, kind="stable")
        share = 1.0 - 1e-12 if status is SearchStatus.CLASS else 0.95
        cumulative = np.cumsum(probability[order])
        enough = int(np.searchsorted(cumulative, share * cumulative[-1])) + 1
        best = int(order[0])
        effect, interval, spread = (
            self._effect(probability) if len(self._values) > 2 else (0.0, (0.0, 0.0), 0.0)
        )
        culprit = self.graph.commits[best] if status is SearchStatus.CULPRIT else None
        nobody = status is SearchStatus.NO_CULPRIT
        return MetricVerdict(
            status=status,
            culprit=culprit,
            candidates=()
            if nobody
            else tuple(
                Candidate(self.graph.commits[int(c)], float(probability[c])) for c in order[:enough]
            ),
            confidence=cautious(float(probability[best])) if confidence is None else confidence,
            effect=effect,
            interval=interval,
            deviations=effect / spread if spread else 0.0,
            runs=len(self._values),
            reason=reason,
            cause=cause,
            boundaries=(Boundary(culprit, BoundaryKind.BROKEN),) if culprit else (),
        )

    def _node(self, commit: str) -> int:
        node = self.graph.number[commit]
        if node > len(self.graph):
            raise KeyError(commit)
        return node

    def _sha(self, node: int) -> str:
        return self.graph.commits[node] if node < len(self.graph) else self.graph.goods[0]


_STUDENT = lgamma((TAILS + 1) / 2) - lgamma(TAILS / 2) - 0.5 * log(TAILS * pi)


def _mean_of(logs: Floats) -> Floats:
    """Log of the mean of exponentials over the last axis: every level and spread alike."""
    top = logs.max(axis=-1, keepdims=True)
    result: Floats = np.log(np.exp(logs - top).mean(axis=-1)) + top[..., 0]
    return result


_RAMPS = tuple((a / 4, b / 4) for a in range(4) for b in range(a + 1, 5))
"""Where a drift begins and ends: at any quarters of the range."""


def _drift(rows: Floats, places: Floats) -> float:
    """Evidence of a straight line from one level to another, each anywhere, along some ramp."""
    levels = np.arange(1, rows.shape[1], 3)
    first, last = (each.ravel() for each in np.meshgrid(levels, levels, indexing="ij"))
    start, end = np.array(_RAMPS).T
    total = np.zeros((len(start), len(first), rows.shape[2]))
    for row, place in zip(rows, places, strict=True):
        along = np.clip((place - start) / (end - start), 0, 1)[:, None]
        total += row[np.rint(first + (last - first) * along).astype(np.intp)]
    return float(_mean_of(_mean_of(total.reshape(len(start), -1))))


def _median(values: Floats) -> float:
    """The same as numpy's, in a tenth of its time for a few values."""
    ordered = np.sort(values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[half])
    return float((ordered[half - 1] + ordered[half]) / 2)


def _deviation(values: Floats) -> float:
    """A standard deviation that outliers do not move, as far as there are values enough."""
    away = np.abs(values - _median(values))
    usual = 1.4826 * _median(away)
    return usual if usual else float(away.mean())
