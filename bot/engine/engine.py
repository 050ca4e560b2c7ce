"""Durable execution: a Run goes on where it was, whatever killed the process.

The only module that knows DBOS. Facts it relies on (dbos 3.4.0, read in its source and tried):
launched inside a running event loop, recovered and queued workflows run on that loop; recovery
needs a stable `executor_id` and looks only at Runs of one `application_version`, and a queue hands
a Run only to executors of its version; an SQLite system database is not in WAL mode by itself;
`recv` polls at `notification_listener_polling_interval_sec`. A replay that meets another step
than the one recorded raises `DBOSUnexpectedStepError`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import sqlalchemy as sa
import structlog
from dbos import (
    DBOS,
    AsyncSQLAlchemyDatasource,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    SetWorkflowID,
    _scheduler,
    _workflow_commands,
)
from dbos._error import DBOSNonExistentWorkflowError
from dbos._utils import INTERNAL_QUEUE_NAME
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from bot import tracing
from bot.engine.durable_run import (
    DurableRun,
    ExecutionContext,
    Interrupted,
    Observer,
    Unreplayable,
    never_record_outages,
    patches_followed,
    said_of,
)
from bot.engine.polls import poll_cheaply, waits_of, with_a_message
from bot.engine.reconciliation import Upkeep
from bot.engine.storage import use_write_ahead_log
from bot.logs import replays
from bot.playbooks.run import Run, Signal, SignalKind, StepFailed
from bot.playbooks.steps import Step
from bot.playbooks.stored_steps import CODE
from bot.records import runs
from bot.records.database import sqlite_url
from bot.records.outages import outage_of

if TYPE_CHECKING:
    from dbos._sys_db import SystemDatabase

T = TypeVar("T")
Body = Callable[[Run, Any], Awaitable[None]]
Broken = Callable[[Run, Any, StepFailed], Awaitable[None]]
About = Callable[[Any], Awaitable[Mapping[str, Any]]]
"""The ids that every line of a Run's log carries, by what it was started with."""

LONGEST_OUTAGE = timedelta(hours=6)
"""How long a step waits for GitHub to come back before the Run fails and says so."""

HINT_EVERY = 1.0
"""Seconds between two hints to one Run: a burst of deliveries is at most two looks."""

TEND_EVERY = 10.0
"""Seconds between two looks for Runs that nobody executes."""

SETTLE_EVERY = 180.0
"""Seconds between two looks for Runs that are over although their row says otherwise."""

_A_MOMENT = 0.5
_HEAR_SIBLINGS_EVERY = 1.0
"""Seconds between two looks, on SQLite, for what another process has sent to a Run of ours."""
_ENGINES_OWN_EVERY = 60.0
_IN_A_SESSION_EVERY = 4.0
"""On PostgreSQL the engine sleeps in a transaction, which its server ends after five seconds."""

PARKED_FOR = 60.0
"""Seconds that a Run waits for the release that began it before people are told."""

Stuck = Literal["over", "given up", "parked"]
"""Why a Run cannot go on: it is over, or somebody ended it, or it waits for another release."""
Stranded = Callable[[str, Any, Stuck], Awaitable[None]]
"""Told of a Run that cannot go on, with what it was started with; may be called again for it."""
Living = Callable[[], Awaitable[Mapping[str, str | None] | None]]
"""The replicas that are not silent with what each can replay; None: others look after Runs."""

log = structlog.get_logger(__name__)


class Unrecovered(Exception):
    """Some Runs of a dead replica could not be taken over; they must be asked for again."""


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
        code: str = CODE,
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
            code: names what this process can replay.
        """
        self._records = records
        self._replica = replica
        self._clock = clock
        self._observers = observers
        self._system_database = system_database
        self._longest_outage = longest_outage
        self._hint_every = hint_every
        self.code = code
        self._life = uuid.uuid4().hex
        self._bodies: dict[str, Body] = {}
        self._broken: dict[str, Broken] = {}
        self._arguments: dict[str, TypeAdapter[Any]] = {}
        self._about: dict[str, About] = {}
        self._executing: set[asyncio.Task[Any]] = set()
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._begun: set[str] = set()
        self._interrupted: set[str] = set()
        self._unattended: frozenset[str] = frozenset()
        self.interrupted = asyncio.Event()
        """Set when a Run was broken off by an outage, and waits to be taken up again."""
        self._over = asyncio.Event()
        self._ending: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        self._parked: dict[str, float] = {}
        self._hinted: dict[str, _Hints] = {}
        self._dbos: DBOS | None = None
        self._datasource: AsyncSQLAlchemyDatasource | None = None
        self._workflow: Callable[[str, Any, str], Awaitable[None]] | None = None

    def register(
        self, name: str, argument: type[Any], body: Body, broken: Broken, about: About | None = None
    ) -> None:
        """Say what a Run of this name does; call before `launch`.

        Args:
            name: the kind of Run.
            argument: the type of what it is started with.
            body: does the work.
            broken: tells people when the body itself is at fault; nobody is left in silence.
            about: names what its lines in the log are about.
        """
        self._bodies[name] = body
        self._broken[name] = broken
        if about is not None:
            self._about[name] = about
        self._arguments[name] = TypeAdapter(argument)

    async def launch(self) -> None:
        """Open the engine's database and resume every Run this replica left unfinished."""
        never_record_outages()
        # For Runs that begin by the clock, or end by it in the engine: there are none.
        _workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC = (
            _IN_A_SESSION_EVERY if self._system_database is None else _ENGINES_OWN_EVERY
        )
        _scheduler._STARTUP_FAST_POLL_DURATION_SEC = 0
        url, is_file = self._system_url(), self._system_database is not None
        config = DBOSConfig(
            name="incident-playbooks",
            system_database_url=url,
            executor_id=self._replica,
            application_version=self.code,
            serializer=DBOSPortableJSONSerializer(),
            notification_listener_polling_interval_sec=_HEAR_SIBLINGS_EVERY,
            scheduler_polling_interval_sec=_ENGINES_OWN_EVERY,
            # As in `open_database`: a file does not go away, and who wrote last knows its pages.
            db_engine_kwargs={"pool_pre_ping": not is_file, "pool_use_lifo": is_file},
            log_level="ERROR",
            console_log_level="ERROR",
        )
        if self._system_database is not None:
            await asyncio.to_thread(use_write_ahead_log, self._system_database)
        self._dbos = DBOS(config=config)
        self._datasource = await AsyncSQLAlchemyDatasource.create(
            self._records.url.render_as_string(hide_password=False),
            engine=self._records,
            serializer=DBOSPortableJSONSerializer(),
        )

        async def execute(name: str, argument: Any, life: str) -> None:
            await self._execute(name, argument, life)

        self._workflow = DBOS.workflow(name="run", max_recovery_attempts=1000)(execute)
        try:
            DBOS.launch()
            poll_cheaply(self._system)
        except Exception:
            # So that it can be launched once the database is back.
            self._dbos = self._workflow = self._datasource = None
            await asyncio.to_thread(DBOS.destroy, destroy_registry=True)
            raise

    async def close(self) -> None:
        """Stop; unfinished Runs resume at the next `launch`."""
        hints = [each.task for each in self._hinted.values() if each.task]
        under_way = [*self._executing, *self._starting.values(), *hints]
        for task in under_way:
            # DBOS records no outcome for a task that was cancelled: the Run stays pending.
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)
        # DBOS lends the loop its threads and takes them away: whoever goes on needs some.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())

    async def start(self, name: str, run: str, argument: Any) -> None:
        """Start a Run, or do nothing where one with this id was started before."""
        if name not in self._bodies:
            raise LookupError(f"no playbook is registered as {name!r}")
        # Whoever asks may lose patience while the database is away. What is begun is not broken
        # off: the Run would be on record, and nobody would execute it.
        starting = self._starting.get(run)
        if starting is None:
            starting = asyncio.create_task(self._start(name, run, argument))
            self._starting[run] = starting
            starting.add_done_callback(lambda _: self._starting.pop(run, None))
        await asyncio.shield(starting)

    async def _start(self, name: str, run: str, argument: Any) -> None:
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
        if self._dbos is None:
            return
        # The Run would first hear of it at the next poll; PostgreSQL tells at once, but not while
        # its listener comes back from an outage.
        waits = waits_of(self._system, run)
        # One that was sent before, or is read by now, must not end the wait that came after it.
        is_unread = bool(waits) and await self._has_unread(run)
        for event in waits if is_unread else ():
            event.set()

    async def _has_unread(self, run: str) -> bool:
        return bool(await asyncio.to_thread(with_a_message, self._system, [run]))

    async def _pass_hints_on(self, run: str, signal: Signal, hints: _Hints) -> None:
        try:
            while hints.unheard:
                hints.unheard = False
                # It looks once more after each message, so after the one that it has not read yet.
                if not await self._has_unread(run):
                    await self._send(run, signal)
                await asyncio.sleep(self._hint_every)
        except DBOSNonExistentWorkflowError:
            log.debug("a hint to a run that is not begun: it looks at everything then", run=run)
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
            status="PENDING",
            executor_id=replica,
            app_version=self.code,
            load_input=False,
            load_output=False,
        )
        if left:
            raise Unrecovered(f"{len(left)} Runs of {replica} could not be taken over")
        return len(handles)

    async def take_up_orphans(self) -> int:
        """Go on with this replica's Runs that nobody executes; the number taken up.

        Those that an outage broke off are taken up at once. Others only if nobody executed them at
        the call before, either: what is just being started is on record before it is executed.

        Raises:
            Exception: the engine's database is still away.
        """
        if self._dbos is None:
            raise RuntimeError("the engine is not launched")
        dbos, interrupted = self._dbos, frozenset(self._interrupted)
        self.interrupted.clear()
        pending = await asyncio.to_thread(
            dbos._sys_db.get_pending_workflows, self._replica, self.code
        )
        executing = {*dbos._active_workflows_set.activeList(), *self._starting}
        unattended = frozenset(each.workflow_id for each in pending) - executing
        taken = sorted(unattended & (interrupted | self._unattended))
        self._unattended = unattended - frozenset(taken)
        # What is not pending any more was taken up, or ended, in some other way.
        self._interrupted -= interrupted - unattended - executing
        for run in taken:
            await asyncio.to_thread(
                dbos._sys_db.reenqueue_for_recovery, run, [self._replica], INTERNAL_QUEUE_NAME
            )
            log.warning("a run goes on that nobody executed", run=run)
        return len(taken)

    async def answers(self) -> None:
        """Return if the engine's own database can be read.

        Raises:
            Exception: what its driver says.
        """
        if self._dbos is not None:
            await asyncio.to_thread(_read_something, self._dbos._sys_db.engine)

    # --- Runs that stand still ---

    async def tend(self, living: Living, stranded: Stranded) -> None:
        """Take up Runs that nobody executes, and settle those that are over; until cancelled.

        Args:
            living: tells which replicas are not silent.
            stranded: told of each Run that cannot go on.
        """
        settled = -SETTLE_EVERY
        while True:
            alive = await living()
            if alive is None:
                await asyncio.sleep(TEND_EVERY)
                continue
            now = time.monotonic()
            await self._take_up(alive, stranded)
            if self._over.is_set() or now - settled >= SETTLE_EVERY:
                self._over.clear()
                await self.settle()
                await self._tell_stranded(stranded)
                settled = now
            # One that cannot be replayed is over a moment after it says so. It is settled once it
            # was seen to be over: that may have come between the look above and this one.
            if self._ending:
                self._ending -= await self._upkeep.over(self._ending)
                self._over.set()
                await asyncio.sleep(_A_MOMENT)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), TEND_EVERY)

    async def settle(self, repository_id: int | None = None) -> None:
        """Mark as failed what is under way by its row, and over by its execution.

        Args:
            repository_id: only there; None: everywhere.
        """
        async with self._records.connect() as conn:
            live = [run.id for run in await runs.list_live(conn, repository_id)]
        over = await self._upkeep.over(live)
        if not over:
            return
        async with self._records.begin() as conn:
            for run in sorted(over):
                # Its row may have ended in good order since it was read.
                if await runs.strand(conn, run, at=self._clock()):
                    log.error("a run is over that should be under way", run=run)
        self._over.set()

    def is_parked(self, run: str) -> bool:
        """Whether a Run waits for a release that this replica does not have."""
        return run in self._parked

    async def give_up(self, run: str) -> None:
        """End a Run that waits for another release; it is settled like any that broke off."""
        if await self._upkeep.give_up(run):
            self._parked.pop(run, None)
            self._over.set()

    async def _take_up(self, alive: Mapping[str, str | None], stranded: Stranded) -> None:
        taken, parked = await self._upkeep.take_up(alive)
        if taken:
            log.warning("took up runs that nobody executed", runs=taken)
        now = time.monotonic()
        self._parked = {run: self._parked.get(run, now) for run in parked}
        for run, since in self._parked.items():
            if now - since >= PARKED_FOR and (run, "parked") not in self._told:
                log.error("a run waits for the release that began it", run=run)
                await stranded(run, await self._started_with(run), "parked")
                self._told.add((run, "parked"))

    async def _tell_stranded(self, stranded: Stranded) -> None:
        async with self._records.connect() as conn:
            rows = {run.id: run for run in await runs.list_stranded(conn)}
            broken = [run for run in await self._upkeep.broken_off() if run not in rows]
            # One that has a row was told of by what ended that.
            rowless = [run for run in broken if await runs.find(conn, run) is None]
        untold = [run for run in (*rows, *rowless) if (run, "over") not in self._told]
        given_up = await self._upkeep.given_up(untold)
        for run in untold:
            given = rows[run].trigger if run in rows else await self._started_with(run)
            await stranded(run, given, "given up" if run in given_up else "over")
            self._told.add((run, "over"))

    async def _started_with(self, run: str) -> Any:
        status = await DBOS.get_workflow_status_async(run)
        return None if status is None or status.input is None else status.input["args"][1]

    @property
    def _upkeep(self) -> Upkeep:
        return Upkeep(self._system, us=self._replica, code=self.code)

    async def _execute(self, name: str, argument: Any, life: str) -> None:
        run_id = str(DBOS.workflow_id)
        resumed = life != self._life or run_id in self._begun
        self._begun.add(run_id)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - DBOS runs coroutines in tasks
        task.set_name(f"run {run_id}")
        self._executing.add(task)
        with structlog.contextvars.bound_contextvars(run=run_id, playbook=name):
            try:
                await self._play(name, argument, run_id, resumed=resumed)
            except Interrupted as interrupted:
                self._break_off(run_id, interrupted)
                raise
            except Unreplayable as error:
                # The Run ends here. Whoever sweeps tells people: this journal takes no more steps.
                log.error("a run cannot be replayed by this code", why=str(error), code=self.code)
                self._ending.add(run_id)
                self._over.set()
                raise
            finally:
                self._executing.discard(task)
            self._begun.discard(run_id)

    async def _play(self, name: str, argument: Any, run_id: str, *, resumed: bool) -> None:
        body = self._bodies.get(name)
        if body is None:
            raise Unreplayable(f"this code has no playbook {name!r}")
        try:
            given = self._arguments[name].validate_python(argument, extra="ignore")
        except ValidationError as error:
            raise Unreplayable(f"what it was started with cannot be read: {error}") from error
        if about := self._about.get(name):
            structlog.contextvars.bind_contextvars(**await about(given))
        journal = await self._journal(run_id) if resumed else {}
        run = DurableRun(
            self._surroundings,
            run_id,
            resumed=resumed,
            journal=journal,
            patches=await patches_followed(journal),
        )
        if resumed:
            log.info("a run goes on", recorded=len(journal))
        replays.set(run.is_replayed)
        try:
            await body(run, given)
            tracing.run_over(run_id, failed=False)
        except Unreplayable:
            raise
        except Exception as error:
            # DBOS speaks to itself through exceptions too: another replica owns this Run now.
            if type(error).__module__.startswith("dbos"):
                raise
            if (outage := outage_of(error)) is not None:
                # Cancelled, it has no outcome: it stays pending.
                raise Interrupted(outage) from error
            log.exception("a run broke off")
            tracing.run_over(run_id, failed=True)
            await self._broken[name](run, given, StepFailed(Step.CARRY_ON, said_of(error)))

    async def _journal(self, run_id: str) -> dict[int, str]:
        """What a Run has recorded so far: the stored names by their place."""
        outputs = self._system.tables.operation_outputs

        def read() -> dict[int, str]:
            query = sa.select(outputs.c.function_id, outputs.c.function_name).where(
                outputs.c.workflow_uuid == run_id
            )
            with self._system.engine.connect() as connection:
                return {row.function_id: row.function_name for row in connection.execute(query)}

        return await asyncio.to_thread(read)

    @property
    def _surroundings(self) -> ExecutionContext:
        if self._datasource is None:
            raise RuntimeError("the engine is not launched")
        return ExecutionContext(
            self._records, self._datasource, self._clock, self._observers, self._longest_outage
        )

    @property
    def _system(self) -> SystemDatabase:
        if self._dbos is None:
            raise RuntimeError("the engine is not launched")
        return self._dbos._sys_db

    def _break_off(self, run: str, why: BaseException) -> None:
        log.warning("a run is broken off, and goes on soon", why=str(why))
        self._interrupted.add(run)
        self.interrupted.set()

    def _system_url(self) -> str:
        if self._system_database is not None:
            return sqlite_url(self._system_database)
        return self._records.url.render_as_string(hide_password=False)


class _Hints:
    """The hints for one Run that are not sent yet: one or none, whatever came in."""

    unheard = False
    task: asyncio.Task[None] | None = None


def _read_something(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
