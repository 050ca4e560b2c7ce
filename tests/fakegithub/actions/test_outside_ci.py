"""The CI of the shop under test, and how Actions says the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository, FakeUser
from tests.outside_ci import OutsideCi
from tests.people import People


@dataclass
class Watched:
    repository: FakeRepository
    alice: Person
    ci: Person
    verdicts: dict[str, str] = field(default_factory=dict)
    deploys: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, list[str]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
async def watched(
    github: DemoGitHub, repository: FakeRepository, owner: FakeUser, people: People, alice: Person
) -> AsyncIterator[Watched]:
    known = next((app for app in github.world.apps.values() if app.slug == "outside-ci"), None)
    app = known or github.create_app(
        "outside-ci", owner=owner, permissions={"checks": "write"}, events=[]
    )
    installation = github.world.installation_of(app, repository) or github.install(app, owner)
    watched = Watched(repository, alice, people.installed(installation))
    ci = OutsideCi(watched)
    github.world.listen(ci.hear)
    yield watched
    ci.stop()
    github.world.listeners.remove(ci.hear)


async def _settled(watched: Watched, sha: str, name: str, wanted: str) -> None:
    async with asyncio.timeout(20):
        while True:
            found = await watched.alice.check_runs(sha)
            for status in await watched.alice.get(f"commits/{sha}/statuses"):
                found.setdefault(status["context"], status["state"])
            if found.get(name) == wanted:
                return
            await asyncio.sleep(0.02)


async def test_a_deployment_reports_on_the_default_branch_only(watched: Watched) -> None:
    watched.verdicts["smoke"] = "success"
    watched.deploys["deploy"] = "success"
    landed = await watched.alice.push("main", {"a": "1"}, "Landed")
    await _settled(watched, landed, "deploy", "success")
    proposed = await watched.alice.push("topic", {"a": "2"}, "Proposed")
    await _settled(watched, proposed, "smoke", "success")
    statuses = await watched.alice.get(f"commits/{proposed}/statuses")
    assert [status["context"] for status in statuses] == ["smoke"]


async def test_a_check_may_fail_once_by_chance_and_pass_when_run_again(
    watched: Watched, bot: Person
) -> None:
    watched.attempts["unit"] = ["failure", "success"]
    landed = await watched.alice.push("main", {"a": "1"}, "Landed")
    await _settled(watched, landed, "unit", "success")
    proposed = await watched.alice.push("topic", {"a": "2"}, "Proposed")
    await _settled(watched, proposed, "unit", "failure")
    for _ in range(2):
        runs = await bot.get(f"commits/{proposed}/check-runs")
        await bot.post(f"check-runs/{runs['check_runs'][0]['id']}/rerequest")
        await _settled(watched, proposed, "unit", "success")


_DEPLOY = """on:
  push:
    branches: [main]
jobs:
  deploy:
    steps:
      - run: 'true'
"""
_FLAKY = """on: [pull_request]
jobs:
  unit:
    steps:
      - run: test "$GITHUB_RUN_ATTEMPT" != 1
"""


async def test_actions_deploys_from_main_only_and_fails_once_by_chance(
    github: DemoGitHub, alice: Person
) -> None:
    files = {".github/workflows/deploy.yml": _DEPLOY, ".github/workflows/unit.yml": _FLAKY}
    landed = await alice.push("main", files, "Workflows")
    number = await alice.open_pull_request("One", {"a": "1"}, branch="one")
    await github.runner.settle()
    head = (await alice.pull_request(number))["head"]["sha"]
    assert await alice.check_runs(landed) == {"deploy": "success"}
    assert await alice.check_runs(head) == {"unit": "failure"}
    (run,) = (await alice.get(f"commits/{head}/check-runs"))["check_runs"]
    await alice.post(f"actions/jobs/{run['id']}/rerun")
    await github.runner.settle()
    assert await alice.check_runs(head) == {"unit": "success"}
