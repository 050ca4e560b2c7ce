"""What is over is forgotten in time; what is open, and the audit chain, never is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos._schemas.system_database import SystemSchema
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.engine.storage import make_tables, open_engine_database, schema_of
from bot.github.client import GitHub
from bot.records import incidents, runs
from bot.records.audit import chain
from bot.records.database import give_space_back, open_database, url_from
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.tables import metadata
from bot.retention import Retention, RetentionRhythm
from bot.wiring.background import Mirrors
from tests.plugins.postgres import postgres_server, postgres_url
from tests.records.conftest import (
    engine,
    migrated_postgresql,
    migrated_sqlite,
    url,
)
from tests.records.examples import NOON, REPOSITORY, opening, trigger

__all__ = [
    "engine", "migrated_postgresql", "migrated_sqlite", "postgres_server", "postgres_url", "url",
]  # fmt: skip

LATER = NOON + timedelta(days=100)
TABLES = metadata.tables


def at_once(records: AsyncEngine, data: Path, days: int = 90) -> Retention:
    return Retention(
        records,
        data,
        keep=timedelta(days=days),
        clock=lambda: LATER,
        rhythm=RetentionRhythm(rest=0, runs=3, rows=3),
    )


async def put_run(
    records: AsyncEngine,
    number: int,
    *,
    over: datetime | None,
    status: IncidentStatus | None = None,
) -> str:
    """A Run with a step, its inbox entry, answer and execution, of an incident of that status."""
    run, key = f"run-{number:03}", str(number)
    asked = trigger(key, number=number)
    async with records.begin() as conn:
        incident = None
        if status is not None:
            made, _ = await incidents.open_or_join(conn, opening(key, number=number))
            incident = made.id
            if status is not IncidentStatus.TRIAGE:
                await incidents.move(conn, incident, status, at=NOON)
        await runs.start(conn, run, asked, playbook="revert", at=NOON, incident_id=incident)
        if over is not None:
            table = TABLES["runs"]
            await conn.execute(
                sa.update(table)
                .where(table.c.id == run)
                .values(state=RunState.SUCCEEDED, finished_at=over)
            )
        await conn.execute(
            sa.insert(TABLES["steps"]).values(
                key=f"{run}/1", run_id=run, name="x", reversibility="irreversible", attempt=1,
                started_at=NOON,
            )
        )  # fmt: skip
        await conn.execute(
            sa.insert(TABLES["inbox"]).values(
                key=asked.key, payload={}, received_at=NOON, done_at=over
            )
        )
        await conn.execute(
            sa.insert(TABLES["answers"]).values(
                run_id=run, repository_id=1, actor="a", outcome="done", text="", at=over or NOON
            )
        )
    return run


async def put_execution(engine_db: AsyncEngine, run: str, status: str, at: datetime) -> None:
    mapped = {"schema_translate_map": {
        SystemSchema.workflow_status.schema: schema_of(engine_db.dialect.name)}}  # fmt: skip
    moment = int(at.timestamp() * 1000)
    async with engine_db.begin() as conn:
        await conn.execute(
            sa.insert(SystemSchema.workflow_status).values(
                workflow_uuid=run, status=status, created_at=moment, updated_at=moment, priority=0
            ),
            execution_options=mapped,
        )
        await conn.execute(
            sa.insert(SystemSchema.operation_outputs).values(
                workflow_uuid=run, function_id=1, function_name="x", retention_timestamp=moment
            ),
            execution_options=mapped,
        )


@pytest.fixture
async def beside(engine: AsyncEngine, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """What has the engine's tables."""
    await make_tables(engine, tmp_path)
    beside = open_engine_database(engine, tmp_path)
    yield beside
    if beside is not engine:
        await beside.dispose()


async def ids(records: AsyncEngine, table: str, column: str) -> set[str]:
    async with records.connect() as conn:
        return set((await conn.execute(sa.select(TABLES[table].c[column]))).scalars())


async def executions(beside: AsyncEngine) -> set[str]:
    name = "dbos.operation_outputs" if beside.dialect.name == "postgresql" else "operation_outputs"
    async with beside.connect() as conn:
        found = await conn.exec_driver_sql(f"SELECT workflow_uuid FROM {name}")  # noqa: S608
        return set(found.scalars())


async def test_what_is_over_goes_and_what_is_open_stays(
    engine: AsyncEngine, beside: AsyncEngine, tmp_path: Path
) -> None:
    recent = LATER - timedelta(days=1)
    gone = [await put_run(engine, n, over=NOON) for n in range(1, 8)]
    gone.append(await put_run(engine, 8, over=NOON, status=IncidentStatus.DECLINED))
    stays = [
        await put_run(engine, 11, over=None),
        await put_run(engine, 12, over=recent),
        await put_run(engine, 13, over=NOON, status=IncidentStatus.TRIAGE),
        await put_run(engine, 14, over=NOON, status=IncidentStatus.ACTIVE),
        await put_run(engine, 15, over=None, status=IncidentStatus.ACTIVE),
    ]
    for run in gone:
        await put_execution(beside, run, "SUCCESS", NOON)
    await put_execution(beside, stays[0], "PENDING", NOON)
    await put_execution(beside, stays[1], "SUCCESS", recent)
    await put_execution(beside, stays[2], "SUCCESS", NOON)
    await put_execution(beside, "without-a-run", "ERROR", NOON)
    async with engine.begin() as conn:
        for _ in range(5):
            await chain.append(conn, REPOSITORY.id, "x", actor="a", at=NOON)

    told = await at_once(engine, tmp_path).tidy()
    assert (told["runs"], told["engine"]) == (len(gone), len(gone) + 1)
    for table, column in (("runs", "id"), ("steps", "run_id")):
        assert await ids(engine, table, column) == set(stays)
    assert await ids(engine, "answers", "run_id") == {stays[0], stays[1], stays[4]}
    assert len(await ids(engine, "inbox", "key")) == 3
    assert await executions(beside) == {stays[0], stays[1], stays[2]}
    assert len(await ids(engine, "incidents", "id")) == 4
    assert len(await ids(engine, "audit_entries", "entry_hash")) == 5
    # Idle afterwards.
    assert not any((await at_once(engine, tmp_path).tidy()).values())


async def test_what_a_living_execution_began_stays_with_it(
    engine: AsyncEngine, beside: AsyncEngine, tmp_path: Path
) -> None:
    await put_execution(beside, "parent", "PENDING", NOON)
    await put_execution(beside, "child", "SUCCESS", NOON)
    name = "dbos.workflow_status" if beside.dialect.name == "postgresql" else "workflow_status"
    async with beside.begin() as conn:
        await conn.exec_driver_sql(
            f"UPDATE {name} SET parent_workflow_id = 'parent' WHERE workflow_uuid = 'child'"  # noqa: S608
        )
    await at_once(engine, tmp_path).tidy()
    assert await executions(beside) == {"parent", "child"}


async def test_a_new_file_gives_space_back(tmp_path: Path) -> None:
    database = open_database(url_from(tmp_path))
    async with database.begin() as conn:
        await conn.exec_driver_sql("CREATE TABLE t (x TEXT)")
        await conn.exec_driver_sql("INSERT INTO t VALUES (hex(zeroblob(3000000)))")
    async with database.begin() as conn:
        await conn.exec_driver_sql("DELETE FROM t")
    rounds = 0
    while await give_space_back(database):
        rounds += 1
    assert 2 <= rounds <= 10
    async with database.connect() as conn:
        assert (await conn.exec_driver_sql("PRAGMA page_count")).scalar_one() < 20
    await database.dispose()


async def test_a_mirror_goes_a_week_after_the_app_was_uninstalled(tmp_path: Path) -> None:
    def made(folder: Path) -> set[str]:
        return {each.name for each in folder.iterdir() if each.suffix != ".lock"}

    for number in (1, 2):
        (tmp_path / f"{number}.git").mkdir()
    github: GitHub = None  # type: ignore[assignment] - nothing is fetched
    day = timedelta(days=1)
    assert await Mirrors(tmp_path, github).drop_unserved({1}, NOON) == []
    # A restart does not forget since when; coming back does.
    assert await Mirrors(tmp_path, github).drop_unserved({1}, NOON + 6 * day) == []
    assert await Mirrors(tmp_path, github).drop_unserved({2}, NOON + 6.5 * day) == []
    assert await Mirrors(tmp_path, github).drop_unserved({1}, NOON + 8 * day) == []
    assert made(tmp_path) == {"1.git", "2.git", "2.unserved"}
    assert await Mirrors(tmp_path, github).drop_unserved({1}, NOON + 15 * day) == [2]
    assert made(tmp_path) == {"1.git"}
