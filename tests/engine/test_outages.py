"""The engine while its databases, or the disk, are away: no Run dies of it, none stands still."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.engine import Engine
from bot.playbooks.run import Run, StepFailed
from bot.playbooks.steps import Step
from bot.records.database import open_database
from bot.records.schema import migrate
from bot.wiring.background import OrphanedRuns
from tests.engine.lives import LONGEST_S, World
from tests.forks import FORKS


def disk_is_full() -> None:
    """Raise what SQLite raises there."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("PRAGMA max_page_count = 1")
        database.execute("CREATE TABLE more (than TEXT)")


class Story:
    """A Run that the disk breaks off once in each place where that can happen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._full = {"in a write", "in a step", "between steps"}

    def _once(self, place: str) -> None:
        self._world.note(place)
        if place in self._full:
            self._full.discard(place)
            disk_is_full()

    async def body(self, run: Run, _: str) -> None:
        async def change(conn: AsyncConnection) -> bool:
            await conn.exec_driver_sql("SELECT 1")
            self._once("in a write")
            return True

        async def effect(may_have_run: bool) -> bool:
            self._once("in a step")
            return may_have_run

        await run.write(Step.BEGIN_RUN, bool, change)
        looked = await run.step(Step.ANSWER, bool, effect)
        self._once("between steps")
        self._world.note(f"the end, looked first: {looked}")

    async def broken(self, run: Run, _: str, failed: StepFailed) -> None:
        del run
        self._world.note(f"told: {failed}")


Scene = Callable[[Engine, Story, Path], Awaitable[None]]


async def broken_off(engine: Engine, story: Story, folder: Path) -> None:
    """Nobody but the sweep does anything about it."""
    del story, folder
    sweep = asyncio.create_task(
        OrphanedRuns(engine.take_up_orphans, engine.interrupted, pause=0.1).run()
    )
    await engine.start("story", "one", "")
    while not await engine.finished("one"):  # noqa: ASYNC110 - DBOS's own state
        await asyncio.sleep(0.05)
    sweep.cancel()


async def left_behind(engine: Engine, story: Story, folder: Path) -> None:
    """A Run is on record as under way, and nobody executes it."""
    story._full.clear()
    await engine.start("story", "one", "")
    while not await engine.finished("one"):  # noqa: ASYNC110 - DBOS's own state
        await asyncio.sleep(0.05)
    with closing(sqlite3.connect(folder / "engine.db")) as database, database:
        database.execute("UPDATE workflow_status SET status = 'PENDING', completed_at = NULL")
    for _ in range(2):
        # Seen once, it may be one that is just being started.
        story._world.note(f"taken up: {await engine.take_up_orphans()}")
    while not await engine.finished("one"):  # noqa: ASYNC110 - DBOS's own state
        await asyncio.sleep(0.05)
    story._world.note(f"taken up: {await engine.take_up_orphans()}")


async def impatient(engine: Engine, story: Story, folder: Path) -> None:
    """Whoever starts a Run loses patience while the engine's database is locked."""
    story._full.clear()
    with closing(sqlite3.connect(folder / "engine.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            try:
                async with asyncio.timeout(0.3):
                    await engine.start("story", "one", "")
            except TimeoutError:
                story._world.note("lost patience")
        database.execute("ROLLBACK")
    await engine.start("story", "one", "")
    while not await engine.finished("one"):  # noqa: ASYNC110 - DBOS's own state
        await asyncio.sleep(0.05)


SCENES: dict[str, Scene] = {each.__name__: each for each in (broken_off, left_behind, impatient)}


async def _play(folder: Path, scene: Scene) -> None:
    url = f"sqlite:///{folder / 'records.db'}"
    await migrate(url)
    records = open_database(url)
    engine = Engine(
        records=records,
        replica="alone",
        clock=lambda: datetime.now(UTC),
        system_database=folder / "engine.db",
    )
    story = Story(World(folder))
    engine.register("story", str, story.body, story.broken)
    await engine.launch()
    await scene(engine, story, folder)
    await engine.close()
    await records.dispose()


def _live(folder: str, scene: str) -> None:
    asyncio.run(_play(Path(folder), SCENES[scene]))


async def played(folder: Path, scene: Scene) -> list[str]:
    """Play it in a process of its own: there is one engine in each."""
    process = FORKS.Process(target=_live, args=(str(folder), scene.__name__), daemon=True)
    await asyncio.to_thread(process.start)
    await asyncio.to_thread(process.join, LONGEST_S)
    code: Any = process.exitcode
    process.kill()
    assert code == 0, World(folder).lines()
    return World(folder).lines()


async def test_a_run_that_a_full_disk_breaks_off_goes_on_and_is_never_recorded_as_failed(
    tmp_path: Path,
) -> None:
    assert await played(tmp_path, broken_off) == [
        "in a write", "in a write", "in a step", "in a step", "between steps", "between steps",
        "the end, looked first: True",
    ]  # fmt: skip


async def test_a_run_on_record_that_nobody_executes_is_taken_up_at_the_second_look(
    tmp_path: Path,
) -> None:
    said = await played(tmp_path, left_behind)
    assert [line for line in said if line.startswith("taken up")] == [
        "taken up: 0", "taken up: 1", "taken up: 0",
    ]  # fmt: skip
    assert said.count("in a step") == 1
    assert sum(line.startswith("the end") for line in said) == 2


async def test_a_start_that_its_caller_gave_up_on_is_executed_once(tmp_path: Path) -> None:
    said = await played(tmp_path, impatient)
    assert said.count("lost patience") == 2
    assert said.count("in a step") == said.count("in a write") == 1
