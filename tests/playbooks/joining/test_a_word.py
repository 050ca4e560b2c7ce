"""Somebody asks for what the bot has begun by itself: their word is the yes that it waits for."""

from __future__ import annotations

import pytest

from bot.records import runs
from tests.playbooks.alerts.alerting import Sender
from tests.shop import BAD, GOOD, Shop


async def _waits(shop: Shop, sender: Sender) -> tuple[int, int]:
    """An alert names a change; its hotfix waits for a person.

    The change, and the issue where the alert is told of.
    """
    broken = await shop.broken()
    await sender.cloudevent("eval.drop", pull_request=broken)
    told_on = (await sender.incident("active")).issue or 0
    await shop.standing(told_on, "`/approve`")
    return broken, told_on


async def _ends_well(shop: Shop, told_on: int, *who: str) -> None:
    hotfix = await shop.merged_hotfix()
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.hotfixes()) == 1
    for login in who:
        await shop.eventually(lambda login=login: _hears(shop, told_on, login))
    pull = await shop.alice.pull_request(hotfix["number"])
    assert {*who} <= {each["login"] for each in pull["assignees"]}


async def _hears(shop: Shop, told_on: int, login: str) -> bool:
    said = await shop.mentions(told_on)
    called = (f"@{login}", f"`{login}`")
    return any(name in each and "Done: " in each for each in said for name in called)


@pytest.mark.sampled("the change")
@pytest.mark.parametrize("place", ["the change", "the hotfix", "the issue"])
async def test_a_persons_revert_is_the_yes_that_a_hotfix_waits_for(
    shop: Shop, sender: Sender, place: str
) -> None:
    broken, told_on = await _waits(shop, sender)
    hotfix = (await shop.hotfix())["number"]
    issue = (await sender.incident("active", "revert")).issue or 0
    where = {"the change": broken, "the hotfix": hotfix, "the issue": issue}[place]
    answer = await shop.says(where, "/revert")
    assert await answer.reaction() == "+1"
    await _ends_well(shop, told_on, "alice")
    said = (await shop.from_bot(where))[-1] if where != told_on else ""
    assert f"by #{hotfix}" in said or where == told_on
    assert len(await sender.incidents("revert")) == 1


@pytest.mark.thorough
async def test_who_has_joined_hears_the_end_too(shop: Shop, sender: Sender) -> None:
    broken, told_on = await _waits(shop, sender)
    first = await shop.says(broken, "/revert", shop.bob)
    second = await shop.says(broken, "/revert")
    assert (await first.reaction(), await second.reaction()) == ("+1", "+1")
    await _ends_well(shop, told_on, "bob")
    [incident] = await sender.incidents("revert")
    async with shop.bot.read_only.connect() as conn:
        assert len(await runs.of_incident(conn, incident.id)) == 1


@pytest.mark.thorough
async def test_a_word_joins_also_where_nobody_can_be_assigned(shop: Shop, sender: Sender) -> None:
    broken, told_on = await _waits(shop, sender)
    shop.repository.refusals.refuse("assignee")
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "+1"
    assert not [said for said in await shop.from_bot(broken) if "I could not" in said]
    await shop.merged_hotfix()
    await shop.eventually(lambda: _hears(shop, told_on, "alice"))


@pytest.mark.thorough
async def test_who_may_not_write_has_it_merged_by_no_word(shop: Shop, sender: Sender) -> None:
    broken, _ = await _waits(shop, sender)
    refused = await shop.says(broken, "/revert", shop.mallory)
    assert await refused.reaction() == "confused"
    await shop.looked_again()
    assert not (await shop.hotfix())["merged_at"]


@pytest.mark.thorough
async def test_what_somebody_pushed_to_the_hotfix_is_not_merged_on_a_revert(
    shop: Shop, sender: Sender
) -> None:
    broken, _ = await _waits(shop, sender)
    hotfix = await shop.hotfix()
    pushed = await shop.bob.push(hotfix["head"]["ref"], {"more.py": "1\n"}, "One more thing")
    await shop.looked_again()
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "confused"
    said = (await shop.from_bot(broken))[-1]
    assert f"`/approve {pushed[:7]}`" in said
    assert f"#{hotfix['number']}" in said
    await shop.looked_again()
    assert not (await shop.hotfix())["merged_at"]


@pytest.mark.thorough
async def test_what_needs_a_founder_is_merged_on_a_founders_revert_only(
    shop: Shop, sender: Sender
) -> None:
    config = "founder: {people: [olivia], paths: [db/migrations/**]}\n"
    configured = await shop.merged("Configure", {".github/playbooks.yml": config})
    assert await (await shop.says(configured, "/approve", shop.olivia)).reaction() == "+1"
    migration: dict[str, str | None] = {"shop.py": BAD, "db/migrations/1.sql": "drop"}
    broken = await shop.merged("Faster totals", migration)
    await sender.cloudevent("eval.drop", pull_request=broken)
    told_on = (await sender.incident("active")).issue or 0
    await shop.standing(told_on, "/approve")
    # What only a person was asked about, bob's word settles; then a Founder is asked.
    await (await shop.says(broken, "/revert", shop.bob)).reaction()
    await shop.standing(told_on, "A Founder decides")
    hotfix = (await shop.hotfix())["number"]
    refused = await shop.says(broken, "/revert", shop.bob)
    assert await refused.reaction() == "confused"
    said = (await shop.from_bot(broken))[-1]
    assert f"a Founder reads #{hotfix} and comments `/approve`" in said
    assert "`olivia`" in said
    await shop.looked_again()
    assert not (await shop.hotfix())["merged_at"]
    assert await (await shop.says(broken, "/revert", shop.olivia)).reaction() == "+1"
    await _ends_well(shop, told_on, "olivia")


@pytest.mark.thorough
async def test_after_a_no_it_begins_anew(shop: Shop, sender: Sender) -> None:
    broken, _ = await _waits(shop, sender)
    hotfix = (await shop.hotfix())["number"]
    await shop.says(hotfix, "/reject")
    await sender.incident("declined", "revert")
    assert await (await shop.says(hotfix, "/revert")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert (await shop.alice.pull_request(hotfix))["merged_at"] is None
    again = await shop.says(broken, "/revert", shop.bob)
    assert await again.reaction() == "confused"
    newest = (await shop.hotfixes())[0]["number"]
    assert f"already reverted on `main` by #{newest}, " in (await shop.from_bot(broken))[-1]
