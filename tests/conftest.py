"""Fixtures every room's tests share: one demo GitHub per worker, one fresh repository per test."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
import structlog

from demo.person import Person
from fakegithub.access.credentials import issue_token
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository, FakeUser
from fakegithub.world.roles import RoleName

PERMISSIONS = {
    "actions": "write",
    "administration": "read",
    "checks": "write",
    "contents": "write",
    "deployments": "read",
    "issues": "write",
    "members": "read",
    "merge_queues": "read",
    "metadata": "read",
    "pull_requests": "write",
    "statuses": "read",
}
EVENTS = [
    "check_run", "check_suite", "deployment_status", "issue_comment", "issues", "merge_group",
    "pull_request", "pull_request_review", "pull_request_review_comment", "push", "status",
    "workflow_run",
]  # fmt: skip
CONTRACT = Path(__file__).parent.parent / ".cache" / "contracts" / "api.github.com.json"

pytest_plugins = [
    "tests.plugins.chaos",
    "tests.plugins.openapi_tally",
    "tests.plugins.properties",
    "tests.plugins.scratch",
    "tests.plugins.spread",
    "tests.plugins.thorough",
    "tests.shop",
]

# What rooms' tests share says what it expected and saw, as tests do.
pytest.register_assert_rewrite(
    "tests.chaos", "tests.cockpit", "tests.demo", "tests.engine", "tests.git", "tests.local",
    "tests.playbooks",
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
    ]
)

OWNER = "octo-org"

_names = count(1)


def register_app(github: DemoGitHub, owner: FakeUser) -> FakeApp:
    """The App under test. A room with a GitHub of its own needs owner, App and installation too."""
    return github.create_app(
        "incident-playbooks", owner=owner, permissions=PERMISSIONS, events=EVENTS
    )


class People:
    """People with a role in one repository: `people("alice", RoleName.WRITE)`."""

    def __init__(self, github: DemoGitHub, repository: FakeRepository) -> None:
        self._github, self._repository = github, repository
        self._made: list[Person] = []

    def __call__(self, login: str, role: RoleName) -> Person:
        user = self._github.world.users.get(login) or self._github.create_user(login)
        if role is not RoleName.NONE:
            self._github.set_collaborator(self._repository, login, role)
        return self._person(user.token)

    def installed(
        self, installation: FakeInstallation, permissions: dict[str, str] | None = None
    ) -> Person:
        """An App's hands, with (fewer) permissions."""
        return self._person(issue_token(self._github.world, installation, permissions).token)

    def _person(self, token: str) -> Person:
        person = Person(self._github.url, token, self._repository.full_name)
        self._made.append(person)
        return person

    async def close(self) -> None:
        for person in self._made:
            await person.close()


@pytest.fixture(scope="session")
async def github() -> AsyncIterator[DemoGitHub]:
    """A GitHub over real HTTP, held to its OpenAPI description where that was downloaded."""
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
    return github.create_user(OWNER, organization=True)


@pytest.fixture(scope="session")
def app(github: DemoGitHub, owner: FakeUser) -> FakeApp:
    """The App under test, without a webhook of its own."""
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
    people = People(github, repository)
    yield people
    await people.close()


@pytest.fixture
def alice(people: People) -> Person:
    """A maintainer with write access to the test's repository."""
    return people("alice", RoleName.WRITE)


@pytest.fixture
def mona(people: People) -> Person:
    """An administrator of the test's repository."""
    return people("mona", RoleName.ADMIN)


@pytest.fixture
def eve(people: People) -> Person:
    """Someone without any role in the test's repository."""
    return people("eve", RoleName.NONE)
