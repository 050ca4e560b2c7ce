"""Durable execution: a Run goes on where it was, whatever killed the process.

The only module that knows DBOS. Facts it relies on (dbos 3.4.0, read in its source and tried):
launched inside a running event loop, recovered and queued workflows run on that loop; recovery
needs a stable `executor_id` and a pinned `application_version`; an SQLite system database is not
in WAL mode by itself; `recv` polls at `notification_listener_polling_interval_sec`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
import structlog
from dbos import (
    DBOS,
    AsyncSQLAlchemyDatasource,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    PortableWorkflowError,
    SetWorkflowID,
)
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.faults import Passing
from bot.playbooks.run import Effect, Run, Signal, SignalKind, StepFailed
from bot.playbooks.undo.reversibility import declared
from bot.records.recovery import runs, steps
from bot.records.refusals import RecordError

T = TypeVar("T")
Body = Callable[[Run, Any], Awaitable[None]]
Broken = Callable[[Run, Any, StepFailed], Awaitable[None]]

APPLICATION_VERSION = "1"
"""Pinned: a Run of an older deployment resumes. Steps of a playbook change through DBOS.patch."""

LONGEST_OUTAGE = timedelta(hours=6)
"""How long a step waits for GitHub to come back before the Run fails and says so."""

HINT_EVERY = 1.0
"""Seconds between two hints to one Run: a burst of deliveries is at most two looks."""

log = structlog.get_logger(__name__)


class Unrecovered(Exception):
    """Some Runs of a dead replica could not be taken over; they must be asked for again."""


class Observer(Protocol):
    """Told of every step as it begins and ends: progress for people, a hook for kill tests."""

    async def began(self, run: str, step: str) -> None:
        """A step is about to run (again, perhaps)."""

    async def ended(self, run: str, step: str) -> None:
        """A step's effect is done, its result not yet recorded."""


class Engine:
    """Starts Runs, wakes them, and finishes after a restart what was under way."""

    def __init__(
        self,
        *,
        records: AsyncEngine,
        replica: str,
        clock: Callable[[], datetime],
        observers: tuple[Observer, ...] = (),
        system_database: Path | None = None,
        longest_outage: timedelta = LONGEST_OUTAGE,
        hint_every: float = HINT_EVERY,
    ) -> None:
        """Prepare the engine; nothing runs before `launch`.

        Args:
            records: the records database; step results that change it are committed with it.
            replica: this process's name, the same after a restart and unique among replicas.
            clock: tells the time (UTC).
            observers: told of every step.
            system_database: the SQLite file for the engine's own state; None on PostgreSQL, where
                it lives beside the records in the schema `dbos`.
            longest_outage: how long one step waits out passing faults.
            hint_every: seconds between two hints to one Run.
        """
        self._records = records
        self._replica = replica
        self._clock = clock
        self._observers = observers
        self._system_database = system_database
        self._longest_outage = longest_outage
        self._hint_every = hint_every
        self._life = uuid.uuid4().hex
        self._bodies: dict[str, Body] = {}
        self._broken: dict[str, Broken] = {}
        self._arguments: dict[str, TypeAdapter[Any]] = {}
        self._executing: set[asyncio.Task[Any]] = set()
        self._hinted: dict[str, _Hints] = {}
        self._dbos: DBOS | None = None
        self._datasource: AsyncSQLAlchemyDatasource | None = None
        self._workflow: Callable[[str, Any, str], Awaitable[None]] | None = None

    def register(self, name: str, argument: type[Any], body: Body, broken: Broken) -> None:
        """Say what a Run of this name does; call before `launch`.

        Args:
            name: the kind of Run.
            argument: the type of what it is started with.
            body: does the work.
            broken: tells people when the body itself is at fault; nobody is left in silence.
        """
        self._bodies[name] = body
        self._broken[name] = broken
        self._arguments[name] = TypeAdapter(argument)

    async def launch(self) -> None:
        """Open the engine's database and resume every Run this replica left unfinished."""
        url = self._system_url()
        config = DBOSConfig(
            name="incident-playbooks",
            system_database_url=url,
            executor_id=self._replica,
            application_version=APPLICATION_VERSION,
            serializer=DBOSPortableJSONSerializer(),
            notification_listener_polling_interval_sec=0.25,
            log_level="ERROR",
            console_log_level="ERROR",
        )
        if self._system_database is not None:
            await asyncio.to_thread(_use_write_ahead_log, self._system_database)
        self._dbos = DBOS(config=config)
        self._datasource = await AsyncSQLAlchemyDatasource.create(
            self._records.url.render_as_string(hide_password=False),
            engine=self._records,
            serializer=DBOSPortableJSONSerializer(),
        )

        async def execute(name: str, argument: Any, life: str) -> None:
            await self._execute(name, argument, life)

        self._workflow = DBOS.workflow(name="run", max_recovery_attempts=1000)(execute)
        DBOS.launch()

    async def close(self) -> None:
        """Stop; unfinished Runs resume at the next `launch`."""
        under_way = [*self._executing, *(h.task for h in self._hinted.values() if h.task)]
        for task in under_way:
            # DBOS records no outcome for a task that was cancelled: the Run stays pending.
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)

    async def start(self, name: str, run: str, argument: Any) -> None:
        """Start a Run, or do nothing where one with this id was started before."""
        if name not in self._bodies:
            raise LookupError(f"no playbook is registered as {name!r}")
        if self._workflow is None:
            raise RuntimeError("the engine is not launched")
        with SetWorkflowID(run):
            await DBOS.start_workflow_async(
                self._workflow,  # type: ignore[arg-type]  # DBOS keeps the undecorated signature
                name,
                self._arguments[name].dump_python(argument, mode="json"),
                # Stored by whoever starts the Run first, and only then: it tells a later life, or
                # another replica, that steps may have been done before.
                self._life,
            )

    async def wake(self, run: str, signal: Signal, key: str | None = None) -> None:
        """Send a Signal to a Run; with a `key`, at most once however often it is called.

        Hints are not counted, only heard: those that come within `hint_every` seconds become one.
        """
        if signal.kind is SignalKind.HINT and key is None:
            hints = self._hinted.setdefault(run, _Hints())
            hints.unheard = True
            if hints.task is None:
                hints.task = asyncio.create_task(self._pass_hints_on(run, signal, hints))
            return
        await self._send(run, signal, key)

    async def _send(self, run: str, signal: Signal, key: str | None = None) -> None:
        await DBOS.send_async(run, signal.model_dump(mode="json"), idempotency_key=key)
        if self._system_database is None or self._dbos is None:
            return
        # PostgreSQL tells at once; on SQLite the Run would first hear of it at the next poll.
        for _, (waiting, _, _), event in self._dbos._sys_db.notifications_map.snapshot():
            if waiting == run:
                event.set()

    async def _pass_hints_on(self, run: str, signal: Signal, hints: _Hints) -> None:
        try:
            while hints.unheard:
                hints.unheard = False
                await self._send(run, signal)
                await asyncio.sleep(self._hint_every)
        except Exception:
            log.exception("a hint was lost; the Run will look again by itself", run=run)
        finally:
            del self._hinted[run]

    async def finished(self, run: str) -> bool:
        """Tell whether the Run has ended (or never began)."""
        status = await DBOS.get_workflow_status_async(run)
        return status is None or status.status not in ("PENDING", "ENQUEUED", "DELAYED")

    async def take_over(self, replica: str) -> int:
        """Continue the Runs of a replica that died; the number of Runs taken.

        Raises:
            Unrecovered: some are left; ask again later.
        """
        handles = await asyncio.to_thread(DBOS._recover_pending_workflows, [replica])
        # DBOS only logs what it could not recover.
        left = await DBOS.list_workflows_async(
            status="PENDING", executor_id=replica, load_input=False, load_output=False
        )
        if left:
            raise Unrecovered(f"{len(left)} Runs of {replica} could not be taken over")
        return len(handles)

    async def _execute(self, name: str, argument: Any, life: str) -> None:
        run = _DurableRun(self, str(DBOS.workflow_id), resumed=life != self._life)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - DBOS runs coroutines in tasks
        self._executing.add(task)
        with structlog.contextvars.bound_contextvars(run=run.id, playbook=name):
            given = self._arguments[name].validate_python(argument)
            try:
                await self._bodies[name](run, given)
            except Exception as error:
                # DBOS speaks to itself through exceptions too: another replica owns this Run now.
                if type(error).__module__.startswith("dbos"):
                    raise
                log.exception("a run broke off")
                await self._broken[name](run, given, StepFailed("carry on", _said(error)))
            finally:
                self._executing.discard(task)

    def _system_url(self) -> str:
        if self._system_database is not None:
            return f"sqlite:///{self._system_database}"
        return self._records.url.render_as_string(hide_password=False)


class _Hints:
    """The hints for one Run that are not sent yet: one or none, whatever came in."""

    unheard = False
    task: asyncio.Task[None] | None = None


class _DurableRun:
    """The engine's side of the `Run` protocol."""

    def __init__(self, engine: Engine, run: str, *, resumed: bool) -> None:
        self._engine = engine
        self.id = run
        # The next thing this execution really does, instead of reading it from the record, may be
        # what the one before was doing when it died. Steps come one after the other, so nothing
        # behind it can have begun.
        self._may_have_run = resumed

    def _taking_turn(self) -> bool:
        may_have_run, self._may_have_run = self._may_have_run, False
        return may_have_run

    async def step(self, name: str, returns: type[T], effect: Effect[T]) -> T:
        adapter = TypeAdapter(returns)

        async def recorded() -> dict[str, Any]:
            may_have_run = self._taking_turn()
            await self._declare(name)
            await self._tell("began", name)
            try:
                result = await self._through_outages(name, effect, may_have_run)
            except Exception as error:
                log.exception("a step failed", step=name)
                return {"failed": _said(error)}
            await self._declare(name, done=True)
            await self._tell("ended", name)
            return {"value": adapter.dump_python(result, mode="json")}

        return _unwrap(name, adapter, await DBOS.run_step_async({"name": name}, recorded))

    async def write(
        self, name: str, returns: type[T], change: Callable[[AsyncConnection], Awaitable[T]]
    ) -> T:
        adapter = TypeAdapter(returns)
        datasource = self._engine._datasource
        if datasource is None:
            raise RuntimeError("the engine is not launched")

        ran = False

        async def recorded() -> dict[str, Any]:
            nonlocal ran
            if not ran:
                ran = True
                self._taking_turn()
                await self._tell("began", name)
            connection = await datasource.sql_session().connection()
            # One transaction: what the change did and how it is undone are there together.
            await self._note(connection, name)
            await self._note(connection, name, done=True)
            return {"value": adapter.dump_python(await change(connection), mode="json")}

        try:
            stored = await datasource.run_tx_step_async({"name": name}, recorded)
        except (RecordError, PortableWorkflowError) as error:
            # Raised by the change itself; a replay finds it recorded in DBOS's portable form.
            raise StepFailed(name, _said(error)) from error
        if ran:
            await self._tell("ended", name)
        return _unwrap(name, adapter, stored)

    async def wait(self, seconds: float) -> Signal | None:
        signal = await self._receive(seconds)
        # Hints that piled up while a step was under way ask for one look, not for one each.
        while signal is not None and signal.kind is SignalKind.HINT:
            further = await self._receive(0)
            if further is None:
                break
            signal = further
        return signal

    async def _receive(self, seconds: float) -> Signal | None:
        message = await DBOS.recv_async(timeout_seconds=seconds)
        return None if message is None else Signal.model_validate(message)

    async def now(self) -> datetime:
        async def read() -> str:
            self._taking_turn()
            return self._engine._clock().astimezone(UTC).isoformat()

        return datetime.fromisoformat(await DBOS.run_step_async({"name": "read the clock"}, read))

    async def _declare(self, name: str, *, done: bool = False) -> None:
        """Note how a step that touches the world is undone, before it does; then that it did."""
        if declared(name) is not None:
            async with self._engine._records.begin() as conn:
                await self._note(conn, name, done=done)

    async def _note(self, conn: AsyncConnection, name: str, *, done: bool = False) -> None:
        undo, now = declared(name), self._engine._clock()
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

    async def _through_outages(self, name: str, effect: Effect[T], may_have_run: bool) -> T:
        deadline = self._engine._clock() + self._engine._longest_outage
        attempt = 0
        while True:
            try:
                return await effect(may_have_run)
            except Passing as fault:
                now = self._engine._clock()
                if now >= deadline:
                    raise
                may_have_run = True
                seconds = _pause(fault, now, attempt)
                attempt += 1
                log.warning("waiting for GitHub", step=name, why=str(fault), seconds=seconds)
                await asyncio.sleep(seconds)

    async def _tell(self, moment: str, step: str) -> None:
        for observer in self._engine._observers:
            try:
                await getattr(observer, moment)(self.id, step)
            except Exception:
                # Whoever only watches must not break what is watched.
                log.exception("an observer failed", step=step)


def _unwrap(step: str, adapter: TypeAdapter[T], stored: dict[str, Any]) -> T:
    if "failed" in stored:
        raise StepFailed(step, stored["failed"])
    return adapter.validate_python(stored["value"])


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _pause(fault: Passing, now: datetime, attempt: int) -> float:
    """Seconds until the next try: when the other side says so, else 1, 2, 4 … at most 60."""
    if fault.until is not None:
        return max((fault.until - now).total_seconds(), 0.0) + 0.5
    return float(min(2**attempt, 60))


def _use_write_ahead_log(path: Path) -> None:
    """Put the engine's SQLite file in WAL mode: 34 → 193 starts a second when tried."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.execute(sa.text("PRAGMA journal_mode=WAL"))
    engine.dispose()
