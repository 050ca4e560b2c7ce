"""Which repositories the App serves: each installation is read by itself, and waits for no other.

An IP allow list, a suspension or a fault at one account says nothing about the others. What cannot
be read is tried again after a while that grows, and named in `/readyz` meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import structlog
from pydantic import ValidationError

from bot.errors import Passing
from bot.github.client import GitHub
from bot.github.errors import (
    Conflict,
    GitHubError,
    NotFound,
    NotInstalled,
    Suspended,
    Unavailable,
    by_itself,
    in_words,
)
from bot.github.models import Installation
from bot.records.github_answers import GitHubMemory
from bot.triggers import Repository

log = structlog.get_logger(__name__)

FRESH = timedelta(minutes=1)
STALE = timedelta(minutes=12)
"""How old the list becomes at most; where it is long, it is asked for less often than each FRESH.
What comes from a repository that is new makes it known at once."""
REQUESTS_A_MINUTE = 3
"""What asking for the list again and again costs at most, in the middle."""
LONGEST_REST = timedelta(minutes=15)
"""How long one that cannot be read is left alone at most; a minute at first, then doubling."""
SLOW_S = 5.0
"""Seconds that a look waits for the others once something is known."""
RECALLED_S = 2.0
"""Seconds for which GitHub may still name others than were known before this process began."""


@dataclass(frozen=True)
class UnreadableInstallation:
    """An installation that could not be read, and when it is tried again."""

    error: Exception
    tries: int
    again_at: datetime

    @property
    def why(self) -> str:
        """What is in the way, in words for whoever runs the bot."""
        if isinstance(self.error, GitHubError):
            return in_words(self.error)
        return type(self.error).__name__


class Served:
    """The repositories as GitHub named them a short while ago.

    Clients ask here before each request is answered, so nobody waits for GitHub once something is
    known, and an outage of GitHub leaves the last lists in force; also across a start.
    """

    def __init__(
        self,
        github: GitHub,
        clock: Callable[[], datetime],
        memory: GitHubMemory | None = None,
    ) -> None:
        """Ask `github`; `clock` tells the time (UTC); `memory` outlives this process."""
        self._github = github
        self._clock = clock
        self._memory = memory
        self._recalled_until = 0.0
        self._known: dict[int, tuple[Repository, ...]] = {}
        self._unreadable: dict[int, UnreadableInstallation] = {}
        self._at: datetime | None = None
        self._fresh = FRESH
        self._asking: asyncio.Task[None] | None = None
        self._reading: dict[int, asyncio.Task[None]] = {}

    async def recall(self) -> None:
        """Take what was known before this process began, until GitHub names it again."""
        if self._memory is None:
            return
        for key, said in (await self._memory.installations()).items():
            try:
                self._known[key] = tuple(Repository.model_validate(each) for each in said)
            except (ValidationError, TypeError) as error:
                log.warning("what another release kept cannot be read", why=str(error))
        self._recalled_until = time.monotonic() + RECALLED_S

    async def served(self) -> Sequence[Repository]:
        """Return the repositories; waits for GitHub only where none is known yet.

        Raises:
            GitHubError: nothing is known yet, and GitHub cannot be read.
        """
        # Either way: a clock that was set back must not keep an old list in force.
        if self._at is None or abs(self._clock() - self._at) > self._fresh:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask(), name="installations")
                self._asking.add_done_callback(_heard)
            if not any(self._known.values()):
                if self._github.is_silent:
                    raise Unavailable("GitHub has not said yet what is served, and does not answer")
                await asyncio.shield(self._asking)
            elif self._at is None and (left := self._recalled_until - time.monotonic()) > 0:
                await asyncio.wait([self._asking], timeout=left)
        return [each for repositories in self._known.values() for each in repositories]

    async def readable(self) -> Sequence[Repository]:
        """Return those served, without installations that could not be read the last time."""
        return [r for r in await self.served() if r.installation_id not in self._unreadable]

    @property
    def unreadable(self) -> Mapping[str, str]:
        """What cannot be read just now and why, for whoever runs the bot."""
        return {f"installation {key}": each.why for key, each in self._unreadable.items()}

    def is_known(self, repository: Repository) -> bool:
        """Whether it was served a short while ago; nobody is asked."""
        return any(each.id == repository.id for known in self._known.values() for each in known)

    async def serves(self, repository: Repository) -> bool:
        """Whether the App is installed there, and not suspended; asks GitHub where it is new.

        An outage of GitHub is no answer: then what came from there is taken for served.
        """
        try:
            if self.is_known(repository) or repository.id in {r.id for r in await self.served()}:
                return True
            # Newer than the list, perhaps, or one that another installation has by now.
            installation = await self._github.installations.get(repository.installation_id)
            client = self._github.repository(repository, playbook="installations", metered=False)
            await client.about()
        except (NotFound, NotInstalled, Suspended, Conflict):
            return False
        except (Passing, GitHubError) as fault:
            log.warning("whether a repository is served is not known", why=str(fault))
            return True
        if installation.suspended_at is not None:
            return False
        self.heard(repository)
        return True

    def heard(self, repository: Repository) -> None:
        """Take notice of a repository that something just came from: it may be new."""
        key = repository.installation_id
        if (fault := self._unreadable.get(key)) is not None:
            self._unreadable[key] = replace(fault, again_at=self._clock())
        # Before the first list there is nothing to add to: it will hold this one.
        if self._at is not None and not self.is_known(repository):
            self._known[key] = (*self._known.get(key, ()), repository)

    async def close(self) -> None:
        """Ask no more."""
        for task in (*self._reading.values(), *([self._asking] if self._asking else ())):
            task.cancel()

    async def _ask(self) -> None:
        try:
            installed = [each async for each in self._github.installations.list()]
        except (Passing, GitHubError) as fault:
            if not any(self._known.values()):
                raise
            log.warning("the list of installations could not be renewed", why=str(fault))
        else:
            here = {each.id for each in installed if each.suspended_at is None}
            for key in (self._known.keys() | self._unreadable.keys()) - here:
                await self._forget(key)
            await self._read_all([each for each in installed if each.id in here])
        requests = 1 + sum(1 + len(known) // 100 for known in self._known.values())
        self._fresh = min(max(FRESH, FRESH * requests / REQUESTS_A_MINUTE), STALE)
        self._at = self._clock()

    async def _read_all(self, installed: Sequence[Installation]) -> None:
        """Read each; those that take long go on by themselves once something is known.

        Raises:
            Passing: nothing is known yet, and that may be because of this.
        """
        now = self._clock()
        for each in installed:
            fault = self._unreadable.get(each.id)
            if each.id not in self._reading and (fault is None or fault.again_at <= now):
                task = asyncio.create_task(self._read(each.id), name="installation")
                self._reading[each.id] = task
                task.add_done_callback(partial(self._was_read, each.id))
        reading: set[asyncio.Task[None]] = {*self._reading.values()}
        while reading and not any(self._known.values()):
            _, reading = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        if reading:
            await asyncio.wait(reading, timeout=SLOW_S)
        if not any(self._known.values()):
            for fault in self._unreadable.values():
                if isinstance(fault.error, Passing) and not isinstance(fault.error, Suspended):
                    raise fault.error

    def _was_read(self, key: int, _: asyncio.Task[None]) -> None:
        del self._reading[key]

    async def _read(self, key: int) -> None:
        try:
            found = tuple([each async for each in self._github.installations.repositories(key)])
        except NotInstalled:
            await self._forget(key)
        except Exception as error:
            if isinstance(error, Suspended):
                await self._forget(key)
            self._put_off(key, error)
        else:
            self._unreadable.pop(key, None)
            self._known[key] = found
            if self._memory is not None:
                said = [each.model_dump(mode="json") for each in found]
                await self._memory.keep_installation(key, said)

    async def _forget(self, key: int) -> None:
        self._known.pop(key, None)
        self._unreadable.pop(key, None)
        if self._memory is not None:
            await self._memory.keep_installation(key, None)

    def _put_off(self, key: int, error: Exception) -> None:
        before = self._unreadable.get(key)
        tries = 1 if before is None else before.tries + 1
        rest = min(FRESH * 2.0 ** min(tries - 1, 10), LONGEST_REST)
        self._unreadable[key] = UnreadableInstallation(error, tries, self._clock() + rest)
        log.warning(
            "an installation cannot be read; the others go on",
            installation=key,
            why=str(error),
            again_in_s=rest.total_seconds(),
        )


def _heard(task: asyncio.Task[None]) -> None:
    # Whoever waits for it is told; where nobody does, the next look tries again.
    if not task.cancelled():
        task.exception()


class InstallationQueue:
    """Work on repositories: one after the other in an installation, installations side by side."""

    def __init__(self, work: Callable[[Repository], Awaitable[object]], what: str) -> None:
        """Prepare.

        Args:
            work: is done once for each repository that waits.
            what: says in the log what could not be done.
        """
        self._work = work
        self._what = what
        self._waiting: dict[int, dict[int, Repository]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def put(self, repository: Repository) -> None:
        """Have it worked on: soon, and once, however often it is put in meanwhile."""
        key = repository.installation_id
        self._waiting.setdefault(key, {})[repository.id] = repository
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._drain(key), name=self._what)

    async def idle(self) -> None:
        """Wait until nothing waits any more."""
        while self._tasks:
            await asyncio.wait([*self._tasks.values()])

    def close(self) -> None:
        """Work no more."""
        for task in self._tasks.values():
            task.cancel()

    async def _drain(self, key: int) -> None:
        try:
            while waiting := self._waiting.get(key):
                repository = waiting.pop(next(iter(waiting)))
                try:
                    await by_itself(self._work(repository), self._what, of=repository.full_name)
                except Passing as error:
                    log.warning(self._what, of=repository.full_name, why=str(error))
        finally:
            self._waiting.pop(key, None)
            del self._tasks[key]
