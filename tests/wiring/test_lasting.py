"""What works in the background goes on after a fault that nobody foresaw."""

from __future__ import annotations

import asyncio

import pytest

from bot.wiring.background import keep_running


async def test_a_part_that_broke_off_begins_again_and_can_still_be_stopped() -> None:
    begun = []
    again = asyncio.Event()

    async def run() -> None:
        begun.append(len(begun))
        if len(begun) == 1:
            raise RuntimeError("database is locked")
        again.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_running("guard", run, pause=0))
    async with asyncio.timeout(30):
        await again.wait()
    assert begun == [0, 1]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
