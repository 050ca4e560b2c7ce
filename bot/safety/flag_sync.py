"""Sees to it that the flag document in a repository never ramps again what was taken back.

A reaction to pushes, no playbook: what the file should say follows from what is served, so
whatever is lost in a crash is found by the next sweep.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.config import Config
from bot.errors import Passing
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import GitHubError
from bot.github.served import InstallationQueue
from bot.playbooks.rollout import capability
from bot.records.audit import chain
from bot.records.branch_record import RecordStore
from bot.records.database import reading
from bot.traffic import allocation
from bot.traffic.flagd import flag_document, generation_of, what_is_wrong
from bot.triggers import OURSELVES, Repository

SWEEP_EVERY = timedelta(hours=1)
LARGEST = 1024 * 1024
"""Bytes; a larger file is no document of ours."""
_TRIES = 5
_LONGEST_PAUSE = 60.0

log = structlog.get_logger(__name__)


class FlagSync:
    """Replaces a document that would favour a candidate more than is decided."""

    def __init__(
        self,
        github: GitHub,
        records: AsyncEngine,
        store: RecordStore,
        *,
        config: Callable[[Repository], Awaitable[Config]],
        served: Callable[[], Awaitable[Sequence[Repository]]],
        clock: Callable[[], datetime],
    ) -> None:
        """Prepare.

        Args:
            github: where the files are.
            records: who serves what.
            store: what was put on branches of ours.
            config: gives a repository's configuration as it counts.
            served: gives the repositories to sweep.
            clock: tells the time (UTC).
        """
        self._github = github
        self._records = records
        self._store = store
        self._config = config
        self._served = served
        self._clock = clock
        self._waiting = InstallationQueue(
            self._through_outages, "a flag document could not be kept"
        )

    def pushed(self, repository: Repository) -> None:
        """Take notice that a branch of a repository moved."""
        self._waiting.put(repository)

    async def run(self) -> None:
        """Look at everything now and then, until cancelled."""
        try:
            while True:
                await asyncio.sleep(SWEEP_EVERY.total_seconds())
                await self._sweep()
        finally:
            self._waiting.close()

    async def keep(self, repository: Repository) -> str | None:
        """Look at one repository's document; why it was replaced, if it was.

        Raises:
            GitHubError: GitHub could not be read or written.
        """
        async with reading(self._records).connect() as conn:
            known = await allocation.of_repository(conn, repository.id)
        if not known:
            return None
        path = (await self._config(repository)).flags.path
        if path is None:
            return None
        client = self._github.repository(repository, playbook="flags")
        branch = (await client.about()).default_branch
        found = await client.contents.find(path, branch, largest=LARGEST)
        if found is None:
            return None
        text = "" if found.content is None else found.content.decode("utf-8", "replace")
        why = what_is_wrong(text, flag_document(known))
        if why is not None:
            await self._replace(client, path, text, why)
        return why

    async def _replace(self, client: RepositoryClient, path: str, text: str, why: str) -> None:
        here = client.repository
        above = _claimed(text)
        async with self._records.begin() as conn:
            # What is served must be newer than anything that anybody may have read.
            for each in await allocation.of_repository(conn, here.id):
                await allocation.renew(conn, each, above=above)
            await chain.append(
                conn,
                here.id,
                "flags.replaced",
                actor=OURSELVES.login,
                at=self._clock(),
                refs={"path": path},
                data={"why": why},
            )
        message = f"Flags: what is served\n\nThe document was replaced: {why}."
        await capability.commit(
            client, self._store, self._records, here.id, path, message, look_first=True
        )
        log.warning("a flag document was replaced", of=here.full_name, why=why)

    async def _sweep(self) -> None:
        try:
            for repository in await self._served():
                self._waiting.put(repository)
        except (Passing, GitHubError) as error:
            log.warning("flag documents could not be looked for", why=str(error))

    async def _through_outages(self, repository: Repository) -> None:
        pause = 1.0
        for attempt in range(_TRIES):
            try:
                await self.keep(repository)
            except Passing:
                if attempt == _TRIES - 1:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return


def _claimed(text: str) -> int:
    """The generation a document claims; 0 where it claims none that could be ours."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return 0
    found = generation_of(document) if isinstance(document, dict) else None
    return found if found is not None and found < 2**53 else 0
