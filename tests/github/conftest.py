"""A demo GitHub and a client that share one clock, which only moves when the client waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import pytest

from bot.demo.lag import Lag
from bot.demo.model import App, Installation, Repository
from bot.demo.server import DemoGitHub
from bot.github.client import GitHub, RepositoryClient
from bot.triggers import Repository as Place
from tests.conftest import CONTRACT


@dataclass
class Time:
    """Both sides' clock. Waiting takes no real time; `waits` remembers what was waited for."""

    seconds: float = 1_790_000_000.0
    waits: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture(scope="session")
def time() -> Time:
    return Time()


@pytest.fixture(scope="session")
async def github(time: Time) -> AsyncIterator[DemoGitHub]:
    contract = CONTRACT if CONTRACT.exists() else None
    demo = DemoGitHub(clock=time.moment, rng=random.Random(20), contract=contract)  # noqa: S311 - repeatable
    demo.faults.lag = Lag(demo.world, time.now)
    async with demo:
        yield demo


@pytest.fixture(autouse=True)
def _all_is_well(github: DemoGitHub, installation: Installation, app: App, time: Time) -> None:
    github.faults.clear()
    github.limits.windows.clear()
    installation.suspended_at = None
    installation.permissions.clear()
    installation.permissions.update(app.permissions)
    time.waits.clear()


Connect = Callable[[], GitHub]


@pytest.fixture
async def connect(github: DemoGitHub, app: App, time: Time) -> AsyncIterator[Connect]:
    """Make clients that know nothing yet: each call is a process that was just started."""
    opened: list[GitHub] = []

    def connect() -> GitHub:
        client = GitHub(
            app_id=app.id,
            private_key=app.private_key,
            api_url=f"{github.url}/api/v3",
            timeout_seconds=2,
            clock=time.now,
            sleep=time.sleep,
            jitter=lambda: 0.0,
        )
        opened.append(client)
        return client

    yield connect
    for client in opened:
        await client.close()


@pytest.fixture
def bot(connect: Connect) -> GitHub:
    """The bot's GitHub client."""
    return connect()


@pytest.fixture
def place(repository: Repository, installation: Installation) -> Place:
    """The fresh repository, as Triggers name it."""
    return Place(
        id=repository.id,
        owner=repository.owner.login,
        name=repository.name,
        installation_id=installation.id,
    )


@pytest.fixture
def client(bot: GitHub, place: Place) -> RepositoryClient:
    """The bot's calls on the fresh repository."""
    return bot.repository(place, playbook="revert")


Say = Callable[[int, str], Awaitable[None]]


@pytest.fixture
async def say(github: DemoGitHub, repository: Repository) -> AsyncIterator[Say]:
    """A person without any role comments on an issue or pull request."""
    login = f"mallory-{repository.name}"
    person = github.create_user(login)
    async with aiohttp.ClientSession(headers={"Authorization": f"token {person.token}"}) as web:

        async def say(number: int, text: str) -> None:
            url = f"{github.url}/api/v3/repos/{repository.full_name}/issues/{number}/comments"
            async with web.post(url, json={"body": text}) as response:
                response.raise_for_status()

        yield say
