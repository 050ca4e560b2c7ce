"""One request to the cockpit: its address, its filters, its visitor.

There is no way to serve an address without a rule; a test walks this table as somebody who may
see nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine
from yarl import URL

from bot.cockpit import text
from bot.cockpit.permissions import NOTHING, Sight, VisibleRepository
from bot.cockpit.render import HEADERS, ROOT, Templates
from bot.cockpit.scoped_records import ScopedRecords
from bot.records.dashboard import Filter
from bot.records.incidents import Incident
from bot.records.lifecycle import OPEN, IncidentStatus
from bot.records.sessions import Session
from bot.triggers import RUN_ID, Role, Severity

THEMES = ("light", "dark")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._~%!$&'()*+,;=/-]*")
_MOST_DECODED = 5
THEME_COOKIE = "playbooks_theme"


class PageRefused(Exception):
    """The page says no: what is wrong, and what can be done instead. Both are plain text."""

    def __init__(self, status: int, what: str, remedy: str = "") -> None:
        """Keep what the page will say."""
        super().__init__(what)
        self.status, self.what, self.remedy = status, what, remedy


@dataclass
class Visit:
    """One request.

    Attributes:
        request: as it came.
        now: when it came.
        web_url: where GitHub's pages are.
        templates: of the pages.
        session: who asks; None: nobody who is logged in.
        sight: what they may see.
        form: what was sent.
        told: what `Live` had to tell of what they may see when they came.
    """

    request: web.Request
    now: datetime
    web_url: str
    templates: Templates
    records: AsyncEngine = field(repr=False)
    session: Session | None = None
    sight: Sight = NOTHING
    form: Mapping[str, str] = field(default_factory=dict)
    told: str = ""

    @property
    def query(self) -> Mapping[str, str]:
        """What the address asks for."""
        return self.request.query

    @property
    def who(self) -> Session:
        """Who asks, on addresses for those who are logged in."""
        if self.session is None:
            raise PageRefused(403, "You are not logged in.", "Log in, then try again.")
        return self.session

    @asynccontextmanager
    async def window(self, sight: Sight | None = None) -> AsyncIterator[ScopedRecords]:
        """Look into the records: at everything this visitor may see, or at less."""
        chosen = self.sight if sight is None else sight
        names = {
            key: seen.repository.full_name
            for key, seen in self.sight.seen.items()
            if key in chosen.seen
        }
        async with self.records.connect() as conn:
            yield ScopedRecords(conn, names)

    def narrowed(self) -> tuple[Sight, VisibleRepository | None]:
        """What the address narrows the page to with `repo=owner/name`, if it does.

        Raises:
            PageRefused: there is no such repository for this visitor.
        """
        name = self.query.get("repo", "")
        if not name:
            return self.sight, None
        seen = self.repository(name)
        return self.sight.only(seen), seen

    def repository(self, full_name: str) -> VisibleRepository:
        """One repository by name.

        Raises:
            PageRefused: there is none, or this visitor may not see it: they learn no difference.
        """
        seen = self.sight.named(full_name)
        if seen is None:
            raise PageRefused(
                404,
                "There is no such repository among those you can see.",
                "Check the name; the App must be installed there, and you need read access. Access "
                "that you were just given is seen within five minutes.",
            )
        return seen

    def page(self, template: str, *, status: int = 200, **values: Any) -> web.Response:
        """Answer with a page."""
        theme = self.request.cookies.get(THEME_COOKIE, "")
        common: dict[str, Any] = {
            "visit": self,
            "session": self.session,
            "sight": self.sight,
            "now": self.now,
            "theme": theme if theme in THEMES else "",
            "here": self.here(),
            "path": self.templates.prefix + self.request.path,
            "prefix": self.templates.prefix,
            "query": self.query,
            "ago": partial(text.moment, now=self.now),
            "exactly": partial(text.exactly, now=self.now),
            "link": Links(self.web_url),
            "once": partial(secrets.token_urlsafe, 12),
            "address": self.address,
            "Role": Role,
            "request_answer": None,
        }
        body = self.templates.render(template, common | values)
        return web.Response(
            text=body, content_type="text/html", charset="utf-8", status=status, headers=HEADERS
        )

    def here(self) -> str:
        """This page's address, without what was only said once; of an answer, the form's page."""
        if self.request.method == "POST":
            return inside(self.form.get("back", ""))
        query = [(name, value) for name, value in self.query.items() if name != "request"]
        return str(URL(self.request.path).with_query(query)) if query else self.request.path

    def address(self, **changes: str | None) -> str:
        """This page's address with other filters; None leaves one out."""
        merged: dict[str, str | None] = {**self.query, "request": None, **changes}
        query = {name: value for name, value in merged.items() if value}
        return str(URL(self.templates.prefix + self.request.path).with_query(query))


class Links:
    """Addresses of GitHub's pages, every part of them quoted."""

    def __init__(self, web_url: str) -> None:
        """`web_url` is where GitHub's pages are."""
        self._web = web_url

    def repository(self, full_name: str) -> str:
        """A repository."""
        return f"{self._web}/{quote(full_name)}"

    def issue(self, full_name: str, number: int) -> str:
        """An issue."""
        return f"{self.repository(full_name)}/issues/{number}"

    def pull(self, full_name: str, number: int) -> str:
        """A pull request."""
        return f"{self.repository(full_name)}/pull/{number}"

    def references(self, markdown: str, incident: Incident) -> str:
        """Our own Markdown about an incident, with its issues and pull requests linked."""

        def address(number: int) -> str:
            is_pull = number in incident.prs
            return (self.pull if is_pull else self.issue)(incident.repository, number)

        return text.with_references(markdown, address)

    def commit(self, full_name: str, sha: str) -> str:
        """A commit."""
        return f"{self.repository(full_name)}/commit/{quote(sha, safe='')}"

    def checks(self, full_name: str, sha: str) -> str:
        """The checks of a commit."""
        return f"{self.commit(full_name, sha)}/checks"

    def file(self, full_name: str, ref: str, path: str) -> str:
        """A file on a branch."""
        return f"{self.repository(full_name)}/blob/{quote(ref)}/{quote(path)}"


def inside(address: str) -> str:
    """An address of the cockpit: never a way to elsewhere.

    Browsers differ in what they make of odd addresses, so only plain ones pass: a path of ours,
    which stays one however often it is decoded, and perhaps a query.
    """
    path, _, query = address.partition("#")[0].partition("?")
    is_plain = _PLAIN_PATH.fullmatch(path) and all(_is_ours(each) for each in _decoded(path))
    if not is_plain or not query.isprintable():
        return f"{ROOT}/"
    try:
        return str(URL(f"{path}?{query}" if query else path))
    except ValueError:
        return f"{ROOT}/"


def _decoded(path: str) -> Iterator[str]:
    """The path as whoever decodes it once more would see it, until nothing changes.

    What goes on changing has no good end: then the last one is no path at all.
    """
    yield path
    for _ in range(_MOST_DECODED):
        further = unquote(path, errors="replace")
        if further == path:
            return
        path = further
        yield path
    yield ""


def _is_ours(path: str) -> bool:
    segments = path.split("/")
    return (
        segments[:2] == ["", ROOT.strip("/")]
        and "" not in segments[1:-1]
        and not {".", ".."} & {each.partition(";")[0] for each in segments}
        and path.isprintable()
        and not any(each in path for each in ("\\", ":", "@", " "))
    )


def see_other(address: str) -> web.Response:
    """Send the browser on with a GET."""
    return web.Response(status=303, headers=HEADERS | {"Location": address})


Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


class AccessRule(StrEnum):
    """Who may ask for an address."""

    OPEN = "open"
    """Anybody: it says nothing about any repository."""
    SIGNED_IN = "signed in"
    """Whoever is logged in, and gets what their repositories have; a change needs their token."""


@dataclass(frozen=True)
class PageRoute:
    """One address below `/ui`. `path` may name `{parameters}`; see `aiohttp`'s routes."""

    method: str
    path: str
    handler: Handler
    rule: AccessRule

    @property
    def address(self) -> str:
        """The whole path."""
        return ROOT + self.path


KINDS = ("revert", "bisect", "shadow", "ramp", "rollback", "alert")
OPEN_WORD = "open"
_LONGEST = 200
Word = TypeVar("Word", bound=StrEnum)


def incident_filter(query: Mapping[str, str]) -> Filter:
    """Read `status`, `severity`, `kind` and `q` from an address.

    Raises:
        PageRefused: one of them is not allowed; says what is.
    """
    kind = query.get("kind", "")
    if kind and kind not in KINDS:
        raise _wrong("kind", KINDS)
    return Filter(
        statuses=_statuses(query.get("status", "")),
        severity=_word(Severity, "severity", query.get("severity", "")),
        kind=kind or None,
        words=words(query, "q"),
    )


def words(query: Mapping[str, str], name: str) -> str:
    """Read words to search for."""
    given = query.get(name, "").strip()
    if len(given) > _LONGEST:
        raise PageRefused(400, f"The filter {name} is too long: at most {_LONGEST} characters.")
    return given.replace("\x00", "")


def identity(query: Mapping[str, str], name: str) -> str | None:
    """Read an id of ours."""
    given = query.get(name, "")
    if given and not RUN_ID.fullmatch(given):
        raise PageRefused(400, f"The filter {name} is not an id: 26 letters and digits.")
    return given or None


def whole_number(query: Mapping[str, str], name: str) -> int | None:
    """Read a whole number above zero."""
    given = query.get(name, "")
    if given and not (given.isascii() and given.isdecimal() and 0 < len(given) < 16):
        raise PageRefused(400, f"The filter {name} must be a whole number.")
    return int(given) if given else None


def _statuses(given: str) -> tuple[IncidentStatus, ...]:
    if given == OPEN_WORD:
        return tuple(sorted(OPEN))
    found = _word(IncidentStatus, "status", given, also=(OPEN_WORD,))
    return (found,) if found else ()


def _word(kind: type[Word], name: str, given: str, also: Iterable[str] = ()) -> Word | None:
    if not given:
        return None
    try:
        return kind(given)
    except ValueError:
        raise _wrong(name, [*also, *kind]) from None


def _wrong(name: str, allowed: Iterable[str]) -> PageRefused:
    return PageRefused(400, f"The filter {name} must be one of: {', '.join(map(str, allowed))}.")
