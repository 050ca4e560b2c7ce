"""Budgets that agents report to: bad input, warnings, overruns, and what follows from them."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from bot.records import pauses
from tests.shop import API_TOKEN, Clock, Shop

CONFIG = """checks: {smoke: [smoke], evals: [quality]}
budgets:
  llm: {unit: usd, limit: 50.00, window: day}
  tokens: {unit: tokens, limit: 1000}
"""


async def with_budgets(shop: Shop) -> None:
    shop.verdicts["quality"] = "success"
    number = await shop.merged("Configure", {".github/playbooks.yml": CONFIG})
    assert await (await shop.says(number, "/approve", shop.olivia)).reaction() == "+1"


async def spend(
    shop: Shop, clock: Clock, name: str, key: str | None = None, **body: Any
) -> tuple[int, Any]:
    """Report what was spent, as an agent does."""
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    if key:
        headers["Idempotency-Key"] = key
    url = f"http://127.0.0.1:{shop.bot.port}/budgets/{name}/spend"
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.post(url, json={"repository": shop.name, **body}) as answer:
                told = await answer.json()
                if answer.status != 404 or "budget" in told["detail"]:
                    return answer.status, told
            clock.forward(minutes=2)


async def paused(shop: Shop) -> Any:
    async with shop.bot.read_only.connect() as conn:
        return await pauses.in_force(conn, shop.repository.id, "self-work")


@pytest.mark.thorough
async def test_what_is_no_amount_is_named_and_changes_nothing(shop: Shop, clock: Clock) -> None:
    await with_budgets(shop)
    for body, field in (
        ({"amount": -1}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "1e400"}, "amount"),
        ({"amount": 10**12}, "amount"),
        ({"amount": "0.0000001"}, "amount"),
        ({"amount": "a lot"}, "amount"),
        ({"amount": 1, "unit": "eur"}, "unit"),
        ({"amount": 1, "pull_request": 1, "commit": "a" * 40}, "body"),
    ):
        status, told = await spend(shop, clock, "llm", **body)
        assert status in (400, 422), told
        assert told["errors"][0]["field"] == field
    status, told = await spend(shop, clock, "llm", amount=0)
    assert (status, told["spent"]) == (200, "0.00")


async def test_money_is_exact_and_a_repeated_report_counts_once(shop: Shop, clock: Clock) -> None:
    await with_budgets(shop)
    for n in range(3):
        status, told = await spend(shop, clock, "llm", key=f"job-{n}", amount=0.1)
        assert status == 200
    status, told = await spend(shop, clock, "llm", key="job-2", amount=0.1)
    assert (told["spent"], told["state"]) == ("0.30", "ok")
    status, told = await spend(shop, clock, "llm", key="job-2", amount=0.2)
    assert status == 422
    # One key is one report, in one budget.
    status, told = await spend(shop, clock, "tokens", key="job-2", amount=1)
    assert (status, told["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert (await spend(shop, clock, "tokens", amount=0))[1]["spent"] == "0"
    status, told = await spend(shop, clock, "tokenz", amount=1)
    assert (status, "Allowed: llm, tokens" in told["detail"]) == (404, True)


async def test_a_budget_that_is_used_up_pauses_self_work_and_opens_an_incident(
    shop: Shop, clock: Clock
) -> None:
    await with_budgets(shop)
    await spend(shop, clock, "tokens", amount=800)
    assert await paused(shop) is None
    _, told = await spend(shop, clock, "tokens", amount=200)
    assert told["state"] == "exhausted"
    held = await paused(shop)
    assert "the budget tokens is used up for this day" in held.reason
    assert held.lifts_itself

    async def incident() -> Any:
        found = await shop.incidents()
        return found[0] if found else None

    issue = await shop.eventually(incident)
    assert "budget tokens" in issue["title"]
    assert await shop.hotfixes() == []


@pytest.mark.thorough
@pytest.mark.parametrize("instead", ["limit: 9000", ""])
async def test_a_budget_that_is_given_another_limit_or_taken_out_is_not_used_up_any_more(
    shop: Shop, clock: Clock, instead: str
) -> None:
    await with_budgets(shop)
    await spend(shop, clock, "tokens", amount=1300)
    [issue] = await shop.eventually(shop.incidents)
    line = "  tokens: {unit: tokens, limit: 1000}\n"
    config = CONFIG.replace(line, line.replace("limit: 1000", instead) if instead else "")
    changed = await shop.merged("Change", {".github/playbooks.yml": config})
    assert await (await shop.says(changed, "/approve", shop.olivia)).reaction() == "+1"

    async def closed() -> bool:
        clock.forward(minutes=2)
        return (await shop.alice.issue(issue["number"]))["state"] == "closed"

    await shop.eventually(closed)
    assert [each["number"] for each in await shop.incidents()] == [issue["number"]]
    # Put back as it was, it is used up as before.
    back = await shop.merged("Change back", {".github/playbooks.yml": CONFIG})
    assert await (await shop.says(back, "/approve", shop.olivia)).reaction() == "+1"

    async def open_again() -> bool:
        clock.forward(minutes=2)
        return (await shop.alice.issue(issue["number"]))["state"] == "open"

    await shop.eventually(open_again)
    held = await paused(shop)
    assert held is not None
    assert held.lifts_itself


@pytest.mark.thorough
async def test_an_overrun_of_a_merged_pull_request_is_a_reason_to_revert(
    shop: Shop, clock: Clock
) -> None:
    await with_budgets(shop)
    costly = await shop.bob.open_pull_request("Ask twice", {"ask.txt": "2\n"}, branch="ask-twice")
    await shop.bob.label(costly, "self-work")
    await shop.bob.merge(costly)
    status, told = await spend(shop, clock, "llm", amount="51.00", pull_request=costly)
    assert status == 200, told
    await shop.eventually(shop.incidents)

    async def asked_for_a_revert() -> bool:
        return len(await shop.incidents()) == 2

    await shop.eventually(asked_for_a_revert)
    await shop.hotfix()
    hotfix = await shop.merged_hotfix()
    assert f"#{costly}" in hotfix["title"]


@pytest.mark.thorough
async def test_github_requests_are_a_budget_that_warns_then_pauses_self_work(shop: Shop) -> None:
    few = "caps: {github_requests_an_hour: 1000}\n"
    number = await shop.merged("Fewer requests", {".github/playbooks.yml": few})
    assert await (await shop.says(number, "/approve", shop.olivia)).reaction() == "+1"
    here, meter = shop.repository.id, shop.bot.meter

    async def settled() -> bool:
        return here in meter._limits and meter._limits[here].limit == 1000

    await shop.bob.open_pull_request("Begin", {"begin.txt": "x\n"}, branch="begin")
    await shop.eventually(settled)
    for _ in range(820):
        await meter.take(here, recovery=True)

    async def said(words: str) -> Any:
        return [issue for issue in await shop.incidents() if words in issue["title"]]

    await shop.bob.open_pull_request("Look", {"look.txt": "x\n"}, branch="look")
    [warned] = await shop.eventually(lambda: said("cap-requests is nearly used up"))
    assert "severity:low" in [label["name"] for label in warned["labels"]]
    assert await paused(shop) is None
    for _ in range(200):
        await meter.take(here, recovery=True)
    await shop.bob.open_pull_request("Look again", {"more.txt": "x\n"}, branch="more")
    [used_up] = await shop.eventually(lambda: said("cap-requests is used up"))
    assert "severity:medium" in [label["name"] for label in used_up["labels"]]
    assert await shop.eventually(lambda: paused(shop))
