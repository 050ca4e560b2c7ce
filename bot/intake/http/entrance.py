"""The port everybody may knock at: what a connection costs before its sender is known.

Headers have to be whole within seconds, connections that only half say what they want make way for
new ones, and nothing is unpacked for anybody unknown.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from yarl import URL

from bot.intake.http.bodies import CALLERS, STRANGERS, Room
from bot.intake.http.problems import Handler, HttpProblem, as_problem
from bot.settings import is_every_address

_MB = 1024 * 1024
_MOST_HEADERS = 64
_UNREAD_S = 2.0
"""Seconds for which a body nobody wants is read on, so that its sender sees the answer."""


_MOST_CONNECTIONS = 1000


def _affordable() -> int:
    """Connections at once: most of the files that may be open are for databases, git and GitHub.

    With none left those fail too, and asyncio tries to accept the next connection ever faster.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if files < 0 else min(_MOST_CONNECTIONS, files // 4)


@dataclass(frozen=True)
class EntranceLimits:
    """What one process spends on whoever knocks.

    Attributes:
        header_seconds: in which the headers of a request have to be there, once it began.
        idle_seconds: for which an idle connection stays open: longer than proxies keep theirs.
        body_seconds: in which the body of a delivery has to come; GitHub itself waits for ten.
        caller_seconds: the same for those who showed a token or a session.
        connections: at once.
        unheard: connections at once whose first request is not there yet.
        grace_seconds: for which none of those has to make way: many deliveries come in one second.
        strangers: bytes of large bodies at once whose sender is not known yet.
        callers: the same of those who are known.
    """

    header_seconds: float = 10.0
    idle_seconds: float = 90.0
    body_seconds: float = 10.0
    caller_seconds: float = 60.0
    connections: int = field(default_factory=_affordable)
    unheard: int = 100
    grace_seconds: float = 1.0
    strangers: int = 64 * _MB
    callers: int = 64 * _MB


def of_every_address(host: str, port: int) -> socket.socket | None:
    """Listen for both versions of IP where `host` is `::`; None: it is another.

    Left to asyncio, that would be IPv6 alone
    (https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.create_server).

    Raises:
        OSError: the port is taken or not ours.
    """
    if not is_every_address(host):
        return None
    both = socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=both)


def prefix_of(url: str) -> str:
    """The path of a public address: a proxy that shows the server below it takes it away."""
    return URL(url).raw_path.rstrip("/")


class Entrance:
    """Serves an application within limits. `open`, then `close`."""

    def __init__(
        self,
        application: web.Application,
        limits: EntranceLimits | None = None,
        last_answers: float = 5.0,
        *,
        url: str = "",
    ) -> None:
        """Prepare.

        Args:
            application: what is served.
            limits: what is spent on whoever knocks.
            last_answers: the seconds that answers under way get at the end.
            url: the public address, where it was given.
        """
        self._limits = limits or EntranceLimits()
        application[STRANGERS] = Room(self._limits.strangers, self._limits.body_seconds)
        application[CALLERS] = Room(self._limits.callers, self._limits.caller_seconds)
        application.middlewares.extend((as_problem, plain_only))
        prefix = prefix_of(url)

        async def lead_below(_: web.Request, answer: web.StreamResponse) -> None:
            if answer.headers.get("Location", "").startswith("/"):
                answer.headers["Location"] = prefix + answer.headers["Location"]

        application.on_response_prepare.append(lead_below)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=last_answers)
        self._listening: asyncio.Server | None = None
        self._open: dict[_Connection, None] = {}
        self._unheard: dict[_Connection, float] = {}
        self._making_way: asyncio.TimerHandle | None = None

    async def open(self, host: str, port: int, listener: socket.socket | None = None) -> int:
        """Listen, at a socket that listens already if one is given; the port, a free one for 0.

        Raises:
            OSError: the address is taken or not ours.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        if listener is None:
            listener = of_every_address(host, port)
        if listener is None:
            self._listening = await loop.create_server(self._connection, host, port)
        else:
            self._listening = await loop.create_server(self._connection, sock=listener)
        return int(self._listening.sockets[0].getsockname()[1])

    def listener(self) -> socket.socket:
        """The socket once more: whoever goes on with it misses no connection.

        Raises:
            RuntimeError: nothing listens.
        """
        if self._listening is None:
            raise RuntimeError("the entrance is closed")
        return socket.socket(fileno=os.dup(self._listening.sockets[0].fileno()))

    async def close(self) -> None:
        """Stop listening, and let answers under way end."""
        if self._listening is not None:
            self._listening.close()
        if self._making_way is not None:
            self._making_way.cancel()
        await self._runner.cleanup()

    def _connection(self) -> _Connection:
        server = self._runner.server
        if server is None:
            raise RuntimeError("the entrance is closed")
        return _Connection(self, server, self._limits)

    # --- what connections say ---

    def opened(self, connection: _Connection) -> None:
        """Make room for a connection: who has said nothing for longest goes first.

        Where all are at work, it is the oldest: whoever takes no answer would stay for ever.
        """
        if len(self._open) >= self._limits.connections:
            idle = (each for each in self._open if not each.is_answered)
            self._send_away(next(chain(self._unheard, idle, self._open)))
        self._open[connection] = None

    def unheard(self, connection: _Connection) -> None:
        """A request has begun to come, or is waited for; too many of those make way."""
        self._unheard[connection] = asyncio.get_running_loop().time()
        if self._making_way is None:
            self._make_way()

    def heard(self, connection: _Connection) -> None:
        """The headers are there."""
        self._unheard.pop(connection, None)

    def closed(self, connection: _Connection) -> None:
        """It is gone."""
        self._open.pop(connection, None)
        self._unheard.pop(connection, None)

    def _make_way(self) -> None:
        """Send away whoever has said nothing for longest, as long as there are too many."""
        self._making_way, loop = None, asyncio.get_running_loop()
        while len(self._unheard) > self._limits.unheard:
            oldest, since = next(iter(self._unheard.items()))
            if (left := since + self._limits.grace_seconds - loop.time()) > 0:
                self._making_way = loop.call_later(left, self._make_way)
                return
            self._send_away(oldest)

    def _send_away(self, connection: _Connection) -> None:
        self.closed(connection)
        connection.send_away()


class _Connection(RequestHandler):
    """One connection, closed where headers take too long to come."""

    __slots__ = ("_due", "_entrance", "_header_seconds")

    def __init__(self, entrance: Entrance, server: web.Server, limits: EntranceLimits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as AppRunner passes it on
            keepalive_timeout=limits.idle_seconds,
            lingering_time=_UNREAD_S,
            max_headers=_MOST_HEADERS,
            auto_decompress=False,
        )
        self._entrance = entrance
        self._header_seconds = limits.header_seconds
        self._due: asyncio.TimerHandle | None = None

    @property
    def is_answered(self) -> bool:
        """Whether a request of it is at work."""
        return self._request_in_progress

    def send_away(self) -> None:
        """Close it, whatever its other end has not taken yet: that may be never."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._entrance.opened(self)
        self._wait_for_headers()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._headers_came()
        self._entrance.closed(self)
        super().connection_lost(exc)

    def log_exception(self, *said: Any, **more: Any) -> None:
        # What is no HTTP is its sender's fault, and anybody can send it without end.
        is_theirs = isinstance(more.get("exc_info"), HttpProcessingError)
        (self.logger.debug if is_theirs else self.logger.exception)(*said, **more)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Whoever waits for a request is woken by its last header line, and by nothing before.
        if self._waiter is None or self._waiter.done():
            if self._due is not None:
                self._headers_came()
        elif self._due is None:
            self._wait_for_headers()

    def _wait_for_headers(self) -> None:
        self._due = asyncio.get_running_loop().call_later(self._header_seconds, self.force_close)
        self._entrance.unheard(self)

    def _headers_came(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._entrance.heard(self)


_UNPACKS = frozenset({"/providers/observations"})
"""Where a body may come packed: it is unpacked by whoever has checked the token."""


@web.middleware
async def plain_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse packed bodies unread (415): unpacking is work that the sender does not do."""
    encoding = request.headers.get(hdrs.CONTENT_ENCODING)
    if encoding not in (None, "identity") and request.path not in _UNPACKS:
        raise HttpProblem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Send the body as it is, without Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )
    return await handler(request)
