"""Making something exactly once (Decisions, 13).

A step may run twice: the process died after GitHub did the work, or the answer was lost. So
whoever creates looks first when the step may already have run, and looks again whenever a write
got no answer, before it repeats it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from bot.github.errors import Uncertain, Unprocessable
from bot.github.transport.channel import Sleep

T = TypeVar("T")

LOOKS = (0.0, 1.0, 3.0)
"""Seconds before each look: GitHub's lists may lag behind its writes."""

TRIES = 3


async def ensure(
    *,
    look: Callable[[], Awaitable[T | None]],
    create: Callable[[], Awaitable[T]],
    look_first: bool,
    sleep: Sleep,
    looks: tuple[float, ...] = LOOKS,
) -> T:
    """Give what `look` finds, else what `create` makes; never make it twice.

    `look` must find exactly what `create` would make. `looks` are the waits before each look.

    Raises:
        Uncertain: If the write got no answer three times and nothing is to be seen.
    """
    if look_first:
        found = await _look(look, sleep, looks)
        if found is not None:
            return found
    for attempt in range(1, TRIES + 1):
        try:
            return await create()
        except Uncertain:
            found = await _look(look, sleep, looks)
            if found is not None:
                return found
            if attempt == TRIES:
                raise
        except Unprocessable as refusal:
            if not refusal.already_exists:
                raise
            found = await _look(look, sleep, looks)
            if found is None:
                raise
            return found
    raise AssertionError("unreachable: the last try returns or raises")


async def _look(
    look: Callable[[], Awaitable[T | None]], sleep: Sleep, looks: tuple[float, ...]
) -> T | None:
    for pause in looks:
        if pause:
            await sleep(pause)
        found = await look()
        if found is not None:
            return found
    return None
