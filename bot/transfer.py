"""Everything in one file, and back: from SQLite to PostgreSQL, to another machine, into a backup.

The file is gzipped lines of JSON: what it is, then a row each, then how many there were and the
SHA-256 of all of it. It holds what the database holds, so also the key that signs audit anchors:
it is written for its owner alone. Nothing is imported of a file that is not whole, nor into a
database that has something, nor while a server runs.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.engine.storage import (
    engine_tables,
    make_tables,
    open_engine_database,
    outputs_table,
    schema_of,
)
from bot.records.audit import chain
from bot.records.audit.anchors import public_keys, read_anchors
from bot.records.audit.verify import Altered, Truncated, verify
from bot.records.database import open_database, with_driver
from bot.records.private_files import keep_private
from bot.records.replicas import living, takeover_lock, time_there
from bot.records.schema import migrate
from bot.records.tables import metadata
from bot.records.tables.columns import Moment, from_rfc3339, rfc3339
from bot.records.tables.recovery import record_anchors
from bot.records.tables.safety import replicas, signing_keys

FORMAT = "incident-playbooks/export/1"
_AT_ONCE = 500
_TOLD_EVERY = 50_000

Say = Callable[[str], None]
"""Told how far it is."""


class TransferRefused(Exception):
    """Nothing was changed; the message says why, and what to do."""


class _JsonText(sa.types.TypeDecorator[str]):
    """A JSON column of PostgreSQL as its very text: what is read is what is written elsewhere."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, *, binary: bool = False) -> None:
        super().__init__()
        self.binary = binary

    def bind_expression(self, bindvalue: Any) -> Any:
        """Write text as JSON."""
        as_text = sa.type_coerce(bindvalue, sa.Text)
        return sa.cast(as_text, postgresql.JSONB if self.binary else postgresql.JSON)

    def column_expression(self, column: Any) -> Any:
        """Read JSON as text."""
        return sa.cast(column, sa.Text)


@dataclass(frozen=True)
class _Place:
    """A table of one database, as a file has it."""

    table: sa.Table
    in_engine: bool
    children: tuple[str, ...] = ()
    """Columns that name another row of the same table, which may come later."""

    @property
    def name(self) -> str:
        return f"engine.{self.table.name}" if self.in_engine else self.table.name

    @property
    def columns(self) -> list[str]:
        return [column.name for column in self.table.columns]


def _places(dialect: str) -> list[_Place]:
    """Every table that is moved. Who lives is not: nobody does meanwhile."""
    ours = [each for each in metadata.sorted_tables if each is not replicas]
    found = [_Place(_plain(each, None, dialect), in_engine=False, children=_selfish(each))
             for each in ours]  # fmt: skip
    schema = schema_of(dialect)
    found.append(_Place(_plain(outputs_table(dialect), schema, dialect), in_engine=False))
    return found + [_Place(_plain(t, schema, dialect), in_engine=True) for t in engine_tables()]


def _plain(table: sa.Table, schema: str | None, dialect: str) -> sa.Table:
    columns = (
        sa.Column(column.name, _plain_type(column.type, dialect), primary_key=column.primary_key)
        for column in table.columns
    )
    return sa.Table(table.name, sa.MetaData(), *columns, schema=schema)


def _plain_type(kind: sa.types.TypeEngine[Any], dialect: str) -> sa.types.TypeEngine[Any]:
    if not isinstance(kind, sa.JSON):
        return kind
    if dialect != "postgresql":
        return sa.Text()
    return _JsonText(binary="postgresql" in kind._variant_mapping)


def _selfish(table: sa.Table) -> tuple[str, ...]:
    return tuple(key.parent.name for key in table.foreign_keys if key.column.table is table)


def _written(value: Any, kind: sa.types.TypeEngine[Any]) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(kind, sa.LargeBinary) and value is not None:
        return base64.b64encode(value).decode()
    return value


def _read(value: Any, kind: sa.types.TypeEngine[Any]) -> Any:
    if value is None:
        return None
    if isinstance(kind, Moment):
        return from_rfc3339(value)
    if isinstance(kind, sa.LargeBinary):
        return base64.b64decode(value, validate=True)
    return value


@asynccontextmanager
async def _opened(url: str, data: Path) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    records = open_database(url)
    engine = open_engine_database(records, data)
    try:
        yield records, engine
    finally:
        await engine.dispose()
        await records.dispose()


async def _there_is(conn: AsyncConnection, table: sa.Table) -> bool:
    def look(sync: sa.Connection) -> bool:
        return sa.inspect(sync).has_table(table.name, schema=table.schema)

    return await conn.run_sync(look)


@asynccontextmanager
async def _stopped(records: AsyncEngine, now: datetime) -> AsyncIterator[None]:
    """Go on only while no server runs, and let none begin to take over meanwhile.

    Raises:
        TransferRefused: one runs.
    """
    lock = takeover_lock(records)
    if lock is not None and not lock.take():
        raise TransferRefused("A server is running on this database: stop it, and try again.")
    try:
        async with records.connect() as conn:
            there_are = await _there_is(conn, replicas)
            alive = sorted(await living(conn, await time_there(conn, now))) if there_are else []
        if alive:
            raise TransferRefused(
                f"A server is running on this database ({', '.join(alive)}): stop every one, and "
                "try again. One that was killed counts for 40 seconds more."
            )
        yield
    finally:
        if lock is not None:
            lock.release()


def _missing(url: str) -> Path | None:
    """The file of an SQLite database, where there is none yet."""
    parsed = with_driver(url, asynchronous=False)
    file = Path(parsed.database or "")
    return file if parsed.get_backend_name() == "sqlite" and not file.is_file() else None


# --- out ---


async def export_all(url: str, data: Path, file: Path, say: Say, now: datetime) -> int:
    """Write everything that a database has into a file; the number of rows.

    Args:
        url: the records database.
        data: the data folder, which has the engine's file on SQLite.
        file: must not exist yet.
        say: told how far it is.
        now: the time.

    Raises:
        TransferRefused: a server runs, the database is older than this release, or the file exists.
    """
    if await asyncio.to_thread(file.exists):
        raise TransferRefused(f"{file} exists already: name another file.")
    if (missing := await asyncio.to_thread(_missing, url)) is not None:
        raise TransferRefused(f"There is no database at {missing}.")
    async with _opened(url, data) as (records, engine), _stopped(records, now):
        places = _places(records.dialect.name)
        for place in places:
            async with (engine if place.in_engine else records).connect() as conn:
                if not await _there_is(conn, place.table):
                    raise TransferRefused(
                        f"This database has no table {place.name}. Was it used by this release? "
                        "Start the server once, and stop it."
                    )
        draft = file.with_name(f".{file.name}.part")
        draft.unlink(missing_ok=True)
        try:
            rows = await _export(records, engine, places, draft, say, now)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
    return rows


async def _export(
    records: AsyncEngine,
    engine: AsyncEngine,
    places: list[_Place],
    draft: Path,
    say: Say,
    now: datetime,
) -> int:
    digest, counts = hashlib.sha256(), {}
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as out:

        def put(value: Any) -> None:
            line = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
            digest.update(line)
            out.write(line)

        put({
            "format": FORMAT, "release": version("incident-playbooks"), "at": rfc3339(now),
            "from": records.dialect.name, "tables": {each.name: each.columns for each in places},
        })  # fmt: skip
        for place in places:
            count, kinds = 0, [column.type for column in place.table.columns]
            query = sa.select(place.table).order_by(*place.table.primary_key)
            async with (engine if place.in_engine else records).connect() as conn:
                async for row in await conn.stream(query):
                    put([place.name, *map(_written, row, kinds)])
                    count += 1
                    if count % _TOLD_EVERY == 0:
                        say(f"{place.name}: {count:,} rows so far")
            if count:
                counts[place.name] = count
                say(f"{place.name}: {count:,} rows")
        out.write(json.dumps({"rows": counts, "sha256": digest.hexdigest()}).encode() + b"\n")
        out.close()
        raw.flush()
        os.fsync(raw.fileno())
    return sum(counts.values())


# --- in ---


async def import_all(url: str, data: Path, file: Path, say: Say, now: datetime) -> int:
    """Bring everything of a file into an empty database; the number of rows.

    Args:
        url: the records database; its tables are made.
        data: the data folder, which gets the engine's file on SQLite.
        file: what `export_all` wrote.
        say: told how far it is, and what was found about the audit chains.
        now: the time.

    Raises:
        TransferRefused: the file is not whole, the database is not empty, a server runs, or an
            audit chain does not hold. Nothing of the file was brought in.
    """
    say("checking the file")
    head = await asyncio.to_thread(_check, file)
    if (missing := await asyncio.to_thread(_missing, url)) is not None:
        await asyncio.to_thread(keep_private, missing)
    async with _opened(url, data) as (records, engine), _stopped(records, now):
        places = {each.name: each for each in _places(records.dialect.name)}
        if head["tables"] != {name: each.columns for name, each in places.items()}:
            raise TransferRefused(
                f"{file} was written by release {head['release']}, which keeps other tables than "
                f"this one ({version('incident-playbooks')}). Import it with the release that "
                "wrote it, and update then."
            )
        await _must_be_empty(records, engine, places)
        await migrate(url)
        await make_tables(records, data)
        async with records.begin() as conn, engine.begin() as beside:
            # On PostgreSQL both are one database: one transaction holds all of it.
            other = conn if engine is records else beside
            await _import(conn, other, places, file, say)
            await _verify(conn, say)
            rows: int = sum(head["rows"].values())
            # Where they are two files, the engine's is committed first: what is only there is
            # looked at by nobody, and the next try is told that it is not empty.
    return rows


async def _must_be_empty(
    records: AsyncEngine, engine: AsyncEngine, places: dict[str, _Place]
) -> None:
    for place in places.values():
        async with (engine if place.in_engine else records).connect() as conn:
            if not await _there_is(conn, place.table):
                continue
            found = await conn.execute(sa.select(sa.literal(1)).select_from(place.table).limit(1))
            if found.first() is not None:
                raise TransferRefused(
                    f"The database is not empty: there are rows in {place.name}. Import into one "
                    "that was just created; nothing is mixed with what is there."
                )


async def _import(
    conn: AsyncConnection,
    other: AsyncConnection,
    places: dict[str, _Place],
    file: Path,
    say: Say,
) -> None:
    later: list[tuple[_Place, dict[str, Any]]] = []
    for name, rows in _batches(file):
        place = places[name]
        kinds = [column.type for column in place.table.columns]
        values = [dict(zip(place.columns, map(_read, row, kinds), strict=True)) for row in rows]
        for each in values:
            if any(each[column] is not None for column in place.children):
                later.append((place, dict(each)))
                each.update(dict.fromkeys(place.children))
        await (other if place.in_engine else conn).execute(sa.insert(place.table), values)
    for place, row in later:
        key = [column == row[column.name] for column in place.table.primary_key]
        named = {column: row[column] for column in place.children}
        await conn.execute(sa.update(place.table).where(*key).values(named))
    if conn.dialect.name == "postgresql":
        await _count_on(conn)
    say("every row is in place")


async def _count_on(conn: AsyncConnection) -> None:
    """Let numbers that PostgreSQL counts up go on behind those that were brought in."""
    for table in metadata.sorted_tables:
        column = table.autoincrement_column
        if column is None:
            continue
        sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
        if (await conn.execute(sa.select(sequence))).scalar() is None:
            continue
        last = (await conn.execute(sa.select(sa.func.max(column)))).scalar()
        if last is not None:
            await conn.execute(sa.select(sa.func.setval(sequence, last)))


async def _verify(conn: AsyncConnection, say: Say) -> None:
    """Judge every chain as it stands in the new database."""
    pems = (await conn.execute(sa.select(signing_keys.c.public_pem))).scalars().all()
    keys = [key for pem in pems for key in public_keys(pem.encode())]
    lines = (await conn.execute(sa.select(record_anchors.c.line))).scalars().all()
    anchors = read_anchors("\n".join(line.strip() for line in lines) + "\n") if lines else []
    for repository_id in await chain.repositories(conn):
        entries, head = await chain.whole(conn, repository_id)
        those = [each for each in anchors if each.repository_id == repository_id]
        found = verify(entries, those, keys, head)
        if isinstance(found, Altered | Truncated):
            raise TransferRefused(
                f"The audit chain of repository {repository_id} does not hold: {found}. Nothing "
                "was imported."
            )
        say(f"audit chain of repository {repository_id}: {len(entries)} entries, {found}")


def _check(file: Path) -> dict[str, Any]:
    """Read a file to its end; its head, with the rows of each table.

    Raises:
        TransferRefused: it is not what `export_all` wrote.
    """
    digest, counts = hashlib.sha256(), dict[str, int]()
    try:
        with gzip.open(file, "rb") as lines:
            first = lines.readline()
            head = json.loads(first)
            if not isinstance(head, dict) or head.get("format") != FORMAT:
                raise TransferRefused(f"{file} is no file of `playbooks export`.")
            digest.update(first)
            end: Any = None
            for line in lines:
                if end is not None:
                    raise TransferRefused(f"{file} goes on behind its end: it was altered.")
                value = json.loads(line)
                if isinstance(value, dict):
                    end = value
                    continue
                digest.update(line)
                if len(value) != 1 + len(head["tables"][value[0]]):
                    raise ValueError("a row has another number of columns")
                counts[value[0]] = counts.get(value[0], 0) + 1
    except FileNotFoundError as error:
        raise TransferRefused(f"There is no file {file}.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, LookupError, TypeError) as error:
        raise TransferRefused(
            f"{file} cannot be read to its end: it is truncated or altered. Copy it again."
        ) from error
    if end is None:
        raise TransferRefused(f"{file} has no end: it is truncated. Copy it again.")
    if end != {"rows": counts, "sha256": digest.hexdigest()}:
        raise TransferRefused(f"{file} is not as it was written: it was altered. Copy it again.")
    return {**head, "rows": counts}


def _batches(file: Path) -> Iterator[tuple[str, list[list[Any]]]]:
    name, rows = "", list[list[Any]]()
    with gzip.open(file, "rb") as lines:
        lines.readline()
        for line in lines:
            value = json.loads(line)
            if isinstance(value, dict):
                break
            if rows and (value[0] != name or len(rows) >= _AT_ONCE):
                yield name, rows
                rows = []
            name = value[0]
            rows.append(value[1:])
    if rows:
        yield name, rows
