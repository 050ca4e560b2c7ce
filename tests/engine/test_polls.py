"""What the engine looks for all the time: one query where there is nothing, for all that wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa
from dbos import DBOSPortableJSONSerializer
from dbos._sys_db import LoopAwareEvent, SystemDatabase
from dbos._utils import INTERNAL_QUEUE_NAME

from bot.engine.polls import poll_cheaply, waits_of
from bot.records.database import sqlite_url


@pytest.fixture
def system(tmp_path: Path) -> Iterator[SystemDatabase]:
    """The engine's own tables, in a file."""
    opened = SystemDatabase.create(
        system_database_url=sqlite_url(tmp_path / "engine.db"),
        engine_kwargs={},
        engine=None,
        schema=None,
        serializer=DBOSPortableJSONSerializer(),
        executor_id=None,
    )
    opened.run_migrations()
    poll_cheaply(opened)
    yield opened
    opened.engine.dispose()


@pytest.mark.parametrize(
    ("queue", "status", "is_looked_into"),
    [
        (INTERNAL_QUEUE_NAME, "ENQUEUED", True),
        (INTERNAL_QUEUE_NAME, "PENDING", False),
        (INTERNAL_QUEUE_NAME, "SUCCESS", False),
        ("another", "ENQUEUED", False),
        (None, "PENDING", False),
    ],
)
def test_a_queue_is_looked_into_only_while_a_run_waits_in_it(
    system: SystemDatabase, queue: str | None, status: str, is_looked_into: bool
) -> None:
    asked: list[str] = []
    sa.event.listen(system.engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    assert (system.list_queues(), system.dequeue_scopes(INTERNAL_QUEUE_NAME)) == ([], [])
    assert len(asked) == 1
    row = {"workflow_uuid": "one", "status": status, "queue_name": queue, "priority": 0}
    with system.engine.begin() as connection:
        connection.execute(sa.insert(system.tables.workflow_status).values(row))
    assert system.dequeue_scopes(INTERNAL_QUEUE_NAME) == ([None] if is_looked_into else [])


def test_a_hundred_runs_that_wait_are_one_query_and_those_with_a_message_are_found(
    system: SystemDatabase,
) -> None:
    asked: list[str] = []
    waiting = system.notifications_map
    assert waiting.snapshot() == []
    sa.event.listen(system.engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    for number in range(100):
        run = f"run {number}"
        waiting.add(f"{run}::topic", LoopAwareEvent(), (run, "topic", None))
    assert (waiting.snapshot(), len(asked)) == ([], 1)
    # Whoever sends wakes the one it sends to, and asks nothing about the others.
    assert [len(waits_of(system, run)) for run in ("run 7", "run 8", "gone")] == [1, 1, 0]
    assert len(asked) == 1
    messages = [
        {"destination_uuid": run, "topic": "topic", "message": "", "consumed": is_read}
        for run, is_read in (("run 7", False), ("run 8", True), ("run 9", False), ("gone", False))
    ]
    runs = [
        {"workflow_uuid": each["destination_uuid"], "status": "PENDING", "priority": 0}
        for each in messages
    ]
    with system.engine.begin() as connection:
        connection.execute(sa.insert(system.tables.workflow_status), runs)
        connection.execute(sa.insert(system.tables.notifications), messages)
    assert [key for key, _, _ in waiting.snapshot()] == ["run 7::topic", "run 9::topic"]


def test_a_message_that_nobody_announced_is_heard_at_the_next_look(system: SystemDatabase) -> None:
    # Another process sent it, or whoever did was broken off before they could wake the Run.
    heard = {run: LoopAwareEvent() for run in ("one", "two")}
    for run, event in heard.items():
        system.notifications_map.add(f"{run}::topic", event, (run, "topic", None))
    system._notification_listener_polling_interval_sec = 0.05
    looking = Thread(target=system._notification_listener_polling)
    looking.start()
    try:
        row = {"workflow_uuid": "one", "status": "PENDING", "priority": 0}
        message = {"destination_uuid": "one", "topic": "topic", "message": "", "consumed": False}
        with system.engine.begin() as connection:
            connection.execute(sa.insert(system.tables.workflow_status), row)
            connection.execute(sa.insert(system.tables.notifications), message)
        assert heard["one"].wait(timeout=20)
        assert not heard["two"].is_set()
    finally:
        system._run_background_processes = False
        looking.join()


def test_a_look_reads_an_index_and_no_table(system: SystemDatabase) -> None:
    # Runs that ended stay for weeks: a look that passes them all would be dearer than DBOS's own.
    asked: list[tuple[str, object]] = []
    sa.event.listen(system.engine, "before_cursor_execute", lambda *said: asked.append(said[2:4]))
    system.dequeue_scopes(INTERNAL_QUEUE_NAME)
    system.notifications_map.add("one::topic", LoopAwareEvent(), ("one", "topic", None))
    system.notifications_map.snapshot()
    for query, values in tuple(asked):
        with system.engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all()
        assert [row[-1].split()[0] for row in plan if "TEMP" not in row[-1]] == ["SEARCH"], plan
