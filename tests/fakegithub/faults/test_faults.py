"""Faults happen to the requests they were asked for, and the work is done exactly when it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from fakegithub.faults.request_faults import (
    Drop,
    ExpireToken,
    Fail,
    FailAfter,
    PrimaryLimit,
    Revoke,
    SecondaryLimit,
    Slow,
    Suspend,
    Truncate,
)
from fakegithub.faults.writes import Write
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository
from tests.fakegithub.calling import Caller, as_app, as_installation

_HERE = r"^/repos/octo-org/hello-\d+$"
"""What these tests ask for: a bot that other tests left running asks for something else."""


@pytest.fixture
def bot(
    github: DemoGitHub, installation: FakeInstallation, repository: FakeRepository
) -> Iterator[Caller]:
    held = dict(installation.permissions)
    yield as_installation(github, installation, repository)
    github.faults.clear()
    installation.permissions.update(held)
    installation.suspended_at = None


async def check(bot: Caller, name: str = "check") -> Any:
    assert bot.repository is not None
    head = bot.repository.git.branch("main")
    return await bot.post("./check-runs", {"name": name, "head_sha": head})


def made(repository: FakeRepository) -> list[str]:
    return [run.name for run in repository.check_runs.values()]


@pytest.mark.parametrize("status", [500, 502])
async def test_a_500_before_the_work_leaves_nothing_behind(
    github: DemoGitHub, repository: FakeRepository, bot: Caller, status: int
) -> None:
    github.faults.add(Fail(status), method="POST", path=r"/check-runs$")
    assert (await check(bot)).status == status
    assert made(repository) == []
    assert (await check(bot)).status == 201


async def test_a_502_after_the_work_leaves_it_done(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    github.faults.add(FailAfter(502), method="POST", path=r"/check-runs$")
    assert (await check(bot)).status == 502
    assert made(repository) == ["check"]


async def test_a_dropped_connection_leaves_the_work_done(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    github.faults.add(Drop(), method="POST", path=r"/check-runs$")
    with pytest.raises(aiohttp.ClientError):
        await check(bot)
    assert made(repository) == ["check"]


async def test_half_an_answer_cannot_be_taken_for_a_whole_one(
    github: DemoGitHub, repository: FakeRepository, bot: Caller
) -> None:
    github.faults.add(Truncate(), method="POST", path=r"/check-runs$")
    with pytest.raises(aiohttp.ClientPayloadError):
        await check(bot)
    assert made(repository) == ["check"]


async def test_a_slow_answer_is_slow(github: DemoGitHub, bot: Caller) -> None:
    github.faults.add(Slow(0.2), path=r"/check-runs$")
    began = time.monotonic()
    assert (await check(bot)).status == 201
    assert time.monotonic() - began >= 0.2


async def test_the_primary_limit_says_when_it_ends(github: DemoGitHub, bot: Caller) -> None:
    github.faults.add(PrimaryLimit(30), path=_HERE)
    reply = await bot.get(".")
    assert (reply.status, reply.headers["X-RateLimit-Remaining"]) == (403, "0")
    assert 25 < int(reply.headers["X-RateLimit-Reset"]) - time.time() < 35
    assert "retry-after" not in reply.headers


@pytest.mark.parametrize(("status", "after"), [(403, 7), (403, None), (429, 7), (429, None)])
async def test_the_secondary_limit_may_keep_its_end_to_itself(
    github: DemoGitHub, bot: Caller, status: Any, after: int | None
) -> None:
    github.faults.add(SecondaryLimit(status, after), path=_HERE)
    reply = await bot.get(".")
    assert reply.status == status
    assert reply.headers.get("Retry-After") == (None if after is None else "7")
    assert "secondary rate limit" in reply.body["message"]


async def test_tokens_permissions_and_installations_end_in_the_middle(
    github: DemoGitHub, repository: FakeRepository, installation: FakeInstallation, bot: Caller
) -> None:
    assert (await bot.get(".")).status == 200
    github.faults.add(ExpireToken(), path=_HERE)
    assert [(await bot.get(".")).status for _ in range(2)] == [401, 401]
    fresh = as_installation(github, installation, repository)
    github.faults.add(Revoke("checks"), path=r"/check-runs$")
    assert (await check(fresh)).status == 403
    assert (await fresh.get(".")).status == 200
    github.faults.add(Suspend(), path=_HERE)
    assert (await fresh.get(".")).status == 403


async def test_lists_that_lag_leave_out_what_is_new_and_only_that(
    github: DemoGitHub, bot: Caller
) -> None:
    old = (await check(bot, "old")).body["id"]
    github.faults.lag.seconds = 0.3
    path = "./commits/main/check-runs"
    await asyncio.sleep(0.35)
    new = (await check(bot, "new")).body["id"]
    lagging = (await bot.get(path)).body
    assert [run["id"] for run in lagging["check_runs"]] == [old]
    assert lagging["total_count"] == 1
    assert (await bot.get(f"./check-runs/{new}")).status == 200, "only lists lag"
    github.faults.lag.seconds = 0
    assert (await bot.get(path)).body["total_count"] == 2


async def test_rules_fire_as_often_and_as_likely_as_asked(github: DemoGitHub, bot: Caller) -> None:
    github.faults.add(Fail(), path=_HERE, times=2)
    assert [(await bot.get(".")).status for _ in range(3)] == [500, 500, 200]
    github.faults.clear()
    rule = github.faults.add(Fail(), path=_HERE, times=None, probability=0.5)
    for _ in range(60):
        await bot.get(".")
    assert 10 < rule.fired < 50


async def test_callbacks_run_around_the_nth_write(
    github: DemoGitHub, repository: FakeRepository, bot: Caller, app: FakeApp
) -> None:
    seen: list[tuple[str, int]] = []

    def note(when: str, write: Write) -> None:
        assert write.app is app
        seen.append((when, len(made(repository))))

    github.faults.before_write(2, lambda write: note("before", write), app=app)
    github.faults.after_write(2, lambda write: note("after", write), app=app)
    for name in ("one", "two", "three"):
        await check(bot, name)
        await bot.get(".")
    assert seen == [("before", 1), ("after", 2)]
    here = f"/repos/{repository.full_name}/"
    assert [str(write) for write in github.faults.writes if write.path.startswith(here)] == [
        f"POST {here}check-runs ({name})" for name in ("one", "two", "three")
    ]


async def test_asking_for_a_token_is_no_write(
    github: DemoGitHub, app: FakeApp, installation: FakeInstallation
) -> None:
    github.faults.clear()
    path = f"/app/installations/{installation.id}/access_tokens"
    assert (await as_app(github, app).post(path)).status == 201
    assert github.faults.writes == []
