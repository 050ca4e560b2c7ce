"""One durable execution: its steps, waits and patches, and what breaks it off only for a while.

DBOS (3.4.0) waits by itself for a PostgreSQL server that is away, and for a locked SQLite file. It
does not for what it has no code for (a full disk, an unwrapped driver error, a pool that is
exhausted): such an error it records, as the result of a step or as the end of a workflow, and the
Run is dead for good. What it never records is a task that was cancelled. So here such an error
becomes a cancellation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from types import ModuleType
from typing import Any, Literal, Protocol, TypeVar, cast

import structlog
from dbos import DBOS, AsyncSQLAlchemyDatasource, PortableWorkflowError, _core, _datasource, _sys_db
from dbos._context import get_local_dbos_context
from dbos._error import DBOSUnexpectedStepError
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import tracing
from bot.errors import Passing
from bot.metrics import STEP_RETRIES, STEP_SECONDS, STEPS
from bot.playbooks.run import Effect, Signal, StepFailed, Untold
from bot.playbooks.steps import RETIRED_PATCHES, AnyStep, Duty, Patch, Step, WaitPoint
from bot.playbooks.stored_steps import prose_of
from bot.records import runs, steps
from bot.records.lifecycle import RecordError
from bot.records.outages import DatabaseAway, Outage, in_public, outage_of, passing

log = structlog.get_logger(__name__)
_RECORDING: tuple[ModuleType, ...] = (_core, _datasource, _sys_db)
"""Where DBOS turns an error into what it records."""
_NAME = "serialize_exception"


class Interrupted(asyncio.CancelledError):
    """This execution ends without a result; the Run is to be taken up again."""

    def __init__(self, outage: Outage) -> None:
        """Say what is away."""
        super().__init__(outage.value)
        self.outage = outage


def never_record_outages() -> None:
    """From now on, DBOS records no passing fault of the database; it raises `Interrupted`."""
    for module in _RECORDING:
        serialize = vars(module)[_NAME]
        if not getattr(serialize, "spares_outages", False):
            vars(module)[_NAME] = _sparing_outages(serialize)


def _sparing_outages(serialize: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(value: Exception, *args: Any, **kwargs: Any) -> Any:
        if (outage := outage_of(value)) is not None:
            raise Interrupted(outage) from value
        return serialize(value, *args, **kwargs)

    vars(guarded)["spares_outages"] = True
    return guarded


T = TypeVar("T")

MOST_PATIENT = 5.0
"""Seconds at most between two tries where the database is what is away: it is near."""


class Unreplayable(Exception):
    """This code cannot go on with a Run: its journal is not what the playbook does now."""


class Observer(Protocol):
    """Told of every step as it begins and ends: progress for people, a hook for kill tests."""

    async def began(self, run: str, step: str) -> None:
        """A step is about to run (again, perhaps)."""

    async def ended(self, run: str, step: str) -> None:
        """A step's effect is done, its result not yet recorded."""

    async def waiting(self, run: str, at: str) -> None:
        """A Run begins to wait."""


@dataclass(frozen=True)
class ExecutionContext:
    """What an execution works with.

    Attributes:
        records: the records database.
        datasource: commits a step's result together with what the step changed there.
        clock: tells the time (UTC).
        observers: told of every step and wait.
        longest_outage: how long one step waits out passing faults.
    """

    records: AsyncEngine
    datasource: AsyncSQLAlchemyDatasource
    clock: Callable[[], datetime]
    observers: tuple[Observer, ...]
    longest_outage: timedelta


async def patches_followed(journal: Mapping[int, str]) -> frozenset[Patch]:
    """Which changed playbooks a Run follows, decided where it begins and never again.

    They are named by the first step of its journal; a Run begun before there was such a step
    follows none. (`DBOS.patch` would record a step for each.)

    Args:
        journal: what was recorded so far, by its place; empty where the Run begins now.

    Raises:
        Unreplayable: it follows one that this code does not know.
    """
    first = journal[min(journal)] if journal else Step.FOLLOW_PATCHES.of(",".join(Patch)).id
    kind, _, named = first.partition(":")
    if kind != Step.FOLLOW_PATCHES.id:
        return frozenset()

    async def recorded() -> None:
        """The name says it all."""

    names = set(filter(None, named.split(","))) - set(RETIRED_PATCHES)
    if unknown := names - set(Patch):
        raise Unreplayable(f"it follows {', '.join(sorted(unknown))}")
    await DBOS.run_step_async({"name": first}, recorded)
    return frozenset(map(Patch, names))


class DurableRun:
    """The engine's side of the `Run` protocol."""

    def __init__(
        self,
        surroundings: ExecutionContext,
        run: str,
        *,
        resumed: bool,
        journal: Mapping[int, str],
        patches: frozenset[Patch],
    ) -> None:
        """Begin, or begin again.

        Args:
            surroundings: what it works with.
            run: the Run's id.
            resumed: whether an execution before this one may have taken steps.
            journal: what was recorded so far, by its place.
            patches: the changed playbooks that this Run follows.
        """
        self._surroundings = surroundings
        self.id = run
        self.untold = Untold()
        self._journal = journal
        self._passed = max(journal, default=-1)
        self._followed = patches
        # The next thing this execution really does, instead of reading it from the record, may be
        # what the one before was doing when it died. Steps come one after the other, so nothing
        # behind it can have begun.
        self._may_have_run = resumed
        self._at: datetime | None = None

    def patched(self, change: Patch) -> bool:
        """As `Run.patched`."""
        return change in self._followed

    def is_replayed(self) -> bool:
        """Whether it is at what an execution before this one has passed already."""
        context = get_local_dbos_context()
        return context is not None and context.function_id < self._passed

    def _taking_turn(self) -> bool:
        may_have_run, self._may_have_run = self._may_have_run, False
        return may_have_run

    def _stored_as(self, step: AnyStep) -> str:
        """The name under which the journal has the step that comes next, else its id."""
        context = get_local_dbos_context()
        recorded = None if context is None else self._journal.get(context.function_id + 1)
        return recorded if recorded is not None and recorded == prose_of(step) else step.id

    async def step(self, step: AnyStep, returns: type[T], effect: Effect[T]) -> T:
        """As `Run.step`."""
        adapter, name = _adapter(returns), self._stored_as(step)

        async def recorded() -> dict[str, Any]:
            may_have_run = self._taking_turn()
            await self._through_outages(
                step, lambda _: self._declare(step, name), may_have_run=False
            )
            await self._tell("began", step.id)
            began = time.perf_counter()
            try:
                with tracing.step_span(self.id, step.id):
                    result = await self._through_outages(step, effect, may_have_run)
            except Exception as error:
                if step.duty is Duty.RECOVERY:
                    log.exception("a step failed", step=step.id)
                    _count(step, "failed", began)
                else:
                    log.warning("passed over", step=step.id, why=said_of(error))
                    _count(step, "passed over", began)
                return self._stored(failed=said_of(error))
            _count(step, "done", began)
            await self._through_outages(
                step, lambda _: self._declare(step, name, done=True), may_have_run=False
            )
            await self._tell("ended", step.id)
            return self._stored(value=adapter.dump_python(result, mode="json"))

        with _replaying():
            stored = await DBOS.run_step_async({"name": name}, recorded)
        self._take_time(stored)
        return _unwrap(step, adapter, stored)

    async def write(
        self, step: AnyStep, returns: type[T], change: Callable[[AsyncConnection], Awaitable[T]]
    ) -> T:
        """As `Run.write`."""
        adapter, name = _adapter(returns), self._stored_as(step)
        datasource = self._surroundings.datasource
        ran, began = False, time.perf_counter()

        async def recorded() -> dict[str, Any]:
            nonlocal ran
            if not ran:
                ran = True
                self._taking_turn()
                await self._tell("began", step.id)
            connection = await datasource.sql_session().connection()
            # One transaction: what the change did and how it is undone are there together.
            await self._note(connection, step, name)
            await self._note(connection, step, name, done=True)
            with tracing.step_span(self.id, step.id):
                changed = await change(connection)
            return self._stored(value=adapter.dump_python(changed, mode="json"))

        try:
            with _replaying():
                stored = await datasource.run_tx_step_async({"name": name}, recorded)
        except (RecordError, PortableWorkflowError) as error:
            # Raised by the change itself; a replay finds it recorded in DBOS's portable form.
            raise StepFailed(step, said_of(error)) from error
        if ran:
            _count(step, "done", began)
            await self._tell("ended", step.id)
        self._take_time(stored)
        return _unwrap(step, adapter, stored)

    def _stored(self, **what: Any) -> dict[str, Any]:
        """What is recorded of a step: what came of it, and when."""
        return {**what, "at": self._clock()}

    def _clock(self) -> str:
        return self._surroundings.clock().astimezone(UTC).isoformat()

    def _take_time(self, stored: Mapping[str, Any]) -> None:
        """No time passes between steps: it is as late as when the last one ended."""
        if self.patched(Patch.STEPS_TELL_THE_TIME):
            self._at = datetime.fromisoformat(stored["at"])

    async def wait(self, seconds: float, at: WaitPoint) -> Signal | None:
        """As `Run.wait`."""
        if seconds:
            await self._tell("waiting", at)
            self._at = None
        signal = await self._receive(seconds)
        if self.patched(Patch.STEPS_TELL_THE_TIME):
            return signal
        # Hints that piled up while a step was under way ask for one look, not for one each.
        while signal is not None and signal.is_bare_hint:
            further = await self._receive(0)
            if further is None:
                break
            signal = further
        return signal

    async def _receive(self, seconds: float) -> Signal | None:
        with _replaying():
            message = await DBOS.recv_async(timeout_seconds=seconds)
        return None if message is None else Signal.model_validate(message)

    async def now(self) -> datetime:
        """As `Run.now`."""
        if self._at is not None:
            return self._at

        async def read() -> str:
            self._taking_turn()
            return self._clock()

        name = self._stored_as(Step.READ_CLOCK)
        with _replaying():
            now = datetime.fromisoformat(await DBOS.run_step_async({"name": name}, read))
        if self.patched(Patch.STEPS_TELL_THE_TIME):
            self._at = now
        return now

    async def _declare(self, step: AnyStep, name: str, *, done: bool = False) -> None:
        """Note how a step that touches the world is undone, before it does; then that it did."""
        if step.undo is not None:
            async with self._surroundings.records.begin() as conn:
                await self._note(conn, step, name, done=done)

    async def _note(
        self, conn: AsyncConnection, step: AnyStep, name: str, *, done: bool = False
    ) -> None:
        undo, now = step.undo, self._surroundings.clock()
        if undo is None or await runs.find(conn, self.id) is None:
            return
        if done:
            await steps.finish(conn, self.id, name, at=now)
            return
        await steps.begin(
            conn,
            self.id,
            name,
            at=now,
            reversibility=undo.reversibility,
            compensation=undo.how,
        )

    async def _through_outages(self, step: AnyStep, effect: Effect[T], may_have_run: bool) -> T:
        deadline = self._surroundings.clock() + self._surroundings.longest_outage
        attempt = 0
        while True:
            try:
                return await effect(may_have_run)
            except Exception as error:
                now, fault = self._surroundings.clock(), passing(error)
                if fault is None or now >= deadline:
                    raise
                may_have_run = True
                seconds = _pause(fault, now, attempt)
                attempt += 1
                # The driver's own words are for this log alone.
                why = str(error)
                log.warning("waiting for a fault to pass", step=step.id, why=why, seconds=seconds)
                STEP_RETRIES.labels(_kind(step)).inc()
                await asyncio.sleep(seconds)

    async def _tell(self, moment: Literal["began", "ended", "waiting"], what: str) -> None:
        for observer in self._surroundings.observers:
            try:
                await getattr(observer, moment)(self.id, what)
            except Exception:
                # Whoever only watches must not break what is watched.
                log.exception("an observer failed", what=what)


def _adapter(returns: type[T]) -> TypeAdapter[T]:
    # To make one takes longer than all it is used for.
    return cast(TypeAdapter[T], _made(cast(Hashable, returns)))


@cache
def _made(returns: Any) -> TypeAdapter[Any]:
    return TypeAdapter(returns)


def _kind(step: AnyStep) -> str:
    """A step's id in the table of steps, without what it is done to."""
    return step.id.partition(":")[0]


def _count(step: AnyStep, outcome: str, began: float) -> None:
    STEPS.labels(_kind(step), outcome).inc()
    STEP_SECONDS.labels(step.duty).observe(time.perf_counter() - began)


@contextmanager
def _replaying() -> Iterator[None]:
    """Say in our own terms that a journal has another step in this place."""
    try:
        yield
    except DBOSUnexpectedStepError as error:
        raise Unreplayable(str(error)) from error


def _unwrap(step: AnyStep, adapter: TypeAdapter[T], stored: dict[str, Any]) -> T:
    if "failed" in stored:
        raise StepFailed(step, stored["failed"])
    try:
        # A newer code may have recorded fields that this one does not know.
        return adapter.validate_python(stored["value"], extra="ignore")
    except ValidationError as error:
        raise Unreplayable(f"the result of {step.id} cannot be read: {error}") from error


def said_of(error: BaseException) -> str:
    """Say an error so that people may read it."""
    return in_public(error)


def _pause(fault: Passing, now: datetime, attempt: int) -> float:
    """Seconds until the next try: when the other side says so, else 1, 2, 4 … at most 60.

    A database is asked sooner.
    """
    if fault.until is not None:
        return max((fault.until - now).total_seconds(), 0.0) + 0.5
    if isinstance(fault, DatabaseAway):
        return min(0.5 + attempt, MOST_PATIENT)
    return float(min(2**attempt, 60))
