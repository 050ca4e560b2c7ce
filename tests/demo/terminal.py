"""Somebody who runs the demo: reads the terminal, opens its pages, and does as it says."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from tests.cockpit.visitor import Page, Visitor

ROOT = Path(__file__).parents[3]
LONGEST_S = 300.0
_INVITATION = re.compile(
    r"Now you: open (?P<page>http\S+)\n"
    r"  and (?:(?P<do>[^\n]*)\.|comment:\n\n      (?P<words>/[^\n]*))\n"
)


class Invited(NamedTuple):
    """Where to do something, and what: a comment to write where it begins with a slash."""

    page: str
    what: str


class Terminal:
    """The demo as a process of its own, and a browser beside it."""

    def __init__(self, process: asyncio.subprocess.Process, browser: aiohttp.ClientSession) -> None:
        self._process, self._browser = process, browser
        self.read, self.seen = "", 0

    async def shows(self, words: str) -> str:
        """Wait for these words, after those waited for last; everything since then."""
        while (found := self.read.find(words, self.seen)) < 0:
            await self._reads_on()
        told, self.seen = self.read[self.seen : found + len(words)], found + len(words)
        return told

    async def invites_to(self, what: str) -> Invited:
        """Wait for the next invitation, which has to begin like this."""
        while not (found := _INVITATION.search(self.read, self.seen)):
            await self._reads_on()
        self.seen = found.end()
        invited = Invited(found["page"], found["do"] or found["words"])
        assert invited.what.startswith(what), self.read
        return invited

    async def accepts(self, invited: Invited) -> None:
        """Do as it says."""
        if invited.what.startswith("/"):
            await self.writes(invited.page, invited.what)
        else:
            await self.does(invited.page, invited.what.partition(" ")[0])

    async def writes(self, page: str, words: str) -> None:
        """Comment, as alice, with the page's own form."""
        await self._sends(page, "comment", body=words)

    async def does(self, page: str, what: str) -> None:
        """Press one of the page's buttons: merge, close, reopen."""
        await self._sends(page, what, method="squash")

    async def opens(self, address: str) -> str:
        """The text of a page."""
        async with self._browser.get(address) as answer:
            assert answer.status == 200, address
            return await answer.text()

    async def page_says(self, address: str, words: str) -> None:
        """Reload a page until it says this."""
        async with asyncio.timeout(LONGEST_S):
            while words not in await self.opens(address):  # noqa: ASYNC110  as a person would
                await asyncio.sleep(0.3)

    async def cockpit(self) -> Page:
        """The cockpit's first page, as olivia."""
        found = re.search(r"The cockpit: (http://[^/]+)/ui/", self.read)
        assert found
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            return await Visitor(found[1], session).log_in("olivia")

    @property
    def home(self) -> str:
        """The repository's page."""
        return re.findall(r"A GitHub on this machine: (\S+)", self.read)[0]

    async def _reads_on(self) -> None:
        assert self._process.stdout is not None
        async with asyncio.timeout(LONGEST_S):
            line = (await self._process.stdout.readline()).decode()
        assert line, self.read
        self.read += line

    async def _sends(self, page: str, what: str, **fields: str) -> None:
        address = f"{page.replace('/pull/', '/issues/')}/{what}"
        form = {"as": "alice", "back": "/", **fields}
        async with self._browser.post(address, data=form) as answer:
            assert answer.status == 200
            assert "said" not in answer.url.query, answer.url.query


@asynccontextmanager
async def demo(*arguments: str) -> AsyncIterator[Terminal]:
    """Run the demo, and stop it by Ctrl-C: nothing is left behind, and nothing went wrong."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "demo", *arguments, cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as browser:
            yield Terminal(process, browser)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        try:
            _, errors = await asyncio.wait_for(process.communicate(), LONGEST_S)
        except TimeoutError:
            process.kill()
            raise
    assert "Traceback" not in errors.decode(), errors.decode()
    assert "Stopped; nothing is left behind." in errors.decode()
