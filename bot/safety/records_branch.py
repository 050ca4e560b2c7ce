"""Sees to it that the records branch says what the bot put there, and is there.

The same goes for the branch by which outcomes are offered, where it has an open pull request. A
reaction to pushes, no playbook: what they must say is kept, so whatever is lost in a crash is found
by the next look. A look costs three requests where nothing was pushed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog

from bot.errors import Passing
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.github.served import InstallationQueue
from bot.playbooks.incident.record_files import (
    OUTCOMES_BRANCHES,
    RECORDS_BRANCHES,
    checked,
    checked_outcomes,
)
from bot.records.branch_record import RecordStore
from bot.triggers import Repository

LOOK_EVERY = timedelta(minutes=10)
_RECORDS = frozenset(f"refs/heads/{branch}" for branch in RECORDS_BRANCHES)
_REFS = _RECORDS | {f"refs/heads/{branch}" for branch in OUTCOMES_BRANCHES}

log = structlog.get_logger(__name__)


class RecordsBranch:
    """Looks after every push to a records branch, and at all of them now and then."""

    def __init__(
        self,
        github: GitHub,
        store: RecordStore,
        *,
        served: Callable[[], Awaitable[Sequence[Repository]]],
        every: timedelta = LOOK_EVERY,
    ) -> None:
        """Prepare.

        Args:
            github: where the branches are.
            store: what they must say.
            served: gives the repositories to look at.
            every: time between two looks at all of them.
        """
        self._github = github
        self._store = store
        self._served = served
        self._every = every
        self._waiting = InstallationQueue(self._look, "a records branch could not be looked at")
        self._heads: dict[int, set[str | None]] = {}

    def pushed(self, repository: Repository, ref: str, head: str | None) -> None:
        """Take notice that a branch moved to a commit, or is gone."""
        if ref in _REFS:
            known = head if ref in _RECORDS else None
            self._heads.setdefault(repository.id, set()).add(known)
            self._waiting.put(repository)

    def look_at(self, repository: Repository) -> None:
        """Look soon: its branch is not where the bot left it."""
        self._waiting.put(repository)

    async def _look(self, repository: Repository) -> None:
        """Look, unless nothing was pushed but what the bot put there."""
        heads = self._heads.pop(repository.id, set())
        if not heads or heads != {(await self._store.looked(repository.id)).head}:
            await self.keep(repository)

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await self._want_all()
                await asyncio.sleep(self._every.total_seconds())
        finally:
            self._waiting.close()

    async def keep(self, repository: Repository) -> None:
        """Look at one repository's branches, and write them again where they must.

        Raises:
            GitHubError: GitHub could not be read or written.
        """
        client = self._github.repository(repository, playbook="records")
        await checked(client, self._store)
        await checked_outcomes(client, self._store)

    async def _want_all(self) -> None:
        try:
            kept = await self._store.kept_for()
            for repository in await self._served():
                if repository.id in kept:
                    self._waiting.put(repository)
        except (Passing, GitHubError) as error:
            log.warning("records branches could not be looked for", why=str(error))
