"""Check-runs and statuses behave as https://docs.github.com/rest/checks says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from demo.person import Person
from fakegithub.access.answers import RequestRefused
from fakegithub.changes import checks
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository, FakeUser
from fakegithub.world.world import Event
from tests.fakegithub.calling import Caller, as_installation, as_person

TAKEN = {"label": "Cancel", "description": "Stop the search", "identifier": "cancel"}


@pytest.fixture
def bot(github: DemoGitHub, installation: FakeInstallation, repository: FakeRepository) -> Caller:
    return as_installation(github, installation, repository)


@pytest.fixture
def head(repository: FakeRepository) -> str:
    sha = repository.git.branch("main")
    assert sha is not None
    return sha


@pytest.fixture(scope="module")
def other_app(github: DemoGitHub, owner: FakeUser) -> tuple[FakeApp, FakeInstallation]:
    permissions = {"checks": "write", "statuses": "write"}
    app = github.create_app("other-ci", owner=owner, permissions=permissions, events=[])
    return app, github.install(app, owner)


@pytest.fixture
def heard(github: DemoGitHub) -> Iterator[list[Event]]:
    events: list[Event] = []
    github.world.listen(events.append)
    yield events
    github.world.listeners.remove(events.append)


def names(events: list[Event]) -> list[str]:
    return [f"{e.name}.{e.action}" if e.action else e.name for e in events]


async def begin(bot: Caller, head: str, **more: Any) -> dict[str, Any]:
    reply = await bot.post("./check-runs", {"name": "hotfix", "head_sha": head, **more})
    assert reply.status == 201, reply.body
    return dict(reply.body)


async def test_a_check_is_begun_completed_and_told(
    bot: Caller, head: str, heard: list[Event]
) -> None:
    made = await begin(bot, head, status="in_progress", external_id="run-1")
    assert (made["status"], made["conclusion"], made["external_id"]) == (
        "in_progress", None, "run-1",
    )  # fmt: skip
    output = {"title": "Green", "summary": "All good", "text": "Details"}
    done = await bot.patch(
        f"./check-runs/{made['id']}", {"conclusion": "success", "output": output}
    )
    assert done.body["status"] == "completed"
    assert done.body["completed_at"]
    assert done.body["output"]["title"] == "Green"
    assert names(heard) == ["check_run.created", "check_run.completed", "check_suite.completed"]


async def test_only_its_own_app_may_change_a_check(
    github: DemoGitHub, bot: Caller, head: str, repository: FakeRepository,
    other_app: tuple[FakeApp, FakeInstallation],
) -> None:  # fmt: skip
    made = await begin(bot, head)
    other = as_installation(github, other_app[1], repository)
    reply = await other.patch(f"./check-runs/{made['id']}", {"conclusion": "success"})
    assert reply.status == 403
    assert "can only be modified by the GitHub App that created it" in reply.body["message"]


async def test_a_person_cannot_write_checks(
    github: DemoGitHub, repository: FakeRepository, head: str
) -> None:
    person = github.create_user("checks-person")
    github.set_collaborator(repository, person.login, "admin")
    reply = await as_person(github, person, repository).post(
        "./check-runs", {"name": "x", "head_sha": head}
    )
    assert reply.status == 403


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"head_sha": "0" * 40}, id="unknown commit"),
        pytest.param({"name": ""}, id="no name"),
        pytest.param({"status": "completed"}, id="completed without a conclusion"),
        pytest.param({"actions": [TAKEN] * 4}, id="four actions"),
        pytest.param({"actions": [TAKEN | {"label": "x" * 21}]}, id="a label of 21 characters"),
        pytest.param({"output": {"title": "t", "summary": "x" * 65_536}}, id="a summary of 65,536"),
        pytest.param({"output": {"summary": "no title"}}, id="a summary without a title"),
    ],
)
async def test_a_wrong_check_is_refused(bot: Caller, head: str, wrong: dict[str, Any]) -> None:
    body = {"name": "hotfix", "head_sha": head, **wrong}
    assert (await bot.post("./check-runs", body)).status == 422


async def test_the_latest_run_of_a_name_hides_the_earlier_ones(bot: Caller, head: str) -> None:
    first = await begin(bot, head, conclusion="failure")
    second = await begin(bot, head, conclusion="success")
    await begin(bot, head, name="bisect")
    path = f"./commits/{head}/check-runs"
    listed = (await bot.get(path, check_name="hotfix")).body
    assert [run["id"] for run in listed["check_runs"]] == [second["id"]]
    everything = (await bot.get(path, check_name="hotfix", filter="all")).body
    assert [run["id"] for run in everything["check_runs"]] == [second["id"], first["id"]]
    assert (await bot.get("./commits/main/check-runs")).body["total_count"] == 2


async def test_buttons_and_rerequests_reach_only_the_checks_app(
    github: DemoGitHub, bot: Caller, head: str, repository: FakeRepository, owner: FakeUser,
    app: FakeApp, heard: list[Event],
) -> None:  # fmt: skip
    made = await begin(bot, head, actions=[TAKEN])
    run = repository.check_runs[made["id"]]
    heard.clear()
    checks.press(github.world, repository, run, "cancel", owner)
    assert heard[0].payload["requested_action"] == {"identifier": "cancel"}
    assert heard[0].only_app is app
    with pytest.raises(RequestRefused):
        checks.press(github.world, repository, run, "no such button", owner)
    assert (await bot.post(f"./check-runs/{made['id']}/rerequest")).status == 201
    assert (heard[1].action, heard[1].only_app) == ("rerequested", app)


async def test_annotations_add_up(bot: Caller, head: str) -> None:
    note = {
        "path": "src/app.py", "start_line": 1, "end_line": 1, "annotation_level": "warning",
        "message": "look here",
    }  # fmt: skip
    output = {"title": "t", "summary": "s", "annotations": [note]}
    made = await begin(bot, head, output=output)
    changed = await bot.patch(f"./check-runs/{made['id']}", {"output": output})
    assert changed.body["output"]["annotations_count"] == 2
    listed = (await bot.get(f"./check-runs/{made['id']}/annotations")).body
    assert [entry["message"] for entry in listed] == ["look here", "look here"]
    too_many = {"output": output | {"annotations": [note] * 51}}
    assert (await bot.patch(f"./check-runs/{made['id']}", too_many)).status == 422


async def test_a_suite_ends_with_its_worst_run(bot: Caller, head: str) -> None:
    await begin(bot, head, name="one", conclusion="neutral")
    await begin(bot, head, name="two", conclusion="failure")
    suite = (await bot.get(f"./commits/{head}/check-suites")).body["check_suites"][0]
    assert (suite["status"], suite["conclusion"]) == ("completed", "failure")
    runs = (await bot.get(f"./check-suites/{suite['id']}/check-runs")).body
    assert runs["total_count"] == 2
    assert (await bot.get(f"./check-suites/{suite['id']}")).body["id"] == suite["id"]
    assert (await bot.post(f"./check-suites/{suite['id']}/rerequest")).status == 201


async def test_the_newest_status_of_each_context_counts(
    github: DemoGitHub, bot: Caller, head: str, repository: FakeRepository, heard: list[Event]
) -> None:
    ci = github.create_user(f"ci-{repository.name}")
    github.set_collaborator(repository, ci.login, "write")
    person = as_person(github, ci, repository)
    for state in ("failure", "success"):
        report = {"state": state, "context": "ci/outside", "description": "tests"}
        assert (await person.post(f"./statuses/{head}", report)).status == 201
    combined = (await bot.get(f"./commits/{head}/status")).body
    assert (combined["state"], combined["total_count"]) == ("success", 1)
    assert len((await bot.get(f"./commits/{head}/statuses")).body) == 2
    assert names(heard) == ["status", "status"]
    assert (await person.post(f"./statuses/{head}", {"state": "great"})).status == 422


async def test_without_any_status_a_commit_is_pending(bot: Caller, head: str) -> None:
    assert (await bot.get(f"./commits/{head}/status")).body["state"] == "pending"


async def test_one_name_may_stand_cancelled_in_one_suite_and_passed_in_a_newer_one(
    github: DemoGitHub, repository: FakeRepository, app: FakeApp, alice: Person
) -> None:
    """https://docs.github.com/rest/checks/runs#list-check-runs-for-a-git-reference."""
    sha = await alice.head("main")
    cancelled = github.report_check(repository, app, sha, "unit", "cancelled")
    passed = github.report_check(repository, app, sha, "unit", "success")
    assert cancelled.suite is not passed.suite
    for how in ("latest", "all"):
        runs = (await alice.get(f"commits/{sha}/check-runs", filter=how))["check_runs"]
        assert [(run["id"], run["conclusion"]) for run in runs] == [
            (passed.id, "success"), (cancelled.id, "cancelled"),
        ]  # fmt: skip
    suites = (await alice.get(f"commits/{sha}/check-suites"))["check_suites"]
    assert {suite["conclusion"] for suite in suites} == {"cancelled", "success"}
    # In one suite the newer run takes the place of the older one.
    github.report_check(repository, app, sha, "unit", "failure", suite=passed.suite)
    runs = (await alice.get(f"commits/{sha}/check-runs"))["check_runs"]
    assert [run["conclusion"] for run in runs] == ["failure", "cancelled"]
