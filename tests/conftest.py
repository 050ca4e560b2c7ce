"""Fixtures every room's tests share: one demo GitHub per worker, one fresh repository per test.

Nothing of the bot or of the demo GitHub is loaded until a test asks for it: a pure test begins at
once.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import TYPE_CHECKING

import pytest
import structlog

if TYPE_CHECKING:
    from demo.person import Person
    from fakegithub.server import DemoGitHub
    from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository, FakeUser
    from tests.people import People

pytest_plugins = [
    "tests.plugins.chaos",
    "tests.plugins.garbage",
    "tests.plugins.openapi_tally",
    "tests.plugins.properties",
    "tests.plugins.scratch",
    "tests.plugins.shop",
    "tests.plugins.spread",
    "tests.plugins.thorough",
]

# What rooms' tests share says what it expected and saw, as tests do.
pytest.register_assert_rewrite(
    "tests.chaos", "tests.cockpit", "tests.demo", "tests.engine", "tests.git", "tests.local",
    "tests.playbooks", "tests.people", "tests.shop",
)  # fmt: skip

# As in production a traceback is plain. structlog's own way, with every variable of every frame,
# takes a tenth of a second each time, and some tests have the bot fail a hundred times.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(colors=False),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
)

_names = count(1)


@pytest.fixture(scope="session")
async def github() -> AsyncIterator[DemoGitHub]:
    """A GitHub over real HTTP, held to its OpenAPI description where that was downloaded."""
    from fakegithub.server import DemoGitHub
    from tests.people import CONTRACT

    contract = CONTRACT if CONTRACT.exists() else None
    async with DemoGitHub(rng=random.Random(20), contract=contract) as github:  # noqa: S311 - repeatable
        yield github


@pytest.fixture(autouse=True)
def _nothing_goes_wrong_any_more(request: pytest.FixtureRequest) -> Iterator[None]:
    """A fault that a test asked for and that never came does not come to another test."""
    if "github" not in request.fixturenames:
        yield
        return
    github: DemoGitHub = request.getfixturevalue("github")
    yield
    github.faults.rules.clear()
    github.faults.delivery_rules.clear()


@pytest.fixture(scope="session")
def owner(github: DemoGitHub) -> FakeUser:
    """Who owns every fixture repository."""
    from tests.people import OWNER

    return github.create_user(OWNER, organization=True)


@pytest.fixture(scope="session")
def app(github: DemoGitHub, owner: FakeUser) -> FakeApp:
    """The App under test, without a webhook of its own."""
    from tests.people import register_app

    return register_app(github, owner)


@pytest.fixture(scope="session")
def installation(github: DemoGitHub, app: FakeApp, owner: FakeUser) -> FakeInstallation:
    """The App's installation on every fixture repository."""
    return github.install(app, owner)


@pytest.fixture
def repository(
    github: DemoGitHub, owner: FakeUser, installation: FakeInstallation
) -> FakeRepository:
    """A fresh repository with one commit, a README and a source file."""
    del installation
    files = {"README.md": "# Hello\n", "src/app.py": "print('hello')\n"}
    return github.create_repository(owner, f"hello-{next(_names)}", files)


@pytest.fixture
async def people(github: DemoGitHub, repository: FakeRepository) -> AsyncIterator[People]:
    """Makes people (and Apps' hands) at work on the test's repository."""
    from tests.people import People

    people = People(github, repository)
    yield people
    await people.close()


@pytest.fixture
def alice(people: People) -> Person:
    """A maintainer with write access to the test's repository."""
    from fakegithub.world.roles import RoleName

    return people("alice", RoleName.WRITE)


@pytest.fixture
def mona(people: People) -> Person:
    """An administrator of the test's repository."""
    from fakegithub.world.roles import RoleName

    return people("mona", RoleName.ADMIN)


@pytest.fixture
def eve(people: People) -> Person:
    """Someone without any role in the test's repository."""
    from fakegithub.world.roles import RoleName

    return people("eve", RoleName.NONE)
