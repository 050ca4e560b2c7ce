"""A demo GitHub and a client that share one clock, which only moves when the client waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from bot.github.client import GitHub, RepositoryClient
from bot.triggers import Repository as Place
from fakegithub.faults.lag import Lag
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository, FakeUser
from tests.people import CONTRACT, OWNER, register_app


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


# This room's GitHub is not the shared one, so neither are those who live in it.


@pytest.fixture(scope="session")
def owner(github: DemoGitHub) -> FakeUser:
    return github.create_user(OWNER, organization=True)


@pytest.fixture(scope="session")
def app(github: DemoGitHub, owner: FakeUser) -> FakeApp:
    return register_app(github, owner)


@pytest.fixture(scope="session")
def installation(github: DemoGitHub, app: FakeApp, owner: FakeUser) -> FakeInstallation:
    return github.install(app, owner)


@pytest.fixture(autouse=True)
def _all_is_well(
    github: DemoGitHub, installation: FakeInstallation, app: FakeApp, time: Time
) -> None:
    github.faults.clear()
    github.limits.windows.clear()
    installation.suspended_at = None
    installation.permissions.clear()
    installation.permissions.update(app.permissions)
    time.waits.clear()


Connect = Callable[[], GitHub]
ConnectAs = Callable[[FakeApp], GitHub]


@pytest.fixture
async def connect_as(github: DemoGitHub, time: Time) -> AsyncIterator[ConnectAs]:
    """Make clients of any App."""
    opened: list[GitHub] = []

    def connect(app: FakeApp) -> GitHub:
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
def connect(connect_as: ConnectAs, app: FakeApp) -> Connect:
    """Make clients that know nothing yet: each call is a process that was just started."""
    return lambda: connect_as(app)


@pytest.fixture
def bot(connect: Connect) -> GitHub:
    """The bot's GitHub client."""
    return connect()


@pytest.fixture
def place(repository: FakeRepository, installation: FakeInstallation) -> Place:
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


@pytest.fixture
def mallory(github: DemoGitHub, repository: FakeRepository) -> FakeUser:
    """A person without any role."""
    return github.create_user(f"mallory-{repository.name}")


@pytest.fixture
def wendy(github: DemoGitHub, repository: FakeRepository) -> FakeUser:
    """A person with write access."""
    user = github.create_user(f"wendy-{repository.name}")
    github.set_collaborator(repository, user.login, "write")
    return user


Person = Callable[[FakeUser, str, dict[str, Any]], Awaitable[Any]]


@pytest.fixture
async def person(github: DemoGitHub, repository: FakeRepository) -> AsyncIterator[Person]:
    """A person posts to a path below the repository's address."""
    async with aiohttp.ClientSession() as web:

        async def post(user: FakeUser, path: str, body: dict[str, Any]) -> Any:
            url = f"{github.url}/api/v3/repos/{repository.full_name}/{path}"
            headers = {"Authorization": f"token {user.token}"}
            async with web.post(url, json=body, headers=headers) as response:
                response.raise_for_status()
                return await response.json()

        yield post


@pytest.fixture(scope="session")
def other_app(github: DemoGitHub, owner: FakeUser) -> tuple[FakeApp, FakeInstallation]:
    """Another App on the same repositories: a CI."""
    ci = github.create_app(
        "other-ci", owner=owner, permissions={"checks": "write", "contents": "read"}, events=[]
    )
    return ci, github.install(ci, owner)
