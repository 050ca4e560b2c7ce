"""A search for where a number changed, asked for trials and told of them as any other search.

Whether a trial passes is nothing to it: what counts is the number that the trial reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import nan

from bot.culprit.evidence import FreeResult, Purpose, Ruling, Says, Trial, TrialOutcome, TrialReport
from bot.culprit.graph import CommitGraph
from bot.culprit.metric import MISSES, STOPS, MetricSearch, as_verdict
from bot.culprit.verdict import Candidate, Verdict
from bot.github.models import KnownCheck
from bot.names import split_numeric
from bot.trials.outcome import TrialJudgement


def numeric_search(
    graph: CommitGraph,
    numeric: str,
    *,
    confidence: float,
    budget: int,
    weights: tuple[float, ...] | None,
    shares_runs: bool,
    rivals: bool,
    spares_stopped: bool,
    balanced: bool,
    steps: bool,
) -> NumericSearch:
    """Begin a search for where a number changed.

    Args:
        graph: the range.
        numeric: the number's name, perhaps with which direction is worse (`bot.names.NUMERIC`).
        confidence: probability at which to stop.
        budget: at most so many trials.
        weights: prior weight of each commit; equal if not given.
        shares_runs: see `MetricSearch`.
        rivals: see `MetricSearch`.
        spares_stopped: runs that were stopped or cancelled say nothing and cost nothing, until
            there are too many, and a commit that cannot be tried is tried once; without, all of
            them gave no number.
        balanced: see `MetricSearch`.
        steps: see `MetricSearch`.
    """
    name, worse = split_numeric(numeric)
    return NumericSearch(
        MetricSearch(
            graph,
            confidence=confidence,
            budget=budget,
            weights=weights,
            worse=worse,
            metric=name,
            misses=MISSES,
            shares_runs=shares_runs,
            rivals=rivals,
            stops=STOPS if spares_stopped else None,
            balanced=balanced,
            steps=steps,
        )
    )


def alone(metrics: Mapping[str, float], metric: str | None) -> dict[str, float]:
    """Keep the one number that is searched for: there may be very many."""
    return {name: value for name, value in metrics.items() if name == metric}


def reporting(known: Iterable[KnownCheck], metric: str, *, ours: int) -> tuple[KnownCheck, ...]:
    """Keep what reports the number: not our own check-runs, nor runs dispatched to try others."""
    return tuple(
        each
        for each in known
        if metric in each.metrics
        and each.app_id != ours
        and each.event not in ("workflow_dispatch", "repository_dispatch", "schedule")
    )


def of_one_app(known: Sequence[KnownCheck]) -> tuple[KnownCheck, ...]:
    """Keep what the App reported that tells of most commits: others may measure otherwise."""
    commits: dict[int, set[str]] = {}
    for each in known:
        commits.setdefault(each.app_id or 0, set()).add(each.sha)
    most = min(commits, key=lambda app: (-len(commits[app]), app), default=0)
    return tuple(each for each in known if (each.app_id or 0) == most)


class NumericSearch:
    """Gives the trials of a `MetricSearch` their numbers."""

    def __init__(self, metric: MetricSearch) -> None:
        """Go on with a search as it stands."""
        self.metric = metric
        self._pending: dict[int, Trial] = {}
        self._attempts: Counter[str] = Counter()
        self._asked = 0

    @classmethod
    def from_log(cls, text: str) -> NumericSearch:
        """Rebuild it from its log.

        Raises:
            log.LogError: the text is no log of a search for a metric's change.
        """
        return cls(MetricSearch.from_log(text))

    @property
    def graph(self) -> CommitGraph:
        """The range."""
        return self.metric.graph

    @property
    def trials(self) -> int:
        """Values seen and runs that gave none, those that existed before among them."""
        return self.metric.trials

    def next_trials(self, count: int = 1) -> tuple[Trial, ...]:
        """Ask for up to `count` trials; none once there is a verdict."""
        trials = []
        ends = {self.graph.commits[self.graph.bad], *self.graph.goods}
        for sha in self.metric.next_runs(count):
            self._asked += 1
            self._attempts[sha] += 1
            purpose = Purpose.END if sha in ends else Purpose.SEARCH
            trial = Trial(self._asked, sha, f"fresh-{self._asked}", purpose, self._attempts[sha])
            self._pending[trial.id] = trial
            trials.append(trial)
        return tuple(trials)

    def record(self, trial: Trial, report: TrialReport) -> None:
        """Learn the number that a trial reported, or that it reported none.

        Raises:
            KeyError: the trial is not pending.
        """
        self._pending.pop(trial.id)
        commit, number = trial.commit, self.graph.number[trial.commit]
        if report.value is not None or self.metric.stops is None:
            self.metric.record(commit, nan if report.value is None else report.value)
        elif report.outcome is TrialOutcome.INFRA:
            self.metric.stop(commit)
        elif report.outcome is TrialOutcome.UNTESTABLE and number < self.graph.bad:
            self.metric.record(commit, nan)
            self.metric.skip(commit)
        else:
            self.metric.record(commit, nan)

    def abandon(self, trial: Trial) -> None:
        """Forget a trial that will never answer.

        Raises:
            KeyError: the trial is not pending.
        """
        self._pending.pop(trial.id)
        if trial.commit in self.metric.pending:
            self.metric.abandon(trial.commit)

    def observe(self, evidence: FreeResult | Ruling) -> bool:
        """Learn a number that exists, or which commit to leave alone; whether it says anything."""
        known = {*self.graph.commits, *self.graph.goods[:1]}
        if evidence.commit not in known:
            return False
        if isinstance(evidence, Ruling):
            if evidence.says is not Says.SKIP:
                return False
            self.metric.skip(evidence.commit)
            return True
        if evidence.report.value is None:
            return False
        self.metric.record(evidence.commit, evidence.report.value)
        return True

    def probabilities(self) -> tuple[Candidate, ...]:
        """Give each commit's probability, oldest first."""
        return self.metric.probabilities()

    def flake_bounds(self, level: float = 0.95) -> tuple[float, float]:
        """Bound how often a number lies on the wrong side of what parts good from bad."""
        del level  # the metric's own bounds are at 95%
        return self.metric.sides().wrong_side

    def verdict(self) -> Verdict:
        """Say what is concluded, or how things stand."""
        found = self.metric.verdict()
        return as_verdict(found, self.metric.confidence, self.metric.rounds)

    def to_log(self) -> str:
        """Write everything as JSON lines."""
        return self.metric.to_log()

    def outcome_of(self, judgement: TrialJudgement) -> TrialOutcome:
        """Compare a fresh run's number with what parts good from bad."""
        value = judgement.metrics.get(self.metric.metric)
        sides = self.metric.sides()
        if value is None or sides.level is None:
            return TrialOutcome.INFRA
        return TrialOutcome.FAIL if sides.is_bad(value) else TrialOutcome.PASS
