"""Every page in both themes and at both widths, into `var/screenshots`: `make screenshots`.

With `--documents` only the pictures that `docs/` shows, to where it shows them: `make pictures`.
"""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from playwright.async_api import Browser

from demo.stage import NAME, OWNER, Stage
from tests.cockpit.chromium import CHROMIUM, MISSING, THEMES, WIDTHS, addresses, chromium, log_in
from tests.cockpit.house import House

TARGET = Path("var/screenshots")
DOCUMENTS = Path("docs")


async def take(*, documents: bool) -> None:
    """Fill a house, and look at it from everywhere, or as the documents show it."""
    async with Stage(port=0, seed=1) as stage, chromium() as browser:
        stage.bot.guard._wake = _nobody
        [repository] = await stage.bot.served.served()
        house = House(stage.bot.records, repository, datetime.now(UTC))
        ids = await house.busy()
        await house.config_question(stage.people["bob"])
        for theme in () if documents else THEMES:
            for width in WIDTHS:
                context = await browser.new_context(
                    viewport={"width": width, "height": 900},
                    color_scheme="dark" if theme == "dark" else "light",
                    reduced_motion="reduce",
                )
                page = await context.new_page()
                await page.goto(f"{stage.bot_url}/ui/login")
                await page.screenshot(path=TARGET / f"login-{theme}-{width}.png")
                page = await log_in(context, stage.bot_url, "alice")
                for name, path in addresses(
                    stage.bot.cockpit.table, ids, f"{OWNER}/{NAME}"
                ).items():
                    await page.goto(f"{stage.bot_url}{path}")
                    shown = re.sub(r"\W+", "-", name).strip("-") or "now"
                    await page.screenshot(
                        path=TARGET / f"{shown}-{theme}-{width}.png", full_page=True
                    )
                await page.goto(f"{stage.bot_url}/ui/start")
                await page.get_by_label("Command").fill("/unpause self-work")
                await page.get_by_role("button", name="Show the plan first").click()
                await page.screenshot(path=TARGET / f"plan-{theme}-{width}.png", full_page=True)
                await context.close()
        if documents:
            await _for_the_documents(browser, stage, ids)
        await house.leave()


async def _for_the_documents(browser: Browser, stage: Stage, ids: dict[str, str]) -> None:
    """One phone at night and one screen by day, no longer than what is seen at once."""
    for name, path, theme, size in (
        ("cockpit-now", "/ui/", "dark", (390, 1000)),
        ("cockpit-bisect", f"/ui/bisects/{ids['run']}", "light", (1000, 1000)),
    ):
        context = await browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if theme == "dark" else "light",
        )
        page = await log_in(context, stage.bot_url, "alice", path)
        await page.screenshot(path=DOCUMENTS / f"{name}.png")
        await context.close()


async def _nobody(run: str) -> None:
    """The house's Runs are at work in the records only: there is nobody to wake."""


def main() -> int:
    """Take the pictures; 1 where there is no browser."""
    if not CHROMIUM.exists():
        print(MISSING, file=sys.stderr)  # noqa: T201 - its output
        return 1
    if "--documents" in sys.argv:
        asyncio.run(take(documents=True))
        return 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for old in TARGET.glob("*.png"):
        old.unlink()
    asyncio.run(take(documents=False))
    print(f"{len(list(TARGET.glob('*.png')))} pictures in {TARGET}")  # noqa: T201 - its output
    return 0


if __name__ == "__main__":
    sys.exit(main())
