"""How many requests one command costs: up to the open hotfix, and whole."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from bot.app import Bot
from tests.shop import Shop

MOST = 15
MOST_OF_A_WHOLE_ONE = 42
"""Everything the bot does, the gate and the records too."""
CLOCKED = {"missed deliveries", "missed checks", "deliveries", "installations"}
"""What is looked for now and then, whatever anybody asks."""
HOURLY = ("spec", "GET /repos/{owner}/{repo}/pulls")
"""So is this, and other tests may have moved the clock."""


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


def by_purpose(bot: Bot) -> Counter[str]:
    """Everything sent so far, each by what it was for."""
    [sent, _] = bot.github.requests.collect()
    return Counter(
        {
            f"{each.labels['playbook']:16} {each.labels['route']}": int(each.value)
            for each in sent.samples
            if each.labels["playbook"] not in CLOCKED
            and (each.labels["playbook"], each.labels["route"]) != HOURLY
        }
    )


async def test_a_whole_revert_costs_few_requests_with_all_that_the_bot_does_beside_it(
    shop: Shop, bot: Bot, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a quick machine, where all of it is over before anything is read by the clock.
    monkeypatch.setattr("bot.github.client.RULES_KNOWN_S", 3600.0)
    monkeypatch.setattr("bot.safety.config_in_force.KNOWN_FOR", timedelta(hours=1))
    monkeypatch.setattr(bot.gate_reporter, "_every", timedelta(hours=1))
    broken = await shop.broken()
    await shop.looked_again()
    before = by_purpose(bot)
    await shop.says(broken, "/revert because totals are zero")
    await shop.final_word(broken)
    await shop.looked_again()
    spent = by_purpose(bot) - before
    listed = "\n".join(f"{count:3} {what}" for what, count in sorted(spent.items()))
    with capsys.disabled():
        print(f"\n{spent.total()} requests of a whole /revert:\n{listed}")  # noqa: T201
    assert spent.total() <= MOST_OF_A_WHOLE_ONE, listed
