"""Reading who serves what for many clients at once, never older than when they asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.records.database import reading
from bot.traffic import servings
from bot.traffic.split import Allocation


class NewestAllocations:
    """Clients that ask at the same time share one read, which begins after all of them asked."""

    def __init__(self, database: AsyncEngine) -> None:
        """Read from the records database."""
        self._database = reading(database)
        self._under_way: dict[int, asyncio.Task[Sequence[Allocation]]] = {}
        self._next: dict[int, asyncio.Task[Sequence[Allocation]]] = {}

    async def servings(self, repository_id: int) -> Sequence[Allocation]:
        """Who serves each capability of a repository now."""
        waiting = self._next.get(repository_id)
        if waiting is None:
            waiting = asyncio.create_task(self._read(repository_id))
            self._next[repository_id] = waiting
        return await asyncio.shield(waiting)

    async def _read(self, repository_id: int) -> Sequence[Allocation]:
        before = self._under_way.get(repository_id)
        if before is not None:
            await asyncio.wait([before])
        self._under_way[repository_id] = self._next.pop(repository_id)
        async with self._database.connect() as conn:
            return await servings.of_repository(conn, repository_id)
