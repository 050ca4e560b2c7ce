"""The App under test, and the people at work on a test's repository."""

from __future__ import annotations

from pathlib import Path

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

OWNER = "octo-org"


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
