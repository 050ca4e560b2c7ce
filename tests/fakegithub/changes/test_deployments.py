"""Deployments behave as https://docs.github.com/rest/deployments says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from demo.person import Person, Rejected
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeInstallation, FakeRepository
from fakegithub.world.world import Event
from tests.fakegithub.calling import as_installation
from tests.people import People

NOW = {"auto_merge": False, "required_contexts": []}


@pytest.fixture
def heard(github: DemoGitHub) -> Iterator[list[Event]]:
    events: list[Event] = []
    github.world.listen(events.append)
    yield events
    github.world.listeners.remove(events.append)


async def test_a_deployment_is_made_reported_on_and_told(alice: Person, heard: list[Event]) -> None:
    head = await alice.head("main")
    made = await alice.deploy(head, "pr-1")
    await alice.deployed(made, "in_progress", log_url="https://ci.example/1")
    await alice.deployed(made, "success", environment_url="https://pr-1.example/")
    [known] = await alice.get("deployments", sha=head, environment="pr-1")
    assert (known["id"], known["sha"], known["transient_environment"]) == (made, head, True)
    newest, first = await alice.get(f"deployments/{made}/statuses")
    assert (newest["state"], newest["environment_url"]) == ("success", "https://pr-1.example/")
    assert (first["state"], first["log_url"]) == ("in_progress", "https://ci.example/1")
    assert await alice.get("deployments", sha="0" * 40) == []
    told = [(event.name, event.action) for event in heard]
    assert told == [("deployment", "created")] + [("deployment_status", "created")] * 2
    assert heard[-1].payload["deployment"]["sha"] == head


async def _newest_state(alice: Person, deployment: int) -> Any:
    return (await alice.get(f"deployments/{deployment}/statuses"))[0]["state"]


async def test_a_success_makes_the_one_before_it_inactive_unless_environments_are_their_own(
    alice: Person,
) -> None:
    head = await alice.head("main")
    staging = [await alice.deploy(head, "staging", transient=False) for _ in range(2)]
    own = [await alice.deploy(head, "pr-1") for _ in range(2)]
    for each in (*staging, *own):
        await alice.deployed(each, "success")
    assert [await _newest_state(alice, each) for each in staging] == ["inactive", "success"]
    assert [await _newest_state(alice, each) for each in own] == ["success", "success"]


async def test_without_being_told_otherwise_every_status_has_to_be_a_success(
    alice: Person,
) -> None:
    head = await alice.head("main")
    await alice.set_status(head, "pending", "ci")
    with pytest.raises(Rejected, match=r"409.*Commit status checks failed"):
        await alice.post("deployments", ref="main", auto_merge=False)
    await alice.set_status(head, "success", "ci")
    made = await alice.post("deployments", ref="main", auto_merge=False)
    assert (made["sha"], made["environment"], made["production_environment"]) == (
        head,
        "production",
        True,
    )


@pytest.mark.parametrize(
    "wrong", [{"state": "done"}, {"state": "success", "description": "x" * 141}]
)
async def test_a_wrong_status_is_refused(alice: Person, wrong: dict[str, str]) -> None:
    made = await alice.deploy(await alice.head("main"), "preview")
    with pytest.raises(Rejected, match="422"):
        await alice.post(f"deployments/{made}/statuses", **wrong)


async def test_what_does_not_exist_is_not_found(alice: Person) -> None:
    with pytest.raises(Rejected, match=r"422.*No ref found"):
        await alice.post("deployments", ref="nowhere", **NOW)
    with pytest.raises(Rejected, match="404"):
        await alice.get("deployments/1/statuses")


async def test_an_app_needs_the_permission(
    github: DemoGitHub, installation: FakeInstallation, repository: FakeRepository, people: People
) -> None:
    caller = as_installation(github, installation, repository)
    assert (await caller.get("./deployments")).status == 200
    refused = await caller.post("./deployments", {"ref": "main", **NOW})
    assert refused.status == 403
    blind = people.installed(installation, {"contents": "read"})
    with pytest.raises(Rejected, match="403"):
        await blind.get("deployments")
