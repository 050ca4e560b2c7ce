"""What a program asks for beyond a cap is refused at once; later, it is found in the records."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from bot.records.tables.intake import inbox
from bot.triggers import (
    Actor,
    ActorKind,
    PullRequestTarget,
    RevertRequest,
    Source,
    SourceKind,
    Trigger,
    derived_id,
)
from tests.config_approvals import approved_ahead
from tests.shop import API_TOKEN, Clock, Shop

CAPPED = "checks: {smoke: [smoke]}\ncaps: {reverts_a_day: 0, bisects_a_day: 0}\n"


@pytest.fixture
async def broken(shop: Shop, clock: Clock) -> int:
    """A broken pull request where no program may revert any more today."""
    await approved_ahead(shop.bot.records, shop.repository.id, CAPPED, clock())
    await shop.alice.push("main", {".github/playbooks.yml": CAPPED}, "Configure")
    number = await shop.broken()
    # Where it is installed the bot asks at most once a minute.
    clock.forward(minutes=2)
    return number


async def _call(shop: Shop, method: str, path: str, **body: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {API_TOKEN}"}) as session,
        session.request(
            method, f"http://127.0.0.1:{shop.bot.port}{path}", json=body or None
        ) as answer,
    ):
        return answer.status, await answer.json()


async def _came_to(shop: Shop, state: str) -> float:
    """How many reverts came to this state, as whoever operates the bot reads it."""
    address = f"http://127.0.0.1:{shop.bot.port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        published = await answer.text()
    counted = f'playbooks_run_changes_total{{playbook="revert",state="{state}"}} '
    found = [line for line in published.splitlines() if line.startswith(counted)]
    return float(found[0].removeprefix(counted)) if found else 0.0


@pytest.mark.thorough
async def test_a_program_beyond_a_cap_is_told_at_once_and_who_still_can(
    shop: Shop, broken: int
) -> None:
    # The configuration is known once it was read for anything.
    await (await shop.says(broken, "/status")).reaction()
    asked = {"repository": shop.name, "pull_request": broken, "reason": "SLO breach"}
    status, answer = await _call(shop, "POST", "/incidents/revert", **asked)
    assert status == 409, answer
    assert "reverts a day is reached" in answer["detail"]
    assert f"`/revert #{broken}`" in answer["detail"]
    await (await shop.says(broken, f"/revert #{broken}")).reaction()
    await shop.hotfix()


async def test_a_program_beyond_the_cap_of_bisects_is_told_the_whole_command(
    shop: Shop, broken: int
) -> None:
    await (await shop.says(broken, "/status")).reaction()
    asked = {"repository": shop.name, "good": "HEAD~1", "bad": "main", "check": "smoke"}
    status, answer = await _call(shop, "POST", "/incidents/bisect", **asked)
    assert status == 409, answer
    assert "bisects a day is reached" in answer["detail"]
    assert "`/bisect HEAD~1..main check smoke`" in answer["detail"]
    status, answer = await _call(
        shop, "POST", "/incidents/bisect", **asked, numeric="p95 latency:higher"
    )
    assert status == 409, answer
    whole = '`/bisect HEAD~1..main numeric "p95 latency":higher check smoke`'
    assert whole in answer["detail"]


async def test_what_is_refused_later_is_found_with_its_reason_and_is_no_failure(
    shop: Shop, broken: int, clock: Clock
) -> None:
    failed, declined = await _came_to(shop, "failed"), await _came_to(shop, "declined")
    [repository] = [
        each for each in await shop.bot.served.served() if each.id == shop.repository.id
    ]
    trigger = Trigger(
        source=Source(kind=SourceKind.API, object_id="after-all"),
        repository=repository,
        actor=Actor(kind=ActorKind.MACHINE, login="tests"),
        received_at=clock(),
        request=RevertRequest(targets=(PullRequestTarget(number=broken),), reason="SLO breach"),
    )
    await shop.bot.inbox.put(trigger)
    shop.bot.inbox.arrived.set()
    run = derived_id(trigger.key, trigger.received_at)

    async def refused() -> Any:
        status, answer = await _call(shop, "GET", f"/runs/{run}")
        return answer["run"] if status == 200 else None

    found = await shop.eventually(refused)
    assert (found["state"], found["playbook"]) == ("failed", "revert")
    assert "reverts a day is reached" in found["reason"]
    _, answer = await _call(shop, "GET", f"/audit?repository={shop.name}")
    [entry] = [each for each in answer["entries"] if each["action"] == "request.refused"]
    assert (entry["actor"], entry["run"]) == ("tests", run)
    async with shop.bot.read_only.connect() as conn:
        query = sa.select(inbox.c.done_at).where(inbox.c.key == trigger.source.key)
        assert await conn.scalar(query) is not None
    unmerged = await shop.bob.open_pull_request("Later", {"later.py": "1\n"}, branch="later")
    assert await (await shop.says(unmerged, "/revert")).reaction() == "confused"
    # Whoever is paged when Runs fail has nothing to repair here.
    assert await _came_to(shop, "failed") == failed
    assert await _came_to(shop, "declined") == declined + 2
