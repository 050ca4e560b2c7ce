"""Looking for queued Runs without what DBOS makes of it each second.

A Run is queued only while it is taken up again after a death or an outage. DBOS builds and asks a
handful of queries a second to find none, which took more of a core than everything else of a bot at
rest, and held up answers for a hundredth of a second each time. Source: dbos 3.4.0, `dbos._queue`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from dbos._queue import Queue
from dbos._sys_db import SystemDatabase, WorkflowStatusString


def poll_cheaply(system: SystemDatabase) -> None:
    """From now on, DBOS looks into a queue only while something is in one.

    Queues of the database itself are not looked for either: the bot makes none.
    """
    queued = system.tables.workflow_status.c
    one = (
        sa.select(sa.literal(1))
        .where(
            queued.queue_name == sa.bindparam("queue"),
            queued.status == WorkflowStatusString.ENQUEUED.value,
            # Without it, no index of DBOS's is one of this query's.
            system._in_flight_status_prover(),
        )
        .limit(1)
    )
    scopes_of = system.dequeue_scopes

    def dequeue_scopes(queue_name: str) -> list[str | None]:
        with system.engine.connect() as connection:
            if connection.execute(one, {"queue": queue_name}).first() is None:
                return []
        return scopes_of(queue_name)

    def list_queues(**_: Any) -> list[Queue]:
        return []

    for quicker in (dequeue_scopes, list_queues):
        # A name that is gone would be a look that DBOS goes on with.
        getattr(system, quicker.__name__)
        vars(system)[quicker.__name__] = quicker
