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


async def _violations(page: Page, axe: str) -> list[str]:
    await page.evaluate(axe)
    found: dict[str, Any] = await page.evaluate(
        "(options) => axe.run(document, options)", EVERY_RULE
    )
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


async def test_no_page_keeps_anybody_out(
    browser: Browser, bot: Bot, shop: Shop, house: House
) -> None:
    ids = await house.busy()
    axe = AXE.path.read_text(encoding="utf-8")
    context = await browser.new_context(reduced_motion="reduce")
    cockpit = f"http://127.0.0.1:{bot.port}"
    page = await context.new_page()
    await page.goto(f"{cockpit}/ui/login")
    wrong = {"login": await _violations(page, axe)}
    page = await log_in(context, cockpit, "alice")
    for name, path in addresses(bot.cockpit.table, ids, shop.name).items():
        await page.goto(f"{cockpit}{path}")
        # What is folded is judged too.
        await page.evaluate(
            "document.querySelectorAll('details').forEach((d) => { d.open = true })"
        )
        for theme, width in product(THEMES, WIDTHS):
            await page.emulate_media(color_scheme=theme)
            await page.set_viewport_size({"width": width, "height": 900})
            wrong[f"{name}, {theme}, {width}"] = await _violations(page, axe)
            assert await _overflow(page) == 0, f"{name} is wider than {width}"
    assert [f"{name}: {each}" for name, found in wrong.items() for each in found] == []
    await context.close()


async def _overflow(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    found: int = await page.evaluate(
        "Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)"
    )
    return found


async def test_the_keyboard_reaches_everything_and_the_switch_of_colours_holds(
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
    await context.close()
