"""Requests get through a network and a GitHub that misbehave, and cost as little as possible."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import Conflict, Forbidden, NotFound, RateLimited, Unavailable
from bot.triggers import Repository as Place
from fakegithub.faults.request_faults import (
    Drop,
    Fail,
    PrimaryLimit,
    Revoke,
    SecondaryLimit,
    Truncate,
)
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository
from tests.github.conftest import Time


@pytest.mark.parametrize("fault", [Fail(500), Fail(503), Drop(), Truncate()], ids=repr)
async def test_reading_survives_two_failures_in_a_row(
    client: RepositoryClient, github: DemoGitHub, time: Time, fault: Fail | Drop | Truncate
) -> None:
    github.faults.add(fault, method="GET", path="/repos/", times=2)
    assert (await client.about()).default_branch == "main"
    # aiohttp itself repeats a GET at once when a kept connection breaks.
    assert time.waits == ([1] if fault == Drop() else [1, 2])


async def test_a_github_that_stays_broken_is_said_to_be_down(
    client: RepositoryClient, github: DemoGitHub, time: Time
) -> None:
    github.faults.add(Fail(500), path="/repos/", times=None)
    with pytest.raises(Unavailable, match="githubstatus"):
        await client.about()
    assert time.waits == [1, 2, 4, 8]


async def test_a_github_that_cannot_be_reached_is_unavailable(place: Place, app: FakeApp) -> None:
    offline = GitHub(
        app_id=1,
        private_key=app.private_key,
        api_url="http://127.0.0.1:9/api/v3",
        sleep=lambda _seconds: asyncio.sleep(0),
    )
    async with offline:
        with pytest.raises(Unavailable, match="could not be reached"):
            await offline.repository(place, playbook="revert").about()


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (SecondaryLimit(403, 7), 7),
        (SecondaryLimit(429, 7), 7),
        (SecondaryLimit(403, None), 60),
        (SecondaryLimit(429, None), 60),
        (PrimaryLimit(20), 22),
    ],
    ids=repr,
)
async def test_a_limit_is_waited_for_as_long_as_github_says_and_the_write_is_done_once(
    client: RepositoryClient,
    github: DemoGitHub,
    time: Time,
    fault: SecondaryLimit | PrimaryLimit,
    seconds: float,
) -> None:
    github.faults.add(fault, method="POST", path=r"/issues$")
    issue = await client.issues.ensure_issue(
        key="incident:1", title="x", body="y", since=time.moment(), look_first=False
    )
    assert issue.number == 1
    assert sum(time.waits) == pytest.approx(seconds, abs=1.5)


async def test_a_limit_that_lasts_too_long_is_raised_with_its_end(
    client: RepositoryClient, github: DemoGitHub, time: Time
) -> None:
    github.faults.add(PrimaryLimit(1800), path="/repos/")
    with pytest.raises(RateLimited) as limited:
        await client.about()
    assert 1800 <= limited.value.until.timestamp() - time.seconds <= 1803
    assert not time.waits


async def test_while_one_call_is_told_to_wait_the_others_of_the_installation_wait_too(
    client: RepositoryClient, github: DemoGitHub, time: Time
) -> None:
    await client.about()
    github.faults.add(SecondaryLimit(429, 600), path="/labels")
    with pytest.raises(RateLimited):
        await client.labels.add(1, ["a"])
    sent = github.limits.windows.copy()
    with pytest.raises(RateLimited, match="asked us to wait"):
        await client.about()
    assert github.limits.windows == sent
    time.pass_(601)
    await client.about()


async def test_the_last_requests_of_the_hour_are_kept_for_recovery(
    bot: GitHub, place: Place, github: DemoGitHub, installation: FakeInstallation
) -> None:
    watch = bot.repository(place, playbook="ramp")
    await watch.about()
    for window in github.limits.windows.values():
        window.used = github.limits.limit - 100
    assert await watch.issues.find(404) is None
    left = bot.remaining(installation.id)
    assert left is not None
    assert left < 100
    with pytest.raises(RateLimited, match="kept for recovery"):
        await watch.about()
    await bot.repository(place, playbook="revert").about()
    await bot.repository(place, playbook="ramp", recovery=True).about()


async def test_what_did_not_change_costs_nothing(
    bot: GitHub, client: RepositoryClient, installation: FakeInstallation
) -> None:
    first = await client.about()
    left = bot.remaining(installation.id)
    assert await client.about() == first
    assert bot.remaining(installation.id) == left
    metrics = CollectorRegistry()
    metrics.register(bot.requests)
    text = generate_latest(metrics).decode()
    labels = '{playbook="revert",route="GET /repos/{owner}/{repo}"}'
    assert f"playbooks_github_requests_total{labels} 2.0" in text
    assert f"playbooks_github_unchanged_total{labels} 1.0" in text


async def test_installations_do_not_share_what_they_have_seen(
    bot: GitHub,
    client: RepositoryClient,
    place: Place,
    github: DemoGitHub,
    app: FakeApp,
    repository: FakeRepository,
) -> None:
    repository.private = True
    await client.about()
    stranger = github.create_user("stranger-org", organization=True)
    other = github.install(app, stranger)
    unseen = place.model_copy(update={"installation_id": other.id})
    with pytest.raises(NotFound, match="may not see it"):
        await bot.repository(unseen, playbook="revert").about()


async def test_a_renamed_repository_is_followed_for_reading_and_writing(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository, time: Time
) -> None:
    old = repository.full_name
    repository.name += "-renamed"
    github.world.renamed[old.lower()] = repository.id
    assert (await client.about()).full_name == repository.full_name
    issue = await client.issues.ensure_issue(
        key="incident:1", title="x", body="y", since=time.moment(), look_first=True
    )
    assert issue.number == 1


async def test_another_repository_that_took_the_name_is_left_alone(
    bot: GitHub, place: Place
) -> None:
    former = place.model_copy(update={"id": place.id + 1})
    with pytest.raises(Conflict, match="another repository"):
        await bot.repository(former, playbook="revert").about()


async def test_a_permission_taken_away_in_the_middle_is_named(
    client: RepositoryClient, github: DemoGitHub, time: Time
) -> None:
    await client.about()
    github.faults.add(Revoke("issues"), method="POST", path=r"/issues$")
    with pytest.raises(Forbidden) as refused:
        await client.issues.ensure_issue(
            key="incident:1", title="x", body="y", since=time.moment(), look_first=False
        )
    assert refused.value.permission == "issues=write"
    assert "accept the change" in str(refused.value)


async def test_a_name_cannot_lead_to_another_address(client: RepositoryClient) -> None:
    for path in ("../../../user", "a/./b", "a//b", ""):
        with pytest.raises(ValueError, match="address"):
            await client.contents.read(path, "main")


async def test_lists_are_read_to_their_end(
    client: RepositoryClient, repository: FakeRepository
) -> None:
    channel = client.labels._channel
    for number in range(130):
        await channel.post("/repos/{owner}/{repo}/labels", {"name": f"l{number}"})
    names = [data["name"] async for data in channel.items("/repos/{owner}/{repo}/labels")]
    assert {f"l{number}" for number in range(130)} <= set(names)
    assert len(names) == len(repository.labels)
