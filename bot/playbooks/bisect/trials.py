"""Trials under way: begun, looked at, waited for.

Everything here is called inside recorded steps. A trial is known by its name within the Run.

Deliveries only say "look"; a trial that does not answer in time is stopped and counts as
infrastructure. Every trial is counted in the records before it begins, so that all bisects of a
repository together keep within what a day and a moment may take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.culprit.evidence import TrialOutcome
from bot.logs import is_replayed
from bot.metrics import TRIALS
from bot.playbooks.bisect.plan import BisectPlan
from bot.playbooks.bisect.ports import bisects, runs
from bot.playbooks.run import Run, attempt
from bot.playbooks.steps import Step
from bot.records.bisects import TrialCaps, TrialUse
from bot.trials.outcome import CANCELLED, TrialJudgement
from bot.triggers import Value


class Started(Value):
    """A trial that runs, or why none can: `refused` is plain text.

    `run_id` is the workflow run's id, 0 where there is none. `note` tells people, in Markdown,
    what is not as they might expect. `closed`: none can be started on this bench at all.
    """

    run_id: int = 0
    refused: str | None = None
    note: str | None = None
    closed: bool = False


class Ended(Value):
    """How one trial ended."""

    name: str
    judgement: TrialJudgement
    url: str | None = None


class TrialsLook(Value):
    """What a look at the running trials shows; `head` is the commit their runs hang on."""

    ended: tuple[Ended, ...]
    head: str | None = None


class AwaitedTrial(Value):
    """A trial that is waited for."""

    sha: str
    run_id: int


class TrialRunner(Protocol):
    """A place where commits are tried."""

    @property
    def is_open(self) -> bool:
        """Whether commits can be tried here at all."""

    async def start(self, name: str, sha: str, look_first: bool) -> Started:
        """Start a trial, unless it was started already."""

    async def look(self, waiting: Mapping[str, AwaitedTrial]) -> TrialsLook:
        """See which of these trials have ended."""

    async def stop(self, waiting: Mapping[str, AwaitedTrial]) -> None:
        """End trials; nothing they say counts any more."""

    async def clear(self) -> None:
        """Remove all that was made for trials; none runs any more."""


class TrialRow(Value):
    """One trial as people see it; `outcome` is None while it runs."""

    name: str
    sha: str
    why: str
    run_id: int
    outcome: TrialOutcome | None = None
    reason: str = ""
    seconds: float | None = None
    url: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)


class Begun(Value):
    """Whether a trial has begun: else why it cannot (plain text), or that there is no room now.

    `closed`: no commit can be tried as things are set up.
    """

    refused: str | None = None
    no_room: bool = False
    closed: bool = False

    @property
    def is_under_way(self) -> bool:
        """Whether it has."""
        return self.refused is None and not self.no_room


class _Reserved(Value):
    used: TrialUse | None


class _Running(Value):
    waiting: AwaitedTrial
    deadline: datetime


class TrialScheduler:
    """Tries commits. What it knows comes from recorded steps alone.

    Attributes:
        table: every trial so far, in the order they were asked for.
        notes: what people should know of how commits are tried, in Markdown.
    """

    def __init__(
        self, run: Run, trial_runner: TrialRunner, plan: BisectPlan, repository_id: int
    ) -> None:
        """Prepare.

        Args:
            run: the Run this is part of.
            trial_runner: where commits are tried.
            plan: what is searched, and the configuration.
            repository_id: whose caps count.
        """
        self.table: list[TrialRow] = []
        self.notes: list[str] = []
        self._run = run
        self._trial_runner = trial_runner
        self._plan = plan
        self._repository_id = repository_id
        self._running: dict[str, _Running] = {}
        self._watched: str | None = None
        self._beyond_day = 0
        self._is_clear = True
        self._names = 0

    @property
    def is_open(self) -> bool:
        """Whether commits can be tried at all."""
        return self._trial_runner.is_open

    def equip(self, trial_runner: TrialRunner, plan: BisectPlan) -> None:
        """Try on another bench from now on; what was tried stays in the table."""
        self._trial_runner, self._plan = trial_runner, plan

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the trials under way."""
        return tuple(self._running)

    @property
    def cancelled(self) -> int:
        """How many of the trials that ended were cancelled, and not by us."""
        return sum(row.reason == CANCELLED for row in self.table)

    def next_name(self, prefix: str = "") -> str:
        """Give the next trial's name: unique in this Run, since its id is made of it."""
        self._names += 1
        return f"{prefix}{self._names}"

    def allow_beyond_the_day(self, count: int) -> None:
        """Let so many trials begin whatever the day has seen: a person wants it."""
        self._beyond_day = count

    async def begin(self, name: str, sha: str, why: str) -> Begun:
        """Start a trial, or say why none can be started.

        Args:
            name: its name within this Run; one word.
            sha: the commit.
            why: what it is for, for people.
        """
        used = await self._reserve(name)
        if used is not None:
            return self._at_a_cap(used)
        self._is_clear = False
        started = await self._run.step(
            Step.DISPATCH_TRIAL.of(name), Started, partial(self._trial_runner.start, name, sha)
        )
        if started.refused is not None:
            await self._settle([name])
            return Begun(refused=started.refused, closed=started.closed)
        if started.note is not None and started.note not in self.notes:
            self.notes.append(started.note)
        now = await self._run.now()
        deadline = now + timedelta(minutes=self._plan.config.bisect.trial_minutes)
        waiting = AwaitedTrial(sha=sha, run_id=started.run_id)
        self._running[name] = _Running(waiting=waiting, deadline=deadline)
        self.table.append(TrialRow(name=name, sha=sha, why=why, run_id=started.run_id))
        if self._watched is None:
            await self._watch(self._plan.base_head)
        return Begun()

    async def look(self) -> tuple[Ended, ...]:
        """See which trials have ended; each is told once."""
        if not self._running:
            return ()
        waiting = self._waiting(self._running)
        looked = await self._run.step(
            Step.READ_TRIALS, TrialsLook, lambda _: self._trial_runner.look(waiting)
        )
        if looked.head is not None and looked.head != self._watched:
            await self._watch(looked.head)
        ended = list(looked.ended)
        now = await self._run.now()
        told = {each.name for each in ended}
        late = [n for n, each in self._running.items() if n not in told and now >= each.deadline]
        if late:
            await self._stop(late)
            reason = f"no answer within {self._plan.config.bisect.trial_minutes} minutes"
            judgement = TrialJudgement(outcome=TrialOutcome.INFRA, reason=reason)
            ended += [Ended(name=name, judgement=judgement) for name in late]
        if ended:
            await self._settle([each.name for each in ended])
        for each in ended:
            self._note(each)
        return tuple(ended)

    async def stop(self) -> None:
        """Stop every trial that still runs; nothing they say counts any more."""
        names = list(self._running)
        if names:
            await self._stop(names)
            await self._settle(names)
        for name in names:
            del self._running[name]
            place, row = self._row(name)
            why = "cancelled: no longer needed"
            changed = row.model_copy(update={"reason": why, "outcome": TrialOutcome.INFRA})
            self.table[place] = changed

    async def clear(self) -> bool:
        """Stop every trial, and remove what the bench made for them; whether there were any."""
        await self.stop()
        if self._is_clear:
            return False

        async def remove(_: bool) -> bool:
            await self._trial_runner.clear()
            return True

        what = "remove what was made for the trials"
        await attempt(self._run, Step.CLEAN_RUNNER, bool, remove, what=what, otherwise=False)
        self._is_clear = True
        return True

    # --- caps ---

    @property
    def _caps(self) -> TrialCaps:
        caps = self._plan.config.caps
        return TrialCaps(
            trials_per_day=caps.trials_a_day,
            minutes_per_day=caps.ci_minutes_a_day,
            at_once=self._plan.config.bisect.parallel_in_all,
        )

    async def _reserve(self, name: str) -> TrialUse | None:
        now, beyond_day = await self._run.now(), self._beyond_day > 0

        async def change(conn: AsyncConnection) -> _Reserved:
            used = await bisects.reserve_trials(
                conn,
                run_id=self._run.id,
                name=name,
                repository_id=self._repository_id,
                at=now,
                caps=self._caps,
                beyond_day=beyond_day,
            )
            return _Reserved(used=used)

        reserved = await self._run.write(Step.RESERVE_TRIAL, _Reserved, change)
        if reserved.used is None and beyond_day:
            self._beyond_day -= 1
        return reserved.used

    def _at_a_cap(self, used: TrialUse) -> Begun:
        caps = self._caps
        if used.at_once >= caps.at_once:
            return Begun(no_room=True)
        return Begun(
            refused=f"The bisects of this repository have used {used.trials} of "
            f"{caps.trials_per_day} trials and {used.minutes:.0f} of {caps.minutes_per_day} "
            "minutes of the last 24 hours."
        )

    async def _settle(self, names: Iterable[str]) -> None:
        now, settled = await self._run.now(), list(names)

        async def change(conn: AsyncConnection) -> bool:
            await bisects.settle_trials(conn, self._run.id, settled, now)
            return True

        await self._run.write(Step.SETTLE_TRIALS, bool, change)

    # --- pieces ---

    async def _stop(self, names: list[str]) -> None:
        waiting = self._waiting(names)

        async def stop(_: bool) -> bool:
            await self._trial_runner.stop(waiting)
            return True

        what = "cancel trials that are not needed any more"
        await attempt(self._run, Step.CANCEL_TRIALS, bool, stop, what=what, otherwise=False)

    def _waiting(self, names: Iterable[str]) -> Mapping[str, AwaitedTrial]:
        return {name: self._running[name].waiting for name in names}

    async def _watch(self, head: str) -> None:
        """From now on deliveries about runs on this commit wake the Run."""
        self._watched = head
        now, run_id = await self._run.now(), self._run.id

        async def change(conn: AsyncConnection) -> bool:
            await runs.watch(conn, run_id, at=now, head_sha=head, pull_request=None)
            return True

        await self._run.write(Step.WATCH_TRIALS, bool, change)

    def _note(self, ended: Ended) -> None:
        del self._running[ended.name]
        if not is_replayed():
            TRIALS.labels(ended.judgement.outcome).inc()
        place, row = self._row(ended.name)
        self.table[place] = row.model_copy(
            update={
                "outcome": ended.judgement.outcome,
                "reason": ended.judgement.reason,
                "seconds": ended.judgement.seconds,
                "url": ended.url,
                "metrics": ended.judgement.metrics,
            }
        )

    def _row(self, name: str) -> tuple[int, TrialRow]:
        return next((at, row) for at, row in enumerate(self.table) if row.name == name)
