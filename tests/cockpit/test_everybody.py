"""Usable by everybody: axe-core finds nothing on any page, in both themes, at both widths.

https://github.com/dequelabs/axe-core (downloaded by tests/contracts/download.py)
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from bot.app import Bot
from tests.cockpit.chromium import CHROMIUM, MISSING, THEMES, WIDTHS, addresses, log_in
from tests.cockpit.house import House
from tests.contracts.download import AXE
from tests.shop import Shop

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=MISSING),
    pytest.mark.skipif(not AXE.ready, reason="axe-core is not here: make contracts"),
]

EVERY_RULE = {"resultTypes": ["violations"]}


async def _violations(page: Page) -> list[str]:
    found: dict[str, Any] = await page.evaluate(
        "(options) => axe.run(document, options)", EVERY_RULE
    )
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.thorough
async def test_no_page_keeps_anybody_out(
    browser: Browser, bot: Bot, shop: Shop, house: House
) -> None:
    ids = await house.busy()
    await house.config_question(shop.bob)
    axe = AXE.path.read_text(encoding="utf-8")
    context = await browser.new_context(reduced_motion="reduce")
    cockpit = f"http://127.0.0.1:{bot.port}"
    page = await context.new_page()
    await page.goto(f"{cockpit}/ui/login")
    await page.evaluate(axe)
    wrong = {"login": await _violations(page)}
    page = await log_in(context, cockpit, "alice")
    for name, path in addresses(bot.cockpit.table, ids, shop.name).items():
        await page.goto(f"{cockpit}{path}")
        wrong |= await _judged(page, name, axe)
    await page.goto(f"{cockpit}/ui/start?repo={shop.name}&play=unpause")
    await page.get_by_role("button", name="Show the plan first").click()
    wrong |= await _judged(page, "plan", axe)
    assert [f"{name}: {each}" for name, found in wrong.items() for each in found] == []
    await context.close()


async def _judged(page: Page, name: str, axe: str) -> dict[str, list[str]]:
    """What is wrong with a page, in each theme and at each width; what is folded is judged too."""
    await page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    await page.evaluate(axe)
    wrong = {}
    for theme, width in product(THEMES, WIDTHS):
        await page.emulate_media(color_scheme=theme)
        await page.set_viewport_size({"width": width, "height": 900})
        wrong[f"{name}, {theme}, {width}"] = await _violations(page)
        assert await _overflow(page) == 0, f"{name} is wider than {width}"
    wrong[f"{name}, by thumb"] = await _too_small(page)
    # As wide as the smallest phones, and a screen of 1280 at 400%: https://www.w3.org/TR/WCAG22/#reflow
    await page.set_viewport_size({"width": 320, "height": 640})
    assert await _overflow(page) == 0, f"{name} is wider than 320"
    return wrong


async def _too_small(page: Page) -> list[str]:
    """What is to be pressed on a phone, but lower than 44 pixels; links inside sentences may be."""
    found: list[str] = await page.evaluate(
        """() => [...document.querySelectorAll(
            "button, .button, summary, input:not([type=hidden]), select, nav a, .links a")]
          .filter((e) => e.offsetParent && e.getBoundingClientRect().height < 43.9)
          .map((e) => `${e.tagName} ${e.textContent.trim().slice(0, 30)}`)"""
    )
    return found


async def _overflow(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    found: int = await page.evaluate(
        "Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)"
    )
    return found


async def test_the_keyboard_reaches_everything_and_the_switch_of_colours_holds_but_on_paper(
    browser: Browser, bot: Bot, shop: Shop, house: House
) -> None:
    del shop
    incident, _ = await house.incident("Logins fail")
    context = await browser.new_context(color_scheme="light")
    cockpit = f"http://127.0.0.1:{bot.port}"
    page = await log_in(context, cockpit, "alice", f"/ui/incidents/{incident.id}")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    reached = set()
    for _ in range(40):
        await page.keyboard.press("Tab")
        reached.add(await page.evaluate("document.activeElement.textContent.trim()"))
    assert {"Retry", "Cancel the revert …", "Set", "dark", "Log out"} <= reached
    await page.get_by_role("button", name="dark").click()
    assert page.url == f"{cockpit}/ui/incidents/{incident.id}"
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(14, 18, 22)"
    # Paper is white, whatever the screen is.
    await page.emulate_media(media="print", color_scheme="dark")
    words = await page.evaluate("getComputedStyle(document.body).color")
    assert words == "rgb(27, 32, 39)"
    await context.close()
