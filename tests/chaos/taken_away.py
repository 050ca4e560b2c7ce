"""What is taken away while reverts are under way, for how long, and how it comes back."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from tests.chaos.outages import Outage
from tests.plugins.postgres import Server

Kind = Literal["fast", "immediate", "dropped"]
KINDS: tuple[Kind, ...] = ("fast", "immediate", "dropped")

_DISK = "192m"
_CHUNK = b"\0" * (1024 * 1024)


def postgresql(server: Server, kind: Kind, seconds: float) -> Outage:
    """Restart the server, as `pg_ctl -m KIND` does, or drop its connections."""

    async def happen() -> None:
        if kind == "dropped":
            return await asyncio.to_thread(server.drop_connections)
        await asyncio.to_thread(server.stop, kind)
        await asyncio.sleep(seconds)
        return await asyncio.to_thread(server.start)

    return happen


def sqlite_locked(data: Path, seconds: float) -> Outage:
    """Hold the write lock of both databases."""

    def lock() -> list[sqlite3.Connection]:
        held = []
        for name in ("playbooks.db", "engine.db"):
            connection = sqlite3.connect(
                data / name, timeout=30, isolation_level=None, check_same_thread=False
            )
            connection.execute("BEGIN IMMEDIATE")
            held.append(connection)
        return held

    async def happen() -> None:
        held = await asyncio.to_thread(lock)
        await asyncio.sleep(seconds)
        for connection in held:
            with closing(connection):
                connection.execute("ROLLBACK")

    return happen


def disk_full(room: Path, seconds: float) -> Outage:
    """Fill the disk to its last byte, and keep it full."""
    ballast = room / "ballast"

    def fill() -> None:
        with ballast.open("ab", buffering=0) as file:
            for chunk in (_CHUNK, _CHUNK[:4096]):
                while True:
                    try:
                        file.write(chunk)
                    except OSError:
                        break

    async def happen() -> None:
        give_up = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < give_up:
            await asyncio.to_thread(fill)
            await asyncio.sleep(0.05)
        await asyncio.to_thread(ballast.unlink)

    return happen


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk of a size, in memory, mounted there; None where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or _fails(mount):
        yield None
        return
    try:
        yield folder
    finally:
        _fails(["umount", "--lazy", str(folder)])


def _fails(command: list[str]) -> bool:
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - a list, no shell
    return done.returncode != 0
