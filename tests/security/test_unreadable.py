"""One account that lets the bot see nothing: the gate and the API of all others go on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from fakegithub.world.model import FakeInstallation
from tests.shop import API_TOKEN, Shop, forget_served


@pytest.fixture
async def walled(shop: Shop) -> AsyncIterator[FakeInstallation]:
    """The App on an account whose IP allow list does not name the bot's server."""
    account = shop.github.create_user("walled", organization=True)
    account.has_allow_list = True
    shop.github.create_repository(account, "garden", {"README.md": "#"})
    installed = shop.github.install(shop.installation().app, account)
    await forget_served(shop.bot)
    yield installed
    del shop.github.world.installations[installed.id]
    await forget_served(shop.bot)


async def asked(shop: Shop, path: str, body: object = None) -> tuple[int, dict[str, object]]:
    url = f"http://127.0.0.1:{shop.bot.port}{path}"
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    method = "GET" if body is None else "POST"
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, json=body, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def test_an_account_that_cannot_be_read_costs_the_others_nothing(
    shop: Shop, walled: FakeInstallation
) -> None:
    number = await shop.merged("A change", {"a.py": "a = 1\n"})
    wanted = {"repository": shop.name, "pull_request": number, "reason": "it is wrong"}
    status, answer = await asked(shop, "/incidents/revert", wanted)
    assert status == 202, answer
    opened = await shop.bob.open_pull_request("Another", {"b.py": "b = 1\n"}, branch="another")

    async def gate() -> bool:
        head = (await shop.alice.pull_request(opened))["head"]["sha"]
        runs = (await shop.alice.get(f"commits/{head}/check-runs"))["check_runs"]
        return any(each["name"] == "self-work gate" for each in runs)

    await shop.eventually(gate)
    status, ready = await asked(shop, "/readyz")
    assert status == 200
    assert ready["warnings"] == {
        f"installation {walled.id}": "an IP allow list keeps this server out: its owner can add "
        "the address to it"
    }
