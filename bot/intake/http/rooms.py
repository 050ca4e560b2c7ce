"""How much of what strangers send may be held at once, and how long it may take to come."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

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
