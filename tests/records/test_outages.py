"""Which faults of the database and the disk pass by themselves, and what people read of them."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from bot.errors import Passing
from bot.playbooks.run import StepFailed
from bot.records.outages import Outage, in_public, outage_of, passing

PASSING = {
    "08000": Outage.AWAY,
    "08006": Outage.AWAY,
    "0A000": Outage.READ_ONLY,
    "25006": Outage.READ_ONLY,
    "25P04": Outage.AWAY,
    "28P01": Outage.REFUSED,
    "3D000": Outage.REFUSED,
    "40001": Outage.BUSY,
    "40P01": Outage.BUSY,
    "42501": Outage.REFUSED,
    "53100": Outage.FULL,
    "53200": Outage.AWAY,
    "53300": Outage.AWAY,
    "55P03": Outage.BUSY,
    "57014": Outage.BUSY,
    "57P01": Outage.AWAY,
    "57P02": Outage.AWAY,
    "57P03": Outage.AWAY,
    "58030": Outage.AWAY,
}
AWAY, REFUSED = Outage.AWAY, Outage.REFUSED
LASTING = ("22001", "23505", "42601", "42P01", "57P04", "XX001")


def wrapped(error: BaseException) -> sa.exc.DBAPIError:
    """As SQLAlchemy hands it on."""
    made: object = sa.exc.DBAPIError.instance(
        "SELECT secret FROM runs",
        {},
        error,
        (psycopg.Error, sqlite3.Error),  # type: ignore[arg-type]
    )
    assert isinstance(made, sa.exc.DBAPIError)
    return made


@pytest.mark.parametrize(("state", "outage"), PASSING.items())
def test_what_postgresql_says_of_itself_passes(state: str, outage: Outage) -> None:
    error = psycopg.errors.lookup(state)("host 10.0.0.5, port 5432")
    assert outage_of(error) is outage
    assert outage_of(wrapped(error)) is outage
    assert in_public(wrapped(error)) == outage.value


@pytest.mark.parametrize("state", LASTING)
def test_what_a_statement_did_wrong_does_not_pass_and_is_not_for_people(state: str) -> None:
    error = psycopg.errors.lookup(state)("secret")
    assert outage_of(wrapped(error)) is None
    assert "secret" not in in_public(wrapped(error))


@pytest.mark.parametrize(
    ("words", "outage"),
    [
        ('connection failed: connection to server at "10.0.0.5" failed: Connection refused', AWAY),
        ('connection is bad: connection to server on socket "/run/x" failed: No such file', AWAY),
        ("consuming input failed: server closed the connection unexpectedly", AWAY),
        ("FATAL:  the database system is starting up", AWAY),
        ("FATAL:  sorry, too many clients already", AWAY),
        ('FATAL:  password authentication failed for user "playbooks"', REFUSED),
        ('FATAL:  database "my books" does not exist', REFUSED),
        ('FATAL:  role "nobody" does not exist', REFUSED),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.5"', REFUSED),
        ('FATAL:  role "playbooks" is not permitted to log in', REFUSED),
    ],
)
def test_a_server_that_cannot_be_reached_passes_and_so_does_a_log_in_that_it_refuses(
    words: str, outage: Outage
) -> None:
    error = wrapped(psycopg.OperationalError(words))
    assert outage_of(error) is outage
    assert "10.0.0.5" not in in_public(error)


def _raised_by_sqlite(folder: Path) -> Iterator[tuple[sqlite3.Error, Outage | None]]:
    file = folder / "some.db"
    with closing(sqlite3.connect(file)) as holder:
        holder.execute("CREATE TABLE kept (n INTEGER UNIQUE)")
        holder.execute("BEGIN EXCLUSIVE")
        with closing(sqlite3.connect(file, timeout=0)) as other:
            yield _fault_of(other, "INSERT INTO kept VALUES (1)"), Outage.BUSY
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as closed:
        yield _fault_of(closed, "INSERT INTO kept VALUES (1)"), Outage.READ_ONLY
    with closing(sqlite3.connect(":memory:")) as full:
        full.execute("PRAGMA max_page_count = 1")
        yield _fault_of(full, "CREATE TABLE more (n)"), Outage.FULL
        yield _fault_of(full, "SELECT nothing"), None
    try:
        sqlite3.connect(folder / "nowhere" / "some.db").close()
    except sqlite3.Error as error:
        yield error, Outage.AWAY


def _fault_of(connection: sqlite3.Connection, statement: str) -> sqlite3.Error:
    with pytest.raises(sqlite3.Error) as raised:
        connection.execute(statement)
    return raised.value


def test_what_sqlite_raises_is_told_apart_by_its_code(tmp_path: Path) -> None:
    found = list(_raised_by_sqlite(tmp_path))
    assert len(found) == 5
    for error, outage in found:
        assert outage_of(error) is outage
        assert outage_of(wrapped(error)) is outage
        assert "some.db" not in in_public(error)


def test_a_full_disk_passes_and_a_missing_file_does_not() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/srv/data/mirrors/1")
    assert outage_of(full) is Outage.FULL
    missing = FileNotFoundError(errno.ENOENT, "No such file", "/srv/data/mirrors/1")
    assert outage_of(missing) is None
    assert "/srv" not in in_public(full) + in_public(missing)


def test_passing_keeps_what_is_passing_already_and_our_own_words_stay() -> None:
    away = Passing("GitHub is away")
    assert passing(away) is away
    assert passing(ValueError("no")) is None
    assert in_public(StepFailed("merge", "the branch is protected")) == "the branch is protected"
    assert in_public(ValueError()) == "ValueError"


def test_what_a_driver_caused_is_not_for_people_either() -> None:
    error = RuntimeError("could not look: connection to 10.0.0.5 failed")
    error.__cause__ = psycopg.OperationalError("connection to 10.0.0.5 failed")
    assert in_public(error) == Outage.AWAY.value


def test_an_error_that_was_raised_from_itself_is_looked_through_once() -> None:
    error = ValueError("refused")
    error.__cause__ = error
    assert outage_of(error) is None
    assert passing(error) is None
