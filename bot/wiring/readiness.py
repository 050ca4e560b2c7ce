"""May this process serve? What `/readyz` says, who goes first, and a folder nobody else reads.

A supervisor that gets no answer starts a process again and again, and people see nothing. What is
asked for meanwhile is put off; deliveries that GitHub could not hand over are asked for later.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
import structlog
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.errors import Passing
from bot.intake.http.problems import put_off
from bot.records.outages import DatabaseAway, in_public, passing

log = structlog.get_logger(__name__)
FOLDERS = ("mirrors", "trials")


def keep_folder_private(data: Path) -> None:
    """Make the data folder and what lies in it readable by its owner alone: 0700 and 0600.

    What an earlier version left more open is tightened. Deeper down the folders keep others out.

    Raises:
        OSError: the folder cannot be made.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in FOLDERS:
        (data / name).mkdir(mode=0o700, exist_ok=True)
    try:
        data.chmod(0o700)
        for each in data.iterdir():
            if not each.is_symlink():
                # SQLite may take its own files away at any moment.
                with suppress(FileNotFoundError):
                    each.chmod(0o700 if each.is_dir() else 0o600)
    except PermissionError as why:
        log.warning("the data folder is not ours to close to others", why=str(why))


MOST_S = 0.5
"""Seconds that one thing waits at most, so that nothing waits for ever."""
_QUIET_S = 0.1
"""Seconds between two steps in which a Run is still at work."""
_LONGEST_S = 5.0
"""Seconds after which a step is not waited for any more: it may have failed."""
_GLANCE_S = 0.02


class RightOfWay:
    """An observer of the engine's steps, by which others give way."""

    def __init__(self) -> None:
        """Nobody is at work yet."""
        self._last = -_QUIET_S
        self._at_work: dict[str, float] = {}

    async def began(self, run: str, step: str) -> None:
        """A step is about to run."""
        del step
        self._at_work[run] = time.monotonic()

    async def ended(self, run: str, step: str) -> None:
        """A step's effect is done."""
        del step
        self._at_work.pop(run, None)
        self._last = time.monotonic()

    async def waiting(self, run: str, at: str) -> None:
        """A Run begins to wait: it is not at work."""
        del at
        self._at_work.pop(run, None)

    async def give(self) -> None:
        """Wait until no Run is at work, at most MOST_S."""
        for _ in range(round(MOST_S / _GLANCE_S)):
            if not self._is_taken():
                return
            await asyncio.sleep(_GLANCE_S)

    def _is_taken(self) -> bool:
        now = time.monotonic()
        stale = [run for run, since in self._at_work.items() if now - since > _LONGEST_S]
        for run in stale:
            del self._at_work[run]
        return bool(self._at_work) or now - self._last < _QUIET_S


LONGEST_S = 3.0
"""Seconds each part has to answer: whoever asks has little patience."""

_WRITE_LOCK_S = 2.0
_PROBE = b"\0" * 65_536


class Readiness:
    """Tries what the bot cannot work without."""

    def __init__(
        self,
        records: AsyncEngine,
        engine: Callable[[], Awaitable[None]],
        data: Path,
        engine_file: Path | None,
    ) -> None:
        """Prepare; nothing is tried before `parts`.

        Args:
            records: our records.
            engine: returns if the engine's database answers.
            data: the folder that must have room.
            engine_file: the engine's own SQLite file, where it has one.
        """
        self._records = records
        self._engine = engine
        self._data = data
        self._engine_file = engine_file

    async def parts(self) -> Mapping[str, str | None]:
        """Name each part, with None or what is wrong with it, in words for people."""
        database, engine, disk = await asyncio.gather(
            _hindrance(self._database), _hindrance(self._engine_database), _hindrance(self._disk)
        )
        return {"database": database, "engine": engine, "disk": disk}

    async def hindrance(self) -> str | None:
        """What keeps the bot from keeping anything, in words for people; None: nothing does."""
        return next((each for each in (await self.parts()).values() if each is not None), None)

    async def _database(self) -> None:
        async with self._records.connect() as conn:
            await conn.execute(sa.text("SELECT 1"))
        file = self._records.url.database
        if self._records.dialect.name == "sqlite" and file:
            await asyncio.to_thread(_take_write_lock, Path(file))

    async def _engine_database(self) -> None:
        await self._engine()
        if self._engine_file is not None and self._engine_file.exists():
            await asyncio.to_thread(_take_write_lock, self._engine_file)

    async def _disk(self) -> None:
        await asyncio.to_thread(_write, self._data)


async def _hindrance(tried: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(LONGEST_S):
            await tried()
    except TimeoutError:
        return "it does not answer"
    except Exception as error:
        log.warning("not ready", why=str(error))
        return in_public(error)
    return None


def _take_write_lock(path: Path) -> None:
    # Readers never notice that nobody can write.
    address = f"{path.resolve().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=_WRITE_LOCK_S)) as connection:
        connection.isolation_level = None
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(_PROBE)
        file.flush()


T = TypeVar("T")

PATIENCE_S = 5.0
"""Seconds a beginning may take before the port answers in its place."""

_LONGEST_PAUSE_S = 60.0
_LONGEST_PAUSE_DATABASE_S = 3.0


class WaitingRoom:
    """Answers in the bot's place. One per start."""

    def __init__(self, host: str, port: int) -> None:
        """Prepare; nothing listens yet."""
        self._host, self.port = host, port
        self._runner: web.AppRunner | None = None
        self._part, self._why = "start", "it is about to begin"

    async def until(self, begin: Callable[[], Awaitable[T]]) -> T:
        """Try to begin until nothing that passes is in the way; gives what came of it.

        Nobody listens at the end, and nobody ever did where it began at once.

        Args:
            begin: may be called again after a fault.

        Raises:
            Exception: a fault that does not pass.
        """
        pause = 1.0
        try:
            while True:
                try:
                    return await self._patiently(begin)
                except Exception as error:
                    fault = passing(error)
                    if fault is None:
                        raise
                    log.warning("it cannot begin yet; trying again", why=str(error))
                    await self._say(fault)
                    await asyncio.sleep(pause)
                    near = isinstance(fault, DatabaseAway)
                    longest = _LONGEST_PAUSE_DATABASE_S if near else _LONGEST_PAUSE_S
                    pause = min(pause * 2, longest)
        finally:
            if self._runner is not None:
                await self._runner.cleanup()

    async def _patiently(self, begin: Callable[[], Awaitable[T]]) -> T:
        beginning = asyncio.ensure_future(begin())
        try:
            await asyncio.wait([beginning], timeout=PATIENCE_S)
            if not beginning.done():
                await self._open()
            return await beginning
        finally:
            beginning.cancel()

    async def _say(self, fault: Passing) -> None:
        self._part = "database" if isinstance(fault, DatabaseAway) else "GitHub"
        self._why = str(fault)
        await self._open()

    async def _open(self) -> None:
        if self._runner is not None:
            return
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_route("*", "/{anything:.*}", self._put_off)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port).start()
        self.port = self._runner.addresses[0][1]
        log.warning("listening, but not ready", port=self.port, why=self._why)

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"ok": True, "waiting": self._why})

    async def _readyz(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"ok": False, "parts": {self._part: self._why}}, status=503)

    async def _put_off(self, request: web.Request) -> web.Response:
        del request
        return put_off(self._why).response()
