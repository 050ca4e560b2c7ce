"""Migrations only expand: what the release before reads and writes goes on working beside them.

Two releases share the database while one takes over from the other, and the older one must be
able to come back (`docs/develop/changing-a-playbook.md`).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import bot.records
from bot.records import schema as revisions
from bot.records.database import url_from
from bot.records.schema import NEW_SQLITE, VERSION_TABLE, migrate
from bot.records.sqlite import set_up_sqlite

CONFIG = Config()
CONFIG.set_main_option("script_location", str(Path(bot.records.__file__).parent / "migrations"))
REVISIONS = [
    each.revision for each in reversed([*ScriptDirectory.from_config(CONFIG).walk_revisions()])
]


@dataclass(frozen=True)
class Table:
    """What a release relies on in one table."""

    columns: dict[str, Any]
    key: tuple[str, ...]
    demands: frozenset[str]
    """What rows must fulfil besides: unique, foreign and check constraints."""


def schema(connection: sa.Connection) -> dict[str, Table]:
    """Read the tables as they are."""
    found = sa.inspect(connection)
    return {
        name: Table(
            columns={column["name"]: column for column in found.get_columns(name)},
            key=tuple(found.get_pk_constraint(name)["constrained_columns"]),
            demands=frozenset(
                [f"unique {sorted(each['column_names'])}" for each in _unique(found, name)]
                + [
                    f"foreign {each['constrained_columns']}"
                    for each in found.get_foreign_keys(name)
                ]
                + [f"check {each['sqltext']}" for each in found.get_check_constraints(name)]
            ),
        )
        for name in found.get_table_names()
        if name not in (VERSION_TABLE, "alembic_version")
    }


def _unique(found: sa.Inspector, name: str) -> Iterator[Any]:
    yield from found.get_unique_constraints(name)
    for index in found.get_indexes(name):
        if index["unique"]:
            yield {"column_names": [each or "an expression" for each in index["column_names"]]}


def taken_away(before: dict[str, Table], after: dict[str, Table]) -> list[str]:
    """Say what the release before would miss, or could no longer write."""
    faults = [f"{name} is gone" for name in before.keys() - after.keys()]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        if old.key != new.key:
            faults.append(f"{name} has another key")
        faults += [f"{name}: {each} is demanded now" for each in new.demands - old.demands]
        faults += [f"{name}.{each} is gone" for each in old.columns.keys() - new.columns.keys()]
        for column, now in new.columns.items():
            was = old.columns.get(column)
            if was is None:
                if not now["nullable"] and now["default"] is None:
                    faults.append(f"{name}.{column} is new, must not be null and has no default")
                continue
            if repr(was["type"]) != repr(now["type"]):
                faults.append(f"{name}.{column} has another type")
            if was["nullable"] and not now["nullable"]:
                faults.append(f"{name}.{column} must not be null any more")
            if was["default"] is not None and now["default"] is None:
                faults.append(f"{name}.{column} has no default any more")
    return sorted(faults)


def test_a_start_knows_the_newest_revision_without_asking_alembic() -> None:
    assert list(revisions.REVISIONS) == REVISIONS


def test_a_new_file_is_made_at_once_as_the_migrations_would_make_it(tmp_path: Path) -> None:
    def made(name: str) -> list[str]:
        with closing(sqlite3.connect(tmp_path / name / "playbooks.db")) as file:
            made = file.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
            rows = [each for each in file.iterdump() if each.startswith("INSERT")]
        return [f"{sql};" for (sql,) in made] + rows

    (tmp_path / "migrated").mkdir()
    url = url_from(tmp_path / "migrated").replace("sqlite:", "sqlite+pysqlite:", 1)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    set_up_sqlite(engine)
    with engine.begin() as connection:
        revisions.adopt_former_version(connection)
        revisions.migrate_by_alembic(connection)
    migrated = made("migrated")
    if os.environ.get("PLAYBOOKS_SCHEMA") == "write":
        NEW_SQLITE.write_text("\n".join(migrated) + "\n", encoding="utf-8")
    asyncio.run(migrate(url_from(tmp_path / "new")))
    assert made("new") == migrated, "PLAYBOOKS_SCHEMA=write writes it"


def test_every_migration_leaves_the_release_before_what_it_reads_and_writes() -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    versions = {}
    with engine.begin() as connection:
        CONFIG.attributes["connection"] = connection
        for revision in REVISIONS:
            command.upgrade(CONFIG, revision)
            versions[revision] = schema(connection)
    engine.dispose()
    faults = {
        newer: taken_away(versions[older], versions[newer]) for older, newer in pairwise(REVISIONS)
    }
    assert {revision: found for revision, found in faults.items() if found} == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DROP TABLE runs", "runs is gone"),
        ("ALTER TABLE runs RENAME TO tries", "runs is gone"),
        ("ALTER TABLE runs DROP COLUMN note", "runs.note is gone"),
        ("ALTER TABLE runs RENAME COLUMN note TO word", "runs.note is gone"),
        (
            "ALTER TABLE runs ADD COLUMN by TEXT NOT NULL",
            "runs.by is new, must not be null and has no default",
        ),
        ("CREATE UNIQUE INDEX one ON runs (note)", "runs: unique ['note'] is demanded now"),
        ("ALTER TABLE runs ADD COLUMN by TEXT", None),
        ("ALTER TABLE runs ADD COLUMN by TEXT NOT NULL DEFAULT ''", None),
        ("CREATE TABLE more (id INTEGER PRIMARY KEY, at TEXT NOT NULL)", None),
        ("CREATE INDEX faster ON runs (note)", None),
    ],
)
def test_what_takes_something_away_is_seen(change: str, said: str | None) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE runs (id INTEGER PRIMARY KEY, note TEXT)"))
        before = schema(connection)
        connection.execute(sa.text(change))
        assert taken_away(before, schema(connection)) == ([said] if said else [])
    engine.dispose()


ID, NOTE, N = "id INTEGER PRIMARY KEY", "note TEXT", "n INTEGER DEFAULT 1"


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ((ID, f"{NOTE} NOT NULL", N), "runs.note must not be null any more"),
        ((ID, "note INTEGER", N), "runs.note has another type"),
        ((ID, NOTE, "n INTEGER"), "runs.n has no default any more"),
        (("id INTEGER", f"{NOTE} PRIMARY KEY", N), "runs has another key"),
        ((ID, NOTE, N, "CHECK (n > 0)"), "runs: check n > 0 is demanded now"),
    ],
)
def test_a_table_made_anew_is_compared_column_by_column(later: Sequence[str], said: str) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE TABLE runs ({ID}, {NOTE}, {N})"))
        before = schema(connection)
        connection.execute(sa.text("DROP TABLE runs"))
        connection.execute(sa.text(f"CREATE TABLE runs ({', '.join(later)})"))
        assert said in taken_away(before, schema(connection))
    engine.dispose()
