"""A Run that leaves nothing behind: for answers that may be lost together with the process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.playbooks.run import Effect, Signal, StepFailed, Untold
from bot.playbooks.steps import AnyStep, Patch, WaitPoint
from bot.records.outages import in_public

T = TypeVar("T")


class UnrecordedRun:
    """Does steps once, at once, and writes none of them down. Nothing resumes it."""

    def __init__(self, run: str, records: AsyncEngine, clock: Callable[[], datetime]) -> None:
        """Prepare; `run` is the id that a Run of the same Trigger would have."""
        self.id = run
        self.untold = Untold()
        self._records = records
        self._clock = clock

    async def step(self, step: AnyStep, returns: type[T], effect: Effect[T]) -> T:
        """As `Run.step`; no fault is waited out."""
        del returns
        try:
            return await effect(False)
        except Exception as error:
            raise StepFailed(step, in_public(error)) from error

    async def write(
        self, step: AnyStep, returns: type[T], change: Callable[[AsyncConnection], Awaitable[T]]
    ) -> T:
        """As `Run.write`."""
        del returns
        try:
            async with self._records.begin() as conn:
                return await change(conn)
        except Exception as error:
            raise StepFailed(step, in_public(error)) from error

    async def wait(self, seconds: float, at: WaitPoint) -> Signal | None:
        """Refuse: whatever waits has to survive a restart.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"{at} would wait {seconds} s for news that nobody sends here")

    def patched(self, change: Patch) -> bool:
        """As `Run.patched`: it begins and ends under the code of today."""
        del change
        return True

    async def now(self) -> datetime:
        """As `Run.now`."""
        return self._clock()
