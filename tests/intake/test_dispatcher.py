"""Everything in the inbox is handed over, in order, whatever dies in between."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from bot.commands.strangers import RoleUnknown
from bot.intake.dispatcher import Dispatcher
from bot.intake.inbox import Inbox
from bot.records.database import open_database
from bot.records.tables.intake import inbox as table
from bot.triggers import Trigger
from tests.intake.conftest import Clock
from tests.intake.waiting import all_done, rows, running, trigger, until

pytestmark = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)


class Started:
    """The engine's side: remembers what it was given, in order."""

    def __init__(self) -> None:
        self.numbers: list[str] = []

    async def __call__(self, each: Trigger) -> None:
        self.numbers.append(each.source.object_id)


async def test_entries_are_handed_over_in_the_order_they_came(
    inbox: Inbox, database: AsyncEngine, clock: Clock
) -> None:
    for number in range(1, 21):
        await inbox.put(trigger(number))
    started = Started()
    async with running(Dispatcher(inbox, started, replica="a", clock=clock)):
        await until(lambda: all_done(database))
    assert started.numbers == [str(number) for number in range(1, 21)]


async def test_a_start_never_overtakes_an_earlier_one_about_the_same_subject(
    inbox: Inbox, database: AsyncEngine, clock: Clock
) -> None:
    first_may_end = asyncio.Event()
    ended: list[str] = []

    async def start(each: Trigger) -> None:
        if each.source.object_id == "1":
            await first_may_end.wait()
        ended.append(each.source.object_id)
        if each.source.object_id == "3":
            first_may_end.set()

    await asyncio.gather(
        inbox.put(trigger(1, subject=7)),
        inbox.put(trigger(2, subject=7)),
        inbox.put(trigger(3, subject=8)),
    )
    async with running(Dispatcher(inbox, start, replica="a", clock=clock)):
        await until(lambda: all_done(database))
    assert ended == ["3", "1", "2"]


async def test_one_that_waits_for_its_turn_holds_up_nobody(
    inbox: Inbox, database: AsyncEngine, clock: Clock
) -> None:
    its_turn = asyncio.Event()

    async def wait() -> None:
        await its_turn.wait()

    def in_turn(each: Trigger) -> Callable[[], Awaitable[None]] | None:
        return wait if each.source.object_id == "2" else None

    started = Started()

    async def start(each: Trigger) -> None:
        await started(each)
        if each.source.object_id == "4":
            its_turn.set()

    for number in range(1, 5):
        await inbox.put(trigger(number, subject=7))
    async with running(Dispatcher(inbox, start, replica="a", clock=clock, in_turn=in_turn)):
        await until(lambda: all_done(database))
    assert started.numbers == ["1", "3", "4", "2"]


async def test_no_more_than_the_allowed_number_start_at_once(
    inbox: Inbox, database: AsyncEngine, clock: Clock
) -> None:
    now = most = 0

    async def start(_: Trigger) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1

    await asyncio.gather(*(inbox.put(trigger(number)) for number in range(1, 31)))
    async with running(Dispatcher(inbox, start, replica="a", clock=clock, at_once=3)):
        await until(lambda: all_done(database))
    assert most == 3


async def test_a_start_that_fails_is_tried_again(
    inbox: Inbox, database: AsyncEngine, clock: Clock
) -> None:
    tries = 0

    async def start(_: Trigger) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ConnectionError("not yet")

    await inbox.put(trigger(1))
    dispatcher = Dispatcher(inbox, start, replica="a", clock=clock, pauses=(0.01, 0.01))
    async with running(dispatcher):
        await until(lambda: all_done(database))
    assert tries == 3


@pytest.mark.parametrize(
    ("fault", "of_ours"),
    [(RoleUnknown(), False), (TimeoutError(), False), (LookupError("a mistake"), True)],
)
async def test_only_a_fault_of_ours_has_a_traceback_in_the_log(
    inbox: Inbox, database: AsyncEngine, clock: Clock, fault: Exception, of_ours: bool
) -> None:
    faults = [fault]

    async def start(_: Trigger) -> None:
        if faults:
            raise faults.pop()

    await inbox.put(trigger(1))
    dispatcher = Dispatcher(inbox, start, replica="a", clock=clock, pauses=(0.01,))
    with capture_logs() as said:
        async with running(dispatcher):
            await until(lambda: all_done(database))
    [failed] = [line for line in said if line["event"] == "starting failed; trying again"]
    assert failed["why"].startswith(type(fault).__name__)
    assert failed["exc_info"] is of_ours


async def test_a_start_that_keeps_failing_rests_and_holds_up_nobody(
    inbox: Inbox, database: AsyncEngine, clock: Clock
) -> None:
    healthy = False
    started = Started()

    async def start(each: Trigger) -> None:
        if each.source.object_id == "1" and not healthy:
            raise ConnectionError("down")
        await started(each)

    async def second_is_done() -> bool:
        return (await rows(database))[1].done_at is not None

    await inbox.put(trigger(1))
    await inbox.put(trigger(2))
    dispatcher = Dispatcher(
        inbox, start, replica="a", clock=clock, at_once=1, look_every=0.02, pauses=(0.01,)
    )
    async with running(dispatcher):
        await until(second_is_done)
        assert started.numbers == ["2"]
        healthy = True
        clock.move(61)
        await until(lambda: all_done(database))
    assert started.numbers == ["2", "1"]


async def test_two_replicas_share_the_work_without_doing_any_twice(
    inbox: Inbox, database: AsyncEngine, clock: Clock, url: str
) -> None:
    await asyncio.gather(*(inbox.put(trigger(number)) for number in range(1, 41)))
    other = open_database(url)
    started = Started()
    one = Dispatcher(inbox, started, replica="a", clock=clock, at_once=2)
    two = Dispatcher(Inbox(other), started, replica="b", clock=clock, at_once=2)
    try:
        async with running(one), running(two):
            await until(lambda: all_done(database))
    finally:
        await other.dispose()
    assert sorted(started.numbers, key=int) == [str(number) for number in range(1, 41)]


VICTIM = """
import asyncio, sys
from datetime import UTC, datetime
from bot.intake.dispatcher import Dispatcher
from bot.intake.inbox import Inbox
from bot.records.database import open_database
from tests.intake.waiting import trigger

async def main(url):
    inbox = Inbox(open_database(url))
    await asyncio.gather(*(inbox.put(trigger(n)) for n in range(1, 31)))

    async def start(each):
        if each.source.object_id == "11":
            print("eleventh", flush=True)
            await asyncio.sleep(60)
        print(each.source.object_id, flush=True)

    await Dispatcher(inbox, start, replica="a", clock=lambda: datetime.now(UTC), at_once=1).run()

asyncio.run(main(sys.argv[1]))
"""


async def test_kill_minus_nine_in_the_middle_loses_nothing(url: str, clock: Clock) -> None:
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, url, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert victim.stdout is not None
    seen = [(await victim.stdout.readline()).decode().strip() for _ in range(11)]
    victim.kill()
    await victim.wait()
    assert seen == [*(str(number) for number in range(1, 11)), "eleventh"]

    database = open_database(url)
    started = Started()
    clock.now = datetime.now(UTC)  # the lease still holds: only its own next life may take it
    try:
        async with running(Dispatcher(Inbox(database), started, replica="a", clock=clock)):
            await until(lambda: all_done(database))
    finally:
        await database.dispose()
    assert started.numbers == [str(number) for number in range(11, 31)]


async def test_an_entry_nobody_can_read_is_kept_and_holds_up_nobody(
    inbox: Inbox, database: AsyncEngine, clock: Clock
) -> None:
    later = {"key": "x", "payload": {"from": "a later version"}, "received_at": clock()}
    async with database.begin() as connection:
        await connection.execute(sa.insert(table).values(later))
    await inbox.put(trigger(1))
    started = Started()

    async def second_is_done() -> bool:
        return (await rows(database))[1].done_at is not None

    async with running(Dispatcher(inbox, started, replica="a", clock=clock)):
        await until(second_is_done)
    assert started.numbers == ["1"]
    assert (await rows(database))[0].done_at is None


@pytest.mark.parametrize("count", [1, 250])
async def test_the_dispatcher_is_woken_by_a_put(
    inbox: Inbox, database: AsyncEngine, clock: Clock, count: int
) -> None:
    started = Started()
    async with running(Dispatcher(inbox, started, replica="a", clock=clock, look_every=3600)):
        await asyncio.sleep(0.05)
        await asyncio.gather(*(inbox.put(trigger(number)) for number in range(1, count + 1)))
        await until(lambda: all_done(database))
    assert len(started.numbers) == count


async def test_strangers_talk_waits_while_there_is_anything_else(
    inbox: Inbox, database: AsyncEngine, clock: Clock
) -> None:
    await asyncio.gather(*(inbox.put(trigger(number), is_talk=True) for number in range(1, 5)))
    await asyncio.gather(*(inbox.put(trigger(number)) for number in range(5, 30)))
    started = Started()
    dispatcher = Dispatcher(inbox, started, replica="a", clock=clock, at_once=2, talk_every=0.01)
    async with running(dispatcher):
        await until(lambda: all_done(database))
    assert started.numbers[:25] == [str(number) for number in range(5, 30)]
    assert started.numbers[25:] == ["1", "2", "3", "4"]


async def test_what_came_to_nothing_leaves_no_entry_and_is_not_begun_again_soon(
    inbox: Inbox, database: AsyncEngine, clock: Clock
) -> None:
    begun: list[str] = []

    async def nothing(each: Trigger) -> bool:
        begun.append(each.source.object_id)
        return True

    await inbox.put(trigger(1))
    async with running(Dispatcher(inbox, nothing, replica="a", clock=clock)):

        async def gone() -> bool:
            return not await rows(database)

        await until(gone)
        assert not (await inbox.put(trigger(1))).is_new
        await asyncio.sleep(0.1)
    assert begun == ["1"]
    assert not await rows(database)


async def reached(begun: list[Any], number: int) -> bool:
    return len(begun) >= number


async def test_starts_give_way_while_triggers_come_in_quickly(inbox: Inbox, clock: Clock) -> None:
    begun: list[float] = []
    now = asyncio.get_running_loop().time

    async def start(_: Trigger) -> bool:
        begun.append(now())
        return False

    async with running(Dispatcher(inbox, start, replica="a", clock=clock)):
        for number in range(1, 41):
            await asyncio.gather(*(inbox.put(trigger(number * 4 + each), "d") for each in range(4)))
        last = now()
        await until(lambda: reached(begun, 160))
    # Those of the first moment were begun before anybody could know what follows.
    assert len([at for at in begun if at < last]) < 16


async def test_a_rush_without_end_holds_up_nobody_for_ever(inbox: Inbox, clock: Clock) -> None:
    begun: list[str] = []

    async def start(each: Trigger) -> bool:
        begun.append(each.key)
        return False

    async def rush() -> None:
        for number in count(1):
            await asyncio.gather(*(inbox.put(trigger(number * 4 + each), "d") for each in range(4)))

    hurried = Dispatcher(inbox, start, replica="a", clock=clock, gives_way_for=0.2)
    async with running(hurried):
        rushing = asyncio.create_task(rush())
        try:
            await until(lambda: reached(begun, 12))
        finally:
            rushing.cancel()


@pytest.mark.parametrize(
    ("number", "delivery", "is_talk"),
    [(3, "d", False), (40, "d", True), (40, None, False)],
    ids=["a few at once", "what strangers say", "what is read again"],
)
async def test_what_is_no_rush(
    inbox: Inbox, clock: Clock, number: int, delivery: str | None, is_talk: bool
) -> None:
    begun = asyncio.Event()

    async def start(_: Trigger) -> bool:
        begun.set()
        return False

    async with running(Dispatcher(inbox, start, replica="a", clock=clock, gives_way_for=600)):
        said = [
            inbox.put(trigger(each), delivery, is_talk=is_talk) for each in range(1, number + 1)
        ]
        await asyncio.gather(*said)
        assert not inbox.is_rushed()
        async with asyncio.timeout(30):
            await begun.wait()


async def test_a_rush_is_over_where_they_come_more_slowly(inbox: Inbox) -> None:
    await asyncio.gather(*(inbox.put(trigger(number), "d") for number in range(1, 5)))
    assert inbox.is_rushed()
    for number in range(5, 9):
        await asyncio.sleep(0.1)
        await inbox.put(trigger(number), "d")
    assert not inbox.is_rushed()
