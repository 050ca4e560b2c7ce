"""Stores Triggers before their sender is answered, many in one commit.

Puts that arrive together are committed together: one write to disk serves a whole burst of
deliveries, and the UNIQUE key makes a redelivery a no-op whatever process received it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from cachetools import LRUCache
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import ReturningInsert

from bot.records.database import ahead, insert_into, reading
from bot.records.outages import outage_of
from bot.records.sqlite import InsertAtOnce
from bot.records.tables.intake import inbox
from bot.triggers import SourceKind, Trigger

Entry = TypeVar("Entry")
Result = TypeVar("Result")


_REST_OF_THEM_S = 0.001


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
        self._came_together = 1

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
            if len(self._waiting) < self._came_together:
                # Whoever was answered together sends the next together, but not at one instant.
                await asyncio.sleep(_REST_OF_THEM_S)
            batch = self._next()
            self._came_together = len(batch)
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


MOST_FORGOTTEN = 10_000
"""So many entries that were dropped are known again."""
MOST_AT_ONCE = 200
"""How many Triggers one transaction takes: 5 columns each stay far below SQLite's limit."""

_A_RUSH = 4
_WITHIN_S = 0.05
_LULL_S = 0.25
"""It is a rush once so many Triggers came in so short a time, until they take so much longer."""


# Made once: to make a query takes about as long as to ask it.
_FREE, _TALK = (
    sa.select(inbox.c.id)
    .where(
        inbox.c.done_at.is_(None),
        inbox.c.is_talk.is_(talk),
        sa.or_(inbox.c.taken_at.is_(None), inbox.c.taken_at <= sa.bindparam("over")),
    )
    .order_by(inbox.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
    for talk in (False, True)
)
_CLAIM, _CLAIM_TALK = (
    sa.update(inbox)
    .where(inbox.c.id.in_(those.with_for_update(skip_locked=True)))
    .values(taken_by=sa.bindparam("by"), taken_at=sa.bindparam("at"))
    .returning(inbox.c.id, inbox.c.payload, inbox.c.delivery_id)
    for those in (_FREE, _TALK)
)


@dataclass(frozen=True)
class Receipt:
    """Proof that a Trigger is on disk. `trigger` is the one stored first under its key."""

    trigger: Trigger
    is_new: bool


@dataclass(frozen=True)
class Taken:
    """An entry this replica has claimed, and the delivery that told of it."""

    id: int
    payload: object
    delivery: str | None = None


@dataclass(frozen=True)
class _Arrival:
    trigger: Trigger
    delivery_id: str | None
    is_talk: bool


class Inbox:
    """Keeps Triggers until they are handed over. Safe for several replicas on one database."""

    def __init__(self, database: AsyncEngine) -> None:
        """Use the records database; its `inbox` table must exist."""
        self._database = database
        self._ahead = ahead(database)
        self._insert_where_new = _insert_where_new(database)
        self._at_once: InsertAtOnce | None = None
        if database.dialect.name == "sqlite":
            self._at_once = InsertAtOnce(self._insert_where_new, inbox, *_COLUMNS)
        self._arrivals = GroupCommit(self._commit, most=MOST_AT_ONCE)
        self._forgotten: LRUCache[str, None] = LRUCache(MOST_FORGOTTEN)
        self._latest: deque[float] = deque(maxlen=_A_RUSH)
        self._is_rushed = False
        self.arrived = asyncio.Event()
        """Set whenever something new is on disk; the dispatcher clears it."""

    async def put(
        self, trigger: Trigger, delivery_id: str | None = None, *, is_talk: bool = False
    ) -> Receipt:
        """Store a Trigger and return once it is committed.

        Args:
            trigger: what is asked for.
            delivery_id: the delivery that told of it, for people who look for it. Its sender waits:
                many at once are a rush.
            is_talk: whether it comes from somebody who most likely has no rights: it waits behind
                everything else.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: it could not be stored; the sender must send it again.
        """
        if _key(trigger) in self._forgotten:
            return Receipt(trigger, is_new=False)
        # Strangers could hold up everybody else by talking quickly, and catch-up reads many again.
        if delivery_id is not None and not is_talk:
            self._notice_rush()
        return await self._arrivals.put(_Arrival(trigger, delivery_id, is_talk))

    def _notice_rush(self) -> None:
        self._latest.append(asyncio.get_running_loop().time())
        if len(self._latest) == _A_RUSH and self._latest[-1] - self._latest[0] < _WITHIN_S:
            self._is_rushed = True

    def is_rushed(self) -> bool:
        """Whether Triggers come so quickly just now that storing them needs all there is."""
        if self._is_rushed and asyncio.get_running_loop().time() - self._latest[0] > _LULL_S:
            self._is_rushed = False
        return self._is_rushed

    async def put_within(self, conn: AsyncConnection, triggers: Sequence[Trigger]) -> None:
        """Store Triggers in the caller's transaction; set `arrived` once it is committed.

        Those whose key is there already change nothing.
        """
        if triggers:
            waiting = [_row(trigger, None, is_talk=False) for trigger in triggers]
            await conn.execute(self._insert_where_new, waiting)

    async def take(
        self, most: int, *, replica: str, now: datetime, lease: timedelta, talk: bool = False
    ) -> list[Taken]:
        """Claim the oldest entries that nobody holds, for `lease`; others may claim them after.

        What is talk is left alone, unless `talk` asks for that alone.
        """
        of, claim = (_TALK, _CLAIM_TALK) if talk else (_FREE, _CLAIM)
        those = {"most": most, "over": now - lease}
        async with reading(self._database).connect() as connection:
            # Looking takes no lock: strangers' entries are looked for many times a minute.
            if (await connection.execute(of, those)).first() is None:
                return []
        async with self._database.begin() as connection:
            mine = those | {"by": replica, "at": now}
            rows = (await connection.execute(claim, mine)).all()
        ordered = sorted(rows, key=lambda row: row.id)
        return [Taken(row.id, row.payload, row.delivery_id) for row in ordered]

    async def delivery_of(self, key: str) -> str | None:
        """The id of the delivery that told of the Trigger with this key; None: there was none."""
        query = sa.select(inbox.c.delivery_id).where(inbox.c.key == key)
        async with reading(self._database).connect() as connection:
            return await connection.scalar(query)

    async def done(self, ids: Sequence[int], now: datetime) -> None:
        """Note that entries were handed over. Rows stay: they are what makes a repeat a no-op."""
        await self._change(sa.update(inbox).where(inbox.c.id.in_(ids)).values(done_at=now))

    async def forget(self, entries: Mapping[int, str]) -> None:
        """Drop entries (by their ids, with their keys) of which nothing came.

        Told of again soon they are still a no-op, in this process; later they are as new.
        """
        async with self._database.begin() as connection:
            await connection.execute(sa.delete(inbox).where(inbox.c.id.in_(entries)))
        for key in entries.values():
            self._forgotten[key] = None

    async def received(self, repository_id: int, since: datetime) -> list[Trigger]:
        """Give what GitHub told of one repository since then, oldest first."""
        query = (
            sa.select(inbox.c.payload)
            .where(inbox.c.received_at >= since, inbox.c.key.startswith(f"{repository_id}:"))
            .order_by(inbox.c.id)
        )
        async with self._database.connect() as connection:
            rows = (await connection.execute(query)).scalars().all()
        return [Trigger.model_validate(payload) for payload in rows]

    async def release(self, replica: str) -> None:
        """Give back what an earlier life of this replica claimed and did not finish."""
        mine = sa.and_(inbox.c.taken_by == replica, inbox.c.done_at.is_(None))
        await self._change(sa.update(inbox).where(mine).values(taken_by=None, taken_at=None))

    async def _change(self, change: sa.Update) -> None:
        async with self._database.begin() as connection:
            await connection.execute(change)

    async def _insert(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[str]:
        """Insert rows; the keys of those that were not there."""
        if self._at_once is not None:
            return await self._at_once.into(connection, rows)
        return (await connection.execute(self._insert_where_new, rows)).scalars().all()

    async def _commit(self, batch: Sequence[_Arrival]) -> list[Receipt]:
        rows = [_row(each.trigger, each.delivery_id, is_talk=each.is_talk) for each in batch]
        async with self._ahead.begin() as connection:
            new = set(await self._insert(connection, rows))
        if new:
            self.arrived.set()
        repeated = {_key(each.trigger) for each in batch} - new
        stored = {}
        if repeated:
            async with reading(self._database).connect() as connection:
                select = sa.select(inbox.c.key, inbox.c.payload).where(inbox.c.key.in_(repeated))
                stored = {row.key: row.payload for row in await connection.execute(select)}
        first = {key: Trigger.model_validate(payload) for key, payload in stored.items()}
        receipts = []
        for each in batch:
            key = _key(each.trigger)
            is_new = key in new and key not in first
            receipts.append(Receipt(first.setdefault(key, each.trigger), is_new))
        return receipts


def _insert_where_new(database: AsyncEngine) -> ReturningInsert[str]:
    """Insert rows whose key is not there yet, and return the keys of those."""
    # The rows are given when it is executed: with them in it, it is compiled again each time.
    insert = insert_into(database)(inbox).on_conflict_do_nothing()
    new_keys: ReturningInsert[str] = insert.returning(inbox.c.key)
    return new_keys


_COLUMNS = ("key", "delivery_id", "payload", "received_at", "is_talk")


def _key(trigger: Trigger) -> str:
    """What is stored once: a caller's key is used up wherever it was used first.

    The others begin with the repository's id, by which what was told of one is found.
    """
    return trigger.source.key if trigger.source.kind is SourceKind.API else trigger.key


def _row(trigger: Trigger, delivery_id: str | None, *, is_talk: bool) -> dict[str, Any]:
    return {
        "key": _key(trigger),
        "delivery_id": delivery_id,
        "payload": trigger.model_dump(mode="json"),
        "received_at": trigger.received_at,
        "is_talk": is_talk,
    }
