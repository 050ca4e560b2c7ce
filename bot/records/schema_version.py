"""Which schema the database has, so that the release before can run on it too.

Migrations only expand: they add what the release before does not look at
(`docs/develop/changing-a-playbook.md`). So a database whose revision this
release has never heard of is one that a newer release has expanded, and this one can use it.
Releases until 2026-11-29 kept the revision in alembic's own table and refuse one that they do not
know; that table stays as they left it, and they go on running.
"""

from __future__ import annotations

import sqlalchemy as sa
import structlog
from alembic.script import ScriptDirectory

VERSION_TABLE = "schema_version"
_FORMER_TABLE = "alembic_version"
_FORMER_HEAD = "0009"
"""The newest revision that releases until 2026-11-29 know."""

log = structlog.get_logger(__name__)


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


def is_newer(connection: sa.Connection, scripts: ScriptDirectory) -> bool:
    """Tell whether a newer release has expanded this database; then there is nothing to migrate."""
    if VERSION_TABLE not in sa.inspect(connection).get_table_names():
        return False
    known = {script.revision for script in scripts.walk_revisions()}
    found = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    newer = [revision for revision in found.scalars() if revision not in known]
    if newer:
        log.warning("the database was expanded by a newer release; this one uses it", schema=newer)
    return bool(newer)
