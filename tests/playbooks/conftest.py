"""A bot at work on the demo GitHub, and a shop whose checks answer in milliseconds.

One bot per worker, one fresh repository per test. The checks are an outside CI: a test says what
it reports, so that nothing waits for real commands (the story and the demo tests run real ones).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bot.app import Bot
from bot.demo.model import App, Repository, User
from bot.demo.person import Person
from bot.demo.server import DemoGitHub
from bot.demo.world import Event
from bot.github.manifest import EVENTS, PERMISSIONS
from bot.playbooks.follow import Patience
from bot.settings import Settings

SECRET = "between us"  # noqa: S105  of a GitHub that lives for one test run
API_TOKEN = "a token for machines"  # noqa: S105  likewise
GOOD = "def total(prices):\n    return sum(prices)\n"
BAD = "def total(prices):\n    return 0\n"
LONGEST = 30.0
"""Seconds until a conversation that got stuck fails."""

_names = count(1)


@pytest.fixture(scope="session")
def acme(github: DemoGitHub) -> User:
    """The organization whose repositories the bot serves."""
    return github.create_user("acme", organization=True)


@pytest.fixture(scope="session")
def playbooks_app(github: DemoGitHub, acme: User) -> App:
    """The App the bot runs as."""
    app = github.create_app(
        "playbooks", owner=acme, permissions=PERMISSIONS, events=list(EVENTS), secret=SECRET
    )
    github.install(app, acme)
    return app


@pytest.fixture(scope="session")
def people(github: DemoGitHub) -> dict[str, User]:
    """Alice maintains, Bob writes, Mallory only reads."""
    return {name: github.create_user(name) for name in ("alice", "bob", "mallory")}


@pytest.fixture(scope="session")
async def bot(
    github: DemoGitHub, playbooks_app: App, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Bot]:
    """The whole bot, listening on loopback."""
    bot = Bot(
        settings_for(github, playbooks_app, tmp_path_factory.mktemp("bot")),
        patience=Patience(look_again=timedelta(seconds=2)),
    )
    await bot.start()
    playbooks_app.webhook_url = f"http://127.0.0.1:{bot.port}/webhooks/github"
    yield bot
    await bot.stop()


def settings_for(github: DemoGitHub, app: App, data: Path) -> Settings:
    """What the bot needs to know to serve this GitHub."""
    return Settings.model_validate(
        {
            "github_api_url": f"{github.url}/api/v3",
            "github_app_id": app.id,
            "github_private_key": app.private_key,
            "github_webhook_secret": SECRET,
            "playbooks_data": data,
            "playbooks_port": 0,
            "playbooks_replica": "under-test",
            "playbooks_api_tokens": f"tests:write:*:{sha256(API_TOKEN.encode()).hexdigest()}",
        }
    )


@dataclass
class Shop:
    """One repository, the people at work on it, and its CI."""

    github: DemoGitHub
    bot: Bot
    repository: Repository
    alice: Person
    bob: Person
    mallory: Person
    verdicts: dict[str, str] = field(default_factory=lambda: {"smoke": "success"})
    """What CI says about the next commit pushed, by check; empty: it says nothing."""

    @property
    def name(self) -> str:
        """`owner/name`."""
        return self.alice.repository

    async def merged(
        self,
        title: str,
        files: dict[str, str | None],
        *,
        method: str = "squash",
        base: str | None = None,
    ) -> int:
        """Bob opens a pull request and merges it; its number."""
        branch = f"work-{next(_names)}"
        number = await self.bob.open_pull_request(title, files, branch=branch, base=base)
        await self.bob.merge(number, method)
        return number

    async def broken(self, *, method: str = "squash") -> int:
        """A pull request that breaks the totals, merged."""
        return await self.merged("Faster totals", {"shop.py": BAD}, method=method)

    async def says(self, number: int, words: str, person: Person | None = None) -> Answer:
        """Somebody comments (alice, unless said otherwise); wait until the bot has reacted."""
        person = person or self.alice
        comment = await person.comment(number, words)
        return Answer(self, number, comment["id"])

    async def eventually(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        """Look again and again until something is true, and give it."""
        async with asyncio.timeout(LONGEST):
            while not (found := await condition()):  # noqa: ASYNC110  seen from outside
                await asyncio.sleep(0.05)
        return found

    async def from_bot(self, number: int) -> list[str]:
        """The bot's comments on an issue or pull request, oldest first."""
        return [
            str(comment["body"])
            for comment in await self.alice.comments(number)
            if comment["user"]["login"] == "playbooks[bot]"
        ]

    async def hotfixes(self) -> list[Any]:
        """The hotfix pull requests, newest first."""
        pulls = await self.alice.get("pulls", state="all", per_page="100")
        return [pull for pull in pulls if pull["head"]["ref"].startswith("hotfix/")]

    async def incidents(self) -> list[Any]:
        """The incident issues, newest first."""
        return await self.alice.issues(labels="incident")

    async def report(self, conclusion: str, name: str = "smoke", *, branch: str) -> None:
        """CI reports on the head of a branch."""
        await self.alice.set_status(await self.alice.head(branch), conclusion, name)


@dataclass
class Answer:
    """The bot's answer to one comment."""

    shop: Shop
    number: int
    comment: int

    async def reaction(self) -> str:
        """`+1` or `confused`, once the command is done."""

        async def last() -> str | None:
            given = set(await self.shop.alice.reactions(self.comment))
            return next((each for each in ("+1", "confused") if each in given), None)

        return str(await self.shop.eventually(last))


@pytest.fixture
async def shop(
    github: DemoGitHub, bot: Bot, acme: User, people: dict[str, User]
) -> AsyncIterator[Shop]:
    """A shop on a green main, with two people who may write and one who may not."""
    repository = github.create_repository(
        acme, f"shop-{next(_names)}", {"README.md": "# Shop\n", "shop.py": GOOD}
    )
    for login, role in (("alice", "maintain"), ("bob", "write"), ("mallory", "read")):
        github.set_collaborator(repository, login, role)
    async with AsyncExitStack() as stack:
        persons = [
            await stack.enter_async_context(
                Person(github.url, people[login].token, f"acme/{repository.name}")
            )
            for login in ("alice", "bob", "mallory")
        ]
        shop = Shop(github, bot, repository, *persons)
        ci = OutsideCi(shop)
        github.world.listen(ci.hear)
        await ci.report(await shop.alice.head("main"))
        yield shop
        ci.stop()


class OutsideCi:
    """A CI that answers every push of one repository at once, as the shop's `verdicts` say."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def hear(self, event: Event) -> None:
        if self._stopped or event.repository is not self._shop.repository:
            return
        if event.name == "push" and not event.payload["deleted"]:
            task = asyncio.create_task(self.report(event.payload["after"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def report(self, sha: str) -> None:
        for name, state in dict(self._shop.verdicts).items():
            await self._shop.alice.set_status(sha, state, name)

    def stop(self) -> None:
        self._stopped = True
        for task in self._tasks:
            task.cancel()
