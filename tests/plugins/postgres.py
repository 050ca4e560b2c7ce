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
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

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


@contextmanager
def fresh_database(server: str, template: str = "template1") -> Iterator[str]:
    """Make a database like the one named `template`; gives its address, and drops it at the end."""
    name = f"playbooks_{os.getpid()}_{next(_names)}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
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
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = _unprivileged()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    run_as = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    try:
        options = ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        _run([binaries / "initdb", "-D", folder / "data", "-U", "playbooks", *options], run_as)
        server = subprocess.Popen(  # noqa: S603 - a list, no shell
            [binaries / "postgres", "-D", folder / "data", "-k", folder,
             "-c", "listen_addresses=", "-c", "fsync=off",
             "-c", "full_page_writes=off", "-c", "max_connections=200"],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, **run_as,
        )  # fmt: skip
        try:
            url = f"postgresql://playbooks@/postgres?host={folder}"
            _wait_until_ready(url, server)
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing in it is worth saving
            server.wait(_WAIT_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run the server as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


def _run(command: list[str | Path], run_as: dict[str, object]) -> None:
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
