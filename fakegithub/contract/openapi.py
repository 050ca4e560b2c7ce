"""Holds the demo GitHub to GitHub's own description, so that it cannot drift from the real one.

Every request, answer and event is judged; nothing is ever refused because of it. `checked` counts,
`violations` says what the real GitHub would not have sent or would not have accepted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from fakegithub.contract.description import Description, Exchange, Violation
from fakegithub.world.world import Event

_PREFIX = "/api/v3"


@dataclass
class ContractTally:
    """How much was judged, and what was wrong."""

    checked: int = 0
    violations: list[Violation] = field(default_factory=list)

    def add(self, found: list[Violation]) -> None:
        """Note one judgement."""
        self.checked += 1
        self.violations += found


PROCESS = ContractTally()
"""What every contract of this process judged together, for the summary of a test run."""


class Contract:
    """Judges what passes through one demo GitHub; without a description, nothing."""

    def __init__(self, path: Path | None, total: ContractTally = PROCESS) -> None:
        """Use the description at `path`, which is read when first needed."""
        self._path, self._total, self._own = path, total, ContractTally()
        self.middleware = self._make_middleware()

    @property
    def checked(self) -> int:
        """How many exchanges and events were judged here."""
        return self._own.checked

    @property
    def violations(self) -> list[Violation]:
        """What was wrong with them."""
        return self._own.violations

    def check(self, exchange: Exchange) -> list[Violation]:
        """Judge one request with its answer."""
        if self._path is None:
            return []
        return self._note(_load(self._path).judge(exchange))

    def listen(self, event: Event) -> None:
        """Judge the payload of an event, as it will be delivered."""
        if self._path is not None:
            # Each delivery adds this for its receiver; the description requires it nowhere.
            self._note(_load(self._path).judge_payload(event.name, event.payload))

    def _note(self, found: list[Violation]) -> list[Violation]:
        self._own.add(found)
        if self._total is not self._own:
            self._total.add(found)
        return found

    def _make_middleware(self) -> Middleware:
        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            path = request.rel_url.raw_path
            if self._path is None or not path.startswith(_PREFIX):
                return await handler(request)
            try:
                response = await handler(request)
            except web.HTTPException:
                raise
            except Exception as error:
                name = f"{request.method} {path}"
                self._note([Violation(name, "handler", f"failed: {error!r}")])
                raise
            if isinstance(response, web.Response):
                self.check(await _exchange(request, response, path.removeprefix(_PREFIX)))
            return response

        return middleware


async def _exchange(request: web.Request, response: web.Response, path: str) -> Exchange:
    body = response.body if isinstance(response.body, bytes) else b""
    if path.startswith("/repositories/"):
        # Where a renamed repository's redirects point; described only under its name.
        _, _, _, *rest = path.split("/")
        path = "/".join(["/repos/owner/name", *rest])
    return Exchange(
        request.method, path, dict(request.query), await request.read(),
        response.status, body, response.content_type,
    )  # fmt: skip


@cache
def _load(path: Path) -> Description:
    return Description.load(path)
