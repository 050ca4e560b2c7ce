"""Who serves what: every change is a new generation, and a latch holds."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.audit import chain
from bot.traffic import allocation
from bot.traffic.allocation import AttemptOver, CandidatePaused, Decided
from bot.traffic.flagd import Allocation, Split
from tests.traffic.trials import CAPABILITY, REPOSITORY, START, ramping, shadowing


async def decide(
    conn: AsyncConnection,
    split: Split,
    capability: str = CAPABILITY,
    *,
    above: int = 0,
    run: str | None = None,
) -> Allocation:
    decided = Decided(at=START, actor="alice", why="a stage", run=run)
    return await allocation.set_traffic(conn, REPOSITORY, capability, split, decided, above=above)


async def halt(conn: AsyncConnection, why: str = "errors") -> Allocation:
    decided = Decided(at=START, actor="guard", why=why)
    return await allocation.pause(conn, REPOSITORY, CAPABILITY, decided, baseline="provider-a")


async def test_nothing_decided_is_nothing_to_serve(conn: AsyncConnection) -> None:
    assert await allocation.find(conn, REPOSITORY, CAPABILITY) is None
    assert await allocation.of_repository(conn, REPOSITORY) == []


async def test_each_change_is_a_generation_of_the_whole_document(conn: AsyncConnection) -> None:
    first = await decide(conn, ramping(5))
    other = await decide(conn, ramping(5, "ramp-2"), "llm.translate")
    second = await decide(conn, ramping(25))
    assert [first.generation, other.generation, second.generation] == [1, 2, 3]
    decided = Decided(at=START, actor="alice", why="a stage")
    there = await allocation.set_traffic(conn, REPOSITORY + 1, CAPABILITY, ramping(5), decided)
    assert await allocation.of_repository(conn, REPOSITORY) == [second, other]
    both = [REPOSITORY, REPOSITORY + 1, REPOSITORY + 2]
    assert await allocation.of_repositories(conn, both) == [second, other, there]
    assert await allocation.history(conn, REPOSITORY, CAPABILITY) == [first, second]


async def test_the_same_split_again_changes_nothing(conn: AsyncConnection) -> None:
    assert await decide(conn, ramping(5)) == await decide(conn, ramping(5))


async def test_every_change_has_its_audit_entry(conn: AsyncConnection) -> None:
    await decide(conn, ramping(5), run="run-1")
    await halt(conn)
    entries = await chain.read(conn, REPOSITORY)
    assert [getattr(entry, "action", None) for entry in entries] == [
        "traffic.set",
        "traffic.paused",
    ]


async def test_a_document_committed_elsewhere_never_looks_newer(conn: AsyncConnection) -> None:
    await decide(conn, ramping(5))
    assert (await decide(conn, ramping(5), above=40)).generation == 41


async def test_a_pause_gives_everything_to_the_baseline_and_holds(conn: AsyncConnection) -> None:
    await decide(conn, ramping(25))
    paused = await halt(conn)
    assert paused.split == Split(baseline="provider-a", salt="7")
    assert paused.paused == "errors"
    with pytest.raises(CandidatePaused, match=r"is paused \(errors\)"):
        await decide(conn, ramping(25))
    with pytest.raises(CandidatePaused):
        await decide(conn, shadowing())
    assert await allocation.find(conn, REPOSITORY, CAPABILITY) == paused


async def test_a_second_pause_keeps_the_first_reason(conn: AsyncConnection) -> None:
    await decide(conn, ramping(25))
    assert await halt(conn) == await halt(conn, "a person asked")


async def test_a_capability_can_be_paused_before_anything_was_decided(
    conn: AsyncConnection,
) -> None:
    assert (await halt(conn)).split == Split(baseline="provider-a")


async def test_after_the_pause_a_new_attempt_may_begin_but_not_the_old_one(
    conn: AsyncConnection,
) -> None:
    await decide(conn, ramping(25))
    await halt(conn)
    decided = Decided(at=START, actor="alice", why="mended")
    lifted = await allocation.lift_pause(conn, REPOSITORY, CAPABILITY, decided)
    assert lifted is not None
    assert lifted.paused is None
    with pytest.raises(AttemptOver, match="ramp-1 is over: mended"):
        await decide(conn, ramping(50))
    assert (await decide(conn, ramping(5, "ramp-2", salt="8"))).split.percent == 5


async def test_a_ramp_under_way_is_not_pushed_aside(conn: AsyncConnection) -> None:
    await decide(conn, ramping(25))
    with pytest.raises(AttemptOver, match="in the hands of another ramp, ramp-1"):
        await decide(conn, ramping(5, "ramp-2"))
    with pytest.raises(AttemptOver):
        await decide(conn, shadowing())


async def test_a_ramp_may_follow_its_shadow(conn: AsyncConnection) -> None:
    await decide(conn, shadowing())
    assert (await decide(conn, ramping(5))).split.percent == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"percent": 5},
        {"mode": "ramp"},
        {"candidate": "provider-a", "mode": "ramp", "attempt": "x"},
        {"candidate": "b", "mode": "shadow", "attempt": "x", "percent": 5},
        {"candidate": "b", "mode": "ramp", "attempt": "x", "percent": 101},
        {"candidate": "b", "mode": "ramp", "attempt": "x", "sample_rate": 0.1},
        {"salt": "with spaces"},
    ],
)
def test_a_split_that_means_nothing_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Split(baseline="provider-a", **wrong)
