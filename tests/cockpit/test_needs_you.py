"""What people have to do stands on the first page, and goes away when it is done."""

from __future__ import annotations

import asyncio
import re

import pytest

from fakegithub.world.model import Protection
from tests.cockpit.conftest import Arrives, known_to_bot
from tests.cockpit.visitor import Visitor
from tests.shop import A_WHILE, BAD, Shop


async def _asked_on_now(visitor: Visitor, shop: Shop, words: str) -> str:
    """Wait until the first page says under "Needs you" what to do; that section as HTML."""

    async def look() -> str | None:
        page = await visitor.get(f"/ui/?repo={shop.name}")
        section = re.search(r'<section aria-labelledby="needs">.*?</section>', page.text, re.DOTALL)
        return section[0] if section and words in section[0] else None

    return str(await shop.eventually(look))


async def _needs_nobody(visitor: Visitor, shop: Shop) -> None:
    async def look() -> bool:
        return "Needs you" not in (await visitor.get(f"/ui/?repo={shop.name}")).words

    await shop.eventually(look)


@pytest.mark.thorough
async def test_a_red_hotfix_is_to_be_looked_at_until_it_is_green(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    shop.verdicts["smoke"] = "success"
    broken = await shop.broken()
    shop.verdicts["smoke"] = "failure"
    await shop.says(broken, "/revert")
    alice = await arrives("alice")

    asked = await _asked_on_now(alice, shop, "does it fail, so I did not merge it")

    hotfix = await shop.hotfix()
    address = f"{shop.bot.github.addresses.web}/{shop.name}/pull/{hotfix['number']}"
    assert re.search(rf'only on hotfix <a href="{address}"[^>]*>#{hotfix["number"]}</a>', asked)
    incident = re.search(r'href="(/ui/incidents/[0-9a-z]{26})"', asked)
    assert incident
    page = await alice.get(incident[1])
    assert "run the check again: I will go on by myself when it turns green" in page.words

    shop.verdicts["smoke"] = "success"
    await shop.report("success", branch=hotfix["head"]["ref"])
    await _needs_nobody(alice, shop)
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_a_conflict_names_the_branch_and_a_cancelled_one_needs_nobody(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    broken = await shop.broken()
    later = BAD.replace("return 0", "return 0  # nobody knows why")
    await shop.alice.push("main", {"shop.py": later}, "Say what is odd")
    await shop.says(broken, "/revert")
    alice = await arrives("alice")
    asked = await _asked_on_now(alice, shop, "Resolve 1 conflicting path on")
    assert "<code>hotfix/revert-" in asked
    await shop.says(broken, "/cancel")
    await _needs_nobody(alice, shop)


@pytest.mark.thorough
async def test_a_change_of_the_configuration_waits_for_a_founder_merged_or_not(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    caps = {".github/playbooks.yml": "caps: {reverts_a_day: 3}\nchecks: {timeout_minutes: 50}\n"}
    number = await shop.bob.open_pull_request("Fewer reverts", caps, branch="caps")
    alice = await arrives("alice")
    asked = await _asked_on_now(alice, shop, f"Open #{number}")
    assert re.search(r"As a Founder, read what it changes in <code>caps</code> and comment", asked)
    page = await alice.get(f"/ui/?repo={shop.name}")
    assert "1 thing needs you" in page.words

    await shop.bob.merge(number)
    await asyncio.sleep(A_WHILE)  # whoever watches pull requests has seen that it is closed
    await _asked_on_now(alice, shop, f"Open #{number}")
    await shop.says(number, "/approve", shop.olivia)
    await _needs_nobody(alice, shop)


@pytest.mark.thorough
async def test_a_change_of_the_configuration_that_is_taken_back_asks_nobody(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    path = ".github/playbooks.yml"
    files: dict[str, str | None] = {path: "caps: {reverts_a_day: 3}\n"}
    closed = await shop.bob.open_pull_request("Fewer", files, branch="fewer")
    changed = await shop.bob.open_pull_request("Less", files, branch="less")
    alice = await arrives("alice")
    await _asked_on_now(alice, shop, f"Open #{closed}")
    await _asked_on_now(alice, shop, f"Open #{changed}")
    await shop.bob.patch(f"pulls/{closed}", state="closed")
    await shop.bob.push("less", {path: "checks: {smoke: [smoke]}\n"}, "Only name the check")
    await _needs_nobody(alice, shop)


@pytest.mark.thorough
async def test_what_was_pushed_and_does_not_count_stands_there_with_why(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    path = ".github/playbooks.yml"
    broken = await shop.bob.push("main", {path: "<b>: 5\n"}, "Break it")
    alice = await arrives("alice")
    asked = await _asked_on_now(alice, shop, f"Open {broken[:7]}")
    assert "the last good version stays in force" in asked
    assert "&lt;b&gt;" in asked
    assert "<b>" not in asked
    assert f"/commit/{broken}/checks" in asked
    waits = await shop.bob.push("main", {path: "caps: {reverts_a_day: 3}\n"}, "Fewer reverts")
    asked = await _asked_on_now(alice, shop, f"Open {waits[:7]}")
    assert "press Approve on its check <code>playbooks config</code>" in asked
    await shop.bob.push("main", {path: None}, "Take it back")
    await _needs_nobody(alice, shop)


@pytest.mark.thorough
async def test_a_missing_review_is_asked_for_until_it_is_in(arrives: Arrives, shop: Shop) -> None:
    await known_to_bot(shop.bot, shop)
    broken = await shop.broken()
    shop.github.protect(shop.repository, "main", Protection(reviews=1))
    await shop.says(broken, "/revert")
    alice = await arrives("alice")
    await _asked_on_now(alice, shop, "it is green and needs 1 more approval")
    await shop.bob.review((await shop.hotfix())["number"])
    await _needs_nobody(alice, shop)
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_a_second_request_that_joined_hides_nothing(arrives: Arrives, shop: Shop) -> None:
    await known_to_bot(shop.bot, shop)
    broken = await shop.broken()
    shop.verdicts["smoke"] = "failure"
    await shop.says(broken, "/revert")
    alice = await arrives("alice")
    await _asked_on_now(alice, shop, "does it fail")
    await shop.says(broken, "/revert", shop.bob)
    await _asked_on_now(alice, shop, "does it fail")
    page = await alice.get(f"/ui/?repo={shop.name}")
    assert "was stopped" not in page.words
