"""Whoever asks over HTTP gets an answer, however long GitHub lets us wait."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.safety.test_budgets import with_budgets
from tests.shop import API_TOKEN, Shop

THE_FILE = r"contents/\.github/playbooks\.yml"


async def asked(shop: Shop, path: str, **body: Any) -> tuple[int, Any, Any]:
    """Post to the API; the status, the answer and its headers."""
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    url = f"http://127.0.0.1:{shop.bot.port}{path}"
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json={"repository": shop.name, **body}) as answer,
    ):
        return answer.status, await answer.json(), answer.headers


async def test_a_budget_is_drawn_on_as_it_was_known_while_github_lets_us_wait(shop: Shop) -> None:
    await with_budgets(shop)
    assert (await asked(shop, "/budgets/llm/spend", amount=1))[0] == 200
    shop.bot.config.forget(shop.repository.id)
    with shop.holding_back(THE_FILE, method="GET") as reads:
        status, told, _ = await asked(shop, "/budgets/llm/spend", amount=1)
        assert await reads()
        assert (status, told["spent"]) == (200, "2.00")


async def test_however_many_ask_github_is_asked_once(shop: Shop) -> None:
    await with_budgets(shop)
    # Read once as it was approved: what was read last before that knows no budgets.
    assert (await asked(shop, "/budgets/llm/spend", amount=0.01))[0] == 200
    before = shop.bot.github.requests.by_route("config")
    with shop.holding_back(THE_FILE, method="GET"):
        shop.bot.config.forget(shop.repository.id)
        spent = [asked(shop, "/budgets/llm/spend", amount=0.01) for _ in range(40)]
        assert [status for status, _, _ in await asyncio.gather(*spent)] == [200] * 40
    after = shop.bot.github.requests.by_route("config")
    route = next(route for route in after if "contents" in route)
    # The gate may look meanwhile.
    assert after[route] - before.get(route, 0) <= 2


async def test_before_the_budgets_are_known_it_is_to_be_tried_again(shop: Shop) -> None:
    with shop.holding_back(THE_FILE, method="GET"):
        shop.bot.config.forget(shop.repository.id)
        status, told, headers = await asked(shop, "/budgets/llm/spend", amount=1)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "GitHub does not tell what the budgets are" in told["detail"]
    # What was read last knows no budget: one may have been approved since.
    assert (await asked(shop, "/budgets/llm/spend", amount=1))[0] == 404
    with shop.holding_back(THE_FILE, method="GET"):
        shop.bot.config.forget(shop.repository.id)
        assert (await asked(shop, "/budgets/llm/spend", amount=1))[0] == 503


@pytest.mark.thorough
async def test_a_reading_that_is_overtaken_does_not_count_as_the_last(shop: Shop) -> None:
    config = shop.bot.config
    await with_budgets(shop)
    repository = shop.bot.gate_reporter._repositories[shop.repository.id]
    with shop.holding_back(THE_FILE, method="GET", times=1) as reads:
        config.forget(repository.id)
        early = asyncio.create_task(config.of(repository))
        await shop.eventually(reads)
        await shop.merged("Cap", {".github/playbooks.yml": "caps: {reverts_a_day: 3}\n"})
        later = await config.of(repository)
        assert not early.done()
    assert (await early).config != later.config
    assert config.read_last(repository.id) == later.config


@pytest.mark.parametrize(
    ("what", "extra"),
    [
        ("providers/shadow/start", {"candidate": "x"}),
        ("incidents/rollback", {"reason": "it is slow"}),
    ],
)
async def test_names_that_cannot_be_looked_up_now_are_looked_up_by_the_run(
    shop: Shop, what: str, extra: dict[str, str]
) -> None:
    body = {"capability": "nobody.knows"} | extra
    assert (await asked(shop, f"/{what}", **body))[0] == 422
    with shop.holding_back(THE_FILE, method="GET"):
        shop.bot.config.forget(shop.repository.id)
        status, told, _ = await asked(shop, f"/{what}", **body)
        assert status == 202, told
    await shop.alone()
