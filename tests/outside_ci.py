"""A CI outside of GitHub: what it says about each push, a test has said before."""

from __future__ import annotations

import asyncio
from typing import Protocol

from bot.demo.github.world.model import Repository
from bot.demo.github.world.world import Event
from bot.demo.person import Person


class Watched(Protocol):
    """One repository, and what is to be said of it."""

    repository: Repository
    alice: Person
    verdicts: dict[str, str]
    news: asyncio.Event


class OutsideCi:
    """A CI that answers every push of one repository at once, as the shop's `verdicts` say."""

    def __init__(self, shop: Watched) -> None:
        self._shop = shop
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def hear(self, event: Event) -> None:
        """Take notice of what happened."""
        if self._stopped or event.repository is not self._shop.repository:
            return
        self._shop.news.set()
        if event.name != "push" or event.payload["deleted"]:
            return
        if "[skip ci]" not in event.payload["head_commit"]["message"]:
            task = asyncio.create_task(self.report(event.payload["after"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def report(self, sha: str) -> None:
        """Say of one commit what is to be said now."""
        for name, state in dict(self._shop.verdicts).items():
            await self._shop.alice.set_status(sha, state, name)

    def stop(self) -> None:
        """Say no more."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
