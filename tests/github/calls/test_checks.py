"""Check-runs are reported exactly once; every result on a commit is read, whoever reported it."""

from __future__ import annotations

import pytest

from bot.github.calls.checks import Button, CheckReport
from bot.github.client import RepositoryClient
from bot.github.errors import Forbidden
from bot.github.markers import CHECK_TEXT_LIMIT, byte_size
from bot.github.models import CheckKind, CheckRun
from bot.triggers import Repository as Place
from fakegithub.faults.request_faults import Drop, FailAfter
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository, FakeUser
from tests.github.conftest import ConnectAs, Person


async def report(client: RepositoryClient, sha: str, *, again: bool = False) -> CheckRun:
    return await client.checks.ensure_check_run(
        head_sha=sha,
        name="hotfix",
        external_id="01j",
        report=CheckReport("Waiting for checks", "Two to go."),
        look_first=again,
    )


@pytest.fixture
def head(repository: FakeRepository, github: DemoGitHub) -> str:
    return github.commit(repository, {"a.txt": "a\n"}, "Add a")


async def test_a_check_run_is_reported_once_and_then_updated(
    client: RepositoryClient, repository: FakeRepository, head: str
) -> None:
    run = await report(client, head)
    assert (run.status, run.conclusion, run.external_id) == ("in_progress", None, "01j")
    assert (await report(client, head, again=True)).id == run.id
    for _ in range(2):
        done = await client.checks.update(
            run.id,
            CheckReport(
                title="Green",
                summary="s" * 70_000,
                conclusion="success",
                buttons=[Button("Approve it", "d" * 40, "approve")],
            ),
        )
        assert done.conclusion == "success"
    assert (await client.checks.get(run.id)).output.title == "Green"
    stored = repository.check_runs[run.id]
    assert byte_size(stored.output["summary"]) <= CHECK_TEXT_LIMIT
    assert stored.actions[0]["label"] == "Approve it"
    assert len(repository.check_runs) == 1


@pytest.mark.parametrize("fault", [FailAfter(502), Drop()], ids=repr)
async def test_a_lost_answer_leaves_exactly_one_check_run(
    client: RepositoryClient,
    github: DemoGitHub,
    repository: FakeRepository,
    head: str,
    fault: FailAfter,
) -> None:
    github.faults.add(fault, method="POST", path=r"/check-runs$")
    github.faults.lag.seconds = 3
    await report(client, head)
    assert len(repository.check_runs) == 1


async def test_what_it_says_is_changed_where_it_is_known_or_found(
    client: RepositoryClient, repository: FakeRepository, head: str
) -> None:
    async def says(title: str, known: int | None, *, look_first: bool) -> int:
        return await client.checks.ensure_reported(
            known,
            head_sha=head,
            name="hotfix",
            external_id="01j",
            report=CheckReport(title, "s"),
            look_first=look_first,
        )

    first = await says("one", None, look_first=False)
    assert await says("two", first, look_first=False) == first
    assert repository.check_runs[first].output["title"] == "two"
    assert await says("three", None, look_first=True) == first
    assert repository.check_runs[first].output["title"] == "three"


def test_a_fourth_button_is_refused() -> None:
    with pytest.raises(ValueError, match="3 buttons"):
        CheckReport("x", "y", buttons=[Button("a", "b", "c")] * 4)


async def test_results_are_read_from_check_runs_and_statuses_alike(
    client: RepositoryClient,
    head: str,
    other_app: tuple[FakeApp, FakeInstallation],
    connect_as: ConnectAs,
    place: Place,
    person: Person,
    wendy: FakeUser,
) -> None:
    ci, installed = other_app
    theirs = connect_as(ci).repository(
        place.model_copy(update={"installation_id": installed.id}), playbook="ci"
    )
    await theirs.checks.ensure_check_run(
        head_sha=head,
        name="smoke",
        external_id="7",
        report=CheckReport("red", "boom", "failure"),
        look_first=False,
    )
    for state in ("pending", "error"):
        await person(wendy, f"statuses/{head}", {"state": state, "context": "evals"})
    await report(client, head)
    results = {result.name: result for result in await client.checks.results(head)}
    assert set(results) == {"smoke", "evals", "hotfix"}
    smoke, evals = results["smoke"], results["evals"]
    assert (smoke.kind, smoke.app_id, smoke.app_slug) == (CheckKind.CHECK_RUN, ci.id, ci.slug)
    assert (smoke.conclusion, smoke.is_completed, smoke.is_passed) == ("failure", True, False)
    assert (evals.kind, evals.conclusion, evals.is_completed) == (
        CheckKind.STATUS,
        "failure",
        True,
    )
    assert not results["hotfix"].is_completed
    assert {result.name for result in await client.checks.results("main")} == set(results)
    with pytest.raises(Forbidden):
        await client.checks.update(smoke.id, CheckReport("x", "y"))
    with pytest.raises(ValueError, match="evals"):
        await client.checks.rerun(evals)


async def test_another_apps_check_run_with_our_external_id_is_not_ours(
    client: RepositoryClient,
    repository: FakeRepository,
    head: str,
    other_app: tuple[FakeApp, FakeInstallation],
    connect_as: ConnectAs,
    place: Place,
) -> None:
    ci, installed = other_app
    theirs = connect_as(ci).repository(
        place.model_copy(update={"installation_id": installed.id}), playbook="ci"
    )
    copied = await report(theirs, head)
    ours = await report(client, head, again=True)
    assert ours.id != copied.id
    assert len(repository.check_runs) == 2
