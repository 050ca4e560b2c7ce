"""The search itself: trials begun, waited for and weighed, one step at a time.

The search itself is pure (`bot.culprit`) and lives between recorded steps: what it asks for and
learns follows from their results alone, so a restart brings it to exactly where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import structlog

from bot import markdown
from bot.culprit.evidence import (
    FreeResult,
    Ruling,
    Says,
    SearchSettings,
    Trial,
    TrialOutcome,
    TrialReport,
)
from bot.culprit.flake_rates import FurtherChanges, RatePriors
from bot.culprit.graph import CommitGraph
from bot.culprit.search import Search
from bot.culprit.verdict import SearchStatus
from bot.github.models import KnownCheck
from bot.names import split_numeric
from bot.playbooks.bisect import messages as words
from bot.playbooks.bisect.commit_range import CommitRange
from bot.playbooks.bisect.finding import (
    CulpritSearch,
    finding_of,
    judged_as,
    log_lines,
    with_budget,
)
from bot.playbooks.bisect.numeric import NumericSearch, numeric_search
from bot.playbooks.bisect.plan import BisectPlan
from bot.playbooks.bisect.ports import BisectGitHub, BisectMirror
from bot.playbooks.bisect.prior_results import NoGoodEnd, PriorResults, as_evidence
from bot.playbooks.bisect.status_messages import outlook, usual_length
from bot.playbooks.bisect.trials import TrialScheduler
from bot.playbooks.run import Patience, Run, Signal, SignalKind
from bot.playbooks.steps import Patch, WaitPoint
from bot.records.documents.reports import Finding, TrialMade
from bot.trials.outcome import TrialJudgement, evidence
from bot.triggers import Actor, Value

log = structlog.get_logger(__name__)


class Stopped(Value):
    """Why a search paused or ended before it was sure, in Markdown; by whom, where a person did.

    `closed`: because no commit can be tried as things are set up.
    """

    why: str
    by: Actor | None = None
    cancelled: bool = False
    closed: bool = False


Tell = Callable[[], Awaitable[None]]


class RangeSearch:
    """One search under way, over one range or, going back, several.

    Attributes:
        search: the one of the present range.
        earlier: the logs of searches whose good end turned out bad.
        known: results that existed before, of the present range.
        remembered: what earlier attempts at the incident have tried; set before the range is read.
        notes: what people should know, in Markdown.
    """

    def __init__(
        self,
        run: Run,
        github: BisectGitHub,
        mirror: BisectMirror,
        plan: BisectPlan,
        scheduler: TrialScheduler,
        *,
        patience: Patience,
        since: datetime,
    ) -> None:
        """Prepare.

        Args:
            run: the Run this is part of.
            github: the repository.
            mirror: its commits.
            plan: what is searched.
            scheduler: tries commits.
            patience: how long to wait.
            since: when the minutes of the budget began.
        """
        self.scheduler = scheduler
        self.earlier: list[tuple[str, ...]] = []
        self.known: tuple[KnownCheck, ...] = ()
        self.remembered: tuple[TrialMade, ...] = ()
        self.notes: list[str] = []
        self._words: dict[tuple[str, str], Says] = {}
        self.range: CommitRange
        self.search: CulpritSearch
        self._run = run
        self._prior = PriorResults(run, github, mirror, plan)
        self._plan = plan
        self._patience = patience
        self._deadline = since + timedelta(minutes=plan.config.bisect.minutes)
        self._budget = plan.config.bisect.trials if scheduler.is_open else 0
        self._no_room = False
        self._resting: tuple[Trial, datetime] | None = None

    @property
    def graph(self) -> CommitGraph:
        """The present range."""
        return self.search.graph

    @property
    def finding(self) -> Finding:
        """What is concluded by now."""
        return finding_of(self.search)

    @property
    def seed(self) -> str | None:
        """The search's seed, as text; None where nothing is drawn."""
        return str(self.search.settings.seed) if isinstance(self.search, Search) else None

    @property
    def outlook(self) -> str:
        """About how long it takes yet, for people."""
        suspects = [each.probability for each in self.search.probabilities()]
        parallel = self._plan.config.bisect.parallel
        return outlook(suspects, self.scheduler.table, parallel, self._deadline)

    @property
    def waits_for_room(self) -> bool:
        """Whether other bisects of the repository run as many trials as may run at once."""
        return self._no_room

    @property
    def rests(self) -> bool:
        """Whether it waits a while, as there may be an outage."""
        return self._resting is not None

    @property
    def trials_left(self) -> int:
        """How many more trials the budget allows."""
        return max(0, self._budget - self._spent)

    @property
    def _spent(self) -> int:
        """Every trial counts, those that check a suspect too; those that said nothing do not."""
        return sum(row.outcome is not TrialOutcome.INFRA for row in self.scheduler.table)

    # 1. Identify range of commits …

    async def identify_range(self) -> None:
        """Read the range and what is known of it already.

        Raises:
            NoGoodEnd: there is no commit before the bad end.
        """
        self.range = await self._prior.commit_range()
        self.known = await self._prior.of(self.range)
        self.search = self._new_search(self.range.graph)
        self._words = {}

    def _new_search(self, graph: CommitGraph) -> CulpritSearch:
        settings = self._plan.config.bisect
        if self._plan.numeric is not None:
            return self._new_numeric_search(graph, self._plan.numeric)
        # With rivals two results of each commit would not do, and those that CI has made are all
        # that there is without a runner.
        rivals = self.scheduler.is_open and self._run.patched(Patch.RIVALS_WEIGHED)
        rates = RatePriors() if rivals else RatePriors.without_rivals()
        likelier = self._run.patched(Patch.EARLIER_BREAKS_LIKELIER)
        search = Search(
            graph,
            SearchSettings(
                signal=self._plan.check or settings.workflow or "",
                seed=_seed_of(self._run.id),
                confidence=settings.confidence,
                report=min(0.95, settings.confidence),
                budget=self.trials_left,
                rates=rates.after(self._prior.history),
                changes=FurtherChanges() if likelier else FurtherChanges.with_rarer_breaks(),
                pauses=rivals,
                rivals=rivals,
            ),
            weights=self.range.weights,
            trees=self.range.trees,
        )
        for each in (
            *evidence(self.known, bad=self._plan.bad),
            *as_evidence(self.remembered),
        ):
            search.observe(each)
        return search

    def _new_numeric_search(self, graph: CommitGraph, numeric: str) -> NumericSearch:
        name, _ = split_numeric(numeric)
        measured = [
            FreeResult(sha, TrialReport(TrialOutcome.PASS, value=metrics[name]))
            for sha, metrics in (
                *((each.sha, each.metrics) for each in self.known),
                *((each.sha, each.metrics) for each in self.remembered),
            )
            if name in metrics
        ]
        search = numeric_search(
            graph,
            numeric,
            confidence=self._plan.config.bisect.confidence,
            # What existed before costs nothing.
            budget=self.trials_left + sum(each.commit in graph.number for each in measured),
            weights=self.range.weights,
            shares_runs=self._run.patched(Patch.RUNS_SHARED),
            rivals=self._run.patched(Patch.NUMBERS_RIVALS),
            spares_stopped=self._run.patched(Patch.NUMBERS_SIFTED),
            balanced=self._run.patched(Patch.NUMBERS_BALANCED),
            steps=self._run.patched(Patch.NUMBERS_IN_STEPS),
        )
        for each in measured:
            search.observe(each)
        return search

    # … run binary search.  2. At each step: build, run smoke + evals; record metrics.

    async def pursue(self, tell: Tell) -> Stopped | None:
        """Try commits until there is a verdict; None, or why it stopped before.

        Args:
            tell: tells people where it stands; called at every turn.
        """
        while True:
            stopped = await self._pursue_this_range(tell)
            verdict = self.search.verdict()
            if (
                stopped is None
                and verdict.status is SearchStatus.BEFORE_RANGE
                and self._plan.good is None
            ):
                self._prior.rejected += self.graph.goods
                try:
                    self.earlier.append(log_lines(self.search))
                    await self.identify_range()
                except NoGoodEnd:
                    self.earlier.pop()
                    return None
                continue
            return stopped

    async def _pursue_this_range(self, tell: Tell) -> Stopped | None:
        pending: dict[str, Trial] = {}
        stopped = await self._turns(pending, tell)
        resting = (self._resting[0],) if self._resting else ()
        self._resting = None
        for trial in (*pending.values(), *resting):
            self.search.abandon(trial)
        await self.scheduler.stop()
        return stopped

    async def _turns(self, pending: dict[str, Trial], tell: Tell) -> Stopped | None:
        """Ask, wait and learn until there is nothing to ask; `pending` holds what still runs."""
        settings = self._plan.config.bisect
        while True:
            if await self._run.now() >= self._deadline and self.scheduler.is_open:
                return Stopped(why=f"The {settings.minutes} minutes of this search are over.")
            stopped = await self._ask(pending)
            if stopped is not None:
                return stopped
            if self.search.verdict().final or not (pending or self._no_room or self._resting):
                return None
            await tell()
            patience = self._patience.look_again
            if self._resting is not None:
                patience = max(self._resting[1] - await self._run.now(), timedelta(0))
            stopped = self._hear(await self._run.wait(patience.total_seconds(), WaitPoint.TRIALS))
            if stopped is not None:
                return stopped
            for ended in await self.scheduler.look():
                self.search.record(pending.pop(ended.name), self._report(ended.judgement))

    def _report(self, judgement: TrialJudgement) -> TrialReport:
        names, metric = judgement.fingerprint, self._plan.metric
        value = judgement.metrics.get(metric) if metric else None
        return TrialReport(judgement.outcome, frozenset(names) if names else None, value=value)

    async def _ask(self, pending: dict[str, Trial]) -> Stopped | None:
        """Start what the search asks for; why it stops, where nothing could be started."""
        free = self._plan.config.bisect.parallel - len(pending)
        if free <= 0:
            return None
        self._no_room = False
        if self._resting is not None:
            resting, until = self._resting
            if await self._run.now() < until:
                return None
            trials: Sequence[Trial] = (resting,)
            self._resting = None
        else:
            # Choosing takes up to a second on long ranges: not on the event loop.
            trials = await asyncio.to_thread(self.search.next_trials, free)
            if log.is_enabled_for(logging.DEBUG):
                chosen = [(trial.commit, trial.purpose.value) for trial in trials]
                known = {"free": free, "verdict": repr(self.search.verdict())}
                log.debug("decided", by=f"{__name__}.next_trials", decision=chosen, inputs=known)
            if len(trials) == 1 and trials[0].pause:
                # An outage may be over after as long as some trials take.
                pause = trials[0].pause * usual_length(self.scheduler.table)
                until = await self._run.now() + min(pause, self._patience.outages)
                self._resting = trials[0], until
                return None
        for place, trial in enumerate(trials):
            name = self.scheduler.next_name()
            begun = await self.scheduler.begin(name, trial.commit, trial.purpose.value)
            if not begun.is_under_way:
                for unsent in trials[place:]:
                    self.search.abandon(unsent)
                self._no_room = begun.no_room
                if begun.refused is None:
                    return None
                return Stopped(why=markdown.text(begun.refused), closed=begun.closed)
            pending[name] = trial
        return None

    def _hear(self, signal: Signal | None) -> Stopped | None:
        if signal is None:
            return None
        if signal.kind is SignalKind.CANCEL:
            return Stopped(why="cancelled", by=signal.actor, cancelled=True)
        self.rule(signal)
        return None

    def rule(self, signal: Signal) -> bool:
        """Learn a person's word on a commit; whether it changed anything."""
        says = {
            SignalKind.SKIP: Says.SKIP, SignalKind.GOOD: Says.GOOD, SignalKind.BAD: Says.BAD,
        }.get(signal.kind)  # fmt: skip
        if says is None:
            return False
        by = signal.actor.login if signal.actor else ""
        meant = self._meant(signal.commit)
        if self._plan.numeric is not None:
            if says is not Says.SKIP:
                return self.note(words.ONLY_SKIP)
            if {self.graph.commits[self.graph.bad], *self.graph.goods} & {*meant}:
                return self.note(words.NO_END_SKIPPED)
        weighed = [
            self.search.observe(Ruling(sha, says, by=by))
            for sha in meant
            for _ in range(self._weight(by, sha, says))
        ]
        if not meant:
            named = markdown.code(signal.commit or "none")
            self.notes.append(f"There is no commit {named} in this range.")
        return bool(weighed)

    def _weight(self, by: str, sha: str, says: Says) -> int:
        """How often a word counts: what a person says again is no second witness.

        A word that takes back another one counts twice: the first time both cancel out.
        """
        if says is Says.SKIP or not self._run.patched(Patch.ONE_WORD_EACH):
            return 1
        before = self._words.get((by, sha))
        self._words[by, sha] = says
        return 1 if before is None else 0 if before is says else 2

    def note(self, said: str) -> bool:
        """Tell people something once; False, as a word that comes to no more changes nothing."""
        if said not in self.notes:
            self.notes.append(said)
        return False

    def _meant(self, named: str | None) -> list[str]:
        if named is None:
            running = set(self.scheduler.running)
            tried = dict.fromkeys(r.sha for r in self.scheduler.table if r.name in running)
            # What the bad end is without a suspect is tried too, and is no commit of the range.
            return [sha for sha in tried if sha in self.graph.number or sha in self.graph.goods]
        known = [*self.graph.commits, *self.graph.goods]
        found = [sha for sha in known if sha.startswith(named)]
        return found if len(found) == 1 else []

    def equip(self, plan: BisectPlan) -> None:
        """Go on as another configuration has it; what was learnt stays."""
        self._plan = plan
        self._prior.equip(plan)

    def refill(self, now: datetime, besides: int = 0) -> None:
        """Allow as many trials and minutes again as the configuration gives.

        Args:
            now: when the minutes begin.
            besides: trials for checking the suspect, which the search itself may not use.
        """
        settings = self._plan.config.bisect
        self._deadline = now + timedelta(minutes=settings.minutes)
        allowed = settings.trials if self.scheduler.is_open else 0
        self._budget = self._spent + allowed + besides
        self.scheduler.allow_beyond_the_day(allowed + besides)
        if (
            self.scheduler.is_open
            and self._run.patched(Patch.RIVALS_WEIGHED)
            and isinstance(self.search, Search)
            and not self.search.settings.rivals
        ):
            # It began without a runner.
            self.search = judged_as(self.search, self._new_search(self.graph))
        self.search = with_budget(self.search, self.search.trials + allowed)


def _seed_of(run: str) -> int:
    """A seed that a retry of the same request finds again: the random part of the Run's id."""
    return int.from_bytes(run.encode()[-7:], "big")
