"""May this process serve? What `/readyz` says, who we are to GitHub, and who goes first.

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
from bot.github.client import GitHub
from bot.github.errors import GitHubError, Unreadable, in_words
from bot.github.models import App
from bot.intake.event_payloads import OurApp
from bot.intake.http.entrance import of_every_address
from bot.intake.http.problems import put_off
from bot.records.github_answers import GitHubMemory
from bot.records.outages import DatabaseAway, Outage, in_public, passing
from bot.settings import InvalidSettings, Settings
from bot.wiring.readings import ClockWrong, ask_who

log = structlog.get_logger(__name__)
T = TypeVar("T")
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
        github: Callable[[], str | None],
    ) -> None:
        """Prepare; nothing is tried before `parts`.

        Args:
            records: our records.
            engine: returns if the engine's database answers.
            data: the folder that must have room.
            engine_file: the engine's own SQLite file, where it has one.
            github: why GitHub cannot be worked with, as of the last requests; None: it can.
        """
        self._github = github
        self._records = records
        self._engine = engine
        self._data = data
        self._engine_file = engine_file

    async def parts(self) -> Mapping[str, str | None]:
        """Name each part, with None or what is wrong with it, in words for people."""
        return {**await self._here(), "GitHub": self._github()}

    async def _here(self) -> Mapping[str, str | None]:
        database, engine, disk = await asyncio.gather(
            _hindrance(self._database), _hindrance(self._engine_database), _hindrance(self._disk)
        )
        return {"database": database, "engine": engine, "disk": disk}

    async def hindrance(self) -> str | None:
        """What keeps the bot from keeping anything, in words for people; None: nothing does."""
        return next((each for each in (await self._here()).values() if each is not None), None)

    async def _database(self) -> None:
        file = self._records.url.database
        is_file = self._records.dialect.name == "sqlite"
        async with self._records.connect() as conn:
            closed = await conn.execute(sa.text("SELECT 0" if is_file else _IS_CLOSED))
        if closed.scalar_one():
            raise DatabaseAway(Outage.READ_ONLY)
        if is_file and file:
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


_IS_CLOSED = (
    "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean"
)
"""Whether PostgreSQL takes no writes: readers never notice."""


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


_FIRST_LOOK_S = 3.0
_LOOK_AGAIN_S = (1.0, 30.0)


class Introduction:
    """Who we are to GitHub. While it is away, what it said last time counts.

    Only who has never been told who they are can take no deliveries: GitHub keeps those for three
    days, and they are asked for as soon as it says.
    """

    def __init__(self, github: GitHub, settings: Settings, memory: GitHubMemory) -> None:
        """Prepare; GitHub is asked by `begin`, and what it said last is in `memory`."""
        self._github, self._memory = github, memory
        self._id, self._api = settings.github_app_id, settings.github_api_url
        self._fault: str | None = None
        self._is_sure = False
        self.known = asyncio.Event()
        self.us: OurApp | None = None

    async def begin(self) -> None:
        """Ask once, with little patience.

        Raises:
            InvalidSettings: GitHub answers that the App's id or key is wrong.
        """
        try:
            async with asyncio.timeout(_FIRST_LOOK_S):
                await self._ask()
        except InvalidSettings:
            raise
        except (TimeoutError, Passing) as error:
            self._github.presume_silent()
            await self._go_without(_SILENT, why=str(error))
        except ClockWrong as error:
            await self._go_without(str(error))
        except GitHubError as error:
            await self._go_without(_refusal(error))

    async def run(self) -> None:
        """Ask until GitHub has said who we are."""
        pause, longest = _LOOK_AGAIN_S
        while not self._is_sure:
            try:
                await self._ask()
            except (InvalidSettings, ClockWrong) as error:
                self._fault = str(error)
                log.error("GitHub refuses the App", why=str(error))
            except Passing:
                self._fault = _SILENT
            except GitHubError as error:
                self._fault = _refusal(error)
            if not self._is_sure:
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)

    def hindrance(self) -> str | None:
        """Why GitHub cannot be worked with, in words for everybody; None: it can."""
        if self._fault is None and (refused := self._github.refused) is not None:
            return str(refused)
        return self._fault or (_SILENT if self._github.is_silent else None)

    async def _ask(self) -> None:
        app = await ask_who(self._github, self._id, self._api)
        self._is_sure, self._fault = True, None
        self._introduce(app)
        await self._memory.keep_app({"id": app.id, "slug": app.slug, "name": app.name})

    async def _go_without(self, fault: str, why: str = "") -> None:
        self._fault = fault
        log.warning("GitHub cannot be worked with yet; trying again", why=why or fault)
        await self._remember()

    async def _remember(self) -> None:
        said = await self._memory.app()
        if said is None:
            return
        # What another release kept may read otherwise: then GitHub is waited for.
        with suppress(Unreadable):
            app = App.model_validate(said)
            self._github.ourselves.remember(app)
            self._introduce(app)

    def _introduce(self, app: App) -> None:
        self.us = OurApp(id=app.id, slug=app.slug)
        self.known.set()


_SILENT = "GitHub does not answer"


def _refusal(error: GitHubError) -> str:
    return f"GitHub does not say which App this is: {in_words(error)}"


PATIENCE_S = 5.0
"""Seconds a beginning may take before the port answers in its place."""

_LONGEST_PAUSE_S = 60.0
_LONGEST_PAUSE_DATABASE_S = 3.0


class WaitingRoom:
    """Answers in the bot's place. One per start."""

    def __init__(self, host: str, port: int, *, is_taken: bool = False) -> None:
        """Prepare; `is_taken`: somebody else answers at the port until the bot does."""
        self._host, self.port, self._is_taken = host, port, is_taken
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
        if self._runner is not None or self._is_taken:
            return
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_route("*", "/{anything:.*}", self._put_off)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        listener = of_every_address(self._host, self.port)
        if listener is None:
            await web.TCPSite(self._runner, self._host, self.port).start()
        else:
            await web.SockSite(self._runner, listener).start()
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
