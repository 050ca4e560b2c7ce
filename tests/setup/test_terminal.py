"""`playbooks setup` in a terminal, with a browser only for GitHub's own pages; and the ruleset."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import sys
import time
from collections.abc import AsyncIterator
from html import unescape
from itertools import count
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from bot.github.client import EVENTS, PERMISSIONS
from bot.setup import proposal
from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeRepository, FakeUser
from tests.chaos.lane import InstantCi
from tests.cli.test_commands import ROOT, playbooks

LONGEST_S = 120.0
_names = count(1)
WHOLE = {"administration": "write"}


class Typed:
    """A command in a terminal: what it says is read, what it asks is answered."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process, self.said = process, ""

    @classmethod
    async def run(cls, *words: str, **environment: str) -> Typed:
        clean = {k: v for k, v in os.environ.items() if k in ("HOME", "PATH", "PYTHONPATH")}
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot", *words, env=clean | environment, cwd=ROOT,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        )  # fmt: skip

    async def says(self, words: str) -> str:
        """Read until it says this; give all that it said."""
        assert self.process.stdout is not None
        async with asyncio.timeout(LONGEST_S):
            while not re.search(words, self.said):
                read = await self.process.stdout.read(4096)
                assert read, f"it ended before it said {words}:\n{self.said}"
                self.said += read.decode()
        return self.said

    async def types(self, answer: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{answer}\n".encode())
        await self.process.stdin.drain()

    async def ends(self) -> int:
        assert self.process.stdout is not None
        async with asyncio.timeout(LONGEST_S):
            self.said += (await self.process.stdout.read()).decode()
            return await self.process.wait()

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Browser:
    """A browser at GitHub's pages: presses the one button of each."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.at, self.text = URL(), ""

    async def open(self, address: str) -> None:
        async with self._session.get(address) as answer:
            self.at, self.text = answer.url, await answer.text()

    async def press(self, **fields: str) -> None:
        """Send the first form that changes something; where it leads may be over already."""
        form = re.search(r'<form method="post" action="([^"]*)">(.*?)</form>', self.text, re.S)
        assert form, self.text
        found = re.findall(r'name="(\w+)" value="([^"]*)"', form[2])
        hidden = {name: unescape(value) for name, value in found if name != "repository"}
        address = self.at.join(URL(unescape(form[1])))
        try:
            async with self._session.post(address, data=hidden | fields) as answer:
                self.at, self.text = answer.url, await answer.text()
        except aiohttp.ClientConnectorError:
            self.text = ""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Browser(session)


@pytest.fixture
async def mill(github: DemoGitHub) -> tuple[FakeUser, FakeRepository]:
    owner = github.create_user(f"oswald-of-mill-{next(_names)}")
    repository = github.create_repository(owner, "mill", {"mill.py": "1\n"})
    InstantCi(github).watch(repository)
    return owner, repository


def _app_of(github: DemoGitHub, owner: FakeUser) -> FakeApp:
    [app] = [each for each in github.world.apps.values() if each.owner is owner]
    return app


@pytest.mark.thorough
async def test_ten_actions_in_a_terminal_lead_to_a_revert_that_works(
    github: DemoGitHub, mill: tuple[FakeUser, FakeRepository], browser: Browser, tmp_path: Path
) -> None:
    owner, repository = mill
    environment = {"GITHUB_API_URL": f"{github.url}/api/v3", "PLAYBOOKS_DATA": str(tmp_path),
                   "PLAYBOOKS_PORT": "0", "PLAYBOOKS_SANDBOX": "off"}  # fmt: skip
    began, done = time.monotonic(), ["playbooks setup"]
    async with Person(github.url, owner.token or "", repository.full_name) as person:
        await person.push("main", {"README.md": "# Mill\n"}, "So that something is green")
        number = await person.open_pull_request("Faster", {"mill.py": "0\n"}, branch="faster")
        await person.merge(number)
        setup = await Typed.run("setup", **environment)
        said = await setup.says(r"http://\S+token=\S+")
        found = re.search(r"http://\S+token=\S+", said)
        assert found
        await browser.open(found[0])
        done.append("open the address")
        await browser.press()
        done.append("Register the App")
        await browser.press(login=owner.login)
        done.append("Create GitHub App")
        _app_of(github, owner).permissions |= WHOLE
        await setup.says(r"Install it in the browser")
        await browser.press(account=owner.login, which="all")
        done.append("Install")
        await setup.says(r"Propose it to \S+ as a pull request\?")
        await setup.types("y")
        done.append("yes, propose it")
        await setup.says(r"Proposed: http")
        await setup.says(r"Have `self-work gate` required in")
        await setup.types("y")
        done.append("yes, have the gate required")
        assert await setup.ends() == 0, setup.said
        assert "PRIVATE KEY" not in setup.said
        kept = tmp_path / "credentials.json"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        [proposed] = await person.get("pulls")
        assert proposed["head"]["ref"] == proposal.BRANCH
        rules = await person.get("rules/branches/main")
        [rule] = [each for each in rules if each["type"] == "required_status_checks"]
        [check] = rule["parameters"]["required_status_checks"]
        assert check == {"context": "self-work gate",
                         "integration_id": _app_of(github, owner).id}  # fmt: skip
        serve = await Typed.run("serve", **environment)
        done.append("playbooks serve")
        try:
            said = await serve.says(r"listening\s.*port=\d+")
            port = re.search(r"port=(\d+)", said.partition("listening")[2])
            assert port
            # What a proxy does: GitHub reaches the bot at its public address.
            _app_of(github, owner).webhook_url = f"http://127.0.0.1:{port[1]}/webhooks/github"
            await person.comment(number, "/revert because nothing is ground")
            done.append("comment /revert")
            async with asyncio.timeout(LONGEST_S):
                while await person.file("mill.py") != "1\n":  # noqa: ASYNC110  seen from outside
                    await asyncio.sleep(0.2)
        finally:
            serve.process.terminate()
            assert await serve.ends() == 0
    print(f"{len(done)} actions, {time.monotonic() - began:.1f} s: {done}")  # noqa: T201 - shown
    assert len(done) <= 10


async def test_credentials_may_be_printed_for_a_secret_store_and_are_kept_nowhere(
    github: DemoGitHub, browser: Browser, tmp_path: Path
) -> None:
    owner = github.create_user("petra-of-the-forge")
    environment = {"GITHUB_API_URL": f"{github.url}/api/v3", "PLAYBOOKS_DATA": str(tmp_path),
                   "PLAYBOOKS_PORT": "0"}  # fmt: skip
    setup = await Typed.run("setup", "--print", **environment)
    try:
        found = re.search(r"http://\S+token=\S+", await setup.says(r"token=\S+\s"))
        assert found
        await browser.open(found[0])
        await browser.press()
        await browser.press(login=owner.login)
        assert await setup.ends() == 0
    finally:
        await setup.close()
    variables = dict(re.findall(r"^([A-Z_]+)=(.+)$", setup.said, re.MULTILINE))
    assert variables["GITHUB_APP_ID"] == str(_app_of(github, owner).id)
    assert await asyncio.to_thread(lambda: [*tmp_path.iterdir()]) == []
    # They are what serve and doctor read: the App is known, only installed nowhere.
    done = await asyncio.to_thread(
        playbooks, "setup", **environment | {k: v.strip("'") for k, v in variables.items()}
    )
    assert done.returncode == 1
    assert f"{github.url}/apps/" in done.stderr
    assert "then run this again" in done.stderr


@pytest.mark.thorough
async def test_a_proposal_that_was_closed_may_be_made_again(
    github: DemoGitHub, mill: tuple[FakeUser, FakeRepository], tmp_path: Path
) -> None:
    owner, repository = mill
    app = github.create_app("mender", owner=owner, permissions=PERMISSIONS, events=list(EVENTS),
                            secret="s")  # fmt: skip  # noqa: S106
    github.install(app, owner)
    environment = {"GITHUB_API_URL": f"{github.url}/api/v3", "PLAYBOOKS_DATA": str(tmp_path),
                   "GITHUB_APP_ID": str(app.id), "GITHUB_PRIVATE_KEY": app.private_key,
                   "GITHUB_WEBHOOK_SECRET": "s"}  # fmt: skip
    async with Person(github.url, owner.token or "", repository.full_name) as person:
        for _ in range(2):
            name = repository.full_name
            done = await asyncio.to_thread(playbooks, "setup", "--propose", name, **environment)
            assert done.returncode == 0, done.stderr
            # Nothing lets the App set rules here, so it says what an administrator types.
            assert f"gh api -X POST repos/{name}/rulesets" in done.stdout
            [proposed] = await person.get("pulls", state="open")
            await person.patch(f"pulls/{proposed['number']}", state="closed")
            await person.delete(f"git/refs/heads/{proposal.BRANCH}")
        assert len(await person.get("pulls", state="all")) == 2
