"""A real browser at the cockpit: what changes is seen without reloading, and with, without scripts.

Each test is one sitting, because starting Chromium takes longer than what is looked at.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from bot.app import Bot
from tests.cockpit.chromium import CHROMIUM, MISSING, log_in
from tests.cockpit.conftest import known_to_bot
from tests.cockpit.house import House
from tests.playbooks.bisect.bisecting import history
from tests.safety.test_founder import MIGRATION, shop_with_a_founder
from tests.shop import Shop

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=MISSING)

SOON = 90_000.0
"""Milliseconds until a page that does not change fails."""
expect.set_options(timeout=SOON)

BISECT_FLAKES = 'test ! -e bug && test "$(( GITHUB_RUN_ID % 10 ))" != 3'


class Watch:
    """One tab, and what in it went wrong."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context, self.page = context, page
        self.faults: list[str] = []
        self.loads = 0
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._said)
        page.on("load", self._loaded)

    def _said(self, message: object) -> None:
        if getattr(message, "type", "") == "error":
            self.faults.append(getattr(message, "text", ""))

    def _loaded(self, _: object) -> None:
        self.loads += 1

    async def sees(self, words: str) -> None:
        """Wait until the words are on the page."""
        await expect(self.page.locator("main")).to_contain_text(words)

    async def sees_after_reloading(self, words: str) -> None:
        """Reload until the words are there, as people without scripts do."""
        async with asyncio.timeout(SOON / 1000):
            while words not in (await self.page.locator("main").inner_text()):
                await asyncio.sleep(0.3)
                await self.page.reload()


async def _arrive(
    browser: Browser, bot: Bot, login: str, path: str, *, scripts: bool = True
) -> Watch:
    context = await browser.new_context(
        viewport={"width": 390, "height": 844}, java_script_enabled=scripts
    )
    page = await log_in(context, f"http://127.0.0.1:{bot.port}", login, path)
    return Watch(context, page)


async def _waits_for_checks(shop: Shop) -> int:
    """A merged change that is to be reverted, and a CI that says nothing yet."""
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    return await shop.broken()


async def _is_merged_onto_a_moved_base(shop: Shop) -> None:
    """The hotfix is green and merged, and nothing has said yet that the branch is."""
    hotfix = await shop.hotfix()
    await shop.alice.push("main", {"other.py": "1\n"}, "Another change")
    await shop.report("success", branch=hotfix["head"]["ref"])
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_a_tile_appears_is_mitigated_and_goes_without_reloading_while_a_revert_plays(
    browser: Browser, bot: Bot, shop: Shop
) -> None:
    await known_to_bot(bot, shop)
    broken = await _waits_for_checks(shop)
    watch = await _arrive(browser, bot, "alice", f"/ui/?repo={shop.name}")
    tile = watch.page.locator(".tile", has_text="Faster totals")
    await watch.sees("No incident is open")
    loads = watch.loads

    await shop.says(broken, "/revert because totals are zero")

    await expect(tile.locator(".status")).to_have_text("active")
    await expect(tile).to_contain_text("I am waiting for smoke")
    await _is_merged_onto_a_moved_base(shop)
    await expect(tile.locator(".status")).to_have_text("mitigated")
    await expect(tile).to_contain_text("the hotfix is on")
    await expect(watch.page.locator("#news")).to_contain_text("mitigated")
    await shop.report("success", branch="main")
    await expect(tile).to_have_count(0)
    await expect(watch.page.locator("#lately li")).to_contain_text("Faster totals")
    await watch.sees("No incident is open")
    assert watch.loads == loads
    assert watch.faults == []
    await watch.context.close()


@pytest.mark.thorough
async def test_what_happens_while_the_page_is_renewed_is_announced_too_and_stays(
    browser: Browser, bot: Bot, shop: Shop
) -> None:
    await known_to_bot(bot, shop)
    watch = await _arrive(browser, bot, "alice", "/ui/")
    renewed: list[Route] = []

    async def slowly(route: Route) -> None:
        if route.request.resource_type == "fetch":
            await asyncio.sleep(0.5)
            renewed.append(route)
        await route.continue_()

    async def three_at_once(route: Route) -> None:
        said = (["One is mitigated"], ["Two is resolved"], [])
        news = "".join(f"event: changed\ndata: {json.dumps({'say': s})}\n\n" for s in said)
        await route.fulfill(content_type="text/event-stream", body=f"retry: 600000\n\n{news}")

    here = watch.page.url
    await watch.page.goto("about:blank")
    await watch.page.route("**/ui/", slowly)
    await watch.page.route("**/ui/events?*", three_at_once)
    await watch.page.goto(here)
    await expect(watch.page.locator("#news")).to_have_text("One is mitigated")
    await expect(watch.page.locator("#news")).to_have_text("Two is resolved")
    assert len(renewed) == 2
    assert watch.faults == []
    await watch.context.close()


async def _answers(page: Page, address: str, *answers: dict[str, Any] | None) -> None:
    """Whoever asks for the address gets these, one after the other; None: the bot's own answer."""
    left = list(answers)

    async def answer(route: Route) -> None:
        here = left.pop(0) if left else None
        await (route.continue_() if here is None else route.fulfill(**here))

    await page.route(address, answer)


def _stream(event: str, **data: Any) -> dict[str, Any]:
    body = f"retry: 600000\n\nevent: {event}\ndata: {json.dumps(data)}\n\n"
    return {"content_type": "text/event-stream", "body": body}


@pytest.mark.thorough
async def test_an_open_page_finds_back_and_keeps_what_is_typed_and_where_its_reader_is(
    browser: Browser, bot: Bot, house: House
) -> None:
    incident, _ = await house.incident("Logins fail")
    watch = await _arrive(browser, bot, "alice", "/ui/")
    page, cockpit = watch.page, f"http://127.0.0.1:{bot.port}"
    news, heading = page.locator("#news"), page.locator("h1")
    await page.clock.install(time=datetime.now(UTC) + timedelta(days=3))

    # A proxy that answers for a bot that is away ends the stream for good.
    away = {"status": 502, "body": "Bad gateway"}
    await page.goto("about:blank")
    await _answers(page, "**/ui/events?*", away)
    await page.goto(f"{cockpit}/ui/incidents")
    await page.clock.run_for(4_000)
    await expect(news).to_contain_text("What you see may be old.")
    await house.incident("Carts are empty")
    await page.clock.run_for(12_000)
    await watch.sees("Carts are empty")
    await page.clock.run_for(30_000)
    # The clock of this computer is three days ahead.
    assert "d ago" not in await page.locator("main").inner_text()
    await page.unroute("**/ui/events?*")

    # What cannot be made now does not take the place of what was.
    address = f"{cockpit}/ui/incidents/{incident.id}"
    await page.goto("about:blank")
    await _answers(page, "**/ui/events?*", _stream("changed", say=["One is mitigated"]))
    await _answers(page, address, None, {"status": 503, "body": "<main id=main><h1>Not now"})
    await page.goto(address)
    await expect(news).to_have_text("This page could not be renewed; it will be tried again.")
    await expect(heading).to_have_text("Logins fail")
    await page.clock.run_for(4_000)
    await expect(news).to_have_text("One is mitigated")
    await page.unroute("**/ui/events?*")

    # Whoever came to a button with the keyboard stays there.
    retry = page.get_by_role("button", name="Retry")
    await page.reload()
    await retry.focus()
    await house.incident("Search is down")
    await expect(news).to_contain_text("Search is down")
    await expect(retry).to_be_focused()

    # What was typed stays, and so does the plan that follows.
    await page.goto(f"{cockpit}/ui/start?play=pause")
    await page.get_by_label("Command").fill("/pause self-work because x")
    await page.get_by_role("button", name="Show the plan first").focus()
    await house.incident("Prices are zero")
    await expect(news).to_contain_text("It is shown when you have sent or closed the form.")
    await page.get_by_role("button", name="Show the plan first").click()
    await expect(heading).to_have_text("Plan")
    await house.incident("Totals are odd")
    await asyncio.sleep(2)
    await expect(heading).to_have_text("Plan")

    # Whoever is logged out is told that, and nothing else after it.
    await page.goto("about:blank")
    await _answers(page, "**/ui/events?*", _stream("over"))
    await page.goto(f"{cockpit}/ui/")
    await expect(news).to_contain_text("You are logged out.")
    await page.clock.run_for(9_000)
    await expect(news).to_contain_text("You are logged out.")
    await watch.context.close()


async def test_a_red_hotfix_comes_under_needs_you_and_goes_without_reloading(
    browser: Browser, bot: Bot, shop: Shop
) -> None:
    await known_to_bot(bot, shop)
    broken = await shop.broken()
    watch = await _arrive(browser, bot, "alice", f"/ui/?repo={shop.name}")
    await watch.sees("No incident is open")
    loads = watch.loads
    shop.verdicts["smoke"] = "failure"

    await shop.says(broken, "/revert")

    asked = watch.page.get_by_role("region", name="Needs you").locator(".tile")
    await expect(asked).to_contain_text("so I did not merge it")
    hotfix = await shop.hotfix()
    link = asked.locator(".next a")
    await expect(link).to_have_attribute("href", hotfix["html_url"])
    shop.verdicts["smoke"] = "success"
    await shop.report("success", branch=hotfix["head"]["ref"])
    await expect(asked).to_have_count(0)
    assert watch.loads == loads
    assert watch.faults == []
    await watch.context.close()


@pytest.mark.thorough
async def test_what_cannot_be_undone_is_approved_by_a_founder_and_only_seen_by_others(
    browser: Browser, bot: Bot, shop: Shop
) -> None:
    await known_to_bot(bot, shop)
    broken = await shop_with_a_founder(shop)
    await shop.says(broken, "/revert because carts are gone")
    await shop.standing(broken, "A Founder decides")
    bob = await _arrive(browser, bot, "bob", f"/ui/?repo={shop.name}")
    await bob.sees("A Founder decides: read hotfix")
    await bob.page.get_by_role("link", name="Drop a table").first.click()
    await bob.sees("It cannot be undone, so a Founder decides: olivia.")
    await bob.sees("You are no Founder here")
    button = bob.page.get_by_role("button", name="Approve the revert")
    await expect(button).to_be_disabled()
    await expect(bob.page.get_by_text("Reject the revert …")).to_have_count(0)

    address = bob.page.url.removeprefix(f"http://127.0.0.1:{bot.port}")
    olivia = await _arrive(browser, bot, "olivia", address)
    await olivia.sees(MIGRATION)
    await olivia.page.get_by_role("button", name="Approve the revert").click()

    await olivia.sees("Done.")
    await bob.sees("approved by olivia")
    await bob.sees("hotfix merged")
    assert bob.faults == olivia.faults == []
    await bob.context.close()
    await olivia.context.close()


async def test_self_work_is_paused_and_unpaused_from_a_phone(
    browser: Browser, bot: Bot, shop: Shop
) -> None:
    await known_to_bot(bot, shop)
    watch = await _arrive(browser, bot, "alice", f"/ui/?repo={shop.name}")
    page = watch.page
    await watch.sees("Self-work: running")
    await page.get_by_text("Pause self-work …").click()
    await page.get_by_label("Why").fill("the evals are red")
    await page.get_by_role("button", name="Pause self-work", exact=True).click()
    await watch.sees("Self-work: paused")
    await watch.sees("by alice: the evals are red")
    await page.get_by_text("Unpause self-work …").click()
    await page.get_by_label("Why").fill("they are green again")
    await page.get_by_role("button", name="Unpause self-work", exact=True).click()
    await watch.sees("Self-work: running")
    assert watch.faults == []
    await watch.context.close()


@pytest.mark.thorough
async def test_a_bisect_is_followed_to_its_culprit_without_reloading(
    browser: Browser, bot: Bot, shop: Shop
) -> None:
    await known_to_bot(bot, shop)
    past = await history(shop, 24, 15, trial=BISECT_FLAKES)
    await past.says_ci_on_the_end("failure")
    watch = await _arrive(browser, bot, "alice", f"/ui/?repo={shop.name}")
    await past.bisected()
    await watch.sees("the search")
    await watch.page.get_by_role("link", name="the search").click()
    await watch.sees("Where the culprit may be")
    loads = watch.loads
    culprit = past.commits[15][:7]
    await expect(watch.page.locator("p.next")).to_contain_text(f"Culprit: {culprit}")
    await watch.sees("The suspect fails, its parents passconfirmed")
    assert watch.loads == loads
    assert watch.faults == []
    await watch.context.close()


@pytest.mark.thorough
async def test_without_scripts_the_same_is_seen_by_reloading(
    browser: Browser, bot: Bot, shop: Shop
) -> None:
    await known_to_bot(bot, shop)
    broken = await _waits_for_checks(shop)
    watch = await _arrive(browser, bot, "alice", f"/ui/?repo={shop.name}", scripts=False)
    page = watch.page
    await shop.says(broken, "/revert")
    await watch.sees_after_reloading("I am waiting for smoke")
    await _is_merged_onto_a_moved_base(shop)
    await watch.sees_after_reloading("mitigated")
    await shop.report("success", branch="main")
    await watch.sees_after_reloading("No incident is open")
    await page.get_by_text("Pause self-work …").click()
    await page.get_by_label("Why").fill("no scripts here")
    await page.get_by_role("button", name="Pause self-work", exact=True).click()
    await watch.sees_after_reloading("Self-work: paused")
    await page.get_by_text("Unpause self-work …").click()
    await page.get_by_role("button", name="Unpause self-work", exact=True).click()
    await watch.sees_after_reloading("Self-work: running")
    await watch.context.close()


@pytest.mark.thorough
async def test_a_search_is_seen_to_end_without_scripts(
    browser: Browser, bot: Bot, shop: Shop
) -> None:
    await known_to_bot(bot, shop)
    past = await history(shop, 12, 7, trial=None)
    await past.says_ci(7, twice=True)
    watch = await _arrive(browser, bot, "alice", f"/ui/?repo={shop.name}", scripts=False)
    await past.bisected()
    await watch.sees_after_reloading("the search")
    await watch.page.get_by_role("link", name="the search").click()
    await watch.sees_after_reloading(f"Culprit: {past.commits[7][:7]}")
    await watch.context.close()
