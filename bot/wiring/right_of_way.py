"""Runs come first: what strangers cause waits a little while a Run is at work."""

from __future__ import annotations

import asyncio
import time

MOST_S = 0.5
"""Seconds that one thing waits at most, so that nothing waits for ever."""
_QUIET_S = 0.1
"""Seconds between two steps in which a Run is still at work."""
_LONGEST_S = 5.0
"""Seconds after which a step is not waited for any more: it may have failed."""
_GLANCE_S = 0.02


class RightOfWay:
    """An observer of the engine's steps, by which others give way."""

    def __init__(self) -> None:
        """Nobody is at work yet."""
        self._last = -_QUIET_S
        self._at_work: dict[str, float] = {}

    async def began(self, run: str, step: str) -> None:
        """A step is about to run."""
        del step
        self._at_work[run] = time.monotonic()

    async def ended(self, run: str, step: str) -> None:
        """A step's effect is done."""
        del step
        self._at_work.pop(run, None)
        self._last = time.monotonic()

    async def waiting(self, run: str, at: str) -> None:
        """A Run begins to wait: it is not at work."""
        del at
        self._at_work.pop(run, None)

    async def give(self) -> None:
        """Wait until no Run is at work, at most MOST_S."""
        for _ in range(round(MOST_S / _GLANCE_S)):
            if not self._is_taken():
                return
            await asyncio.sleep(_GLANCE_S)

    def _is_taken(self) -> bool:
        now = time.monotonic()
        stale = [run for run, since in self._at_work.items() if now - since > _LONGEST_S]
        for run in stale:
            del self._at_work[run]
        return bool(self._at_work) or now - self._last < _QUIET_S
