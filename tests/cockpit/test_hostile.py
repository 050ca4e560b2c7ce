"""A repository that means ill: whatever its words hold, they stay words and fit on the page."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page

from bot import markdown
from bot.app import Bot
from bot.cockpit.text import plain, with_references
from bot.records import incidents, runs
from bot.records.audit import chain
from bot.records.lifecycle import RunState
from bot.triggers import Severity
from tests.cockpit.chromium import CHROMIUM, MISSING, WIDTHS, addresses, log_in
from tests.cockpit.conftest import Arrives
from tests.cockpit.house import House
from tests.shop import Shop

LONG = "A" * 60_000
RIGHT_TO_LEFT = "\u202e\u2066txt.exe\u2069 \u05d0\u05d1\u05d2 \u0627\u0644\u0633\u0644\u0627\u0645"
TOWER = "Z" + "\u0351\u0352\u0357\u035b" * 300
EVIL = (
    "<script>window.hacked=1</script>",
    '"><img src=x onerror=window.hacked=1>',
    "'><svg/onload=window.hacked=1>",
    "</title></textarea><script>window.hacked=1</script>",
    "{{ 7*7 }}{% for x in y %}",
    "javascript:window.hacked=1",
    "[click](javascript:window.hacked=1) ![x](https://evil.example/x.png) <b>bold</b>",
    "<style>*{display:none}</style><base href=//evil.example><meta http-equiv=refresh content=0>",
    "\x00\x1b[2J\x07 " + RIGHT_TO_LEFT,
    TOWER,
    LONG,
    "\ud83d" + "\u200b" * 5000 + "x",
    "日本語" * 3000,
)


@pytest.fixture
async def hostile(house: House, bot: Bot) -> dict[str, str]:
    """Incidents, Runs, suspects and audit entries in these words; ids as in `House.busy`."""
    words = [each.encode("utf-8", "replace").decode() for each in EVIL]
    ids = {"attempt": await house.ramp()}
    for place, each in enumerate(words):
        incident, run = await house.incident(
            f"{each} {place}", severity=list(Severity)[place % 4], reason=each,
            state=RunState.AWAITING_APPROVAL if place % 3 else RunState.FAILED,
            by=each.replace("\x00", "")[:90], data={"reason": each.replace("\x00", "")},
        )  # fmt: skip
        async with bot.records.begin() as conn:
            await incidents.refer(conn, incident.id, suspect=each, adr=f"docs/{each[:300]}.md")
            await runs.note(conn, run.id, at=house.now, artifact_path=f"x/{each[:300]}")
            await chain.append(
                conn,
                incident.repository_id,
                f"odd.{each[:400]}",
                actor=each[:200].replace("\x00", ""),
                at=house.now,
                incident=incident.id,
                refs={each[:50]: each, "branch": each},
                data={"why": each},
            )
        ids[f"evil-{place}"] = incident.id
        ids |= {"incident": incident.id, "request": run.id}
    _, bisect = await house.bisect(words[0], subjects=[words[1], words[8], words[10]])
    ids["run"] = bisect.id
    return ids


async def test_no_words_become_markup_anywhere(
    arrives: Arrives, bot: Bot, shop: Shop, hostile: dict[str, str]
) -> None:
    alice = await arrives("alice")
    evil = [f"/ui/incidents/{i}" for k, i in hostile.items() if k.startswith("evil")]
    paths = [
        *addresses(bot.cockpit.table, hostile, shop.name).values(),
        *evil,
        "/ui/incidents?q=%3Cscript%3E",
        f"/ui/audit?q=%22%3E%3Cscript%3Ewindow.hacked%3D1&repo={shop.name}",
        "/ui/login?back=%22%3E%3Cscript%3E",
        "/ui/start?line=%22%3E%3Cscript%3Ewindow.hacked=1",
    ]
    for path in paths:
        page = await alice.get(path)
        assert page.status in (200, 404), path
        for tag in (
            "<script>",
            "<img",
            "<svg/",
            "<style",
            "<base",
            "<b>",
            'javascript:window.hacked=1"',
        ):
            assert tag not in page.text, (path, tag)
        assert "\u202e" not in page.text, path
        assert "\u2066" not in page.text, path
        assert "49{" not in page.text
        assert len(page.text) < 1_000_000, (path, len(page.text))
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]


@pytest.mark.thorough
@pytest.mark.skipif(not CHROMIUM.exists(), reason=MISSING)
async def test_nothing_runs_and_nothing_breaks_the_layout(
    browser: Browser, bot: Bot, shop: Shop, hostile: dict[str, str]
) -> None:
    context = await browser.new_context()
    cockpit = f"http://127.0.0.1:{bot.port}"
    page = await log_in(context, cockpit, "alice")
    elsewhere: list[str] = []
    page.on("request", lambda asked: elsewhere.append(asked.url))
    evil = {k: f"/ui/incidents/{i}" for k, i in hostile.items() if k.startswith("evil")}
    for name, path in {**addresses(bot.cockpit.table, hostile, shop.name), **evil}.items():
        await page.set_viewport_size({"width": WIDTHS[1], "height": 844})
        await page.goto(f"{cockpit}{path}")
        await page.evaluate(
            "document.querySelectorAll('details').forEach((d) => { d.open = true })"
        )
        assert await page.evaluate("window.hacked") is None, name
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 844})
            assert await _sticks_out(page) == [], (name, width)
    assert [url for url in elsewhere if not url.startswith(cockpit)] == []
    await context.close()


async def _sticks_out(page: Page) -> list[str]:
    """What is wider than the window, other than what scrolls by itself."""
    found: list[str] = await page.evaluate(
        """() => {
          const wide = document.documentElement.clientWidth + 1;
          if (document.documentElement.scrollWidth <= wide) return [];
          return [...document.querySelectorAll("main *, header *, footer *")]
            .filter((e) => e.getBoundingClientRect().right > wide && !e.closest(".wide"))
            .map((e) => e.tagName + "." + e.className).slice(0, 5);
        }"""
    )
    return found


def test_words_are_shown_on_one_line_without_what_cannot_be_seen() -> None:
    assert plain("a\u202eb\x00c\n\nd\u200b") == "abc d"
    assert plain(LONG, 10) == "AAAAAAAAA…"
    assert len(plain(TOWER)) == len("Z") + 2 + len("…")
    assert plain("\u200f\u05e9\u05dc") == "\u05e9\u05dc"


def test_only_references_of_our_own_become_links() -> None:
    said = markdown.text("see #4 and `#5`") + " of `/revert #6`, [#7](https://x.example) and #9."
    assert with_references(said, lambda number: f"https://here.example/{number}") == said.replace(
        "#9", "[#9](https://here.example/9)"
    )
