"""From nothing to a repository that is protected: a real browser, and at most ten actions."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, Page, expect

from demo.person import Person
from fakegithub.server import DemoGitHub
from tests.cockpit.chromium import CHROMIUM, MISSING

LONGEST = 120_000.0
PICTURES = os.environ.get("SETUP_PICTURES")
TRIAL = """
name: Try one commit
run-name: ${{ inputs.trial_id }}
on:
  workflow_dispatch:
    inputs:
      sha: {required: true}
      trial_id: {required: true}
jobs: {try: {runs-on: ubuntu-latest, steps: [{run: "true"}]}}
"""


class Served:
    """`playbooks serve` on an empty database, without credentials."""

    def __init__(self, github: DemoGitHub, folder: Path) -> None:
        self.data, self.log = folder / "data", folder / "log"
        kept = {k: v for k, v in os.environ.items() if k in ("HOME", "PATH", "PYTHONPATH")}
        environment = kept | {
            "GITHUB_API_URL": f"{github.url}/api/v3",
            "PLAYBOOKS_DATA": str(self.data),
            "PLAYBOOKS_PORT": "0",
            "PLAYBOOKS_SANDBOX": "off",
        }
        with self.log.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bot", "serve"], env=environment, stdout=said, stderr=said
            )

    async def address(self) -> str:
        """What the terminal says to open."""
        async with asyncio.timeout(LONGEST / 1000):
            while not (found := re.search(r"http://\S+token=\S+", self.log.read_text())):
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.1)
        return found[0]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self.process.kill()


@pytest.fixture
async def served(github: DemoGitHub, tmp_path: Path) -> AsyncIterator[Served]:
    served = Served(github, tmp_path)
    yield served
    served.stop()


class Actions:
    """What a person does, counted, with the seconds that passed."""

    def __init__(self, page: Page) -> None:
        self.page, self.done = page, ["playbooks serve"]
        self.began = time.monotonic()
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda m: self.faults.append(m.text) if m.type == "error" else None)

    async def act(self, what: str) -> None:
        self.done.append(f"{time.monotonic() - self.began:.1f} s: {what}")
        if PICTURES:
            name = re.sub(r"\W+", "-", what)[:40]
            path = f"{PICTURES}/{len(self.done):02}-{name}.png"
            await self.page.screenshot(path=path, full_page=True)

    async def press(self, button: str) -> None:
        await self.act(button)
        await self.page.get_by_role("button", name=button).click()


@pytest.mark.skipif(not CHROMIUM.exists(), reason=MISSING)
async def test_ten_actions_lead_from_nothing_to_a_revert_that_works(
    browser: Browser, github: DemoGitHub, served: Served
) -> None:
    olivia = github.create_user("olivia-of-the-mill")
    files = {
        "mill.py": "def grind(): return 1\n",
        "db/migrations/0001.sql": "CREATE TABLE sacks (id int);\n",
        ".github/CODEOWNERS": "* @olivia-of-the-mill\n",
        ".github/workflows/trial.yml": TRIAL,
    }
    mill = github.create_repository(olivia, "mill", files)
    person = Person(github.url, olivia.token or "", mill.full_name)
    # Green before it broke: that is what a hotfix is measured by where nothing is configured.
    await person.set_status(await person.head("main"), "success", "smoke")
    number = await person.open_pull_request("Faster", {"mill.py": "def grind(): return 0\n"},
                                            branch="faster")  # fmt: skip
    await person.merge(number, "squash")
    await person.set_status(await person.head("main"), "success", "smoke")
    told: set[str] = set()

    page = await (await browser.new_context(viewport={"width": 1000, "height": 900})).new_page()
    page.set_default_timeout(LONGEST)
    person_does = Actions(page)
    address = await served.address()
    await page.goto(address)
    await person_does.act("open the address")
    await expect(page.locator("h1")).to_have_text("Set up Incident Playbooks")
    await person_does.press("Register the App on")
    await page.get_by_label("You are").select_option(olivia.login)
    await person_does.act(f"choose {olivia.login}")
    await person_does.press("Create GitHub App")
    await person_does.press("Install")
    await expect(page.locator("h2").first).to_have_text(mill.full_name, timeout=LONGEST)
    shown = await page.locator("pre").first.inner_text()
    assert "workflow: trial.yml" in shown
    assert 'paths: ["db/migrations/**"]' in shown
    assert "people: [olivia-of-the-mill]" in shown
    assert "smoke: [smoke]" in shown
    await person_does.press("Propose it to")
    await expect(page.locator(".notice")).to_contain_text("Proposed: #")
    [proposed] = [each async for each in _open(person)]
    assert "count once a Founder says so" in proposed["body"]
    await page.get_by_role("link", name="#").last.click()
    await person_does.act(f"open the pull request #{proposed['number']}")

    await page.goto(f"{github.url}/{mill.full_name}/pull/{number}")
    await person_does.act(f"open the merged pull request #{number}")
    await page.locator("textarea[name=body]").first.fill("/revert because nothing is ground")
    await person_does.press("Comment")  # the first pull request, and what is typed, are this one
    async with asyncio.timeout(LONGEST / 1000):
        while not [each for each in await _all(person) if each["merged_at"] and
                   each["head"]["ref"].startswith("hotfix/")]:  # fmt: skip
            await _report(person, told)
            await asyncio.sleep(0.3)
        while "Done:" not in await page.content():
            await page.reload()
            await asyncio.sleep(0.3)
    took = time.monotonic() - person_does.began
    print(f"{len(person_does.done)} actions, {took:.1f} s: {person_does.done}")  # noqa: T201 - shown
    if PICTURES:
        await person_does.act("what came of it")
        person_does.done.pop()
        (Path(PICTURES) / "actions.txt").write_text("\n".join(person_does.done) + "\n")
    assert len(person_does.done) <= 10, person_does.done
    assert person_does.faults == []
    credentials = served.data / "credentials.json"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    said = served.log.read_text()
    assert "PRIVATE KEY" not in said
    assert "Traceback" not in said
    async with aiohttp.ClientSession() as stranger, stranger.get(address) as answer:
        assert answer.status == 403
    await person.close()


async def _open(person: Person) -> AsyncIterator[dict]:
    for each in await person.get("pulls", state="open"):
        if each["head"]["ref"] == "playbooks/configuration":
            yield each


async def _all(person: Person) -> list[dict]:
    return await person.get("pulls", state="all")


async def _report(person: Person, told: set[str]) -> None:
    """A CI that is green on every open pull request, once."""
    for each in await person.get("pulls", state="open"):
        if (head := each["head"]["sha"]) not in told:
            told.add(head)
            await person.set_status(head, "success", "smoke")


async def test_nobody_sets_it_up_but_whoever_has_the_address(
    github: DemoGitHub, served: Served
) -> None:
    del github
    address = await served.address()
    root = address.partition("/ui")[0]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{root}/") as answer:
            assert answer.status == 403
        async with session.get(f"{root}/readyz") as answer:
            assert answer.status == 503
            assert (await answer.json())["parts"] == {"setup": "no App is registered yet"}
        async with session.get(f"{root}/ui/setup?token=wrong") as answer:
            assert answer.status == 403
        async with session.get(f"{root}/ui/setup/registered?code=x&state=y") as answer:
            assert answer.status == 403
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as first:
            async with first.get(address) as answer:
                assert answer.status == 200
                assert "Register the App" in await answer.text()
            async with first.get(f"{root}/ui/setup/registered?code=x&state=y") as answer:
                assert answer.status == 400
                assert "does not belong to this setup" in await answer.text()
        async with session.get(address) as answer:
            assert answer.status == 403
