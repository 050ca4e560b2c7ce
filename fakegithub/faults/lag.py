"""Lists that lag: GitHub's lists may leave out what was created a moment ago."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from fakegithub.access.answers import Answer
from fakegithub.rest.endpoint import to_response
from fakegithub.world.world import World


class Lag:
    """Leaves objects created in the last `seconds` out of every list; 0 leaves nothing out."""

    def __init__(self, world: World, now: Callable[[], float] = time.monotonic) -> None:
        """Note from now on when objects appear; `now` gives seconds."""
        self.seconds = 0.0
        self._world, self._now = world, now
        self._born: dict[int, float] = {}
        self._known = world.last_id

    def apply(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """Note what exists now and, if this answer is a list, thin it out."""
        self._notice()
        if self.seconds <= 0 or request.method != "GET" or response.status != 200:
            return response
        if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
            return response
        if response.content_type != "application/json":
            return response
        body = json.loads(response.body)
        thinned = self._thin(body)
        if thinned == body:
            return response
        kept = {k: v for k, v in response.headers.items() if k not in ("Content-Length", "ETag")}
        del kept["Content-Type"]
        return to_response(Answer(200, thinned, kept))

    def _notice(self) -> None:
        """Every id given since the last look belongs to something new."""
        now = self._now()
        for identity in range(self._known + 1, self._world.last_id + 1):
            self._born[identity] = now
        self._known = self._world.last_id

    def _thin(self, body: Any) -> Any:
        if isinstance(body, list):
            return [item for item in body if not self._fresh(item)]
        if isinstance(body, dict) and "total_count" in body:
            thinned = {k: self._thin(v) if isinstance(v, list) else v for k, v in body.items()}
            removed = sum(len(body[k]) - len(v) for k, v in thinned.items() if isinstance(v, list))
            return thinned | {"total_count": body["total_count"] - removed}
        return body

    def _fresh(self, item: Any) -> bool:
        identity = item.get("id") if isinstance(item, dict) else None
        born = self._born.get(identity) if isinstance(identity, int) else None
        return born is not None and self._now() - born < self.seconds
