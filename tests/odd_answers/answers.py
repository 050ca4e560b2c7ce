"""What GitHub may answer otherwise, one thing at a time, in the answers that one story meets.

What is allowed is said by GitHub's own descriptions (`tests/github/descriptions.py`): each nullable
value null, each optional one absent, in each closed list a word that nobody has heard of, in each
object a field more. Only the bot is answered so; the work that it asks for is done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from aiohttp import web

import bot.github
from fakegithub.access import credentials
from fakegithub.access.answers import RequestRefused
from fakegithub.faults.request_faults import FaultyRequest
from tests.github.descriptions import NEVER_NULL, Change, description_of

KINDS = ("null", "absent", "unknown", "more")
GRAPHQL = "POST /graphql"
ALL = "*"
"""Every field, or every request."""
_OF_REPOSITORY = re.compile(r"^/repos/[^/]+/([^/]+)(?:/|$)")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Mutation:
    """One way in which answers are odd.

    Attributes:
        kind: one of `KINDS`.
        route: the request as it is described, `POST /graphql`, or `*`.
        field: where in the answer, by its names; `*` for each that may be so. Of GraphQL: a name,
            wherever it stands.
    """

    kind: str
    route: str = ALL
    field: str = ALL

    @property
    def key(self) -> str:
        """What it is known by, in lists and files."""
        return f"{self.kind} {self.route} {self.field}"

    @classmethod
    def of(cls, key: str) -> Mutation:
        """The one of a key."""
        kind, _, rest = key.partition(" ")
        route, _, name = rest.rpartition(" ")
        return cls(kind, route, name)

    def changed(self, asked: str, answer: Any) -> Any:
        """The answer to a request as it is now: the same where this is not about it."""
        if self.route not in (ALL, asked):
            return answer
        if asked == GRAPHQL:
            return _without(answer, self.field) if self.kind == "null" else answer
        for change in changes_of(asked):
            if change.what == self.kind and self.field in (ALL, name_of(change)):
                answer = change.of(answer)
        return answer


def name_of(change: Change) -> str:
    """Where something is changed, without the places in lists."""
    return ".".join(str(part) for part in change.path if part != 0)


@cache
def changes_of(asked: str) -> tuple[Change, ...]:
    """All that may be otherwise in the answer to a request."""
    schema = description_of().schema(*asked.split(" ", 1))
    return tuple(description_of().changes(schema)) if schema else ()


@lru_cache(maxsize=1)
def _words_of_the_client() -> frozenset[str]:
    """Every word in what reads GitHub's answers."""
    files = Path(bot.github.__file__).parent.rglob("*.py")
    return frozenset(_WORD.findall(" ".join(file.read_text("utf-8") for file in files)))


def mutations(met: Iterable[str]) -> Iterator[Mutation]:
    """Each field that the client may read of these answers, odd in each way that is allowed.

    Args:
        met: requests as they are described; of GraphQL `POST /graphql NAME` for each name in it.
    """
    known = _words_of_the_client()
    for asked in sorted(met):
        if asked.startswith(GRAPHQL):
            name = asked.rpartition(" ")[2]
            if name not in NEVER_NULL:
                yield Mutation("null", GRAPHQL, name)
            continue
        found = {
            (each.what, name_of(each))
            for each in changes_of(asked)
            if known.issuperset(part for part in each.path if isinstance(part, str))
        }
        yield from (Mutation(kind, asked, name) for kind, name in sorted(found) if kind != "more")
    yield Mutation("more")


def _without(answer: Any, name: str) -> Any:
    """GraphQL's answer with null for all of this name."""
    if isinstance(answer, list):
        return [_without(each, name) for each in answer]
    if not isinstance(answer, dict):
        return answer
    names = answer.keys() - NEVER_NULL if name == ALL else {name}
    return {
        key: None if key in names and key != "data" else _without(value, name)
        for key, value in answer.items()
    }


@dataclass
class OddAnswers:
    """Answers the bot so in the repositories where something is to be odd.

    Attributes:
        odd: by the repository's name: what is odd there.
        met: by the repository's name: the answers that the bot got there, odd or not.
        seen: by the repository's name: what of it made an answer another one.
    """

    odd: dict[str, frozenset[Mutation]] = field(default_factory=dict)
    met: dict[str, set[str]] = field(default_factory=dict)
    seen: dict[str, set[Mutation]] = field(default_factory=dict)

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Do the work, and say so oddly where that is wanted."""
        answer, request = await incident.carry_out(), incident.request
        if not isinstance(answer, web.Response) or answer.status >= 300 or not answer.body:
            return answer
        path = request.rel_url.path.removeprefix("/api/v3")
        name = await _repository(request, path)
        if name not in self.odd or not _by_an_app(incident):
            return answer
        said = json.loads(bytes(answer.body))
        if path == "/api/graphql":
            asked = GRAPHQL
            self.met.setdefault(name, set()).update(f"{GRAPHQL} {each}" for each in _names(said))
        else:
            asked = f"{request.method} {description_of().route(request.method, path)}"
            self.met.setdefault(name, set()).add(asked)
        now = said
        for mutation in sorted(self.odd[name], key=lambda each: each.key):
            odd = mutation.changed(asked, now)
            if odd != now:
                self.seen.setdefault(name, set()).add(mutation)
            now = odd
        headers = {key: answer.headers[key] for key in ("Link", "ETag") if key in answer.headers}
        return web.json_response(now, status=answer.status, headers=headers)


async def _repository(request: web.Request, path: str) -> str:
    """The name of the repository that is asked about; empty: none, or it is not said."""
    if found := _OF_REPOSITORY.match(path):
        return found[1]
    if path == "/api/graphql":
        return str((await request.json()).get("variables", {}).get("name", ""))
    return ""


def _by_an_app(incident: FaultyRequest) -> bool:
    try:
        token = incident.request.headers.get("Authorization")
        caller = credentials.authenticate(incident.world, token)
    except RequestRefused:
        return False
    return caller.app is not None and caller.app.slug == "playbooks"


def _names(answer: Any) -> Iterator[str]:
    parts = answer.items() if isinstance(answer, dict) else enumerate(answer)
    for key, inner in parts:
        if isinstance(key, str) and key != "data":
            yield key
        if isinstance(inner, dict | list):
            yield from _names(inner)
