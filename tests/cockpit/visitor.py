"""Somebody at the cockpit without JavaScript: follows links, sends forms, reads what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser

import aiohttp
from yarl import URL


@dataclass(frozen=True)
class Page:
    """What came back."""

    status: int
    url: URL
    text: str
    headers: Mapping[str, str]

    @property
    def words(self) -> str:
        """The text a person reads."""
        reader = _Words()
        reader.feed(self.text)
        return " ".join(" ".join(reader.found).split())

    @property
    def title(self) -> str:
        """The first heading."""
        found = re.search(r"<h1>(.*?)</h1>", self.text, re.DOTALL)
        return " ".join(re.sub("<[^>]+>", "", unescape(found[1])).split()) if found else ""

    def forms(self) -> list[dict[str, str]]:
        """The hidden fields of each form that changes something, with its `action`."""
        found = []
        for form in re.findall(r"<form method=\"post\".*?</form>", self.text, re.DOTALL):
            action = re.search(r'action="([^"]*)"', form)
            fields = dict(re.findall(r'name="([a-z]+)" value="([^"]*)"', form))
            found.append(
                {k: unescape(v) for k, v in fields.items()}
                | {"action": action[1] if action else ""}
            )
        return found

    def form(self, command: str) -> dict[str, str]:
        """The form whose button is this slash command."""
        lines = [each.get("line", "") for each in self.forms()]
        for each in self.forms():
            if each.get("line", "").startswith(command):
                return each
        raise AssertionError(f"no button does {command}, only {lines}")


class Visitor:
    """A browser with a cookie jar."""

    def __init__(self, cockpit: str, session: aiohttp.ClientSession) -> None:
        self.cockpit = URL(cockpit)
        self.session = session

    async def get(self, path: str, *, follow: bool = True) -> Page:
        """Open a page."""
        async with self.session.get(self.cockpit.join(URL(path)), allow_redirects=follow) as answer:
            return await _page(answer)

    async def post(
        self, path: str, form: Mapping[str, str], *, follow: bool = True, **headers: str
    ) -> Page:
        """Send a form."""
        sent = self.session.post(
            self.cockpit.join(URL(path)), data=dict(form), allow_redirects=follow,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )  # fmt: skip
        async with sent as answer:
            return await _page(answer)

    async def press(self, page: Page, command: str, **fields: str) -> Page:
        """Press the button of a command on a page."""
        form = page.form(command) | fields
        return await self.post(form.pop("action"), form)

    async def log_in(self, login: str, back: str = "/ui/", below: str = "") -> Page:
        """Log in by way of GitHub; `below` is the path that the cockpit is shown at."""
        asked = await self.get(f"{below}/ui/login/start?back={back}")
        assert "Continue as" in asked.text, asked.text
        form = dict(asked.url.query) | {"login": login}
        async with self.session.post(asked.url.with_query(None), data=form) as answer:
            return await _page(answer)


async def _page(answer: aiohttp.ClientResponse) -> Page:
    return Page(answer.status, answer.url, await answer.text(), dict(answer.headers))


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)
