"""A metric that dropped instead of a check that failed: where did it change?

Every commit's values lie about one of two levels: one before the culprit, one from it on. Levels
and spreads are unknown on each side and summed over a grid. The likelihood is robust: Student's t
with few degrees of freedom, so that an outlier says little (Lange, Little and Taylor 1989), and
every commit may be noisier or quieter than the others. Where values close in time resemble each
other, all of them count for less, as fewer independent ones would.

Rival hypotheses: no change at all, and a drift along the range or a good part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, lgamma, log, log1p, nan, pi, sqrt
from typing import TYPE_CHECKING, Any

from bot import LazyModule
from bot.culprit import metric_log
from bot.culprit.graph import Ancestry, CommitGraph, indistinguishable, masses
from bot.culprit.log import LogError
from bot.culprit.metric_rivals import (
    TWO_MODES,
    modes,
    two_modes,
    walk,
    with_levels_of_their_own,
)
from bot.culprit.metric_sides import Floats, Sides, Worse, deviation, median
from bot.culprit.posterior import BoundaryKind
from bot.culprit.verdict import Boundary, Candidate, SearchStatus, Verdict, VerdictCause, cautious

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

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
_BEYOND = 0.15
"""So far beyond the outermost usual values a level may lie, as a share of their distance."""
_SPREADS = (0.04, 2.5, 9)
"""From, to, how many: spreads, as shares of the distance between the outermost usual values."""
_NOISIER = tuple(exp(each / 2.0) for each in range(-3, 4))
_NOISIER_WEIGHTS = (0.015, 0.083, 0.236, 0.332, 0.236, 0.083, 0.015)
"""How much noisier than the others one commit's runs are: log-normal, with a sigma of 0.6."""
_OUTLIERS = 0.1
"""At most so many values are taken for outliers."""
ENOUGH = 15
"""After so many runs on a commit or its like, one more tells half as much as the first."""
ALIKE = 0.02
"""Commits are alike where their chances to be bad differ by less."""
FEWEST_TO_DRIFT = 6
"""With fewer commits that can be measured a drift is not told from a step."""
CHECKED = 3
"""So many runs of the culprit, and of what lies before it, before it is named."""
SETTLED = 0.95
"""From this share of all but drifts on, the place of a step is settled, if there is one."""
MISSES = 3
"""A commit whose runs gave no number so often in a row cannot be measured."""


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """What is concluded of a metric.

    Attributes:
        status: `SEARCHING`, `CULPRIT`, `CLASS`, `NO_CULPRIT` (too little changed, or it drifts),
            `BUDGET`, `INFRA` (an end gives no number).
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

    @property
    def is_change(self) -> bool:
        """Whether there is a step to tell of; `effect` is only the likeliest one otherwise."""
        if self.status in (SearchStatus.CULPRIT, SearchStatus.CLASS):
            return True
        exact = self.interval[0] == self.interval[1] and self.effect != 0.0
        large = abs(self.deviations) >= TOO_SMALL or exact
        return self.status is SearchStatus.NO_CULPRIT and large


def as_verdict(found: MetricVerdict, confidence: float, rounds: int) -> Verdict:
    """Put it into the words of every search.

    Args:
        found: what is concluded of the metric.
        confidence: from which probability on one may act.
        rounds: how often runs were asked for.
    """
    over = found.status not in {SearchStatus.SEARCHING, SearchStatus.BUDGET, SearchStatus.INFRA}
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
    """The state of one search for a metric's change. Same shape as `Search`, but for values."""

    def __init__(
        self,
        graph: CommitGraph,
        *,
        confidence: float = 0.99,
        budget: int = 150,
        weights: Sequence[float] | None = None,
        worse: Worse | None = None,
        metric: str = "",
        misses: int | None = None,
        shares_runs: bool = True,
        rivals: bool = True,
    ) -> None:
        """Start a search.

        Args:
            graph: the range, with at least one good end.
            confidence: probability at which to stop.
            budget: at most so many runs. Those without a number count only with `misses`.
            weights: prior weight of each commit; equal if not given.
            worse: which direction is a regression; None: any change is.
            metric: its name. For the log only.
            misses: skip a commit whose runs gave no number so often in a row, best `MISSES`; an
                end that is skipped ends the search. None: such runs are only forgotten, and
                whoever runs them says when it is enough.
            shares_runs: commits that have run often, or whose like have, give way to others.
            rivals: weigh what else than a step explains the values (`bot.culprit.metric_rivals`),
                and try what tells it apart; without, as searches did before they knew of any.

        Raises:
            ValueError: the graph has no good end to compare with, or `misses` is below 1.
        """
        if not graph.goods:
            raise ValueError("A metric needs a good end to compare with.")
        if misses is not None and misses < 1:
            raise ValueError("A commit can only be skipped after a run.")
        self.graph = graph
        self.confidence = confidence
        self.budget = budget
        self.weights = None if weights is None else tuple(float(each) for each in weights)
        self.worse = worse
        self.metric = metric
        self.misses = misses
        self.shares_runs = shares_runs
        self.rivals = rivals
        self._ancestry = Ancestry(graph)
        prior = np.ones(len(graph)) if weights is None else np.asarray(weights, np.float64)
        self._prior = prior / prior.sum()
        self._values: list[tuple[int, float]] = []
        self._pending: list[int] = []
        self._known: _Posterior | None = None
        self._skipped: set[int] = set()
        self._without: Counter[int] = Counter()
        self._missed = 0
        self._rounds = 0
        self._grid = (inf, inf)
        self._seen: Floats = np.zeros(0)
        self._modes: Floats = np.zeros((0, 0, 0))
        self._events: list[dict[str, Any]] = []

    @property
    def pending(self) -> tuple[str, ...]:
        """Runs asked for that have not been recorded."""
        return tuple(self._sha(node) for node in self._pending)

    def next_runs(self, count: int = 1) -> tuple[str, ...]:
        """Ask for up to `count` runs, SHAs in order; empty once there is a verdict."""
        count = min(count, self.budget - self._used - len(self._pending))
        if count < 1 or self.verdict().final:
            return ()
        chosen: list[int] = []
        for _ in range(count):
            node = self._next([*self._pending, *chosen])
            if node is None:
                break
            chosen.append(node)
        commits = tuple(self._sha(n) for n in chosen)
        if commits:
            self._ask(commits)
        return commits

    def record(self, commit: str, value: float) -> None:
        """Learn a value. A run that gave none, or none that can be compared, gave no number.

        Such a run is forgotten, but for one thing: with `misses` (see `__init__`) a commit is
        skipped once so many in a row gave none.

        Raises:
            KeyError: the commit is neither in the range nor its first good end.
        """
        node = self._node(commit)
        if node in self._pending:
            self._pending.remove(node)
        if is_comparable(value):
            self._events.append(metric_log.recorded(commit, float(value)))
            self._values.append((node, float(value)))
            self._without[node] = 0
            self._known = None
            return
        self._events.append(metric_log.recorded(commit, None))
        self._missed += 1
        self._without[node] += 1
        if self.misses is not None and self._without[node] >= self.misses:
            self._leave_out(node)

    def abandon(self, commit: str) -> None:
        """Forget one pending run that will never answer (cancelled, or lost in a crash).

        Raises:
            KeyError: no run of this commit is pending.
        """
        node = self._node(commit)
        if node not in self._pending:
            raise KeyError(commit)
        self._pending.remove(node)
        self._events.append(metric_log.abandoned(commit))

    def skip(self, commit: str) -> None:
        """Never ask for a commit again: it cannot be measured."""
        node = self._node(commit)
        self._events.append(metric_log.skipped(commit))
        self._leave_out(node)

    def to_log(self) -> str:
        """Write everything as JSON lines: the same search gives the same bytes."""
        return metric_log.write(self, self._events)

    @classmethod
    def from_log(cls, text: str) -> MetricSearch:
        """Rebuild a search from its log; runs without an answer are pending again.

        A last line cut off in the middle, as a killed process leaves it, is ignored.

        Raises:
            log.LogError: the text is no log of a search for a metric's change.
        """
        read = metric_log.read(text)
        number = 1
        try:
            search = cls(
                read.graph,
                confidence=read.confidence,
                budget=read.budget,
                weights=read.weights,
                worse=read.worse,
                metric=read.metric,
                misses=read.misses,
                shares_runs=read.shares_runs,
                rivals=read.rivals,
            )
            for number, event in enumerate(read.events, 2):  # noqa: B007 (for the message)
                search._apply(event)
        except (KeyError, ValueError) as error:
            raise LogError(f"Line {number} of the log cannot be followed: {error}") from error
        return search

    def probabilities(self) -> tuple[Candidate, ...]:
        """Give each commit's probability of being the culprit, oldest first, for display.

        Until the ends are measured, those are what was believed beforehand.
        """
        probability = self.probability() if self.is_judged else self._prior
        return tuple(
            Candidate(sha, float(each))
            for sha, each in zip(self.graph.commits, probability, strict=True)
        )

    @property
    def trials(self) -> int:
        """Runs that ended: the values seen, and the runs that gave none."""
        return len(self._values) + self._missed

    @property
    def rounds(self) -> int:
        """How often runs were asked for."""
        return self._rounds

    def sides(self) -> Sides:
        """Part all values by the likeliest culprit; none are known until the ends are measured."""
        if not self.is_judged:
            return Sides(np.zeros(0), np.zeros(0), self.worse)
        return self._parted(int(self.probability().argmax()))

    def probability(self) -> Floats:
        """Give the probability of each commit."""
        return self._posterior().probability[: len(self.graph)]

    def verdict(self) -> MetricVerdict:
        """Say what is concluded, or how things stand."""
        spent = self._used >= self.budget
        if not self.is_judged:
            if lost := self._lost_end():
                return self._say(
                    SearchStatus.INFRA, f"The {lost} end gives no number.", self._prior
                )
            if spent:
                return self._say(SearchStatus.BUDGET, "The budget is spent.", self._prior)
            return self._say(SearchStatus.SEARCHING, "The ends are being measured.", self._prior)
        found = self._posterior()
        commits = found.probability[: len(self.graph)]
        if self._surely_small():
            why = (
                f"The ends differ by less than {TOO_SMALL} standard deviations of a run: "
                "too little to pin on a commit."
                if self._between_ends()[0]
                else "It does not differ between the ends."
            )
            return self._say(SearchStatus.NO_CULPRIT, why, commits, 1.0 - float(commits.max()))
        classes = masses(indistinguishable(self._ancestry, self._untestable()), commits)
        unchecked = not spent and self._unchecked() is not None
        if cautious(float(classes.max())) >= self.confidence and not unchecked:
            sides = self._parted(int(commits.argmax()))
            if sides.is_another_level:
                if sides.bad_side is not None:
                    return self._guilty(commits, cautious(float(classes.max())))
                why = "It changed at one commit, but for the better."
                return self._say(SearchStatus.NO_CULPRIT, why, commits)
            # The spread changes there for sure, the level perhaps not.
            if min(len(sides.before), len(sides.after)) >= 2 * MORE_END_RUNS:
                why = "It varies more or less from one commit on, but about the same level."
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
        if len(self._untestable()) == len(self.graph):
            why = "No commit is left that can be measured."
            return self._say(SearchStatus.BUDGET, why, commits)
        return self._say(SearchStatus.SEARCHING, "Still searching.", commits)

    def _guilty(self, probability: Floats, confidence: float) -> MetricVerdict:
        """Name the commit, or all that cannot be told apart."""
        labels = indistinguishable(self._ancestry, self._untestable())
        members = np.where(labels == labels[int(probability.argmax())], probability, 0.0)
        if np.count_nonzero(members) == 1:
            why = "It changed at this commit."
            return self._say(SearchStatus.CULPRIT, why, probability, confidence)
        why = "It changed at one of these commits; none that can be measured tells them apart."
        return self._say(SearchStatus.CLASS, why, members, confidence)

    def _ask(self, commits: Sequence[str]) -> None:
        self._pending += [self._node(each) for each in commits]
        self._rounds += 1
        self._events.append(metric_log.asked(commits))

    def _apply(self, event: metric_log.MetricEvent) -> None:
        """Do again what the log says was done; choices are taken from it, not made again."""
        if isinstance(event, metric_log.RunsAsked):
            self._ask(event.commits)
        elif isinstance(event, metric_log.RunRecorded):
            self.record(event.commit, nan if event.value is None else event.value)
        elif isinstance(event, metric_log.RunAbandoned):
            self.abandon(event.commit)
        else:
            self.skip(event.commit)

    def _leave_out(self, node: int) -> None:
        self._skipped.add(node)

    def _untestable(self) -> set[int]:
        """The commits of the range that were skipped."""
        return self._skipped - {len(self.graph)}

    @property
    def _used(self) -> int:
        """How much of the budget was used."""
        return len(self._values) if self.misses is None else self.trials

    @property
    def _are_ends_measured(self) -> bool:
        return min(self._runs_of(self.graph.bad), self._runs_of(len(self.graph))) >= END_RUNS

    @property
    def _has_enough(self) -> bool:
        """Whether values that exist already may do, though neither end was run again and again."""
        return len({node for node, _ in self._values}) >= 2 * END_RUNS

    @property
    def is_judged(self) -> bool:
        """Whether there is any posterior."""
        return self._are_ends_measured or (self._used >= self.budget and self._has_enough)

    def _lost_end(self) -> str | None:
        """Say which end was skipped before it was measured, where that ends the search."""
        if self.misses is None:
            return None
        ends = (("bad", self.graph.bad), ("good", len(self.graph)))
        lost = [n for n, e in ends if e in self._skipped and self._runs_of(e) < END_RUNS]
        return lost[0] if lost else None

    def _next(self, pending: list[int]) -> int | None:
        good = len(self.graph)
        ends = [
            (self._runs_of(e) + pending.count(e), e)
            for e in (self.graph.bad, good)
            if self.misses is None or e not in self._skipped
        ]
        # In turns of A B B A: what every second run has in common would else be taken for an end's.
        turned = self.rivals and min(ends, default=(0, good))[0] % 2
        fewest, end = min(
            ends, key=lambda pair: (pair[0], pair[1] if turned else -pair[1]), default=(inf, good)
        )
        if fewest < self._ends_wanted():
            return end
        if not self._are_ends_measured:
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
        gains = self._gains(bad, aim) if self.shares_runs else -np.abs(bad - aim)
        order = np.argsort(-gains, kind="stable")
        order = order[~np.isin(order, list(self._skipped))][:6]
        if not len(order):
            return None
        last = {*pending, *(node for node, _ in self._values[-1:])}
        if self.rivals and (wanted := self._wanted(pending)) is not None:
            return wanted
        node = next((int(node) for node in order if node not in last), int(order[0]))
        # What is only told from the good end needs as many runs there.
        return end if self.rivals and node == self.graph.bad and end not in self._skipped else node

    def _wanted(self, pending: Sequence[int]) -> int | None:
        """What has to be run before anything is concluded, whatever else it tells."""
        if (unchecked := self._unchecked(pending)) is not None:
            return unchecked
        return self._least_known(pending)

    def _unchecked(self, pending: Sequence[int] = ()) -> int | None:
        """The likeliest culprit, or what was measured before it, where it ran too few times.

        Where values have two modes, a single run of either may just be the rarer one.
        """
        commits = self.probability()
        best = int(commits.argmax())
        classes = masses(indistinguishable(self._ancestry, self._untestable()), commits)
        if not self.rivals or cautious(float(classes.max())) < self.confidence:
            return None
        count = len(self.graph)
        runs = Counter(node for node, _ in self._values)
        with_it = [n for n in runs if n < count and self._ancestry.of(n)[best]]
        without = [n for n in runs if n == count or not self._ancestry.of(n)[best]]
        nearest = (
            max(without, key=lambda n: -1 if n == count else n, default=None),
            min(with_it, default=None),
        )
        few = [
            (runs[node] + list(pending).count(node), node)
            for node in nearest
            if node is not None and node not in self._skipped and runs[node] < CHECKED
        ]
        return min(few)[1] if few else None

    def _least_known(self, pending: Sequence[int]) -> int | None:
        """Where to look if all but a drift is settled: farthest from all that was measured."""
        found = self._posterior()
        commits = found.probability[: len(self.graph)]
        if found.drifts <= 1.0 - self.confidence or found.drifts >= self.confidence:
            return None
        classes = masses(indistinguishable(self._ancestry, self._untestable()), commits)
        if classes.max() < SETTLED * (1.0 - found.drifts):
            return None
        count = len(self.graph)
        usable = np.array([n for n in range(count) if n not in self._skipped], np.intp)
        if not len(usable):
            return None
        runs = Counter([*(node for node, _ in self._values), *pending])
        known = np.array([-1 if node == count else node for node in runs])
        away = np.abs(usable[:, None] - known[None, :]).min(axis=1)
        if away.max() > 0:
            return int(usable[away.argmax()])
        return int(min(usable, key=lambda node: (runs[int(node)], int(node))))

    def _gains(self, bad: Floats, aim: float) -> Floats:
        """How much a run of each commit tells: its chance to be bad is near `aim`, few like it ran.

        Commits with about the same chance tell the same: whether they are bad is one question.
        """
        near = 1.0 - np.abs(bad - aim) / max(aim, 1.0 - aim)
        inside = [node for node, _ in self._values if node < len(bad)]
        order = np.argsort(bad, kind="stable")
        ordered = bad[order]
        before = np.append(0, np.cumsum(np.bincount(inside, minlength=len(bad))[order]))
        alike = (
            before[np.searchsorted(ordered, bad + ALIKE, side="right")]
            - before[np.searchsorted(ordered, bad - ALIKE, side="left")]
        )
        gains: Floats = near / (1.0 + alike / ENOUGH)
        return gains

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
        if self.rivals:
            differ = with_levels_of_their_own(rows, _levels())
            flat = differ.reshape(len(nodes), -1)
        bad = patterns.astype(np.float64) @ flat
        good = flat.sum(axis=0) - bad
        step = _mean_of(good) + _mean_of(bad)
        even = float(_mean_of(flat.sum(axis=0)[None, :])[0])
        places = np.array([0.0 if n == count else (n + 1) / count for n in nodes])
        drifts, drift_share = -inf, 0.0
        if not self.rivals:
            drifts, drift_share = _drift(rows, places, np.array(_RAMPS)), DRIFT
        else:
            own = np.array([[node == n for node, _ in self._values] for n in nodes])
            worth = self._worth(np.array([v for _, v in self._values]))
            summed = np.einsum("nv,vms->nms", own * worth, self._modes)
            step_in_modes, even_in_modes = two_modes(summed, patterns.astype(np.float64))
            one, two = log1p(-TWO_MODES), log(TWO_MODES)
            step = np.logaddexp(step + one, step_in_modes + two)
            even = float(np.logaddexp(even + one, even_in_modes + two))
            if len(ramps := self._ramps()):
                drift_share = DRIFT
                ramp = _drift(rows, places, ramps)
                drifts = float(np.logaddexp(ramp, walk(rows, places, _levels())) - log(2.0))
        logs = np.concatenate(
            [
                step[group.ravel()] + np.log(self._prior * (1.0 - NO_CHANGE - drift_share)),
                [even + log(NO_CHANGE), drifts + log(drift_share) if drift_share else -inf],
            ]
        )
        weight = np.exp(logs - logs.max())
        return _Posterior(weight / weight.sum(), count)

    def _ramps(self) -> Floats:
        """The drifts that a commit could tell from a step: one that can be measured lies within."""
        count = len(self.graph)
        usable = np.array([(n + 1) / count for n in range(count) if n not in self._skipped])
        if len(usable) < FEWEST_TO_DRIFT:
            return np.zeros((0, 2))
        return np.array([(a, b) for a, b in _RAMPS if ((a < usable) & (usable < b)).any()])

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
            self._modes = modes(self._seen[..., len(_NOISIER) // 2])
        width = (high - low) or abs(high) or 1.0
        levels = np.linspace(low - _BEYOND * width, high + _BEYOND * width, _LEVELS)
        spreads = np.exp(np.linspace(log(least), log(most), count)) * width
        scales = spreads[:, None] * np.array(_NOISIER)
        fresh = values[len(self._seen) :]
        away = (fresh[:, None, None, None] - levels[None, :, None, None]) / scales
        new = -(TAILS + 1) / 2 * np.log1p(away**2 / TAILS) - np.log(scales / width) + _STUDENT
        self._seen = np.concatenate([self._seen, new])
        if self.rivals:
            of_new = modes(new[..., len(_NOISIER) // 2])
            self._modes = np.concatenate([self._modes, of_new])
        return self._seen

    @staticmethod
    def _usual(values: Floats) -> tuple[float, float]:
        """The outermost values that are no outliers, by the median's absolute deviations."""
        middle = median(values)
        usual = median(np.abs(values - middle))
        near = values[np.abs(values - middle) <= 6.0 * usual] if usual else values
        if len(near) < len(values) * (1.0 - _OUTLIERS):
            # Far more than outliers would be: most were measured on one side of a large step.
            low, high = np.quantile(values, [_OUTLIERS / 2, 1.0 - _OUTLIERS / 2])
            near = values[(low <= values) & (values <= high)]
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
            rest[own] -= median(values[own])
        spread = median(np.abs(rest))
        if spread == 0.0:
            return 1.0
        rest = np.clip(rest, -4 * spread, 4 * spread)
        alike = float((rest[1:] * rest[:-1]).sum() / (rest**2).sum())
        alike = min(max(0.0, alike - 0.5 / sqrt(len(rest))), 0.9)
        return (1.0 - alike) / (1.0 + alike)

    def _parted(self, culprit: int) -> Sides:
        """The values of commits without the culprit, and of those that have it."""
        bad = np.array(
            [n < len(self.graph) and self._ancestry.of(n)[culprit] for n, _ in self._values],
            np.bool_,
        )
        values = np.array([v for _, v in self._values])
        return Sides(values[~bad], values[bad], self.worse)

    def _runs_of(self, node: int) -> int:
        return sum(n == node for n, _ in self._values)

    def _ends_wanted(self) -> int:
        """Runs wanted at each end: more where the effect looks small but may not be."""
        if not self._are_ends_measured:
            return END_RUNS
        difference, _ = self._between_ends()
        return MORE_END_RUNS if difference < TOO_SMALL + 0.5 else END_RUNS

    def _surely_small(self) -> bool:
        """Whether the difference of the ends is below `TOO_SMALL`, all but surely."""
        if not self._are_ends_measured:
            return False
        difference, error = self._between_ends()
        longer = min(self._runs_of(self.graph.bad), self._runs_of(len(self.graph)))
        return difference + (1.3 if longer >= MORE_END_RUNS else 2.0) * error < TOO_SMALL

    def _between_ends(self) -> tuple[float, float]:
        """Absolute difference of the ends and its error, in standard deviations of a run."""
        bad = np.array([v for n, v in self._values if n == self.graph.bad])
        good = np.array([v for n, v in self._values if n == len(self.graph)])
        spread = sqrt((deviation(bad) ** 2 + deviation(good) ** 2) / 2)
        difference = abs(median(bad) - median(good))
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
        sides = self._parted(best)
        culprit = self.graph.commits[best] if status is SearchStatus.CULPRIT else None
        # Of what was not measured there is only what was believed beforehand.
        nobody = status is SearchStatus.NO_CULPRIT or not self.is_judged
        return MetricVerdict(
            status=status,
            culprit=culprit,
            candidates=()
            if nobody
            else tuple(
                Candidate(self.graph.commits[int(c)], float(probability[c])) for c in order[:enough]
            ),
            confidence=cautious(float(probability[best])) if confidence is None else confidence,
            effect=sides.effect,
            interval=sides.interval,
            deviations=sides.deviations,
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


def _levels() -> Floats:
    """Where the levels lie, in widths from the lowest usual value."""
    return np.linspace(-_BEYOND, 1.0 + _BEYOND, _LEVELS)


_STUDENT = lgamma((TAILS + 1) / 2) - lgamma(TAILS / 2) - 0.5 * log(TAILS * pi)


def is_comparable(value: float) -> bool:
    """Whether a value can be squared, and told from others: neither endless nor all but nothing."""
    return value == 0.0 or 1e-100 <= abs(value) <= 1e100


def _mean_of(logs: Floats) -> Floats:
    """Log of the mean of exponentials over the last axis: every level and spread alike."""
    top = logs.max(axis=-1, keepdims=True)
    result: Floats = np.log(np.exp(logs - top).mean(axis=-1)) + top[..., 0]
    return result


_RAMPS = tuple((a / 4, b / 4) for a in range(4) for b in range(a + 1, 5))
"""Where a drift begins and ends: at any quarters of the range."""


def _drift(rows: Floats, places: Floats, ramps: Floats) -> float:
    """Evidence of a straight line from one level to another, each anywhere, along some ramp."""
    levels = np.arange(1, rows.shape[1], 3)
    first, last = (each.ravel() for each in np.meshgrid(levels, levels, indexing="ij"))
    start, end = ramps.T
    total = np.zeros((len(start), len(first), rows.shape[2]))
    for row, place in zip(rows, places, strict=True):
        along = np.clip((place - start) / (end - start), 0, 1)[:, None]
        total += row[np.rint(first + (last - first) * along).astype(np.intp)]
    return float(_mean_of(_mean_of(total.reshape(len(start), -1))))
