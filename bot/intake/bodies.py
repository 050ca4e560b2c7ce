"""Reading a request's body without ever holding more of it than allowed."""

from __future__ import annotations

from aiohttp import web


class TooLarge(Exception):
    """The body is larger than `most` bytes."""

    def __init__(self, most: int) -> None:
        """Name the cap."""
        super().__init__(f"a body may have at most {most} bytes")
        self.most = most


async def read_body(request: web.Request, most: int) -> bytes:
    """Return the body, whatever length the sender announced.

    Raises:
        TooLarge: there are more than `most` bytes; the rest is not read.
    """
    if (request.content_length or 0) > most:
        raise TooLarge(most)
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > most:
            raise TooLarge(most)
    return bytes(body)
