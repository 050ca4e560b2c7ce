"""A real browser: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from bot.cockpit.render import ROOT
from bot.cockpit.request import PageRoute

CHROMIUM = Path("/usr/bin/chromium")
MISSING = f"there is no {CHROMIUM}: apt-get install chromium"

THEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
WIDTHS = (1280, 390)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start it; it ends with the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        await browser.close()


async def log_in(context: BrowserContext, cockpit: str, login: str, path: str = "/ui/") -> Page:
    """Open a tab at a page of the cockpit, and log in on the way."""
    page = await context.new_page()
    await page.goto(f"{cockpit}{path}")
    await page.get_by_role("link", name="Log in with GitHub").click()
    await page.get_by_role("button", name=f"Continue as {login}", exact=True).click()
    await page.wait_for_url(f"{cockpit}{path}")
    return page


NO_PAGES = {
    "",
    "/audit/export",
    "/events",
    "/login",
    "/login/start",
    "/login/callback",
    "/static/{name}",
}
"""Addresses that are no page for whoever is logged in."""


def addresses(table: Iterable[PageRoute], ids: dict[str, str], repository: str) -> dict[str, str]:
    """Every page there is to look at, by its path in the route table: a new one comes by itself."""
    asked = {
        "/incidents/{incident}": f"?request={ids['request']}",
        "/audit": f"?repo={repository}",
        "/start": f"?repo={repository}&play=bisect",
    }
    found = {"nowhere": f"{ROOT}/nowhere"}
    for route in table:
        if route.method != "GET" or route.path in NO_PAGES:
            continue
        unknown = set(re.findall(r"\{(\w+)\}", route.path)) - ids.keys()
        assert not unknown, f"{route.path}: say what {unknown} is, or that it is no page"
        found[route.path] = route.address.format(**ids) + asked.get(route.path, "")
    return found
