"""One search for a culprit: asks for trials, learns their results, and says what it concludes.

A search is a value without input or output: whoever holds it runs the trials. Its log holds all
that it was told and all that it asked for, so that it can be resumed, or replayed elsewhere to
the same verdict without running anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bot import LazyModule
from bot.culprit import log
from bot.culprit.evidence import (
    FreeResult,
    Granularity,
    Purpose,
    Ruling,
    Says,
    SearchSettings,
    Trial,
    TrialOutcome,
    TrialReport,
    same_failure,
)
from bot.culprit.graph import Ancestry, CommitGraph
from bot.culprit.posterior import Posterior
from bot.culprit.priors import Floats, impossible
from bot.culprit.selection import PRESUMED, Testability, choose, choose_environment, open_commits
from bot.culprit.verdict import Candidate, SearchState, Verdict, conclude

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

WORTHLESS = 0.001
"""Bits below which another trial is not worth its cost."""
IDLE = 0.003
"""Bits below which the ends are tried again, to learn how often the signal lies."""
ENOUGH = 12
"""Runs of an end after which more teach nothing."""
SURVEYED = 50
"""Runs of a commit after which it stays open whether it had been fixed there."""
STORM = 0.4
"""From this probability of a storm on, a good end is tried to see whether it is over."""
ALIKE = 0.6
"""From this probability on that there is a storm, or that the good end is no good, too."""
MOST_CONTROLS = 80
"""So often in a row; what has not passed by then is no outage."""
LONGEST_PAUSE = 31
"""An outage is waited out for at most so many lengths of a trial at once."""
UNSEEN = 0.6
"""Once all but so much is settled, stretches where nothing was tried are looked into."""


class Search:
    """The state of one search. Not for use by several threads at once."""

    def __init__(
        self,
        graph: CommitGraph,
        settings: SearchSettings | None = None,
        *,
        weights: Sequence[float] | None = None,
        trees: Mapping[str, str] | None = None,
        costs: Sequence[float] | None = None,
    ) -> None:
        """Start a search.

        Args:
            graph: the range.
            settings: how to search.
            weights: prior weight of each commit of the range, by number (`priors.weigh`); any
                positive scale. Equal if not given.
            trees: tree ids of commits and good ends. Results pass between commits of one tree.
            costs: relative cost of trying each commit and good end, by number.
        """
        self.graph = graph
        self.settings = settings = settings or SearchSettings()
        self.trees = dict(trees or {})
        self.weights = None if weights is None else tuple(float(w) for w in weights)
        self.costs = None if costs is None else tuple(float(c) for c in costs)
        self.ancestry = Ancestry(graph)
        self._nodes = len(graph) + len(graph.goods)
        self._of_tree: dict[str, int] = {}
        for sha, node in graph.number.items():
            if sha in self.trees:
                self._of_tree.setdefault(self.trees[sha], node)
        prior = np.ones(len(graph)) if self.weights is None else np.array(self.weights)
        self._posterior = Posterior(
            self.ancestry,
            prior * impossible(self.ancestry, self.trees),
            settings.rates,
            agreement=settings.agreement,
            no_culprit=settings.no_culprit if settings.check_ends else 0.0,
            before_range=settings.before_range if settings.check_ends and graph.goods else 0.0,
            storms=settings.storms,
            changes=settings.changes,
            rivals=settings.rivals,
        )
        self._cost = np.ones(self._nodes) if self.costs is None else np.array(self.costs)
        self._testability = Testability(graph)
        self._skipped: set[int] = set()
        self._answered: set[int] = set()
        self._gaps: Counter[int] = Counter()
        self._flukes: Counter[int] = Counter()
        self._infra: Counter[int] = Counter()
        self._infra_in_a_row = 0
        self._fingerprint = settings.fingerprint
        self._pending: dict[int, Trial] = {}
        self._asked = 0
        self._rounds = 0
        self._clock = 0
        self._begun_at: dict[int, int] = {}
        self._last: tuple[int, ...] = ()
        self._controls = 0
        self._trials = 0
        self._exhausted = False
        self._verdict: Verdict | None = None
        self._events: list[dict[str, Any]] = []

    @property
    def pending(self) -> tuple[Trial, ...]:
        """Trials asked for that have neither been recorded nor abandoned."""
        return tuple(self._pending.values())

    @property
    def trials(self) -> int:
        """Trials that ended in pass, fail or untestable."""
        return self._trials

    @property
    def fingerprint(self) -> frozenset[str] | None:
        """The tests that make a failure the incident's, once known."""
        return self._fingerprint

    def probabilities(self) -> tuple[Candidate, ...]:
        """Give each commit's probability of being the culprit, oldest first, for display."""
        probability = self._posterior.beliefs.probability
        return tuple(
            Candidate(sha, float(p))
            for sha, p in zip(self.graph.commits, probability, strict=False)
        )

    def flake_bounds(self, level: float = 0.95) -> tuple[float, float]:
        """Bound the rates of false failures and of false passes from above."""
        return self._posterior.beliefs.upper(level)

    def next_trials(self, count: int = 1) -> tuple[Trial, ...]:
        """Ask for up to `count` more trials; those asked for before stay pending.

        Empty if the search is over (see `verdict`), if pending trials must answer first, or if
        the budget is spoken for.
        """
        if self.settings.budget is not None:
            count = min(count, self.settings.budget - self._trials - len(self._pending))
        if count < 1 or self.verdict().final:
            return ()
        ends = self._ends_to_check()
        if ends is None:
            return ()
        control = [] if ends or not self.settings.rivals else self._control()
        nodes = ends[:count] or control or self._informative(count)
        if not nodes:
            if not self._pending and not self._exhausted:
                self._exhausted, self._verdict = True, None
                self._events.append(log.exhausted())
            return ()
        purpose = Purpose.END if ends else Purpose.CONTROL if control else Purpose.SEARCH
        pause = min(2**self._controls - 1, LONGEST_PAUSE) if control else 0
        trials: list[Trial] = []
        for node in nodes:
            asked = Trial(self._asked + 1, self._sha(node), "", purpose, self._infra[node] + 1)
            trials.append(self._place(replace(asked, pause=pause if self.settings.pauses else 0)))
            self._ask(trials[-1])
        self._round(trials)
        self._events.append(log.asked(trials))
        return tuple(trials)

    def record(self, trial: Trial, report: TrialReport) -> None:
        """Learn how a pending trial ended.

        Raises:
            KeyError: the trial is not pending.
        """
        self._pending.pop(trial.id)
        self._events.append(log.reported(trial, report))
        node = self.graph.number[trial.commit]
        self._verdict, self._exhausted = None, False
        if report.outcome is TrialOutcome.INFRA:
            self._infra[node] += 1
            self._infra_in_a_row += 1
            if self._infra[node] >= self.settings.infra_attempts:
                self._skipped.add(node)
                self._posterior.leave_out(self._untestable())
            return
        self._infra_in_a_row = 0
        self._trials += 1
        self._answered.add(node)
        moment = self._begun_at[trial.id]
        self._learn(node, report, report.environment or trial.environment, moment)

    def abandon(self, trial: Trial) -> None:
        """Forget a pending trial that will never answer (cancelled, or lost in a crash).

        Raises:
            KeyError: the trial is not pending.
        """
        self._pending.pop(trial.id)
        self._verdict = None
        self._events.append(log.abandoned(trial))

    def observe(self, evidence: FreeResult | Ruling) -> bool:
        """Learn a result that exists without us, or a person's word.

        Returns:
            Whether it says anything about this range; if not, it is not kept.
        """
        node = self._node_of(evidence)
        if node is None:
            return False
        self._verdict, self._exhausted = None, False
        self._events.append(log.observed(evidence))
        if isinstance(evidence, Ruling):
            if evidence.says is Says.SKIP:
                self._skipped.add(node)
                self._posterior.leave_out(self._untestable())
            else:
                self._posterior.rule(self._canonical(node), good=evidence.says is Says.GOOD)
        elif evidence.selected:
            self._fingerprint = self._fingerprint or evidence.report.fingerprint
        elif evidence.report.outcome is not TrialOutcome.INFRA:
            self._learn(node, evidence.report, evidence.environment)
        return True

    def verdict(self) -> Verdict:
        """Say what is concluded, or how things stand (`status` is `SEARCHING`)."""
        if self._verdict is None:
            budget = self.settings.budget
            self._verdict = conclude(
                SearchState(
                    ancestry=self.ancestry,
                    probability=self._posterior.beliefs.probability,
                    settings=self.settings,
                    untestable=frozenset(self._untestable()),
                    presumed=frozenset(self._presumed()),
                    exhausted=self._exhausted,
                    spent=budget is not None and self._trials >= budget,
                    infra=self._infra_in_a_row >= self.settings.infra_cap,
                    waiting=self._ends_to_check() != [],
                    trials=self._trials,
                    rounds=self._rounds,
                    posterior=self._posterior,
                )
            )
        return self._verdict

    def to_log(self) -> str:
        """Write everything as JSON lines: the same search gives the same bytes."""
        return log.write(self, self._events)

    @classmethod
    def from_log(cls, text: str) -> Search:
        """Rebuild a search from its log; trials without an answer are pending again.

        A last line cut off in the middle, as a killed process leaves it, is ignored.

        Raises:
            log.LogError: the text is no log of a search.
        """
        record = log.read(text)
        search = cls(
            record.graph,
            record.settings,
            weights=record.weights,
            trees=record.trees,
            costs=record.costs,
        )
        for event in record.events:
            search._apply(event)
        return search

    def _apply(self, event: log.Event) -> None:
        """Do again what the log says was done; choices are taken from it, not made again."""
        if isinstance(event, log.TrialsAsked):
            for trial in event.trials:
                self._ask(trial)
            self._round(event.trials)
            self._verdict = None
            self._events.append(log.asked(event.trials))
        elif isinstance(event, log.Reported):
            self.record(self._pending[event.trial], event.report)
        elif isinstance(event, log.Abandoned):
            self.abandon(self._pending[event.trial])
        elif isinstance(event, log.Exhausted):
            self._exhausted, self._verdict = True, None
            self._events.append(log.exhausted())
        else:
            self.observe(event)

    def _place(self, trial: Trial) -> Trial:
        """Say where a trial is to run."""
        at = self._canonical(self.graph.number[trial.commit])
        names = self.settings.environments
        environment = choose_environment(names, self._posterior, at, trial, self.pending)
        return replace(trial, environment=environment)

    def _ask(self, trial: Trial) -> None:
        self._pending[trial.id] = trial
        self._asked = max(self._asked, trial.id)

    def _round(self, trials: Sequence[Trial]) -> None:
        """Count trials that are begun together; time passes from one such round to the next."""
        self._rounds += 1
        waited = max(trial.pause for trial in trials)
        self._clock += 1 + waited
        self._begun_at |= {trial.id: self._clock for trial in trials}
        self._last = tuple(self._canonical(self.graph.number[trial.commit]) for trial in trials)
        control = trials[0].purpose is Purpose.CONTROL
        self._controls = self._controls + 1 if control else 0

    def _control(self) -> list[int]:
        """Turn to a good end where everything seems to fail: an outage is waited out there."""
        beliefs = self._posterior.beliefs
        # That the good end fails looks the same, until time has passed.
        alike = float(beliefs.probability[self._posterior.before_range])
        everything_fails = beliefs.storm + alike >= ALIKE and beliefs.why is not None
        if beliefs.storm < STORM and not everything_fails:
            return []
        if self._pending or self._controls >= MOST_CONTROLS:
            return []
        goods = [n for n in range(len(self.graph), self._nodes) if n not in self._untestable()]
        return goods[:1]

    def _learn(
        self, node: int, report: TrialReport, environment: str, moment: int | None = None
    ) -> None:
        failed = report.outcome is TrialOutcome.FAIL
        if failed and not same_failure(self._fingerprint, report.fingerprint):
            report = TrialReport(TrialOutcome.UNTESTABLE)
        at = self._canonical(node)
        if report.outcome is TrialOutcome.UNTESTABLE:
            self._gaps[at] += 1
        else:
            if failed and node == self.graph.bad and self._fingerprint is None:
                self._fingerprint = report.fingerprint or None
            self._posterior.add(at, environment, failed=failed, at=moment)
        if self._cannot_be_tried(at):
            self._flukes[at] += self._posterior.retract(at)
            if node >= len(self.graph):
                self._skipped.add(node)
        if node < len(self.graph):
            self._testability.learn(node, testable=self._posterior.tried(at))
        self._posterior.doubt(self._doubts(), self._chance())
        self._posterior.leave_out(self._untestable())

    def _cannot_be_tried(self, at: int) -> bool:
        """Whether a commit is given up; failures in between came before it was tried at all.

        That it passed once proves that it can be tried.
        """
        if self._posterior.tried(at) and not self._posterior.only_failed(at):
            return False
        return 0 < self._gaps[at] >= self._posterior.total_runs(at)

    def _doubts(self) -> dict[int, float]:
        """Say how likely the commits that only failed are untestable, by their neighbours."""
        return {
            at: self._testability.by_neighbours(at)
            for at in self._posterior.tried_nodes
            if at < len(self.graph) and at != self.graph.bad and self._posterior.only_failed(at)
        }

    def _chance(self) -> Floats:
        """Say how often a commit that cannot be tried fails all the same."""
        prior = self.settings.rates.false_fail
        return prior.seen(self._flukes.total(), self._gaps.total()).on_grid()

    def _ends_to_check(self) -> list[int] | None:
        """List the ends still to be tried first; None if they are being tried now."""
        if not self.settings.check_ends:
            return []
        ends = [self.graph.bad, *range(len(self.graph), self._nodes)]
        gone = self._untestable()
        # Results from elsewhere do not spare us from reproducing the failure here.
        left = [e for e in ends if e not in gone and e not in self._answered]
        under_way = {self.graph.number[t.commit] for t in self._pending.values()}
        if left and all(e in under_way for e in left):
            return None
        return [e for e in left if e not in under_way]

    def _informative(self, count: int) -> list[int]:
        """Choose what to try next by expected information."""
        pending = [self._canonical(self.graph.number[t.commit]) for t in self._pending.values()]
        rng = np.random.default_rng([self.settings.seed, self._asked])
        worth = self._worth()
        chance, between = self._posterior.perhaps_mended()
        rest = 1.0 - self._posterior.located
        doubted = chance > rest / 3 and rest < UNSEEN and worth[between] > 0.0
        first = []
        if doubted and between not in pending and self._posterior.total_runs(between) < SURVEYED:
            first, pending, count = [between], [*pending, between], count - 1
        if count < 1:
            return first
        for stage in (self._in_stage(), np.ones(self._nodes)):
            choices = choose(
                self._posterior, worth * stage, pending, count, rng,
                apart=self._last if self.settings.rivals else None,
            )  # fmt: skip
            if choices and choices[0].score >= IDLE:
                break
        else:
            calibrating = self._least_tried_ends(count)
            if calibrating:
                return [*first, *calibrating]
        return [*first, *(c.node for c in choices if c.score >= WORTHLESS)]

    def _least_tried_ends(self, count: int) -> list[int]:
        """Turn to the ends, whose state is known: they teach how often the signal lies.

        Where all that is left to tell apart is one commit from a broken signal, no commit of
        the range tells anything until the rates are known better.
        """
        gone = self._untestable()
        ends = [e for e in (self.graph.bad, len(self.graph)) if e not in gone and e < self._nodes]
        runs = {e: self._posterior.total_runs(self._canonical(e)) for e in ends}
        chosen: list[int] = []
        while len(chosen) < count and min(runs.values(), default=ENOUGH) < ENOUGH:
            end = min(ends, key=lambda e: runs[e])
            runs[end] += 1
            chosen.append(end)
        return chosen

    def _worth(self) -> Floats:
        """What a trial of each node is worth: chance of a usable result, freshness, cost."""
        worth = 1.0 / self._cost
        count = len(self.graph)
        chance = self._testability.probability()
        worth[:count] *= np.where(chance >= PRESUMED, 0.0, 1.0 - chance)
        worth[list(self._untestable())] = 0.0
        if self.settings.granularity is Granularity.FIRST_PARENT:
            worth *= self._in_stage()
        if self.settings.environments:
            worth *= self._freshness()
        return worth

    def _in_stage(self) -> Floats:
        """Mark the nodes that may be tried at this stage; the good ends always may."""
        count = len(self.graph)
        allowed = np.ones(self._nodes)
        allowed[:count] = open_commits(
            self.graph, self.settings.granularity, self._posterior.beliefs.probability[:count]
        )
        return allowed

    def _freshness(self) -> Floats:
        """What a run of each node is worth: ever less once it was tried in every environment."""
        fresh = np.ones(self._nodes)
        for at in self._posterior.tried_nodes:
            fresh[at] = max(self._posterior.freshness(at, e) for e in self.settings.environments)
        own = [self._canonical(node) for node in range(self._nodes)] if self.trees else slice(None)
        result: Floats = fresh[own]
        return result

    def _untestable(self) -> set[int]:
        return self._skipped | self._testability.untestable

    def _presumed(self) -> Iterable[int]:
        chance = self._testability.probability()
        return [int(c) for c in np.flatnonzero(chance >= PRESUMED)]

    def _canonical(self, node: int) -> int:
        """Give the first node of the same tree: a tree's results belong together."""
        tree = self.trees.get(self._sha(node))
        return node if tree is None else self._of_tree[tree]

    def _sha(self, node: int) -> str:
        count = len(self.graph)
        return self.graph.commits[node] if node < count else self.graph.goods[node - count]

    def _node_of(self, evidence: FreeResult | Ruling) -> int | None:
        node = self.graph.number.get(evidence.commit)
        if node is None and isinstance(evidence, FreeResult) and evidence.tree is not None:
            return self._of_tree.get(evidence.tree)
        return node
