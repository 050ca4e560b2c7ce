"""The repositories the App is installed on, known well enough to answer requests by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from bot.faults import Passing
from bot.github.client import GitHub
from bot.github.errors import Conflict, GitHubError, NotFound, NotInstalled, Suspended
from bot.triggers import Repository

FRESH = timedelta(minutes=1)

log = structlog.get_logger(__name__)


class Served:
    """The list as GitHub said a short while ago.

    Clients ask here before each request is answered, so nobody waits for GitHub once the list is
    known, and an outage of GitHub leaves the last list in force.
    """

    def __init__(self, github: GitHub, clock: Callable[[], datetime]) -> None:
        """Ask `github`; `clock` tells the time (UTC)."""
        self._github = github
        self._clock = clock
        self._known: tuple[Repository, ...] = ()
        self._at: datetime | None = None
        self._asking: asyncio.Task[None] | None = None

    async def served(self) -> Sequence[Repository]:
        """Return the repositories; waits for GitHub only where none is known yet."""
        # Either way: a clock that was set back must not keep an old list in force.
        if self._at is None or abs(self._clock() - self._at) > FRESH:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
            if not self._known:
                await asyncio.shield(self._asking)
        return self._known

    def is_known(self, repository: Repository) -> bool:
        """Whether it was served a short while ago; nobody is asked."""
        return any(each.id == repository.id for each in self._known)

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
        # Before the first list there is nothing to add to: it will hold this one.
        if self._at is not None and all(each.id != repository.id for each in self._known):
            self._known = (*self._known, repository)

    async def _ask(self) -> None:
        try:
            self._known = tuple(
                [
                    repository
                    async for installation in self._github.installations.list()
                    if installation.suspended_at is None
                    async for repository in self._github.installations.repositories(installation.id)
                ]
            )
        except (Passing, GitHubError) as fault:
            if not self._known:
                raise
            log.warning("the list of repositories could not be renewed", why=str(fault))
        self._at = self._clock()
