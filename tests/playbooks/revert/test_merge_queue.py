"""Hotfixes of branches that merge through a queue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.playbooks.revert.landings import queue_of
from tests.shop import GOOD, Shop


def _groups(shop: Shop, *verdicts: str) -> list[str]:
    """CI says this of the merge groups, one after the other; each group that was made."""
    made: list[str] = []

    def hear(event: Any) -> None:
        ref = str(event.payload.get("ref"))
        if event.repository is not shop.repository or event.payload.get("deleted"):
            return
        if event.name == "push" and ref.startswith("refs/heads/gh-readonly-queue/"):
            shop.verdicts["smoke"] = verdicts[min(len(made), len(verdicts) - 1)]
            made.append(event.payload["after"])

    shop.github.world.listen(hear)
    return made


async def test_a_merge_queue_is_joined_and_followed(shop: Shop) -> None:
    broken = await shop.broken()
    queue_of(shop)
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    report = await shop.report_of(await shop.merged_hotfix(), "playbooks/records")
    assert report["merge"]["method"] == "queue"


@pytest.mark.thorough
async def test_a_group_that_is_red_by_chance_wakes_nobody(shop: Shop) -> None:
    broken = await shop.broken()
    queue_of(shop)
    groups = _groups(shop, "failure", "success")
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert len(groups) == 2
    assert len(await shop.mentions(broken)) == 1, "only the last word calls anybody"


@pytest.mark.thorough
async def test_a_wait_in_the_queue_says_how_long_github_expects_it_to_take(shop: Shop) -> None:
    broken = await shop.broken()
    queue_of(shop)
    _groups(shop, "pending")
    await shop.says(broken, "/revert")
    await shop.standing(broken, "GitHub does not say yet how long it takes")
    [entry] = shop.repository.queue
    entry.takes_yet = 400
    await shop.looked_again()
    await shop.standing(broken, "GitHub expects to merge it in about 7 minutes")


@pytest.mark.thorough
async def test_a_hotfix_thrown_out_of_the_queue_is_said_and_retry_puts_it_in_again(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    queue_of(shop)
    groups = _groups(shop, "failure", "failure", "success")
    answer = await shop.says(broken, "/revert")
    said = await shop.standing(broken, "was taken out of it")
    assert "`smoke` failed on what the queue tested" in said
    assert "I had it run once more, in case it failed by chance; it stayed red." in said
    assert len(groups) == 2
    # Made within the same second, the next group would be the same commit: it has failed already.
    await asyncio.sleep(1)
    await shop.says(broken, "/retry")
    assert await answer.reaction() == "+1"
    assert len(groups) == 3


@pytest.mark.thorough
async def test_a_queue_that_refuses_for_a_moment_wakes_nobody(shop: Shop) -> None:
    broken = await shop.broken()
    queue_of(shop)
    words = "Base branch was modified. Review and try the merge again."
    shop.repository.refusals.refuse("queue", 422, message=words, times=2)
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.mentions(broken)) == 1, "only the last word calls anybody"
