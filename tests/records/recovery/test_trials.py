"""Trials of all bisects of a repository keep within its caps, on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records import runs
from bot.records.bisects import TrialCaps, reserve_trials, settle_trials, trials_used
from bot.records.lifecycle import RunState
from tests.records.examples import REPOSITORY as SHOP
from tests.records.examples import trigger

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CAPS = TrialCaps(trials_per_day=3, minutes_per_day=60, at_once=2)
REPOSITORY = SHOP.id


async def a_run(conn: AsyncConnection, name: str) -> str:
    run = await runs.start(conn, name, trigger(name), playbook="bisect", at=NOON)
    return run.id


async def begun(conn: AsyncConnection, run: str, name: str, minute: int, **more: bool) -> bool:
    at = NOON + timedelta(minutes=minute)
    used = await reserve_trials(
        conn, run_id=run, name=name, repository_id=REPOSITORY, at=at, caps=CAPS, **more
    )
    return used is None


async def test_so_many_at_once_over_all_bisects(conn: AsyncConnection) -> None:
    one, other = await a_run(conn, "one"), await a_run(conn, "other")
    assert await begun(conn, one, "1", 0)
    assert await begun(conn, other, "1", 0)
    assert not await begun(conn, one, "2", 1)
    await settle_trials(conn, other, ["1"], NOON + timedelta(minutes=2))
    assert await begun(conn, one, "2", 3)


async def test_so_many_a_day_unless_a_person_allows_more(conn: AsyncConnection) -> None:
    run = await a_run(conn, "one")
    for name in ("1", "2", "3"):
        assert await begun(conn, run, name, 0)
        await settle_trials(conn, run, [name], NOON + timedelta(minutes=1))
    assert not await begun(conn, run, "4", 2)
    assert await begun(conn, run, "4", 2, beyond_day=True)
    await settle_trials(conn, run, ["4"], NOON + timedelta(minutes=3))
    assert not await begun(conn, run, "5", 24 * 60 - 1)
    assert await begun(conn, run, "5", 24 * 60 + 1)


async def test_so_many_minutes_a_day(conn: AsyncConnection) -> None:
    run = await a_run(conn, "one")
    assert await begun(conn, run, "1", 0)
    await settle_trials(conn, run, ["1"], NOON + timedelta(minutes=59))
    assert await begun(conn, run, "2", 59)
    used = await trials_used(conn, REPOSITORY, NOON + timedelta(minutes=61))
    assert (used.trials, used.minutes, used.at_once) == (2, 61.0, 1)
    assert not await begun(conn, run, "3", 61)


async def test_trials_of_a_run_that_is_over_take_no_place(conn: AsyncConnection) -> None:
    run, other = await a_run(conn, "one"), await a_run(conn, "other")
    assert await begun(conn, run, "1", 0)
    assert await begun(conn, run, "2", 0)
    assert not await begun(conn, other, "1", 1)
    await runs.move(conn, run, RunState.CANCELLED, at=NOON + timedelta(minutes=2))
    assert await begun(conn, other, "1", 3)
