"""Lives of an engine, each in a process of its own, that leave lines in a file for the test.

The engine is one per process, and a test must be able to kill it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from sqlalchemy.ext.asyncio import AsyncConnection

from bot import tracing
from bot.engine import Engine
from bot.errors import Passing
from bot.logs import is_replayed
from bot.playbooks.run import Run, Signal, SignalKind, StepFailed
from bot.playbooks.steps import AnyStep, ItemStep, Step, WaitPoint
from bot.records.database import open_database
from bot.records.lifecycle import RecordError
from bot.records.schema import migrate
from tests.forks import FORKS

LONGEST_S = 90.0


class Away(Passing):
    """GitHub is away for a moment."""

    def __init__(self) -> None:
        super().__init__("away")
        self.until = datetime.now(UTC)


class World:
    """What the steps of a Run do and see: lines in a file, kept by every life."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "world"

    def note(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def lines(self) -> list[str]:
        return self._path.read_text("utf-8").splitlines() if self._path.exists() else []

    def die_once(self, mark: str) -> None:
        """SIGKILL, the first time only."""
        if f"died at {mark}" not in self.lines():
            self.note(f"died at {mark}")
            os.kill(os.getpid(), signal.SIGKILL)


Body = Callable[[Run, World], Awaitable[None]]


def _step(name: str) -> ItemStep:
    return Step.REQUEST_PLAYBOOK.of(name)


def _name(step: AnyStep) -> str:
    return step.id.partition(":")[2]


async def three_steps(run: Run, world: World) -> None:
    """Dies in the middle step, after its work was done."""

    def doing(name: str) -> Callable[[bool], Awaitable[str]]:
        async def effect(may_have_run: bool) -> str:
            world.note(f"{name} {'looking first' if may_have_run else 'at once'}")
            if name == "b":
                world.die_once("b")
            return name

        return effect

    got = [await run.step(_step(name), str, doing(name)) for name in ("a", "b", "c")]
    world.note("".join(got))


async def knows_what_it_passed(run: Run, world: World) -> None:
    """Dies in the last step; says after each of the others whether it has been there before."""

    async def effect(_: bool) -> bool:
        return True

    async def dies(_: bool) -> bool:
        world.die_once("last")
        return True

    for name in ("a", "b"):
        await run.step(_step(name), bool, effect)
        world.note(f"{name}: {'again' if is_replayed() else 'new'}")
    await run.step(_step("last"), bool, dies)
    world.note(f"last: {'again' if is_replayed() else 'new'}")


async def records_once(run: Run, world: World) -> None:
    """Dies right after a change of the records was committed."""

    async def change(conn: AsyncConnection) -> int:
        await conn.exec_driver_sql("CREATE TABLE IF NOT EXISTS counted (n INTEGER)")
        await conn.exec_driver_sql("INSERT INTO counted VALUES (1)")
        found = await conn.exec_driver_sql("SELECT count(*) FROM counted")
        return int(found.scalar_one())

    counted = await run.write(_step("count"), int, change)
    world.die_once("after the write")
    world.note(f"counted {counted}")

    async def refused(conn: AsyncConnection) -> int:
        await conn.exec_driver_sql("INSERT INTO counted VALUES (2)")
        raise RecordError("not that")

    try:
        await run.write(_step("refuse"), int, refused)
    except StepFailed as failed:
        world.note(f"refused: {failed}")
    world.note(f"counted {await run.write(_step('count again'), int, change)}")


async def fails(run: Run, world: World) -> None:
    """A step fails; the life after it dies hears of the failure, without another try."""

    async def effect(_: bool) -> str:
        world.note("tried")
        raise ValueError("it does not work")

    try:
        await run.step(_step("try"), str, effect)
    except StepFailed as failed:
        world.die_once("failure")
        world.note(f"{_name(failed.step)}: {failed}")


async def outage(run: Run, world: World) -> None:
    """GitHub is away for two tries; another Run is not held up."""
    tries = 0

    async def effect(may_have_run: bool) -> int:
        nonlocal tries
        tries += 1
        world.note(f"try {tries} {'looking first' if may_have_run else 'at once'}")
        if tries < 3:
            raise Away
        return tries

    world.note(f"back after {await run.step(_step('ask'), int, effect)}")


async def never_back(run: Run, world: World) -> None:
    """GitHub does not come back in time."""

    async def effect(_: bool) -> int:
        raise Away

    try:
        await run.step(_step("ask"), int, effect)
    except StepFailed as failed:
        world.note(f"gave up: {failed}")


async def listens(run: Run, world: World) -> None:
    """Says what it hears until it is cancelled."""
    while True:
        signal_ = await run.wait(20, WaitPoint.ALERTS)
        world.note(f"heard {signal_.kind if signal_ else 'nothing'}")
        if signal_ is None or signal_.kind is SignalKind.CANCEL:
            return


async def busy_then_listens(run: Run, world: World) -> None:
    """Is in a step while hints come in, and hears them as one."""

    async def effect(_: bool) -> bool:
        world.note("busy")
        await asyncio.sleep(2.5)
        return True

    await run.step(_step("work"), bool, effect)
    await listens(run, world)


async def has_a_bug(run: Run, world: World) -> None:
    del run, world
    raise KeyError("a bug of ours")


BODIES: dict[str, Body] = {
    body.__name__: body
    for body in (
        three_steps,
        knows_what_it_passed,
        records_once,
        fails,
        outage,
        never_back,
        listens,
        busy_then_listens,
        has_a_bug,
    )
}


def _status_places(world: World) -> Callable[[Run, str, StepFailed], Awaitable[None]]:
    async def broken(run: Run, _: str, failed: StepFailed) -> None:
        async def tell(__: bool) -> bool:
            world.note(f"told: {failed}")
            return True

        await run.step(_step("tell"), bool, tell)

    return broken


class _Spans(SpanExporter):
    """Keeps each span as a line: its name, its trace, its own id and its parent's."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "spans"

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._file.open("a", encoding="utf-8") as file:
            for span in spans:
                assert span.context is not None
                parent = span.parent.span_id if span.parent else 0
                ids = (span.context.trace_id, span.context.span_id, parent)
                file.write("\t".join((span.name, *(f"{each:x}" for each in ids))) + "\n")
        return SpanExportResult.SUCCESS


def _live(folder: str, orders: list[tuple[str, ...]], url: str) -> None:
    asyncio.run(_obey(Path(folder), orders, url))


async def _obey(folder: Path, orders: list[tuple[str, ...]], url: str) -> None:
    """Run an engine and carry out orders, then wait until every Run named has ended."""
    world = World(folder)
    await migrate(url)
    file = sa.make_url(url).database if url.startswith("sqlite") else None
    engine = Engine(
        records=open_database(url),
        replica="alone",
        clock=lambda: datetime.now(UTC),
        system_database=None if file is None else Path(file).parent / "engine.db",
        longest_outage=timedelta(seconds=2),
    )
    for name, body in BODIES.items():
        engine.register(name, str, _bound(body, world), _status_places(world))
    if ("trace",) in orders:
        tracing.trace_to(SimpleSpanProcessor(_Spans(folder)), version="1", replica="alone")
    await engine.launch()
    waited_for: list[str] = []
    for order, *words in orders:
        match order:
            case "start":
                name, run = words
                await engine.start(name, run, "")
                waited_for.append(run)
            case "resume":
                waited_for += words
            case "wake":
                run, kind, *key = words
                await engine.wake(run, Signal(kind=SignalKind(kind)), *key)
            case "sleep":
                await asyncio.sleep(float(words[0]))
            case "until":
                while words[0] not in world.lines():  # noqa: ASYNC110 - a file
                    await asyncio.sleep(0.02)
            case "stop":
                await engine.close()
                world.note("stopped")
                return
    for run in waited_for:
        while not await engine.finished(run):  # noqa: ASYNC110 - DBOS's own state
            await asyncio.sleep(0.05)
        world.note(f"{run} ended")
    await engine.close()


def _bound(body: Body, world: World) -> Callable[[Run, Any], Awaitable[None]]:
    async def bound(run: Run, _: Any) -> None:
        await body(run, world)

    return bound


async def live(folder: Path, *orders: tuple[str, ...], url: str = "") -> int:
    """One life in a process of its own; its exit code (negative: the signal that killed it)."""
    url = url or f"sqlite:///{folder / 'records.db'}"
    process = FORKS.Process(target=_live, args=(str(folder), list(orders), url), daemon=True)
    await asyncio.to_thread(process.start)
    await asyncio.to_thread(process.join, LONGEST_S)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"this life did not end: {World(folder).lines()}")
    assert process.exitcode is not None
    return process.exitcode
