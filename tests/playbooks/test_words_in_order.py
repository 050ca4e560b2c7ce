"""What one person says about one thing in one breath is carried out in the order of the words.

Each word has a Run of its own. Whether they stand in one comment or in two makes no difference.
"""

from __future__ import annotations

import pytest

from bot.records import pauses
from bot.triggers import SELF_WORK
from tests.shop import Answer, Shop

BREATHS = pytest.mark.parametrize("comments", ["one", "two"])


async def said(shop: Shop, number: int, comments: str, *words: str) -> list[Answer]:
    """Say them in one comment, or in as many as there are words, without waiting for an answer."""
    if comments == "one":
        return [await shop.says(number, "\n".join(words))]
    return [await shop.says(number, word) for word in words]


async def held(shop: Shop) -> bool:
    async with shop.bot.read_only.connect() as conn:
        return await pauses.in_force(conn, shop.repository.id, SELF_WORK) is not None


@BREATHS
async def test_a_pause_that_is_taken_back_at_once_holds_nothing(comments: str, shop: Shop) -> None:
    number = await shop.broken()
    await said(shop, number, comments, "/pause because evals fell", "/unpause because I misread")
    await shop.told(number, "goes on", times=1)
    assert not await held(shop)


@BREATHS
async def test_a_pause_right_after_it_was_lifted_holds(comments: str, shop: Shop) -> None:
    number = await shop.broken()
    await (await shop.says(number, "/pause because evals fell")).reaction()
    await said(shop, number, comments, "/unpause because I misread", "/pause because they did fall")
    await shop.told(number, "goes on", times=1)
    assert await shop.eventually(lambda: held(shop))


@BREATHS
async def test_a_revert_that_is_taken_back_at_once_merges_nothing(
    comments: str, shop: Shop
) -> None:
    number = await shop.broken()
    shop.verdicts["smoke"] = "pending"
    words = ("/revert because totals are zero", "/cancel because they are not")
    answers = await said(shop, number, comments, *words)
    assert await answers[-1].reaction() == "+1"
    assert "cancelled" in await shop.final_word(number)
    assert all(each["state"] == "closed" for each in await shop.hotfixes())


@BREATHS
async def test_a_severity_is_that_of_the_revert_above_it(comments: str, shop: Shop) -> None:
    number = await shop.broken()
    shop.verdicts["smoke"] = "pending"  # else it is over before the second word is heard
    words = ("/revert because totals are zero", "/severity critical")
    answers = await said(shop, number, comments, *words)
    assert await answers[-1].reaction() == "+1"
    await shop.report("success", branch=(await shop.hotfix())["head"]["ref"])
    assert "Severity: critical" in await shop.final_word(number)
    [issue] = await shop.incidents()
    assert "severity:critical" in {each["name"] for each in issue["labels"]}


@pytest.mark.thorough
async def test_a_question_in_between_changes_nothing(shop: Shop) -> None:
    number = await shop.broken()
    words = ("/pause because evals fell", "/status", "/unpause because I misread")
    await said(shop, number, "one", *words)
    await shop.told(number, "goes on", times=1)
    assert not await held(shop)


async def test_the_last_of_three_words_counts(shop: Shop) -> None:
    number = await shop.broken()
    words = ("/pause because evals fell", "/unpause because I misread", "/pause because they did")
    await said(shop, number, "one", *words)
    await shop.told(number, "goes on", times=1)
    assert await shop.eventually(lambda: held(shop))
