"""A request that joined or was declined is no Run of the incident, and used nothing up."""

from __future__ import annotations

import aiohttp
import pytest

from bot.records import budgets, incidents, runs
from bot.records.budgets import Budget
from bot.records.runs import StoredRun
from bot.safety.budgets import HOTFIXES, REVERTS
from tests.shop import API_TOKEN, Shop


async def _used(shop: Shop) -> dict[str, int]:
    now = shop.bot.clock()
    async with shop.bot.read_only.connect() as conn:
        return {
            name: (
                await budgets.balance_of(
                    conn, shop.repository.id, Budget(name=name, limit=5, window="day"), now
                )
            ).used
            for name in (REVERTS, HOTFIXES)
        }


async def _joined(shop: Shop) -> list[StoredRun]:
    async with shop.bot.read_only.connect() as conn:
        [incident] = await incidents.list_recent(conn, shop.repository.id)
        assert len(await runs.of_incident(conn, incident.id)) == 1
        return await runs.joined(conn, incident.id)


@pytest.mark.thorough
async def test_status_tells_of_the_run_at_work_not_of_a_request_that_joined(shop: Shop) -> None:
    broken = await shop.broken()
    shop.verdicts["smoke"] = "failure"
    await shop.says(broken, "/revert")
    await shop.standing(broken, "does it fail")
    await (await shop.says(broken, "/revert", shop.bob)).reaction()
    assert [each.actor for each in await _joined(shop)] == ["bob"]
    await (await shop.says(broken, "/status")).reaction()
    told = (await shop.from_bot(broken))[-1]
    assert "the revert is **verifying**" in told
    assert "cancelled" not in told


@pytest.mark.thorough
async def test_caps_count_what_was_done(shop: Shop) -> None:
    broken = await shop.broken()
    waiting = await shop.bob.open_pull_request("Later", {"later.py": "1\n"}, branch="later")
    declined = await shop.says(waiting, "/revert")
    assert await declined.reaction() == "confused"
    assert await _used(shop) == {REVERTS: 0, HOTFIXES: 0}
    shop.verdicts["smoke"] = "failure"
    await shop.says(broken, "/revert")
    await shop.standing(broken, "does it fail")
    await (await shop.says(broken, "/revert", shop.bob)).reaction()
    assert len(await _joined(shop)) == 1
    assert await _used(shop) == {REVERTS: 1, HOTFIXES: 1}


@pytest.mark.thorough
async def test_a_program_that_joined_finds_the_incident_by_the_id_it_was_given(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    shop.verdicts["smoke"] = "failure"
    await shop.says(broken, "/revert")
    await shop.standing(broken, "does it fail")
    base = f"http://127.0.0.1:{shop.bot.port}"
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    asked = {"repository": shop.name, "pull_request": broken, "reason": "SLO breach"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def accepted() -> dict[str, str] | None:
            async with session.post(f"{base}/incidents/revert", json=asked) as answer:
                return await answer.json() if answer.status == 202 else None

        given = await shop.eventually(accepted)

        async def found() -> dict[str, str] | None:
            async with session.get(f"{base}/incidents/{given['incident']}") as answer:
                return (await answer.json())["incident"] if answer.status == 200 else None

        incident = await shop.eventually(found)
    assert incident["subject"] == f"pull_request:{broken}"
    [joined] = await _joined(shop)
    assert joined.joined_incident == incident["id"] != joined.id
