"""Which events were observed already: an event counts once, however often it is sent.

An event id is remembered as long as its observation could come in late. Every function works
inside the caller's transaction and never commits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import itemgetter

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.canary.observations import AHEAD, LATE, REVENUE_LATE, Observation
from bot.records.tables.traffic import observed_events

_AT_ONCE = 500
"""Far below SQLite's limit of variables in one statement."""


def key_of(seen: Observation) -> bytes:
    """Name an event in 16 bytes: half a SHA-256 of its capability and id."""
    return hashlib.sha256(f"{seen.capability}\n{seen.event_id}".encode()).digest()[:16]


async def remember(
    conn: AsyncConnection,
    repository_id: int,
    events: Sequence[tuple[bytes, Observation]],
    *,
    now: datetime,
    maturity: timedelta,
) -> set[bytes]:
    """Note events, and tell which of them were noted before.

    The caller holds the ledger's lock, so nobody else notes the same ones at this moment.

    Args:
        conn: the caller's transaction.
        repository_id: whose.
        events: each by its key, no key twice.
        now: the time of receipt.
        maturity: how old revenue must be.
    """
    if not events:
        return set()
    rows = [
        {
            "repository_id": repository_id,
            "event": key,
            "expires": int((now + _remembered(seen, maturity)).timestamp()),
        }
        # Neighbours in the index share pages: far less is written to disk than in any other order.
        for key, seen in sorted(events, key=itemgetter(0))
    ]
    try:
        async with conn.begin_nested():
            await conn.execute(sa.insert(observed_events), rows)
    except IntegrityError:
        known = await _known(conn, repository_id, [key for key, _ in events])
        new = [row for row in rows if row["event"] not in known]
        if new:
            await conn.execute(sa.insert(observed_events), new)
        return known
    return set()


async def forget_expired(conn: AsyncConnection, *, now: datetime, most: int = 50_000) -> int:
    """Forget up to `most` events that could not come in any more; how many."""
    table = observed_events
    expired = (
        sa.select(table.c.repository_id, table.c.event)
        .where(table.c.expires < int(now.timestamp()))
        .limit(most)
    )
    key = sa.tuple_(table.c.repository_id, table.c.event)
    done = await conn.execute(sa.delete(table).where(key.in_(expired)))
    return done.rowcount


def _remembered(seen: Observation, maturity: timedelta) -> timedelta:
    late = LATE if seen.revenue is None else maturity + REVENUE_LATE
    return late + 2 * AHEAD


async def _known(conn: AsyncConnection, repository_id: int, keys: Sequence[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for start in range(0, len(keys), _AT_ONCE):
        query = sa.select(observed_events.c.event).where(
            observed_events.c.repository_id == repository_id,
            observed_events.c.event.in_(keys[start : start + _AT_ONCE]),
        )
        found.update(bytes(key) for key in (await conn.execute(query)).scalars())
    return found
