"""The bot at work on the demo GitHub, one per worker, and a fresh shop for each test.

What they are stands in `tests/shop.py`, which loads the whole bot: only once a test asks for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bot.app import Bot
    from fakegithub.server import DemoGitHub
    from fakegithub.world.model import FakeApp, FakeInstallation, FakeUser
    from tests.looks import Looks
    from tests.shop import Clock, Shop


@pytest.fixture(scope="session")
def acme(github: DemoGitHub) -> FakeUser:
    """The organization whose repositories the bot serves."""
    return github.create_user("acme", organization=True)


@pytest.fixture(scope="session")
def playbooks_app(github: DemoGitHub, acme: FakeUser) -> FakeApp:
    """The App the bot runs as."""
    from tests.shop import register_playbooks

    return register_playbooks(github, acme)


@pytest.fixture(scope="session")
def staff(github: DemoGitHub) -> dict[str, FakeUser]:
    """Olivia administers, Alice maintains, Bob writes, Mallory only reads."""
    return {name: github.create_user(name) for name in ("olivia", "alice", "bob", "mallory")}


@pytest.fixture(scope="session")
def ci_app(github: DemoGitHub, acme: FakeUser) -> FakeInstallation:
    """Another App that reports check-runs, as hosted CI services do."""
    app = github.create_app("ci", owner=acme, permissions={"checks": "write"}, events=[])
    return github.install(app, acme)


@pytest.fixture(scope="session")
def clock() -> Clock:
    """The clock of the bot under test."""
    from tests.shop import Clock

    return Clock()


@pytest.fixture(scope="session")
def looks() -> Looks:
    """What the Runs of the bot under test do."""
    from tests.looks import Looks

    return Looks()


@pytest.fixture(scope="session")
async def bot(
    github: DemoGitHub,
    playbooks_app: FakeApp,
    tmp_path_factory: pytest.TempPathFactory,
    clock: Clock,
    looks: Looks,
) -> AsyncIterator[Bot]:
    """The whole bot, listening on loopback."""
    from tests.shop import open_bot

    async with open_bot(github, playbooks_app, tmp_path_factory.mktemp("bot"), clock, looks) as bot:
        yield bot


@pytest.fixture
async def shop(
    github: DemoGitHub,
    bot: Bot,
    looks: Looks,
    clock: Clock,
    acme: FakeUser,
    staff: dict[str, FakeUser],
    ci_app: FakeInstallation,
) -> AsyncIterator[Shop]:
    """A shop on a green main, with two people who may write and one who may not."""
    from tests.shop import open_shop

    async with open_shop(bot, github, looks, clock, acme, staff, ci_app) as shop:
        yield shop
