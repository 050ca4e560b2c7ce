"""Older releases of GitHub Enterprise Server: what they do not know is done without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import Unprocessable
from bot.github.releases import ACTIVITY, BELIEVED_SECONDS, RULESETS, RUN_DETAILS
from bot.triggers import Repository as Place
from fakegithub.faults.faults import FaultRule
from fakegithub.faults.request_faults import FailAfter, Slow
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from tests.github.conftest import Time

TRIAL = """name: trial
run-name: trial ${{ inputs.trial_id }}
on:
  workflow_dispatch:
    inputs:
      trial_id: {required: true}
jobs:
  smoke:
    steps:
      - run: "true"
"""
OLD, NEW = (3, 18), (3, 20)


@pytest.fixture
def trial(github: DemoGitHub, repository: FakeRepository) -> str:
    """A workflow whose runs are titled by their trial."""
    github.commit(repository, {".github/workflows/trial.yml": TRIAL}, "Trials")
    return "trial.yml"


Dispatch = Callable[..., Awaitable[int]]


@pytest.fixture
def dispatch(client: RepositoryClient, trial: str, time: Time) -> Dispatch:
    """The bot dispatches a trial."""
    began = time.moment() - timedelta(minutes=1)

    async def dispatch(
        name: str, *, look_first: bool = False, by: RepositoryClient = client
    ) -> int:
        return await by.workflows.ensure_dispatched(
            trial,
            ref="main",
            inputs={"trial_id": name},
            title=name,
            since=began,
            look_first=look_first,
        )

    return dispatch


def titles(github: DemoGitHub, repository: FakeRepository) -> dict[int, str]:
    runs = github.runner.runs.values()
    return {run.id: run.title for run in runs if run.repository is repository}


def counted(github: DemoGitHub) -> FaultRule:
    """Counts how often GitHub is asked for a dispatch, also where it refuses."""
    return github.faults.add(Slow(0), method="POST", path="/dispatches$", times=None)


async def test_a_run_is_found_by_its_title_where_github_tells_no_id(
    github: DemoGitHub, repository: FakeRepository, dispatch: Dispatch
) -> None:
    repository.ghes = OLD
    first, second = await dispatch("one"), await dispatch("two")
    assert titles(github, repository) == {first: "trial one", second: "trial two"}
    # Begun again after a crash it is found, and not dispatched anew.
    assert await dispatch("one", look_first=True) == first
    assert len(titles(github, repository)) == 2


async def test_a_run_that_is_listed_late_is_waited_for(
    github: DemoGitHub, repository: FakeRepository, dispatch: Dispatch
) -> None:
    repository.ghes = OLD
    github.faults.lag.seconds = 25
    run = await dispatch("late")
    assert titles(github, repository) == {run: "trial late"}


async def test_a_dispatch_without_an_answer_is_not_made_twice_on_an_old_release(
    github: DemoGitHub, repository: FakeRepository, dispatch: Dispatch
) -> None:
    repository.ghes = OLD
    await dispatch("one")
    github.faults.add(FailAfter(502), method="POST", path="/dispatches$")
    second = await dispatch("two")
    assert titles(github, repository)[second] == "trial two"
    assert len(titles(github, repository)) == 2


async def test_an_old_release_refuses_once_and_is_asked_again_after_an_hour(
    github: DemoGitHub,
    repository: FakeRepository,
    bot: GitHub,
    place: Place,
    dispatch: Dispatch,
    time: Time,
) -> None:
    repository.ghes = OLD
    asked = counted(github)
    await dispatch("one")
    assert asked.fired == 2
    # Whatever playbook it is for: all clients talk to the same GitHub.
    await dispatch("two", by=bot.repository(place, playbook="bisect"))
    assert asked.fired == 3
    # Upgraded meanwhile.
    repository.ghes = NEW
    time.pass_(BELIEVED_SECONDS + 1)
    listed = github.faults.add(Slow(0), method="GET", path="/runs$", times=None)
    third = await dispatch("three")
    assert (asked.fired, listed.fired) == (4, 0)
    assert titles(github, repository)[third] == "trial three"


async def test_what_is_refused_for_another_reason_is_not_sent_again(
    github: DemoGitHub, repository: FakeRepository, client: RepositoryClient, trial: str, time: Time
) -> None:
    asked = counted(github)
    with pytest.raises(Unprocessable, match="nothing-here"):
        await client.workflows.ensure_dispatched(
            trial, ref="nothing-here", inputs={}, title="x", since=time.moment(), look_first=False
        )
    assert asked.fired == 1
    assert titles(github, repository) == {}


@pytest.mark.parametrize("release", [RULESETS.since, ACTIVITY.since, RUN_DETAILS.since])
async def test_each_release_is_served_before_and_since_it_knows_more(
    repository: FakeRepository, client: RepositoryClient, dispatch: Dispatch, release: str
) -> None:
    major, minor = map(int, release.split("."))
    for repository.ghes in ((major, minor - 1), (major, minor)):
        assert (await client.branch_rules("main")).required_checks == ()
        knows_activity = await client.git.pushes("main") is not None
        assert knows_activity == (repository.ghes >= (3, 11))
        assert await client.rules.are_offered("main") == (repository.ghes >= (3, 11))
        assert await dispatch(f"on-{repository.ghes[1]}")
