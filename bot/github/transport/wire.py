"""One HTTP exchange with GitHub, whatever comes of it."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
from yarl import URL

from bot.github.transport.verdict import HttpAnswer, Lost

CONNECTIONS = 50
"""Requests under way at once, all installations together; GitHub bears 100."""


def new_session(timeout_seconds: float) -> aiohttp.ClientSession:
    """Open the one HTTP session. Call it inside the running event loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        timeout=aiohttp.ClientTimeout(
            total=4 * timeout_seconds, sock_connect=10, sock_read=timeout_seconds
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
    )


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
) -> HttpAnswer | Lost:
    """Send one request and read the whole answer; redirects are not followed.

    `url` is sent exactly as it is: it is percent-encoded already.
    """
    try:
        async with session.request(
            method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
        ) as response:
            content = await response.read()
            named = {name.lower(): value for name, value in response.headers.items()}
            return HttpAnswer(response.status, named, content)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        return Lost("GitHub could not be reached", sent=False)
    except aiohttp.ClientPayloadError:
        return Lost("the answer was cut short")
    except TimeoutError:
        return Lost("no answer in time")
    except (aiohttp.ClientError, ConnectionError) as error:
        return Lost(f"the connection broke ({type(error).__name__})")
