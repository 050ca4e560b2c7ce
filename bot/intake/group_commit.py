"""What arrives together is committed together: one write to disk serves a whole burst."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bot.records.outages import outage_of

Entry = TypeVar("Entry")
Result = TypeVar("Result")


@dataclass
class _Waiting(Generic[Entry, Result]):
    entry: Entry
    result: asyncio.Future[Result] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    # A sender may have given up meanwhile; what is stored stays stored.

    def answer(self, result: Result) -> None:
        if not self.result.done():
            self.result.set_result(result)

    def refuse(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)


class GroupCommit(Generic[Entry, Result]):
    """Collects what comes while a commit is under way, and commits it in one go."""

    def __init__(
        self,
        commit: Callable[[Sequence[Entry]], Awaitable[Sequence[Result]]],
        *,
        most: int,
        size: Callable[[Entry], int] = lambda _: 1,
        answered: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Prepare.

        Args:
            commit: stores entries in one transaction, and gives a result for each, in order.
            most: how much one transaction takes; a single entry may be larger.
            size: how much an entry is of that.
            answered: called once those who sent a batch have their results; must not raise.
        """
        self._commit = commit
        self._most = most
        self._size = size
        self._answered = answered
        self._waiting: list[_Waiting[Entry, Result]] = []
        self._writer: asyncio.Task[None] | None = None

    async def put(self, entry: Entry) -> Result:
        """Return once the entry is committed.

        Raises:
            Exception: what `commit` raised for this very entry; nothing of it is stored.
        """
        waiting: _Waiting[Entry, Result] = _Waiting(entry)
        self._waiting.append(waiting)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await waiting.result

    async def _write(self) -> None:
        while self._waiting:
            batch = self._next()
            try:
                await self._store(batch)
            except Exception as error:
                # While the database is away, nobody fares better alone.
                if len(batch) == 1 or outage_of(error) is not None:
                    for each in batch:
                        each.refuse(error)
                    continue
                # One entry the database refuses must not take the others with it.
                for alone in batch:
                    try:
                        await self._store([alone])
                    except Exception as its_error:
                        alone.refuse(its_error)

    async def _store(self, batch: Sequence[_Waiting[Entry, Result]]) -> None:
        results = await self._commit([each.entry for each in batch])
        for each, result in zip(batch, results, strict=True):
            each.answer(result)
        if self._answered is not None:
            await self._answered()

    def _next(self) -> list[_Waiting[Entry, Result]]:
        size, taken = 0, 0
        for each in self._waiting:
            more = self._size(each.entry)
            if taken and size + more > self._most:
                break
            size, taken = size + more, taken + 1
        batch, self._waiting[:] = self._waiting[:taken], self._waiting[taken:]
        return batch
