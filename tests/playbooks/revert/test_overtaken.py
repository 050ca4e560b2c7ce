"""A revert is planned while another one of the same ends: what it planned is planned again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bot.records import incidents
from bot.records.audit import chain
from tests.shop import BAD, GOOD, Answer, Shop


async def _broken_again(shop: Shop) -> tuple[int, str]:
    """A change that was undone by hand and pushed again; GitHub is asked who pushed it.

    That is the last that a plan asks of GitHub, so its answer decides when the plan is made.
    """
    broken = await shop.broken()
    await shop.alice.push("main", {"shop.py": GOOD}, "Undo faster totals")
    again = await shop.alice.push("main", {"shop.py": BAD}, "Faster totals, again")
    return broken, again


@asynccontextmanager
async def _slowly_planned(shop: Shop, broken: int, again: str) -> AsyncIterator[Answer]:
    """Alice's revert is planned; its plan is made at the end of the block."""
    with shop.holding_back(f"/commits/{again}/pulls", method="GET", times=1) as asked:
        comment = await shop.alice.comment(broken, "/revert")
        await shop.eventually(asked)
        yield Answer(shop, broken, comment["id"])


async def _actions(shop: Shop) -> list[str]:
    async with shop.bot.read_only.connect() as conn:
        entries = await chain.read(conn, shop.repository.id)
    return [str(getattr(entry, "action", "")) for entry in entries]


@pytest.mark.thorough
async def test_it_makes_no_second_hotfix_where_the_first_was_enough(shop: Shop) -> None:
    broken, again = await _broken_again(shop)
    async with _slowly_planned(shop, broken, again) as slow:
        first = await shop.says(broken, "/revert", shop.bob)
        assert await first.reaction() == "+1"
        hotfix = (await shop.merged_hotfix())["number"]
    assert await slow.reaction() == "confused"
    assert f"already reverted on `main` by #{hotfix}, " in (await shop.from_bot(broken))[-1]
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.hotfixes()) == 1
    async with shop.bot.read_only.connect() as conn:
        assert len(await incidents.list_recent(conn, shop.repository.id)) == 1
    actions = await _actions(shop)
    assert actions.count("incident.opened") == 1
    assert actions.count("plan.overtaken") == 1


@pytest.mark.thorough
async def test_it_makes_one_where_the_change_came_back_meanwhile(shop: Shop) -> None:
    broken, again = await _broken_again(shop)
    async with _slowly_planned(shop, broken, again) as slow:
        first = await shop.says(broken, "/revert", shop.bob)
        assert await first.reaction() == "+1"
        await shop.merged_hotfix()
        await shop.alice.push("main", {"shop.py": BAD}, "Faster totals, once more")
    assert await slow.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.hotfixes()) == 2
    actions = await _actions(shop)
    assert actions.count("incident.opened") == 2
    assert actions.count("plan.overtaken") == 1
