"""Conversations by the thousand: several processes with a bot each, many side by side in each.

A process reads keys of conversations, a line each, and writes a line for each that is over.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

PER_PROCESS = 120
"""Then a new one takes over: what is over is not carried along."""
LONGEST_LINE = 2**22


async def serve(side_by_side: int, play: Callable[[str], Awaitable[str]]) -> None:
    """Play what is asked for, until the end of the input; `play` gives a line for a key."""
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    room = asyncio.Semaphore(side_by_side)

    async def one(key: str) -> None:
        print(await play(key), flush=True)
        room.release()

    async with asyncio.TaskGroup() as group:
        while line := (await reader.readline()).decode().strip():
            await room.acquire()
            group.create_task(one(line))


async def hand_out(
    waiting: deque[str], worker: Sequence[str], take: Callable[[str], str], *, jobs: int, room: int
) -> None:
    """Have processes play conversations, in this order.

    Args:
        waiting: the keys of what is to be played; what was handed out is taken from it.
        worker: starts a process that calls `serve`.
        take: is given each line that a process writes; gives its key. It may add to what waits.
        jobs: how many processes at a time.
        room: how many conversations at a time in each.

    Raises:
        SystemExit: a process broke; its last words are in it.
    """
    with tempfile.TemporaryDirectory() as folder:

        async def process(number: int) -> None:
            log = Path(folder) / f"{number}.log"
            while waiting:
                with log.open("ab") as words:
                    child = await asyncio.create_subprocess_exec(
                        *worker, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                        stderr=words, limit=LONGEST_LINE,
                    )  # fmt: skip
                await _feed(child, waiting, take, room, log)

        await asyncio.gather(*(process(number) for number in range(jobs)))


async def _feed(
    child: asyncio.subprocess.Process,
    waiting: deque[str],
    take: Callable[[str], str],
    room: int,
    log: Path,
) -> None:
    assert child.stdin is not None  # noqa: S101
    assert child.stdout is not None  # noqa: S101
    given: set[str] = set()
    played = 0
    while True:
        while waiting and len(given) < room and played < PER_PROCESS:
            key = waiting.popleft()
            given.add(key)
            played += 1
            child.stdin.write(f"{key}\n".encode())
        if not given:
            break
        line = (await child.stdout.readline()).decode()
        if not line:
            said = log.read_text()[-3000:]  # noqa: ASYNC240  the end of it all
            raise SystemExit(f"a process broke, see its last words:\n{said}")
        given.discard(take(line))
    child.stdin.close()
    await child.wait()
