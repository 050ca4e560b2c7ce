"""The engine's own tables: where they are, made, moved with the records, and forgotten in time.

On SQLite they are a file of their own beside the records; on PostgreSQL they are in the schema
`dbos` of the same database. What a Run's steps returned together with records
(`datasource_outputs`) is always where the records are. Source: dbos 3.4.0, `dbos._schemas`.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from dbos import AsyncSQLAlchemyDatasource, DBOSPortableJSONSerializer
from dbos._schemas.datasource_database import datasource_outputs_table
from dbos._schemas.system_database import SystemSchema
from dbos._sys_db import SystemDatabase
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.records.database import open_database, sqlite_url
from bot.records.private_files import keep_private
from bot.records.tables.recovery import runs

ENGINE_FILE = "engine.db"
"""The engine's SQLite file, in the data folder."""
_SCHEMA = "dbos"
_STATUS = SystemSchema.workflow_status
_OVER = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_OF_A_RUN = (
    (SystemSchema.operation_outputs, "workflow_uuid"),
    (SystemSchema.workflow_input, "workflow_uuid"),
    (SystemSchema.workflow_output, "workflow_uuid"),
    (SystemSchema.notifications, "destination_uuid"),
    (SystemSchema.workflow_events, "workflow_uuid"),
    (SystemSchema.workflow_events_history, "workflow_uuid"),
    (SystemSchema.streams, "workflow_uuid"),
    (SystemSchema.workflow_status, "workflow_uuid"),
)


def engine_tables() -> tuple[sa.Table, ...]:
    """The engine's own tables, parents first; their schema is `schema_of`."""
    return tuple(SystemSchema.metadata_obj.sorted_tables)


def schema_of(dialect: str) -> str | None:
    """The schema that the engine's tables are in, on this kind of database."""
    return _SCHEMA if dialect == "postgresql" else None


def outputs_table(dialect: str) -> sa.Table:
    """The table of what steps returned that changed records."""
    return datasource_outputs_table(schema_of(dialect))


def open_engine_database(records: AsyncEngine, data: Path) -> AsyncEngine:
    """Open what has the engine's tables: on PostgreSQL that is `records` itself."""
    if records.dialect.name != "sqlite":
        return records
    return open_database(sqlite_url(data / ENGINE_FILE))


async def make_tables(records: AsyncEngine, data: Path) -> None:
    """Make the engine's tables as a start does, or bring them up to date.

    Args:
        records: the records database.
        data: the data folder.
    """
    url = records.url.render_as_string(hide_password=False)
    serializer = DBOSPortableJSONSerializer()
    await AsyncSQLAlchemyDatasource.create(url, engine=records, serializer=serializer)
    if records.dialect.name == "sqlite":
        keep_private(data / ENGINE_FILE)
        await asyncio.to_thread(use_write_ahead_log, data / ENGINE_FILE)
        url = sqlite_url(data / ENGINE_FILE)

    def make() -> None:
        system = SystemDatabase.create(
            system_database_url=url,
            engine_kwargs={},
            engine=None,
            schema=_SCHEMA,
            serializer=serializer,
            executor_id=None,
        )
        try:
            system.run_migrations()
        finally:
            system.engine.dispose()

    await asyncio.to_thread(make)


def use_write_ahead_log(path: Path) -> None:
    """Put the engine's SQLite file in WAL mode: 34 → 193 starts a second when tried."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(sqlite_url(path))
    with engine.connect() as connection:
        # Heard by a new file alone, as in `bot.records.database`.
        connection.execute(sa.text("PRAGMA auto_vacuum=INCREMENTAL"))
        connection.execute(sa.text("PRAGMA journal_mode=WAL"))
    engine.dispose()


async def forget_executions(
    engine: AsyncEngine, records: AsyncEngine, before: datetime, most: int
) -> int:
    """Forget up to `most` executions that ended before a moment; how many.

    What has a row among the Runs goes after that row, and what another execution began goes after
    that one: neither is looked for by anything that may still go on.

    Args:
        engine: has the engine's tables.
        records: the records database.
        before: what ended later stays.
        most: how many at once.
    """
    status = _STATUS.c
    mapped = {"schema_translate_map": {_STATUS.schema: schema_of(engine.dialect.name)}}
    at = int(before.timestamp() * 1000)
    parent = _STATUS.alias("parent")
    has_parent = sa.exists().where(
        parent.c.workflow_uuid == status.parent_workflow_id, parent.c.status.not_in(_OVER)
    )
    ended = (
        sa.select(status.workflow_uuid)
        .where(
            status.status.in_(_OVER),
            status.created_at < at,  # has an index, which `updated_at` has not
            status.updated_at < at,
            ~has_parent,
        )
        .order_by(status.created_at)
    )
    found: list[str] = []
    skipped = 0
    while len(found) < most:
        # Those that stay are the oldest: the look goes on behind them.
        async with engine.connect() as conn:
            page = ended.limit(most).offset(skipped)
            ids = list((await conn.execute(page, execution_options=mapped)).scalars())
        if not ids:
            break
        async with records.connect() as conn:
            query = sa.select(runs.c.id).where(runs.c.id.in_(ids))
            kept = set((await conn.execute(query)).scalars())
        found += [each for each in ids if each not in kept]
        skipped += len(ids)
    found = found[:most]
    if found:
        async with records.begin() as conn:
            outputs = outputs_table(records.dialect.name)
            await conn.execute(sa.delete(outputs).where(outputs.c.workflow_id.in_(found)))
        async with engine.begin() as conn:
            await _delete(conn, found, mapped)
    return len(found)


async def _delete(
    conn: AsyncConnection, ids: list[str], mapped: dict[str, dict[str | None, str | None]]
) -> None:
    for table, key in _OF_A_RUN:
        gone = sa.delete(table).where(table.c[key].in_(ids))
        await conn.execute(gone, execution_options=mapped)
