"""Replicas: who lives, who is dead, and who may take over from whom."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records import replicas
from tests.records.examples import NOON

DEAD_AT = NOON + replicas.DEAD_AFTER


async def test_a_silent_replica_is_taken_over_once_and_may_come_back(
    conn: AsyncConnection,
) -> None:
    await replicas.join(conn, "a", NOON)
    await replicas.join(conn, "b", DEAD_AT)
    assert await replicas.take_dead(conn, "b", DEAD_AT - timedelta(seconds=1)) == []
    assert await replicas.take_dead(conn, "b", DEAD_AT) == ["a"]
    assert await replicas.take_dead(conn, "c", DEAD_AT) == []
    await replicas.join(conn, "a", DEAD_AT)
    assert await replicas.take_dead(conn, "b", DEAD_AT) == []


async def test_a_replica_that_was_taken_over_learns_it_from_its_next_beat(
    conn: AsyncConnection,
) -> None:
    await replicas.join(conn, "a", NOON)
    assert await replicas.beat(conn, "a", NOON)
    assert await replicas.take_dead(conn, "b", DEAD_AT) == ["a"]
    assert not await replicas.beat(conn, "a", DEAD_AT)
    await replicas.forget(conn, "a", taken_over_by="b")
    assert not await replicas.beat(conn, "a", DEAD_AT)


async def test_the_claim_of_a_sibling_that_died_before_it_recovered_anything_lapses(
    conn: AsyncConnection,
) -> None:
    await replicas.join(conn, "a", NOON)
    assert await replicas.take_dead(conn, "b", DEAD_AT) == ["a"]
    later = DEAD_AT + replicas.DEAD_AFTER
    assert await replicas.take_dead(conn, "c", later - timedelta(seconds=1)) == []
    assert await replicas.take_dead(conn, "c", later) == ["a"]


async def test_a_replica_whose_runs_were_taken_over_is_forgotten(conn: AsyncConnection) -> None:
    await replicas.join(conn, "a", NOON)
    await replicas.take_dead(conn, "b", DEAD_AT)
    await replicas.forget(conn, "a", taken_over_by="b")
    assert await replicas.take_dead(conn, "c", DEAD_AT + 3 * replicas.DEAD_AFTER) == []


async def test_a_replica_that_came_back_is_not_forgotten(conn: AsyncConnection) -> None:
    await replicas.join(conn, "a", NOON)
    await replicas.take_dead(conn, "b", DEAD_AT)
    await replicas.join(conn, "a", DEAD_AT)
    await replicas.forget(conn, "a", taken_over_by="b")
    assert await replicas.beat(conn, "a", DEAD_AT)


async def test_after_a_stop_in_good_order_nobody_waits_and_it_may_come_back(
    conn: AsyncConnection,
) -> None:
    await replicas.join(conn, "a", NOON)
    await replicas.leave(conn, "a", NOON)
    assert await replicas.take_dead(conn, "b", NOON) == ["a"]
    await replicas.join(conn, "a", NOON)
    assert await replicas.take_dead(conn, "b", NOON) == []
    await replicas.leave(conn, "a", NOON)
    await replicas.join(conn, "a", NOON)
    assert await replicas.beat(conn, "a", NOON)
