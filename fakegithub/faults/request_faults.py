"""The single faults a request can meet. Each says when the work was done, if it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal, Protocol

from aiohttp import web

from fakegithub.access import credentials
from fakegithub.access.answers import RequestRefused
from fakegithub.rest.endpoint import to_response
from fakegithub.world.model import FakeInstallation
from fakegithub.world.world import World

CarryOut = Callable[[], Awaitable[web.StreamResponse]]

_LIMITS = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"
_SECONDARY = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
)


@dataclass(frozen=True)
class FaultyRequest:
    """The request a fault happens to; `carry_out` does the work as if nothing were wrong."""

    world: World
    request: web.Request
    carry_out: CarryOut

    @property
    def installation(self) -> FakeInstallation | None:
        """Whose token the request carries."""
        try:
            caller = credentials.authenticate(self.world, self.request.headers.get("Authorization"))
        except RequestRefused:
            return None
        return caller.installation

    def later(self, seconds: float) -> int:
        """A Unix time from now, by the world's clock."""
        return int(self.world.clock().timestamp() + seconds)


class Fault(Protocol):
    """Something that goes wrong with one request."""

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Answer the request wrongly, late or not at all."""


def _server_error(status: int) -> web.Response:
    # GitHub's front end answers with a page, not with JSON, when what is behind it fails.
    return web.Response(
        status=status,
        text="<html><body><h1>Whoa there!</h1><p>This page is taking too long.</p></body></html>",
        content_type="text/html",
    )


@dataclass(frozen=True)
class Fail:
    """A 5xx; nothing was done."""

    status: int = 500

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Answer at once."""
        del incident
        return _server_error(self.status)


@dataclass(frozen=True)
class FailAfter:
    """A 5xx although the work was done."""

    status: int = 502

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Do the work, then deny it."""
        await incident.carry_out()
        return _server_error(self.status)


@dataclass(frozen=True)
class Drop:
    """The connection breaks without an answer; the work was done, unless `done` is false."""

    done: bool = True

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Do the work, then cut the line."""
        if self.done:
            await incident.carry_out()
        if incident.request.transport is not None:
            incident.request.transport.abort()
        return web.Response(status=502)


@dataclass(frozen=True)
class Truncate:
    """Half of the answer, then the connection breaks; the work was done."""

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Announce the whole body, send half of it."""
        whole = await incident.carry_out()
        body = whole.body if isinstance(whole, web.Response) else None
        if not isinstance(body, bytes) or len(body) < 2:
            return await Drop(done=False).happen(incident)
        half = web.StreamResponse(status=whole.status, headers=whole.headers)
        half.content_length = len(body)
        await half.prepare(incident.request)
        await half.write(body[: len(body) // 2])
        if incident.request.transport is not None:
            incident.request.transport.close()
        return half


@dataclass(frozen=True)
class Slow:
    """The work is done at once, the answer comes `seconds` later."""

    seconds: float

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Do the work, then wait."""
        response = await incident.carry_out()
        await asyncio.sleep(self.seconds)
        return response


@dataclass(frozen=True)
class Held:
    """The work is done at once, the answer comes when it is let go."""

    released: asyncio.Event

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Do the work, then wait for whoever holds it."""
        response = await incident.carry_out()
        await self.released.wait()
        return response


@dataclass(frozen=True)
class PrimaryLimit:
    """Nothing left of the hour's requests, for `seconds`; nothing was done."""

    seconds: float = 1

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """403 with remaining 0 and the time of the reset."""
        headers = {
            "X-RateLimit-Limit": "5000",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Used": "5000",
            "X-RateLimit-Reset": str(incident.later(self.seconds) + 1),
            "X-RateLimit-Resource": "core",
        }
        refused = RequestRefused(403, "API rate limit exceeded.", headers=headers, docs=_LIMITS)
        return to_response(refused.answer())


@dataclass(frozen=True)
class SecondaryLimit:
    """Too much at once, by GitHub's secret measure; nothing was done."""

    status: Literal[403, 429] = 403
    retry_after: int | None = 1

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """403 or 429, with or without saying for how long."""
        del incident
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return to_response(
            RequestRefused(self.status, _SECONDARY, headers=headers, docs=_LIMITS).answer()
        )


@dataclass(frozen=True)
class TooQuickly:
    """Too much was made within a short time: refused as if it were invalid; nothing was done.

    https://github.com/whatwg/spec-factory/issues/55
    """

    resource: str = "PullRequest"

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """422, without saying for how long."""
        del incident
        said = {"resource": self.resource, "code": "custom", "message": "was submitted too quickly"}
        refused = RequestRefused(422, "Validation Failed", errors=[said])
        return to_response(refused.answer())


@dataclass(frozen=True)
class ExpireToken:
    """The installation token in use expires just before this request."""

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Expire it; the request is then refused by the usual way, with 401."""
        world = incident.world
        text = incident.request.headers.get("Authorization", "").partition(" ")[2]
        token = world.installation_tokens.get(text)
        if token is not None:
            past = world.now() - timedelta(seconds=1)
            world.installation_tokens[text] = replace(token, expires_at=past)
        return await incident.carry_out()


@dataclass(frozen=True)
class Revoke:
    """An administrator takes a permission from the installation just before this request."""

    permission: str

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Take it; the request is then judged without it."""
        if incident.installation is not None:
            incident.installation.permissions.pop(self.permission, None)
        return await incident.carry_out()


@dataclass(frozen=True)
class Suspend:
    """An administrator suspends the installation just before this request."""

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Suspend it; the request is then refused with 403."""
        if incident.installation is not None:
            incident.installation.suspended_at = incident.world.now()
        return await incident.carry_out()
