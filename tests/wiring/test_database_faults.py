"""A database that refuses for good ends the start with one sentence, and what mends it."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from bot.records.database import open_database, url_from
from bot.records.replicas import NameLock
from bot.records.schema import migrate
from bot.wiring.database_faults import database_fault
from tests.plugins.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


async def refusal(url: str) -> tuple[str, str]:
    with pytest.raises(sa.exc.DBAPIError) as caught:
        await migrate(url)
    fault = database_fault(caught.value)
    assert fault is not None, caught.value
    assert fault.name == "DATABASE_URL"
    return fault.what, fault.remedy


async def test_a_database_that_is_not_there(postgres_url: str) -> None:
    gone = sa.make_url(postgres_url).set(database="my books")
    what, remedy = await refusal(gone.render_as_string(hide_password=False))
    assert what == 'database "my books" does not exist.'
    assert "CREATE DATABASE" in remedy


async def test_a_user_that_is_not_there(postgres_url: str) -> None:
    stranger = sa.make_url(postgres_url).set(username="no body")
    what, remedy = await refusal(stranger.render_as_string(hide_password=False))
    assert what == 'role "no body" does not exist.'
    assert "Create that user" in remedy


@pytest.mark.parametrize("at", ["empty", "in use"])
async def test_a_user_that_may_only_read(postgres_url: str, at: str) -> None:
    if at == "in use":
        await migrate(postgres_url)
    # A role belongs to the whole server, which other processes may use at the same time.
    name = f"reader_{os.getpid()}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN")
        try:
            reader = sa.make_url(postgres_url).set(username=name)
            what, remedy = await refusal(reader.render_as_string(hide_password=False))
        finally:
            admin.execute(f"DROP ROLE {name}")
    assert what.startswith("permission denied for ")
    assert "OWNER TO" in remedy


async def test_a_search_path_that_leads_nowhere(postgres_url: str) -> None:
    lost = sa.make_url(postgres_url).update_query_dict({"options": "-csearch_path=nowhere"})
    what, remedy = await refusal(lost.render_as_string(hide_password=False))
    assert (what, "search_path" in remedy) == ("no schema has been selected to create in.", True)


async def test_an_option_of_the_address_that_nobody_knows(postgres_url: str) -> None:
    odd = sa.make_url(postgres_url).update_query_dict({"sslmod": "require"})
    what, remedy = await refusal(odd.render_as_string(hide_password=False))
    assert (what, "sqlite:///PATH" in remedy) == ('invalid connection option "sslmod".', True)


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("My notes of Monday, which are quite long. " * 100, "utf-8")
    what, remedy = await refusal(f"sqlite:///{file}")
    assert (what, "another file" in remedy) == ("file is not a database.", True)


async def test_a_folder_that_takes_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some networks: https://man7.org/linux/man-pages/man2/flock.2.html"""

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    records = open_database(url_from(tmp_path))
    with pytest.raises(OSError, match="locks") as caught:
        await NameLock(records, "one").take()
    await records.dispose()
    fault = database_fault(caught.value, is_given=False)
    assert fault is not None
    assert (fault.name, "PostgreSQL" in fault.remedy) == ("PLAYBOOKS_DATA", True)


def raised_by(driver: Exception) -> sa.exc.DBAPIError:
    return sa.exc.OperationalError("SELECT 1", None, driver)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ('FATAL:  password authentication failed for user "p@y"', "%40"),
        ("fe_sendauth: no password supplied", "%40"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "p", no encryption', "pg_hba"),
        ("server does not support SSL, but SSL was required", "sslmode"),
        ('root certificate file "/root/.postgresql/root.crt" does not exist', "sslrootcert"),
        ("SSL error: certificate verify failed", "sslrootcert"),
        ('server certificate for "localhost" does not match host name "db"', "sslmode"),
    ],
)
def test_what_a_server_says_without_a_code(said: str, remedy: str) -> None:
    whole = f'connection failed: connection to server at "10.0.0.1", port 5432 failed: {said}'
    fault = database_fault(raised_by(psycopg.OperationalError(whole)))
    assert fault is not None
    assert fault.what == said.removeprefix("FATAL:  ") + "."
    assert remedy in fault.remedy


TWO = (
    "Multiple connection attempts failed. All failures were:\n"
    "- host: 'db', port: None, hostaddr: '::1': connection failed: connection to server at "
    '"::1", port 5432 failed: {}\n'
    "- host: 'db', port: None, hostaddr: '127.0.0.1': connection failed: connection to server at "
    '"127.0.0.1", port 5432 failed: {}'
)
REFUSED = 'FATAL:  password authentication failed for user "p"'
STARTING = "FATAL:  the database system is starting up"


def test_of_several_addresses_each_has_to_refuse() -> None:
    fault = database_fault(raised_by(psycopg.OperationalError(TWO.format(REFUSED, REFUSED))))
    assert fault is not None
    assert fault.what == 'password authentication failed for user "p".'
    for attempts in ((REFUSED, STARTING), (STARTING, REFUSED)):
        assert database_fault(raised_by(psycopg.OperationalError(TWO.format(*attempts)))) is None


def test_the_file_of_the_data_folder_is_told_by_that_folder(tmp_path: Path) -> None:
    file = tmp_path / "playbooks.db"
    file.write_bytes(b"no database " * 1000)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        sqlite3.connect(file).execute("SELECT * FROM sqlite_master")
    fault = database_fault(raised_by(caught.value), is_given=False)
    assert fault is not None
    assert fault.name == "PLAYBOOKS_DATA"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter@tiger2secret@127.0.0.1/db",
        "postgresql://u:hunter@tiger2/secret@127.0.0.1/db",
        "postgres://u:p@ss:w/rd@127.0.0.1/db",
    ],
)
async def test_an_address_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"^the database's address cannot be read; .* %40",
    ):
        await migrate(url)


@pytest.mark.parametrize(
    "error",
    [
        raised_by(psycopg.OperationalError("connection refused")),
        raised_by(psycopg.OperationalError("FATAL:  the database system is starting up")),
        raised_by(psycopg.errors.UndefinedColumn('column "x" of relation "runs"')),
        raised_by(sqlite3.OperationalError("database is locked")),
        ValueError("permission denied"),
    ],
    ids=lambda error: str(getattr(error, "orig", error)),
)
def test_what_passes_or_is_our_own_fault_is_none(error: Exception) -> None:
    assert database_fault(error) is None
