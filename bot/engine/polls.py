"""What DBOS asks its database again and again, asked in one query each time.

A Run is queued only while it is taken up again after a death or an outage: to find none, DBOS built
and asked a handful of queries a second, which took more of a core than everything else of a bot at
rest. And on SQLite it asked, at each look, one of its own for each Run that waits: whether there is
a message. Source: dbos 3.4.0, `dbos._queue` and `SystemDatabase._notification_listener_polling`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from dbos._queue import Queue
from dbos._sys_db import (
    KeySignal,
    SystemDatabase,
    ThreadSafeEventDict,
    WaiterComponents,
    WorkflowStatusString,
)

_AT_ONCE = 10_000
"""Runs in one query; SQLite takes 32,766 values, https://sqlite.org/limits.html."""
Waiter = tuple[str, WaiterComponents, KeySignal]


def poll_cheaply(system: SystemDatabase) -> None:
    """From now on, DBOS looks into a queue, and at a Run that waits, only if there is something.

    Queues of the database itself are not looked for either: the bot makes none.
    """
    _replace(system, "list_queues", lambda **_: list[Queue]())
    _replace(system, "dequeue_scopes", _scopes_with_something(system, system.dequeue_scopes))
    waiting = system.notifications_map
    _replace(waiting, "snapshot", _waiters_with_something(system, waiting.snapshot))


def waits_of(system: SystemDatabase, run: str) -> list[KeySignal]:
    """What wakes a Run that waits in this process, whether it has a message or not."""
    waiting = ThreadSafeEventDict.snapshot(system.notifications_map)
    return [signal for _, (waits, _, _), signal in waiting if waits == run]


def with_a_message(system: SystemDatabase, runs: Sequence[str]) -> set[str]:
    """Those Runs that were sent something which they have not read."""
    unread, told = _unread(system.tables.notifications), set[str]()
    with system.engine.connect() as connection:
        for at in range(0, len(runs), _AT_ONCE):
            asked = {"runs": runs[at : at + _AT_ONCE]}
            told.update(connection.execute(unread, asked).scalars())
    return told


@lru_cache(1)
def _unread(messages: sa.Table) -> sa.Select[str]:
    return (
        sa.select(messages.c.destination_uuid)
        .where(
            messages.c.destination_uuid.in_(sa.bindparam("runs", expanding=True)),
            messages.c.consumed.is_(False),
        )
        .distinct()
    )


def _replace(where: object, name: str, by: Callable[..., Any]) -> None:
    # Fails where dbos has renamed it: what it looks for by another name would not be replaced.
    getattr(where, name)
    vars(where)[name] = by


def _scopes_with_something(
    system: SystemDatabase, scopes_of: Callable[[str], list[str | None]]
) -> Callable[[str], list[str | None]]:
    """`dequeue_scopes`, where nothing is in a queue: none, so that DBOS asks no more."""
    queued = system.tables.workflow_status.c
    one = (
        sa.select(sa.literal(1))
        .where(
            queued.queue_name == sa.bindparam("queue"),
            # Words of the query itself: DBOS's indexes are of these statuses alone, and neither
            # database would know one for this query's by a value that comes later.
            queued.status == sa.literal_column(f"'{WorkflowStatusString.ENQUEUED.value}'"),
            system._in_flight_status_prover(),
        )
        .limit(1)
    )

    def scopes(queue_name: str) -> list[str | None]:
        with system.engine.connect() as connection:
            if connection.execute(one, {"queue": queue_name}).first() is None:
                return []
        return scopes_of(queue_name)

    return scopes


def _waiters_with_something(
    system: SystemDatabase, waiters: Callable[[], list[Waiter]]
) -> Callable[[], list[Waiter]]:
    """`snapshot`, of those alone that have a message: DBOS asks once more for each of them."""

    def with_something() -> list[Waiter]:
        found = waiters()
        if not found:
            return found
        told = with_a_message(system, sorted({run for _, (run, _, _), _ in found}))
        return [each for each in found if each[1][0] in told]

    return with_something
