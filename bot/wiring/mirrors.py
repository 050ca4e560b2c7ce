"""The mirrors of all repositories, how they are kept, and the configuration as they have it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from bot.config import Config
from bot.git.errors import GitError
from bot.git.mirror import Mirror
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.playbooks.planning.repository_config import read_config
from bot.triggers import Repository

log = structlog.get_logger(__name__)

LOOKED_AT_EVERY = timedelta(minutes=1)
REST = 20
"""Packing takes at most one part of so many of the time, however large the mirror."""
_REST_AFTER_FAILURE_SECONDS = 3600.0


class Mirrors:
    """One mirror for each repository; always the same object, since it holds a lock."""

    def __init__(self, folder: Path, github: GitHub, every: timedelta = LOOKED_AT_EVERY) -> None:
        """Keep mirrors below `folder`; nothing is fetched before one is used.

        Args:
            folder: where they are.
            github: where they are fetched from.
            every: how often it is looked whether one has to be packed.
        """
        self._folder = folder
        self._github = github
        self.every = every
        self.rest = REST
        self._known: dict[int, Mirror] = {}
        self._rested: dict[int, float] = {}

    async def run(self) -> None:
        """Pack the mirrors that need it, one after the other, for ever."""
        while True:
            await asyncio.sleep(self.every.total_seconds())
            for mirror in await asyncio.to_thread(self._all):
                await self._keep(mirror)

    async def _keep(self, mirror: Mirror) -> None:
        why = await mirror.reason_to_maintain(datetime.now(UTC))
        began = time.monotonic()
        if why is None or began < self._rested.get(mirror.repository_id, 0.0):
            return
        try:
            done = await mirror.maintain()
        except (GitError, GitHubError) as problem:
            # It is as usable as before; the next look tries again.
            log.warning("mirror.unpacked", mirror=mirror.repository_id, why=str(problem))
            self._rested[mirror.repository_id] = began + _REST_AFTER_FAILURE_SECONDS
            return
        ended = time.monotonic()
        self._rested[mirror.repository_id] = ended + self.rest * (ended - began)
        if done:
            log.info("mirror.packed", mirror=mirror.repository_id, why=why)

    def _all(self) -> list[Mirror]:
        """The mirrors in use, and those that wait in the folder since an earlier start."""
        ids = [int(each.stem) for each in self._folder.glob("*.git") if each.stem.isdigit()]
        return [self._known.get(each) or Mirror(self._folder, each, "") for each in ids]

    def of(self, repository: Repository) -> Mirror:
        """Give the mirror of a repository, at the address it has now."""
        client = self._github.repository(repository, playbook="mirror", recovery=True)
        mirror = self._known.get(repository.id)
        if mirror is None:
            mirror = Mirror(
                self._folder,
                repository.id,
                client.clone_url,
                client.clone_token,
                client.discard_clone_token,
            )
            self._known[repository.id] = mirror
        mirror.url = client.clone_url
        return mirror

    async def known_config(self, repository: Repository) -> Config:
        """Read the configuration as the mirror has it; the defaults before the first fetch."""
        mirror = self.of(repository)
        if not mirror.path.exists():
            return Config()
        try:
            about = await self._github.repository(repository, playbook="api").about()
            head = await mirror.branch_head(about.default_branch)
            config, _ = await mirror.read(lambda git: read_config(git, head))
        except (GitError, GitHubError):
            return Config()
        return config

    async def last_good_config(self, repository: Repository) -> Config | None:
        """Read the newest configuration of the default branch that can be used.

        None where the mirror cannot be brought up to date.
        """
        try:
            await self.of(repository).refresh()
        except GitError:
            return None
        return await self.known_config(repository)
