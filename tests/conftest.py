"""Fixtures every room's tests share: one demo GitHub per worker, one fresh repository per test."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest

from bot.demo.model import App, Installation, Repository, User
from bot.demo.server import DemoGitHub

PERMISSIONS = {
    "actions": "write",
    "administration": "read",
    "checks": "write",
    "contents": "write",
    "issues": "write",
    "members": "read",
    "merge_queues": "read",
    "metadata": "read",
    "pull_requests": "write",
    "statuses": "read",
}
EVENTS = [
    "check_run", "check_suite", "issue_comment", "issues", "merge_group", "pull_request",
    "pull_request_review", "pull_request_review_comment", "push", "status", "workflow_run",
]  # fmt: skip
CONTRACT = Path(__file__).parent.parent / ".cache" / "contracts" / "api.github.com.json"

pytest_plugins = ["tests.plugins.openapi_tally"]

_names = count(1)


@pytest.fixture(scope="session")
async def github() -> AsyncIterator[DemoGitHub]:
    """A GitHub over real HTTP, held to its OpenAPI description where that was downloaded."""
    contract = CONTRACT if CONTRACT.exists() else None
    async with DemoGitHub(rng=random.Random(20), contract=contract) as github:  # noqa: S311 - repeatable
        yield github


@pytest.fixture(scope="session")
def owner(github: DemoGitHub) -> User:
    """Who owns every fixture repository."""
    return github.create_user("octo-org", organization=True)


@pytest.fixture(scope="session")
def app(github: DemoGitHub, owner: User) -> App:
    """The App under test, without a webhook of its own."""
    return github.create_app(
        "incident-playbooks", owner=owner, permissions=PERMISSIONS, events=EVENTS
    )


@pytest.fixture(scope="session")
def installation(github: DemoGitHub, app: App, owner: User) -> Installation:
    """The App's installation on every fixture repository."""
    return github.install(app, owner)


@pytest.fixture
def repository(github: DemoGitHub, owner: User, installation: Installation) -> Repository:
    """A fresh repository with one commit, a README and a source file."""
    del installation
    files = {"README.md": "# Hello\n", "src/app.py": "print('hello')\n"}
    return github.create_repository(owner, f"hello-{next(_names)}", files)
