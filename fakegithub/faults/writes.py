"""Which requests change something, and who sent them: the instants at which a bot can be killed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from aiohttp import web

from fakegithub.access import credentials
from fakegithub.access.answers import RequestRefused
from fakegithub.world.model import FakeApp
from fakegithub.world.world import World

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Asking for a token or for a redelivery changes nothing that a person could see.
_HARMLESS = re.compile(r"/access_tokens$|/app/hook/|/installation/token$|git-upload-pack$")
_MUTATION = re.compile(r"^\s*(?:#.*\n\s*)*mutation\b", re.MULTILINE)


@dataclass(frozen=True)
class Write:
    """A request that changes something; `number` counts from the last `Faults.clear`.

    Attributes:
        what: the field that a GraphQL document mutates, or the name of the check for which a
            check-run is made; None where the path says it all.
    """

    number: int
    method: str
    path: str
    app: FakeApp | None
    what: str | None = None

    def __str__(self) -> str:
        """Such as `POST /repos/o/r/issues`."""
        return f"{self.method} {self.path}" + (f" ({self.what})" if self.what else "")


async def is_write(world: World, request: web.Request, number: int) -> Write | None:
    """Describe the request as a write, or None if it only reads. Pages' forms do not count."""
    path = request.rel_url.raw_path
    of_machines = path.startswith("/api/") or path.endswith("/git-receive-pack")
    if request.method not in _CHANGING or not of_machines or _HARMLESS.search(path):
        return None
    what = None
    if path == "/api/graphql":
        what = _mutation(await request.read())
        if what is None:
            return None
    elif request.method == "POST" and path.endswith("/check-runs"):
        what = _check(await request.read())
    return Write(
        number, request.method, path.removeprefix("/api/v3"), _sender(world, request), what
    )


def _sender(world: World, request: web.Request) -> FakeApp | None:
    try:
        return credentials.authenticate(world, request.headers.get("Authorization")).app
    except RequestRefused:
        return None


def _mutation(body: bytes) -> str | None:
    """The name of a GraphQL document's first mutated field; None for a query."""
    try:
        query = str(json.loads(body)["query"])
    except (ValueError, KeyError, TypeError):
        return None
    if not _MUTATION.search(query):
        return None
    inner = query[query.index("{") + 1 :].strip()
    match = re.match(r"(?:\w+\s*:\s*)?(\w+)", inner)
    return match[1] if match else "mutation"


def _check(body: bytes) -> str | None:
    """The name of the check for which a check-run is asked."""
    try:
        return str(json.loads(body)["name"])
    except (ValueError, KeyError, TypeError):
        return None
