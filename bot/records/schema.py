"""The schema's revisions, and how a database comes to the newest.

Migrations only expand: they add what the release before does not look at
(`docs/develop/changing-a-playbook.md`). So a database whose revision this
release has never heard of is one that a newer release has expanded, and this one can use it.
Releases until 2026-11-29 kept the revision in alembic's own table and refuse one that they do not
know; that table stays as they left it, and they go on running.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import sqlalchemy as sa
import structlog

from bot.records.database import with_driver
from bot.records.private_files import keep_private
from bot.records.sqlite import set_up_sqlite

log = structlog.get_logger(__name__)
VERSION_TABLE = "schema_version"
_FORMER_TABLE = "alembic_version"
_FORMER_HEAD = "0009"
"""The newest revision that releases until 2026-11-29 know."""
_MIGRATIONS = Path(__file__).parent / "migrations"
NEW_SQLITE = _MIGRATIONS / "sqlite.sql"
"""What the migrations make of a new SQLite file, statement by statement; a test writes it."""
REVISIONS = tuple(sorted(each.name[:4] for each in _MIGRATIONS.glob("versions/[0-9]*.py")))
"""Those that this release knows, oldest first; a migration's file begins with its own."""
_MIGRATION_LOCK = 0x696E6369_64656E74  # "incident": any number all replicas agree on
_one_migration_at_a_time = threading.Lock()  # alembic keeps its context in module globals


def adopt_former_version(connection: sa.Connection) -> None:
    """Take over the revision that a release until 2026-11-29 has left, once.

    A new database is given the table of those releases too: they find their own schema in it.
    """
    tables = sa.inspect(connection).get_table_names()
    if VERSION_TABLE in tables:
        return
    row = "(version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
    if _FORMER_TABLE in tables:
        connection.execute(sa.text(f"CREATE TABLE {VERSION_TABLE} {row}"))
        left = f"SELECT version_num FROM {_FORMER_TABLE}"  # noqa: S608 - our own names
        connection.execute(sa.text(f"INSERT INTO {VERSION_TABLE} {left}"))
    else:
        connection.execute(sa.text(f"CREATE TABLE {_FORMER_TABLE} {row}"))
        connection.execute(
            sa.text(f"INSERT INTO {_FORMER_TABLE} VALUES (:head)"),  # noqa: S608
            {"head": _FORMER_HEAD},
        )


class UnfitDatabase(ValueError):
    """The database is another product's, or cannot keep every character."""


def refuse_unfit(connection: sa.Connection) -> None:
    """See that every text can be kept there, and that the tables are ours, before anything is.

    Raises:
        UnfitDatabase: it is in another encoding than UTF-8, alembic's table has a revision of
            others, or a table has a name of ours.
    """
    if connection.dialect.name == "postgresql":
        encoding = connection.execute(sa.text("SHOW server_encoding")).scalar()
        if encoding != "UTF8":
            raise UnfitDatabase(
                f"its encoding is {encoding}, and only UTF8 keeps every character. Give the bot "
                "another: CREATE DATABASE name OWNER user ENCODING 'UTF8' TEMPLATE template0."
            )
    tables = sa.inspect(connection).get_table_names()
    if VERSION_TABLE in tables:
        return
    if _FORMER_TABLE in tables:
        found = connection.execute(sa.text(f"SELECT version_num FROM {_FORMER_TABLE}")).scalars()  # noqa: S608
        is_foreign = not set(found) <= set(REVISIONS)
    else:
        is_foreign = "runs" in tables
    if is_foreign:
        raise UnfitDatabase("another product's tables are in it. Give the bot an empty one.")


def is_newest(connection: sa.Connection) -> bool:
    """Tell whether there is nothing to migrate: also where a newer release has expanded it."""
    if VERSION_TABLE not in sa.inspect(connection).get_table_names():
        return False
    found = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    revisions = list(found.scalars())
    if newer := [revision for revision in revisions if revision not in REVISIONS]:
        log.warning("the database was expanded by a newer release; this one uses it", schema=newer)
    return bool(newer) or revisions == [REVISIONS[-1]]


def pending(connection: sa.Connection) -> str | None:
    """The revision that a database is at, where this release would migrate it; else None."""
    refuse_unfit(connection)
    tables = sa.inspect(connection).get_table_names()
    table = VERSION_TABLE if VERSION_TABLE in tables else _FORMER_TABLE
    if table not in tables or is_newest(connection):
        return None
    found = connection.execute(sa.text(f"SELECT version_num FROM {table}")).scalar()  # noqa: S608
    return None if found == REVISIONS[-1] else str(found)


async def migrate(url: str) -> None:
    """Bring the database to the newest schema; several processes may do so at once.

    Raises:
        UnfitDatabase: it cannot keep every character, or is another product's.
        ValueError: the URL names an unsupported kind of database.
    """
    await asyncio.to_thread(_upgrade, url)


def _upgrade(url: str) -> None:
    sync_url = with_driver(url, asynchronous=False)
    if sync_url.get_backend_name() == "sqlite" and sync_url.database:
        keep_private(Path(sync_url.database))
    engine = sa.create_engine(sync_url, poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":
        set_up_sqlite(engine)
    try:
        # Nearly every start finds nothing to do, and need not wait for whoever writes to see that.
        with engine.connect().execution_options(sqlite_begin="DEFERRED") as connection:
            refuse_unfit(connection)
            if is_newest(connection):
                return
        with _one_migration_at_a_time, engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            refuse_unfit(connection)
            if engine.dialect.name == "sqlite" and not sa.inspect(connection).get_table_names():
                _make_at_once(connection)
            adopt_former_version(connection)
            if not is_newest(connection):
                migrate_by_alembic(connection)
    finally:
        engine.dispose()


def _make_at_once(connection: sa.Connection) -> None:
    # A first start without alembic: that is a third of a second, and 10 MB for as long as it runs.
    statement = ""
    for line in NEW_SQLITE.read_text(encoding="utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.exec_driver_sql(statement)
            statement = ""


def migrate_by_alembic(connection: sa.Connection) -> None:
    """Bring it to the newest revision, one migration after the other."""
    # Only here: nearly every start finds nothing to migrate, and needs none of it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
