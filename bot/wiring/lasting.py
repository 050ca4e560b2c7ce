"""What works in the background as long as the bot does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bot.records.outages import outage_of

log = structlog.get_logger(__name__)

RESTART_AFTER = 1.0
"""Seconds until a part that broke off begins again."""


async def keep_running(
    part: str, run: Callable[[], Awaitable[None]], *, pause: float = RESTART_AFTER
) -> None:
    """Run a part until cancelled.

    Each knows how to live with a GitHub or a database that is away. What it did not foresee must
    not end it in silence either: it is logged, and the part begins again.

    Args:
        part: its name in the log.
        run: works until cancelled; may be called again.
        pause: seconds in between.
    """
    while True:
        try:
            return await run()
        except Exception as error:
            if outage_of(error) is None:
                log.exception("a part of the bot broke off; it begins again", part=part)
            else:
                log.warning("a part of the bot waits", part=part, why=str(error))
        await asyncio.sleep(pause)
