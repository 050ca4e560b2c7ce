"""A PostgreSQL server for tests: the one named by the environment, else a temporary cluster.

`PLAYBOOKS_TEST_POSTGRES_URL` names a server on which databases may be created. Without it the
binaries of this machine make a cluster in a temporary folder, reachable by a socket only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
import sqlalchemy as sa

from bot.records.schema import migrate

SERVER = "PLAYBOOKS_TEST_POSTGRES_URL"
_WAIT_S = 20.0
_names = count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a server's maintenance database."""
    if given := os.environ.get(SERVER):
        yield given
        return
    binaries = _binaries()
    if binaries is None:
        pytest.skip(f"no PostgreSQL here: install its server, or set {SERVER}")
    with _cluster(binaries) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The address of a fresh, empty database, gone after the test."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
async def migrated_postgresql(postgres_server: str) -> AsyncIterator[str]:
    """The name of a migrated PostgreSQL database to copy: migrating once is enough."""
    with fresh_database(postgres_server) as url:
        await migrate(url)
        yield str(sa.make_url(url).database)


@pytest.fixture
def migrated_postgres_url(postgres_server: str, migrated_postgresql: str) -> Iterator[str]:
    """The address of a fresh, migrated database, gone after the test."""
    with fresh_database(postgres_server, migrated_postgresql) as url:
        yield url


@contextmanager
def fresh_database(server: str, template: str = "template1", options: str = "") -> Iterator[str]:
    """Make a database like the one named `template`; gives its address, and drops it at the end."""
    name = f"playbooks_{os.getpid()}_{next(_names)}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {options}')
    yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _binaries() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).parent
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: _version(path.parts[-3])
    )
    return installed[-1].parent if installed else None


def _version(folder: str) -> float:
    return float(folder) if folder.replace(".", "", 1).isdigit() else 0.0


@contextmanager
def _cluster(binaries: Path) -> Iterator[str]:
    with _server(binaries) as server:
        yield server.url


@contextmanager
def server_of_its_own() -> Iterator[Server]:
    """A server that a test may stop and start; the test is skipped where none can be made."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL here: install its server")
    with _server(binaries) as server:
        yield server


class Server:
    """A PostgreSQL server in a temporary folder, reachable by a socket only."""

    def __init__(self, binaries: Path, folder: Path, run_as: dict[str, Any]) -> None:
        """Use a cluster that was made there; `start` starts it."""
        self.url = f"postgresql://playbooks@/postgres?host={folder}"
        self._binaries, self._folder, self._run_as = binaries, folder, run_as
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return once it takes connections."""
        give_up = time.monotonic() + _WAIT_S
        while True:
            self._process = subprocess.Popen(  # noqa: S603 - a list, no shell
                [self._binaries / "postgres", "-D", self._folder / "data", "-k", self._folder,
                 "-c", "listen_addresses=", "-c", "fsync=off",
                 "-c", "full_page_writes=off", "-c", "max_connections=200"],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, **self._run_as,
            )  # fmt: skip
            try:
                return _wait_until_ready(self.url, self._process)
            except psycopg.OperationalError:
                # A process of the former life may still hold its memory.
                if time.monotonic() > give_up or self._process.poll() is None:
                    raise
                time.sleep(0.2)

    def stop(self, mode: Literal["fast", "immediate"]) -> None:
        """Stop as `pg_ctl stop -m MODE` does, and wait."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        self._process.wait(_WAIT_S)

    def demote(self) -> None:
        """Have it come back as a standby, which takes no writes, as behind a fail-over."""
        self.stop("fast")
        (self._folder / "data" / "standby.signal").touch()
        self.start()

    def promote(self) -> None:
        """Have a standby take writes again, and wait for that."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute("SELECT pg_promote()")

    def drop_connections(self) -> None:
        """End every session but our own."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )


@contextmanager
def _server(binaries: Path) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = _unprivileged()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    run_as: dict[str, Any] = (
        {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    )
    try:
        options = ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        _run([binaries / "initdb", "-D", folder / "data", "-U", "playbooks", *options], run_as)
        server = Server(binaries, folder, run_as)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")  # at once: nothing in it is worth saving
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run the server as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


def _run(command: list[str | Path], run_as: dict[str, Any]) -> None:
    done = subprocess.run(  # noqa: S603 - a list, no shell
        command, cwd="/", capture_output=True, text=True, check=False, **run_as
    )
    if done.returncode != 0:
        pytest.skip(f"PostgreSQL cannot make a cluster here: {done.stderr.strip()[-300:]}")


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + _WAIT_S
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() > give_up or server.poll() is not None:
                raise
            time.sleep(0.05)
        else:
            return
