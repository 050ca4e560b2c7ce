"""A metric that dropped instead of a check that failed: where did it change?

What values say is in `bot.culprit.metric_model`; here is what is run next, and when it is enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, nan, pi, sqrt
from typing import TYPE_CHECKING, Any

from bot import LazyModule
from bot.culprit import metric_log
from bot.culprit.graph import Ancestry, CommitGraph, indistinguishable, masses
from bot.culprit.log import LogError
from bot.culprit.metric_model import MetricModel, MetricPosterior
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
ENOUGH = 15
"""After so many runs on a commit or its like, one more tells half as much as the first."""
ALIKE = 0.02
"""Commits are alike where their chances to be bad differ by less."""
PART = 0.25
"""From this share of a change on, another commit had a part in it."""
IN_PART = 8
"""So many runs of a level between two others, and of what lies next to it, tell it from both."""
CHECKED = 3
"""So many runs of the culprit, and of what lies before it, before it is named."""
SETTLED = 0.95
"""From this share of all but drifts on, the place of a step is settled, if there is one."""
MISSES = 3
"""A commit whose runs gave no number so often in a row cannot be measured."""
STOPS = 10
"""After so many runs in a row that were stopped or killed, of whichever commits, it ends."""

_NOBODY = {
    VerdictCause.UNCHANGED: "It does not differ between the ends.",
    VerdictCause.TOO_SMALL: f"The ends differ by less than {TOO_SMALL} standard deviations of a "
    "run: too little to pin on a commit.",
    VerdictCause.BETTER: "It changed at one commit, but for the better.",
    VerdictCause.STEPS: "It changed at two commits, at each by a part.",
    VerdictCause.VARIES: "It varies more or less from one commit on, but about the same level.",
    VerdictCause.DRIFT: "It drifts: it changes bit by bit along the range, not at one commit.",
}


@dataclass(frozen=True, slots=True)
class TwoSteps:
    """Two commits that seem to have changed it by a part each.

    Attributes:
        commits: both, as they are numbered, the older one first.
        confidence: probability that a step is at one of them, if it is a step.
        few: what ran too few times to be sure that both are.
    """

    commits: tuple[int, int]
    confidence: float
    few: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """What is concluded of a metric.

    Attributes:
        status: `SEARCHING`, `CULPRIT`, `CLASS`, `NO_CULPRIT` (too little changed, or it drifts),
            `BUDGET`, `INFRA` (an end gives no number, or runs are stopped).
        culprit: the commit, if `CULPRIT`.
        candidates: the 95% credible set, likeliest first.
        confidence: probability of what `status` says.
        effect: bad level minus good level, in the metric's own unit.
        interval: its 95% interval.
        deviations: the effect in standard deviations of a single run.
        runs: how many values were seen.
        reason: one plain sentence.
        cause: why no commit is named that made it worse; `OUTAGE` where runs are stopped.
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
        stops: int | None = None,
        balanced: bool = True,
        steps: bool = True,
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
            balanced: a commit's runs are made as often in odd turns as in even ones.
            steps: two commits that each changed it by a part are told from one that did it all.
            stops: end once so many runs in a row were stopped (`stop`), best `STOPS`. None: whoever
                runs them says when it is enough.

        Raises:
            ValueError: the graph has no good end to compare with, or `misses` or `stops` is below
                1.
        """
        if not graph.goods:
            raise ValueError("A metric needs a good end to compare with.")
        if misses is not None and misses < 1:
            raise ValueError("A commit can only be skipped after a run.")
        if stops is not None and stops < 1:
            raise ValueError("A search can only end after a run.")
        self.graph = graph
        self.confidence = confidence
        self.budget = budget
        self.weights = None if weights is None else tuple(float(each) for each in weights)
        self.worse = worse
        self.metric = metric
        self.misses = misses
        self.shares_runs = shares_runs
        self.rivals = rivals
        self.stops = stops
        self.balanced = balanced
        self.steps = steps
        self._ancestry = Ancestry(graph)
        prior = np.ones(len(graph)) if weights is None else np.asarray(weights, np.float64)
        self._prior = prior / prior.sum()
        self._model = MetricModel(self._ancestry, self._prior, rivals=rivals)
        self._values: list[tuple[int, float]] = []
        self._pending: list[int] = []
        self._asked: list[int] = []
        self._known: MetricPosterior | None = None
        self._skipped: set[int] = set()
        self._without: Counter[int] = Counter()
        self._missed = 0
        self._stopped: Counter[int] = Counter()
        self._stopped_in_a_row = 0
        self._rounds = 0
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
            node = self._next([*self._pending, *chosen], len(self._asked) + len(chosen))
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
        node = self._ended(commit)
        self._stopped_in_a_row = self._stopped[node] = 0
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

    def _ended(self, commit: str) -> int:
        """Note that a run ended, however; gives the commit's number."""
        node = self._node(commit)
        if node in self._pending:
            self._pending.remove(node)
        else:
            # Made before this search went on, or by somebody else: it had its turn.
            self._asked.append(node)
        return node

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

    def stop(self, commit: str) -> None:
        """Learn that a run was stopped or killed: that says nothing of a number, and costs nothing.

        A commit whose runs are stopped `MISSES` times in a row is skipped unless it is an end.

        Raises:
            KeyError: the commit is neither in the range nor its first good end.
        """
        node = self._ended(commit)
        self._events.append(metric_log.stopped(commit))
        self._stopped[node] += 1
        self._stopped_in_a_row += 1
        # As `stops` grows where somebody asks to go on, so does what one commit is granted.
        granted = max(1, MISSES * (self.stops or STOPS) // STOPS)
        if self._stopped[node] >= granted and node < self.graph.bad:
            self._leave_out(node)

    def stopped(self, commit: str) -> int:
        """Count the last runs of a commit that were stopped or killed, one after the other."""
        return self._stopped[self._node(commit)]

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
                stops=read.stops,
                balanced=read.balanced,
                steps=read.steps,
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

    @property
    def due(self) -> int:
        """How many runs of the ends have to be made before any other."""
        return sum(max(0, self._ends_wanted() - self._runs_of(end)) for end in self._ends)

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
            if why := self._why_ended():
                return self._say(SearchStatus.INFRA, why, self._prior, cause=VerdictCause.OUTAGE)
            return self._say(SearchStatus.SEARCHING, "The ends are being measured.", self._prior)
        found = self._posterior()
        commits = found.probability[: len(self.graph)]
        if self._surely_small():
            cause = VerdictCause.TOO_SMALL if self._between_ends()[0] else VerdictCause.UNCHANGED
            return self._nobody(cause, commits, 1.0 - float(commits.max()))
        classes = masses(indistinguishable(self._ancestry, self._untestable()), commits)
        pair = self._two_steps()
        if pair is not None and not pair.few:
            return self._nobody(VerdictCause.STEPS, commits, pair.confidence, pair.commits)
        unchecked = pair is not None or (not spent and self._unchecked() is not None)
        if cautious(float(classes.max())) >= self.confidence and not unchecked:
            sides = self._parted(int(commits.argmax()))
            if sides.is_another_level:
                if sides.bad_side is not None:
                    return self._guilty(commits, cautious(float(classes.max())))
                return self._nobody(VerdictCause.BETTER, commits)
            # The spread changes there for sure, the level perhaps not.
            if min(len(sides.before), len(sides.after)) >= 2 * MORE_END_RUNS:
                return self._nobody(VerdictCause.VARIES, commits)
        if cautious(found.drifts) >= self.confidence:
            return self._nobody(VerdictCause.DRIFT, commits, cautious(found.drifts))
        if cautious(found.unchanged) >= self.confidence:
            return self._nobody(VerdictCause.UNCHANGED, commits, cautious(found.unchanged))
        if spent:
            return self._say(SearchStatus.BUDGET, "The budget is spent.", commits)
        if len(self._untestable()) == len(self.graph):
            why = "No commit is left that can be measured."
            return self._say(SearchStatus.BUDGET, why, commits)
        if why := self._why_ended():
            return self._say(SearchStatus.INFRA, why, commits, cause=VerdictCause.OUTAGE)
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

    def _nobody(
        self,
        cause: VerdictCause,
        probability: Floats,
        confidence: float | None = None,
        changed_at: Sequence[int] = (),
    ) -> MetricVerdict:
        """Say why no commit is named."""
        why = _NOBODY[cause]
        found = self._say(SearchStatus.NO_CULPRIT, why, probability, confidence, cause)
        broken = [Boundary(self._sha(node), BoundaryKind.BROKEN) for node in changed_at]
        return replace(found, boundaries=tuple(broken))

    def _two_steps(self) -> TwoSteps | None:
        """Find two commits that each changed it by a part, so that neither alone did."""
        if not self.steps:
            return None
        commits = self.probability()
        best = int(commits.argmax())
        older, newer = commits[:best], commits[best + 1 :]
        pairs = [(best, best + 1 + int(newer.argmax()))] if len(newer) else []
        pairs += [(int(older.argmax()), best)] if len(older) else []
        for pair in pairs:
            sure = cautious(float(commits[[*pair]].sum() / commits.sum()))
            if sure >= self.confidence and (few := self._in_parts(*pair)) is not None:
                return TwoSteps(pair, sure, few)
        return None

    def _in_parts(self, first: int, second: int) -> tuple[int, ...] | None:
        """Tell whether each changed it by a part, and what ran too few times to be sure of that.

        What was measured between them lies between both levels, while what lies next to them lies
        where the ends do: in a drift it would not.
        """
        good, nodes = len(self.graph), {node for node, _ in self._values}
        has = {n: self._ancestry.of(n) if n < good else np.zeros(good, np.bool_) for n in nodes}
        before = [n for n in nodes if not has[n][first]]
        between = [n for n in nodes if has[n][first] and not has[n][second]]
        after = [n for n in nodes if has[n][second]]
        levels = [self._seen(*each) for each in (before, between, after)]
        up, down = (Sides(one, other, self.worse) for one, other in pairwise(levels))
        part = up.effect / (up.effect + down.effect or inf)
        is_part = PART <= part <= 1.0 - PART and up.is_another_level and down.is_another_level
        if not is_part or up.bad_side is None or len(levels[1]) < CHECKED:
            return None
        near = max(before, key=lambda n: (n < good, n)), max(between), min(after)
        few = tuple(node for node in near if self._runs_of(node) < IN_PART)
        ends = ((good, near[0]), (near[2], self.graph.bad))
        slopes = [Sides(self._seen(one), self._seen(other)) for one, other in ends]
        least = PART / 2 * abs(up.effect + down.effect)
        is_slope = any(abs(each.effect) > least and each.is_another_level for each in slopes)
        return None if is_slope and not few else few

    def _seen(self, *nodes: int) -> Floats:
        return np.array([value for node, value in self._values if node in nodes])

    def _ask(self, commits: Sequence[str]) -> None:
        nodes = [self._node(each) for each in commits]
        self._pending += nodes
        self._asked += nodes
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
        elif isinstance(event, metric_log.RunStopped):
            self.stop(event.commit)
        else:
            self.skip(event.commit)

    def _leave_out(self, node: int) -> None:
        self._skipped.add(node)
        self._known = None

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

    def _why_ended(self) -> str | None:
        """Say that too many runs were stopped, where they were."""
        most = max(self._stopped_in_a_row, *(self._stopped[n] for n in self._ends))
        if self.stops is None or most < self.stops:
            return None
        return f"{most} runs in a row were stopped before they gave a number."

    @property
    def _ends(self) -> tuple[int, int]:
        """The bad end and the good one, as they are numbered."""
        return self.graph.bad, len(self.graph)

    def _next(self, pending: list[int], turn: int) -> int | None:
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
        free = [int(node) for node in order if node not in last] or [int(order[0])]
        node = min(free, key=lambda n: self._unbalanced(n, turn)) if self.balanced else free[0]
        # What is only told from the good end needs as many runs there.
        return end if self.rivals and node == self.graph.bad and end not in self._skipped else node

    def _unbalanced(self, node: int, turn: int) -> int:
        """How many more turns like this one a commit had than others, where it had more.

        What every second run has in common, or one of two machines, would else look like a commit.
        """
        turns = [(each - turn) % 2 for each, asked in enumerate(self._asked) if asked == node]
        return max(0, turns.count(0) - turns.count(1))

    def _wanted(self, pending: Sequence[int]) -> int | None:
        """What has to be run before anything is concluded, whatever else it tells."""
        if (unchecked := self._unchecked(pending)) is not None:
            return unchecked
        if (pair := self._two_steps()) is not None and pair.few:
            return min(pair.few, key=lambda n: self._runs_of(n) + list(pending).count(n))
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

    def _posterior(self) -> MetricPosterior:
        if self._known is None:
            self._known = self._model.posterior(self._values, self._skipped)
        return self._known

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


def is_comparable(value: float) -> bool:
    """Whether a value can be squared, and told from others: neither endless nor all but nothing."""
    return value == 0.0 or 1e-100 <= abs(value) <= 1e100
