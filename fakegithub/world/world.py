"""The demo GitHub's whole state, and the one place where its events come from.

Handlers change the world synchronously, so each request is atomic. Whoever wants to know what
happened (webhook deliveries, the workflow runner) listens; nobody else calls them.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fakegithub.world.model import (
    AppUserToken,
    Authorization,
    FakeApp,
    FakeCheckRun,
    FakeInstallation,
    FakeInstallationToken,
    FakeIssue,
    FakeRepository,
    FakeUser,
    PendingApp,
)

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Event:
    """Something that happened, in the shape of a webhook.

    `payload` has everything but `installation`, which each delivery adds for its receiver.
    `only_app` narrows the receivers to one App (check-run buttons, re-requests).
    `subjects` are the records behind the payload, for listeners inside the process.
    """

    name: str
    payload: dict[str, Any]
    repository: FakeRepository | None = None
    installation: FakeInstallation | None = None
    only_app: FakeApp | None = None
    subjects: tuple[object, ...] = ()

    @property
    def action(self) -> str | None:
        """The payload's `action`, which some events (push, status) lack."""
        action = self.payload.get("action")
        return action if isinstance(action, str) else None


Listener = Callable[[Event], None]
Envelope = Callable[["World", FakeRepository | None, FakeUser], dict[str, Any]]
"""What every payload carries beside what happened: where it happened, and who did it."""


@dataclass(eq=False)
class World:
    """Users, Apps, installations and repositories.

    Clock, randomness, and what every payload carries come from outside.
    """

    root: Path
    url: str
    clock: Clock
    rng: random.Random
    envelope: Envelope
    users: dict[str, FakeUser] = field(default_factory=dict)
    apps: dict[int, FakeApp] = field(default_factory=dict)
    installations: dict[int, FakeInstallation] = field(default_factory=dict)
    repositories: dict[int, FakeRepository] = field(default_factory=dict)
    renamed: dict[str, int] = field(default_factory=dict)
    user_tokens: dict[str, FakeUser] = field(default_factory=dict)
    installation_tokens: dict[str, FakeInstallationToken] = field(default_factory=dict)
    authorizations: dict[str, Authorization] = field(default_factory=dict)
    app_user_tokens: dict[str, AppUserToken] = field(default_factory=dict)
    pending_apps: dict[str, PendingApp] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    last_id: int = 1000
    commits_do_as_trees: bool = False
    """Take a commit where a tree is described: GitHub does, and older bots relied on it."""

    # Addresses

    @property
    def api(self) -> str:
        """Root of the REST API, as on GitHub Enterprise Server."""
        return f"{self.url}/api/v3"

    # Time, ids, secrets

    def now(self) -> datetime:
        """The current time, whole seconds, UTC: GitHub's API knows no smaller unit."""
        return self.clock().astimezone(UTC).replace(microsecond=0)

    def new_id(self) -> int:
        """An id never used before, of any kind of object."""
        self.last_id += 1
        return self.last_id

    def new_secret(self, prefix: str) -> str:
        """A random credential such as `ghs_…`."""
        letters = string.ascii_letters + string.digits
        return prefix + "".join(self.rng.choices(letters, k=36))

    # Events

    def listen(self, listener: Listener) -> None:
        """Have `listener` called, in order, with every event."""
        self.listeners.append(listener)

    def emit(
        self,
        name: str,
        action: str | None,
        payload: dict[str, Any],
        *,
        repository: FakeRepository | None = None,
        sender: FakeUser,
        installation: FakeInstallation | None = None,
        only_app: FakeApp | None = None,
        subjects: tuple[object, ...] = (),
    ) -> Event:
        """Tell every listener that something happened; returns the event as told."""
        whole: dict[str, Any] = {} if action is None else {"action": action}
        # What a payload says of its repository itself stands: a push shows it in a form of its own.
        whole |= self.envelope(self, repository, sender) | payload
        event = Event(name, whole, repository, installation, only_app, subjects)
        for listener in list(self.listeners):
            listener(event)
        return event

    # Finding

    def repository(self, owner: str, name: str) -> FakeRepository | None:
        """The repository with this (or a former) name, in any letter case."""
        owner, name = owner.lower(), name.lower()
        for repository in self.repositories.values():
            if repository.name.lower() == name and repository.owner.login.lower() == owner:
                return repository
        former = self.renamed.get(f"{owner}/{name}")
        return self.repositories.get(former) if former is not None else None

    def installations_on(self, repository: FakeRepository) -> Iterator[FakeInstallation]:
        """Every active installation that can see `repository`."""
        for installation in self.installations.values():
            if installation.suspended_at is None and covers(installation, repository):
                yield installation

    def installation_of(self, app: FakeApp, repository: FakeRepository) -> FakeInstallation | None:
        """The installation by which `app` sees `repository`."""
        return next((i for i in self.installations_on(repository) if i.app is app), None)

    def check_runs(self, repository: FakeRepository, sha: str) -> list[FakeCheckRun]:
        """The latest check-run of each name in each suite of a commit: `filter=latest`."""
        latest: dict[tuple[int, str], FakeCheckRun] = {}
        for run in repository.check_runs.values():
            if run.head_sha == sha:
                latest[run.suite.id, run.name] = run
        return list(latest.values())

    def open_pulls(self, repository: FakeRepository) -> list[FakeIssue]:
        """Open pull requests, oldest first."""
        return [i for i in repository.issues.values() if i.pull and i.state == "open"]


def covers(installation: FakeInstallation, repository: FakeRepository) -> bool:
    """Tell whether `installation` includes `repository`."""
    if installation.account is not repository.owner:
        return False
    return installation.repositories is None or repository.id in installation.repositories


def timestamp(moment: datetime) -> str:
    """GitHub's form of a time: `2025-01-31T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node_id(kind: str, number: int | str) -> str:
    """An opaque GraphQL id that `node_key` can read back."""
    return base64.urlsafe_b64encode(f"{kind}:{number}".encode()).decode().rstrip("=")


def node_key(node: str) -> tuple[str, str]:
    """Kind and id inside a GraphQL id made by `node_id`; ("", "") for anything else."""
    try:
        text = base64.urlsafe_b64decode(node + "=" * (-len(node) % 4)).decode()
    except ValueError:
        return "", ""
    kind, _, key = text.partition(":")
    return kind, key
