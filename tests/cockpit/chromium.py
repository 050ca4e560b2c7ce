"""A real browser: Debian's Chromium, driven by playwright."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

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


def addresses(ids: dict[str, str], repository: str) -> dict[str, str]:
    """Every page there is to look at, by name."""
    return {
        "now": "/ui/",
        "incidents": "/ui/incidents",
        "incident": f"/ui/incidents/{ids['incident']}?request={ids['request']}",
        "bisect": f"/ui/bisects/{ids['run']}",
        "ramps": "/ui/ramps",
        "ramp": f"/ui/ramps/{ids['attempt']}",
        "audit": f"/ui/audit?repo={repository}",
        "start": f"/ui/start?repo={repository}&play=bisect",
        "help": "/ui/help",
        "not-found": "/ui/nowhere",
    }
