"""How many requests one command costs, from the comment to the open hotfix, nothing cached."""

from __future__ import annotations

import pytest

from bot.app import Bot
from tests.shop import Shop

MOST = 15


async def test_from_command_to_open_hotfix_at_most_fifteen_requests(
    shop: Shop, bot: Bot, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.verdicts.clear()
    broken = await shop.broken()
    await shop.alone()
    before = bot.github.requests.by_route("revert")
    # GitHub opens it at once and says so late: what comes after is not counted.
    with shop.holding_back(f"{shop.name}/pulls$", method="POST") as opens:
        answer = await shop.says(broken, "/revert because totals are zero")
        await shop.eventually(opens)
        after = bot.github.requests.by_route("revert")
    spent = {route: count - before.get(route, 0) for route, count in after.items()}
    listed = "\n".join(f"{count} of {route}" for route, count in spent.items() if count)
    total = sum(spent.values())
    with capsys.disabled():
        print(f"\n{total} requests from command to open hotfix:\n{listed}")  # noqa: T201
    assert total <= MOST, listed
    assert "POST /repos/{owner}/{repo}/pulls" in spent
    await shop.says(broken, "/cancel")
    assert await answer.reaction() == "confused"
