"""A CI outside of GitHub: what it says about each push, a test has said before.

    shop.verdicts["smoke"] = "failure"               # a status, of every commit pushed from now on
    shop.deploys["deploy"] = "success"               # … only of those on the default branch
    shop.attempts["unit"] = ["failure", "success"]   # a check-run that passes when run again

On the default branch a check has only its last conclusion: it is a pull request that it fails once
by chance. A check that one suite cancelled and a newer one passed: `github.report_check`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from demo.person import Person
from fakegithub.world.model import FakeRepository
from fakegithub.world.world import Event


class Watched(Protocol):
    """One repository, and what is to be said of it."""

    repository: FakeRepository
    alice: Person
    ci: Person
    verdicts: dict[str, str]
    deploys: dict[str, str]
    attempts: dict[str, list[str]]
    news: asyncio.Event


class OutsideCi:
    """A CI that answers every push of one repository at once, as the shop says."""

    def __init__(self, shop: Watched) -> None:
        self._shop = shop
        self._tasks: set[asyncio.Task[None]] = set()
        self._concluded: dict[tuple[str, str], int] = {}
        self._stopped = False

    def hear(self, event: Event) -> None:
        """Take notice of what happened."""
        if self._stopped or event.repository is not self._shop.repository:
            return
        self._shop.news.set()
        match event.name, event.action:
            case "push", _ if not event.payload["deleted"]:
                if "[skip ci]" not in event.payload["head_commit"]["message"]:
                    default = f"refs/heads/{self._shop.repository.default_branch}"
                    landed = event.payload["ref"] == default
                    self._do(self.report(event.payload["after"], landed=landed))
            case "check_run", "rerequested":
                run = event.payload["check_run"]
                if run["name"] in self._shop.attempts:
                    self._do(self._attempt(run["head_sha"], run["name"]))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def report(self, sha: str, *, landed: bool = True) -> None:
        """Say of one commit what is to be said now; `landed`: it is on the default branch."""
        for name, state in (self._shop.verdicts | (self._shop.deploys if landed else {})).items():
            await self._shop.alice.set_status(sha, state, name)
        for name, conclusions in dict(self._shop.attempts).items():
            if landed:
                await self._shop.ci.create_check_run(sha, name, conclusions[-1])
            else:
                await self._attempt(sha, name)

    async def _attempt(self, sha: str, name: str) -> None:
        """Run a check on a commit, once more; what its last attempt gave, further ones give too."""
        conclusions, made = self._shop.attempts[name], self._concluded.get((sha, name), 0)
        self._concluded[sha, name] = made + 1
        conclusion = conclusions[min(made, len(conclusions) - 1)]
        await self._shop.ci.create_check_run(sha, name, conclusion)

    def stop(self) -> None:
        """Say no more."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
