"""When the bot has really looked again, however long that takes on this machine."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress

from bot.engine import Engine
from bot.playbooks.run import Signal, SignalKind

WHOLE_LOOKS = 3
"""How often a step has to begin: once for the look under way, once for the one that began after
it, and once more for what follows from that one to be done."""

LISTENS = 2.0
"""Seconds after which a Run that begins no step, whatever it is told, only listens to people."""


class Looks:
    """Counts the steps of each Run: a waiting Run that looks again begins the same ones again."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._begun = Counter[tuple[str, str]]()
        self._last: dict[str, float] = {}
        self._one_more = asyncio.Event()

    async def began(self, run: str, step: str) -> None:
        """Count it."""
        self._begun[run, step] += 1
        self._last[run] = time.monotonic()
        self._one_more.set()

    async def ended(self, run: str, step: str) -> None:
        """Go on from here: a step may take long."""
        del step
        self._last[run] = time.monotonic()

    async def waiting(self, run: str, at: str) -> None:
        """A wait is no step."""
        del run, at

    async def again(self, engine: Engine, live: set[str]) -> None:
        """Have these Runs look, and wait until each has done what follows from it, or ended."""
        before, since = Counter(self._begun), time.monotonic()
        while live:
            self._one_more.clear()
            for run in live:
                await engine.wake(run, Signal(kind=SignalKind.HINT))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._one_more.wait(), 0.2)
            more, now = self._begun - before, time.monotonic()
            done = {run for (run, _), times in more.items() if times >= WHOLE_LOOKS}
            done |= {run for run in live if now - max(since, self._last.get(run, 0)) > LISTENS}
            live = {run for run in live - done if not await engine.finished(run)}
