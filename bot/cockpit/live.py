"""News for open pages, by server-sent events: "something you can see has changed, look again".

Events carry no content but a sentence for screen readers. A page that hears one asks for itself
again, by the address and the rights it was made with, so that there is one way only by which
anything is shown. Every event's id is a digest of what its receiver can see, and a page begins with
one; whoever comes with another id has missed something, and is told at once.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

import structlog
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.cockpit.permissions import Sight, Unknown
from bot.cockpit.render import HEADERS
from bot.cockpit.request import AccessRule, PageRoute, Visit
from bot.cockpit.text import plain
from bot.records import dashboard, incidents

log = structlog.get_logger(__name__)

BEAT_SECONDS = 15.0
"""How often a silent stream says that it lives; pages call themselves stale after three."""
RIGHTS_SECONDS = 60.0
"""How often a stream asks whether its reader may still see what it tells."""
MOST_STREAMS = 500
MOST_OF_ONE = 20
"""Streams of one session: whoever opens more pages renews the later ones by hand."""
_MOST_SAID = 3
_APART_S = 0.25
"""Seconds that there are for the page of each open stream, at the busiest."""

Watcher = Callable[[web.Request, datetime], Awaitable[Sight | None]]


class Live:
    """Looks for news once for everybody, and tells each what they may hear."""

    def __init__(self, records: AsyncEngine, watcher: Watcher, look_every: float) -> None:
        """Prepare.

        Args:
            records: where the news are.
            watcher: what whoever asked so may see now; None once their session is over. Raises
                Unknown where GitHub cannot be asked.
            look_every: seconds between two looks, while there is somebody to tell.
        """
        self._records = records
        self._watcher = watcher
        self._every = look_every
        self._marks: dict[int, str] = {}
        self._changed = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self._streams: dict[asyncio.Task[object], Visit] = {}

    def routes(self) -> tuple[PageRoute, ...]:
        """The stream."""
        return (PageRoute("GET", "/events", self.stream, AccessRule.SIGNED_IN),)

    def told(self, sight: Sight) -> str:
        """Tell how far a page is that is made from now on: older than it, never newer."""
        return _digest(self._visible(sight))

    async def close(self) -> None:
        """End every stream; the pages come back when there is a server again."""
        tasks = [*self._streams, *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def stream(self, visit: Visit) -> web.StreamResponse:
        """Tell one page what changes, until it goes away or its reader is logged out."""
        if visit.request.method == "HEAD":
            return web.Response(headers=HEADERS, content_type="text/event-stream")
        if not self._has_room(visit.who.token_hash):
            return web.Response(status=503, headers=HEADERS | {"Retry-After": "30"})
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - handlers run in tasks
        self._streams[task] = visit
        response = web.StreamResponse(
            headers=HEADERS | {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        try:
            # Whoever closes the page tells nobody: the next word to them fails.
            with suppress(ConnectionError):
                await response.prepare(visit.request)
                await self._tell(visit, response)
        finally:
            self._streams.pop(task, None)
        return response

    def _has_room(self, session: str) -> bool:
        """Whether one more stream may be opened by this session."""
        # A closed page is noticed by the next word to it, which may be a beat away.
        for task, visit in [*self._streams.items()]:
            transport = visit.request.transport
            if transport is None or transport.is_closing():
                del self._streams[task]
                task.cancel()
        own = sum(1 for visit in self._streams.values() if visit.who.token_hash == session)
        return len(self._streams) < MOST_STREAMS and own < MOST_OF_ONE

    async def _tell(self, visit: Visit, response: web.StreamResponse) -> None:
        await self._be_looking()
        sight = visit.sight
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        marks = self._visible(sight)
        known = visit.request.headers.get("Last-Event-ID") or visit.query.get("told", "")
        await response.write(b"retry: 3000\n\n")
        if known and known != _digest(marks):
            await _send(response, "changed", _digest(marks), {"say": []})
        else:
            await _send(response, "beat", _digest(marks), {})
        while True:
            await self._news(BEAT_SECONDS)
            if loop.time() - asked_at > RIGHTS_SECONDS:
                asked_at = loop.time()
                try:
                    seen = await self._watcher(visit.request, datetime.now(UTC))
                except Unknown:
                    # The page asks again, and says what it is told then.
                    return None
                if seen is None:
                    return await _send(response, "over", "", {})
                sight = seen
            fresh = self._visible(sight)
            if fresh == marks:
                await _send(response, "beat", _digest(marks), {})
                continue
            # Whoever hears of it asks for the whole page: not all in the same moment, and the
            # rarer the more of them there are. What changes meanwhile is told with it.
            await asyncio.sleep(_APART_S * len(self._streams) * random.uniform(0.5, 1.0))  # noqa: S311
            fresh = self._visible(sight)
            said = await self._sentences(marks, fresh, sight)
            marks = fresh
            await _send(response, "changed", _digest(marks), {"say": said})

    def _visible(self, sight: Sight) -> dict[int, str]:
        return {each: self._marks[each] for each in sight.ids if each in self._marks}

    async def _news(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait()

    async def _sentences(
        self, before: Mapping[int, str], after: Mapping[int, str], sight: Sight
    ) -> list[str]:
        """What happened to which incidents, for those who cannot see the page change."""
        told: list[tuple[int, str]] = []
        said: list[str] = []
        async with self._records.connect() as conn:
            for repository, mark in after.items():
                known = _number(before.get(repository, ""))
                if known is None or mark == before.get(repository):
                    continue
                found = await dashboard.incidents_told_of(conn, repository, after=known)
                told += [(repository, each) for each in found]
            for repository, identity in told[:_MOST_SAID]:
                incident = await incidents.find(conn, identity)
                if incident is not None:
                    name = sight.seen[repository].repository.full_name
                    said.append(f"{name}: {plain(incident.title, 80)}: {incident.status}")
        if (more := len(told) - _MOST_SAID) > 0:
            said.append(f"{more} more incident{'s' if more > 1 else ''} changed")
        return said

    # --- one look for everybody ---

    async def _be_looking(self) -> None:
        if self._looking is None or self._looking.done():
            self._looked.clear()
            self._looking = asyncio.create_task(self._look(), name="cockpit news")
        await self._looked.wait()

    async def _look(self) -> None:
        """Look again and again while anybody listens."""
        while True:
            try:
                async with self._records.connect() as conn:
                    marks = await dashboard.marks(conn, datetime.now(UTC))
            except Exception:
                # The database comes back, and then there is news.
                log.exception("the cockpit cannot look for news")
            else:
                if marks != self._marks:
                    self._marks = marks
                    async with self._changed:
                        self._changed.notify_all()
            self._looked.set()
            if not self._streams:
                return
            await asyncio.sleep(self._every)


def _number(mark: str) -> int | None:
    """The number of the last audit entry, from a mark."""
    first = mark.partition(";")[0].removeprefix("audit ")
    return int(first) if first.isdecimal() else None


def _digest(marks: Mapping[int, str]) -> str:
    text = json.dumps(sorted(marks.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


async def _send(response: web.StreamResponse, event: str, identity: str, data: object) -> None:
    lines = [f"event: {event}", f"data: {json.dumps(data)}"]
    if identity:
        lines.append(f"id: {identity}")
    await response.write(("\n".join(lines) + "\n\n").encode())
