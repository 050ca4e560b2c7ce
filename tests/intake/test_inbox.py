"""What was answered is on disk, and the same Trigger only once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.intake.inbox import Inbox
from bot.records.database import open_database
from bot.triggers import Severity, SeverityRequest
from tests.intake.conftest import Clock
from tests.intake.waiting import rows, trigger

pytestmark = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)

LEASE = timedelta(seconds=60)


async def test_the_same_trigger_twenty_times_at_once_is_one_row(
    inbox: Inbox, database: AsyncEngine
) -> None:
    receipts = await asyncio.gather(*(inbox.put(trigger(1), f"d-{n}") for n in range(20)))
    assert [receipt.is_new for receipt in receipts].count(True) == 1
    assert not (await inbox.put(trigger(1))).is_new
    assert len(await rows(database)) == 1


async def test_a_repeat_gets_the_trigger_that_was_stored_first(inbox: Inbox) -> None:
    await inbox.put(trigger(1))
    receipt = await inbox.put(trigger(1, request=SeverityRequest(severity=Severity.LOW)))
    assert (receipt.trigger, receipt.is_new) == (trigger(1), False)


async def test_what_arrives_together_is_committed_together(
    inbox: Inbox, database: AsyncEngine
) -> None:
    commits = 0

    def committed(_connection: object) -> None:
        nonlocal commits
        commits += 1

    sa.event.listen(database.sync_engine, "commit", committed)
    await asyncio.gather(*(inbox.put(trigger(number)) for number in range(1, 401)))
    assert commits <= 3
    assert len(await rows(database)) == 400


async def test_two_processes_that_get_the_same_deliveries_keep_one_of_each(
    inbox: Inbox, database: AsyncEngine, url: str
) -> None:
    other = open_database(url)
    second = Inbox(other)
    try:
        receipts = await asyncio.gather(
            *(each.put(trigger(number)) for number in range(1, 21) for each in (inbox, second))
        )
    finally:
        await other.dispose()
    assert sum(receipt.is_new for receipt in receipts) == 20
    assert len(await rows(database)) == 20


async def test_one_entry_the_database_refuses_does_not_take_the_others_with_it(
    inbox: Inbox, database: AsyncEngine
) -> None:
    without_zone = datetime(2025, 1, 1)  # noqa: DTZ001 - that is the fault
    bad = trigger(2).model_copy(update={"received_at": without_zone})
    results = await asyncio.gather(
        inbox.put(trigger(1)), inbox.put(bad), inbox.put(trigger(3)), return_exceptions=True
    )
    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert len(await rows(database)) == 2


async def test_a_sender_who_gives_up_does_not_hurt_the_others(
    inbox: Inbox, database: AsyncEngine
) -> None:
    impatient = asyncio.create_task(inbox.put(trigger(1)))
    patient = asyncio.create_task(inbox.put(trigger(2)))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).is_new
    assert len(await rows(database)) == 2


async def test_another_replica_takes_over_when_the_lease_ends_and_not_before(
    inbox: Inbox, database: AsyncEngine, clock: Clock
) -> None:
    await inbox.put(trigger(1))
    assert len(await inbox.take(5, replica="a", now=clock(), lease=LEASE)) == 1
    clock.move(59)
    assert await inbox.take(5, replica="b", now=clock(), lease=LEASE) == []
    clock.move(1)
    assert len(await inbox.take(5, replica="b", now=clock(), lease=LEASE)) == 1
    assert [row.taken_by for row in await rows(database)] == ["b"]


async def test_the_oldest_are_taken_first(inbox: Inbox, clock: Clock) -> None:
    for number in range(1, 6):
        await inbox.put(trigger(number))
    taken = await inbox.take(3, replica="a", now=clock(), lease=LEASE)
    assert [entry.id for entry in taken] == [1, 2, 3]
    await inbox.done([1], clock())
    rest = await inbox.take(3, replica="a", now=clock(), lease=LEASE)
    assert [entry.id for entry in rest] == [4, 5]
