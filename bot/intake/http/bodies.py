"""Bodies and queries of requests: how much is held at once, and how long it may take to come."""

from __future__ import annotations

import asyncio
import ctypes
import re
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import TypeVar

from aiohttp import hdrs, web
from pydantic import BaseModel, ValidationError

from bot.intake.http.problems import HttpProblem, invalid

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What shows nothing, breaks lines or turns the direction of what follows."""


def one_line(text: str) -> str:
    """What a program said, as one line of visible text; empty where there is none."""
    return " ".join(_CONTROLS.sub(" ", text).split())


SMALL = 64 * 1024
"""Bytes that every body may have without asking for room: nearly all of them have fewer."""


_TRIM_AFTER_S = 1.0
"""Seconds after which what large bodies took is given back to the system."""


def _glibc() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return trim


_TRIM = _glibc()


def _give_back() -> None:
    # glibc keeps freed memory for itself; a flood would be seen in the process's size for ever.
    if _TRIM is not None:
        _TRIM(0)


class Room:
    """Bytes of large bodies that may be in memory at once; who finds no room waits for it."""

    def __init__(self, most: int, seconds: float) -> None:
        """Prepare.

        Args:
            most: bytes, at least those of the largest body.
            seconds: how long one body may take to come, its wait for room included.
        """
        self._most = most
        self.free = most
        self.seconds = seconds
        self._given_back = asyncio.Event()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes; what fits goes ahead of larger ones that wait."""
        while size > self.free:
            self._given_back.clear()
            await self._given_back.wait()
        self.free -= size
        try:
            yield
        finally:
            self.free += size
            self._given_back.set()
            if self.free == self._most:
                asyncio.get_running_loop().call_later(_TRIM_AFTER_S, _give_back)


STRANGERS = web.AppKey("strangers", Room)
"""For bodies whose sender is not known before they are read: GitHub's, by their signature."""
CALLERS = web.AppKey("callers", Room)
"""For bodies of those who showed a token or a session first: no stranger takes their room."""


LARGEST_JSON = 64 * 1024
Model = TypeVar("Model", bound=BaseModel)


class TooLarge(Exception):
    """The body is larger than `most` bytes."""

    def __init__(self, most: int) -> None:
        """Name the cap."""
        super().__init__(f"a body may have at most {most} bytes")
        self.most = most


class TooSlow(web.HTTPRequestTimeout):
    """The body did not come in time: 408, wherever it was read."""


class BadEncoding(Exception):
    """The body is not what its Content-Encoding says."""


async def read_body(request: web.Request, most: int, room: web.AppKey[Room] = CALLERS) -> bytes:
    """Return the body, whatever length the sender announced.

    Args:
        request: whoever sent it has shown who they are, unless that is in the body.
        most: bytes; checked while they come.
        room: whose memory it takes.

    Raises:
        TooLarge: there are more than `most` bytes; the rest is not read.
        TooSlow: it did not come within the room's time.
    """
    if (request.content_length or 0) > most:
        raise TooLarge(most)
    if request.content.is_eof():
        # It came with its headers, as nearly all do: nothing to wait for.
        whole = request.content.read_nowait(-1)
        if len(whole) > most:
            raise TooLarge(most)
        return whole
    rooms = request.app.get(room)
    try:
        async with asyncio.timeout(None if rooms is None else rooms.seconds):
            return await _read(request, most, rooms)
    except TimeoutError as error:
        late = TooSlow(text='{"error": "the body did not come in time"}\n')
        late.content_type = "application/json"
        late.force_close()
        raise late from error


async def _read(request: web.Request, most: int, room: Room | None) -> bytes:
    body = bytearray()
    async with AsyncExitStack() as held:
        asked = room is None
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > most:
                raise TooLarge(most)
            if room is not None and not asked and len(body) > SMALL:
                # Only once so much has really come: what is announced costs nobody anything.
                asked = True
                await held.enter_async_context(room.taken(request.content_length or most))
        return bytes(body)


async def read_packed(request: web.Request, most: int) -> bytes:
    """Return the body of a caller who showed a token, unpacked where it came as gzip.

    Raises:
        TooLarge: there are more than `most` bytes, packed or unpacked.
        BadEncoding: it is packed otherwise, or is no gzip.
        TooSlow: it did not come in time.
    """
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise BadEncoding("Content-Encoding must be gzip, or left out")
    body = await read_body(request, most)
    if encoding == "identity":
        return body
    # Off the loop: a hundred others wait for an answer while one body is unpacked.
    return await asyncio.to_thread(_unpacked, body, most)


def _unpacked(body: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise BadEncoding("the body is not gzip") from error
    if len(plain) > most:
        raise TooLarge(most)
    if not unpacker.eof or unpacker.unused_data:
        raise BadEncoding("the body is not one whole gzip stream")
    return plain


async def read_model(request: web.Request, model: type[Model]) -> Model:
    """Read a JSON body.

    Raises:
        Problem: it is not JSON, too large, or a field is wrong; says which and what is allowed.
    """
    if request.content_type != "application/json":
        raise HttpProblem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, with Content-Type: application/json."
        )
    try:
        return model.model_validate_json(await read_body(request, LARGEST_JSON))
    except TooLarge as error:
        raise HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Too large: {error}.") from error
    except ValidationError as error:
        raise invalid(error, model) from error


def read_query(request: web.Request, model: type[Model]) -> Model:
    """Read the query string.

    Raises:
        Problem: a field is wrong; says which and what is allowed.
    """
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise invalid(error, model) from error


def as_json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Answer with a model."""
    return web.json_response(text=answer.model_dump_json(), status=status)
