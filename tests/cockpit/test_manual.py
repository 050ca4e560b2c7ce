"""The manual is built from docs/ and from the code, and shown by the server to everybody."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Browser

from bot.cockpit.render import POLICY, Manual
from bot.config import Config
from bot.settings import Settings
from bot.slash_commands import ENTRIES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make manual` does; strictly: a link that leads nowhere is an error.

    Once for all workers, whose folders lie side by side: whoever is second waits for the first.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, built = shared / "manual", shared / "manual.built"
    with (shared / "manual.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            _build(folder)
            built.touch()
    return folder


def _build(folder: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
async def address(manual: Path) -> AsyncIterator[str]:
    """Where a server shows it."""
    application = web.Application()
    application.add_routes(Manual(manual).routes())
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/docs"
    await runner.cleanup()


def test_the_reference_has_every_command_and_every_key(manual: Path) -> None:
    commands = (manual / "reference/commands/index.html").read_text()
    assert [each.name for each in ENTRIES if f"<code>/{each.name}</code>" not in commands] == []
    keys = (manual / "reference/configuration/index.html").read_text()
    assert [name for name in Config.model_fields if f"<code>{name}</code>" not in keys] == []
    settings = (manual / "reference/settings/index.html").read_text()
    variables = [name.upper() for name in Settings.model_fields]
    assert [name for name in variables if f"<code>{name}</code>" not in settings] == []


def test_nothing_in_a_page_comes_from_elsewhere_or_runs_inside_it(manual: Path) -> None:
    pages = {each: each.read_text() for each in manual.rglob("*.html")}
    assert len(pages) > 40
    loaded = re.compile(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(?:https?:)?//')
    assert [str(each) for each, text in pages.items() if loaded.search(text)] == []
    assert [str(each) for each, text in pages.items() if "<script>" in text] == []
    assert [str(each) for each in manual.rglob("*.css") if "data:" in each.read_text()] == []


@pytest.mark.thorough
async def test_a_browser_shows_and_searches_it_under_the_cockpits_policy(
    address: str, browser: Browser
) -> None:
    page = await browser.new_page()
    said, asked = list[str](), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    for path in ("/", "/reference/configuration/", "/alerts/grafana/"):
        answer = await page.goto(address + path, wait_until="networkidle")
        assert answer is not None
        assert answer.status == 200
        assert answer.headers["content-security-policy"] == POLICY
    await page.locator("input[name=query]").press_sequentially("founder")
    # The index is made in the browser: a busy machine takes long for that.
    await page.wait_for_selector(".md-search-result__item", timeout=90_000)
    assert said == []
    assert [each for each in asked if not each.startswith(address)] == []
    await page.close()


@pytest.mark.parametrize(
    "path",
    ["/../../../pyproject.toml", "/%2e%2e/render.py", "/nowhere", "/%00", f"/{'a' * 300}"],
)
async def test_what_is_no_page_of_it_is_not_shown(address: str, path: str) -> None:
    async with aiohttp.ClientSession() as session:
        from yarl import URL

        async with session.get(URL(address + path, encoded=True)) as answer:
            assert answer.status == 404
