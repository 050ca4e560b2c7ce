"""The guard: the baseline serves before anybody hears of the breach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.records.audit import chain
from bot.records.tables.traffic import (
    evidence_checkpoints,
    evidence_entries,
    observed_events,
)
from bot.traffic import allocation, circuit_breaker
from bot.traffic import evidence_log as ledgers
from bot.traffic.circuit_breaker import BreakerRhythm, CircuitBreaker
from bot.traffic.evaluation import Evaluations
from bot.traffic.evidence_log import EvidenceLog
from bot.traffic.flagd import Allocation
from bot.traffic.ingest import forget_expired
from tests.canary.traffic import only, policy
from tests.intake.api.providing import Client
from tests.intake.waiting import until
from tests.traffic.conftest import Clock, nothing_comes
from tests.traffic.test_ledger import begin, report
from tests.traffic.test_observing import lines
from tests.traffic.trials import CAPABILITY, REPOSITORY, after, observed, paired

pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


async def state(engine: AsyncEngine, attempt: str = "ramp-1") -> tuple[EvidenceLog, Allocation]:
    async with engine.connect() as conn:
        ledger = await ledgers.find(conn, attempt)
        serving = await allocation.find(conn, REPOSITORY, CAPABILITY)
    assert ledger is not None
    assert serving is not None
    return ledger, serving


@asynccontextmanager
async def watching(guard: CircuitBreaker) -> AsyncIterator[None]:
    task = asyncio.create_task(guard.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until_served(engine: AsyncEngine, percent: int) -> Allocation:
    async def reached() -> bool:
        return (await state(engine))[1].split.percent == percent

    await until(reached)
    return (await state(engine))[1]


async def test_a_breach_gives_everything_to_the_baseline_and_wakes_the_run(
    client: Client, engine: AsyncEngine, guard: CircuitBreaker, woken: list[str]
) -> None:
    await begin(engine)
    async with watching(guard):
        for number in range(4):
            await client.report(lines(500, seed=number, errors=0.5))
        serving = await until_served(engine, 0)

        async def told() -> bool:
            return "run-1" in woken

        await until(told)
    assert serving.paused is not None
    assert serving.paused.startswith("The candidate fails more often than tolerated")
    ledger, _ = await state(engine)
    assert ledger.breach is not None
    assert ledger.breach.metric == "error"
    assert ledger.closed_seq == 1
    async with engine.connect() as conn:
        actions = [getattr(each, "action", None) for each in await chain.read(conn, REPOSITORY)]
    assert actions == ["traffic.set", "traffic.paused"]


async def test_a_good_candidate_is_left_alone_and_its_run_woken_when_it_may_go_on(
    engine: AsyncEngine, guard: CircuitBreaker, woken: list[str], clock: Clock
) -> None:
    await begin(engine, rules=policy(metrics=only("error", margin_ratio=5)))
    await guard.watch("ramp-1")
    assert woken == ["run-1"]
    for number in range(5):
        await report(engine, observed(1000, seed=number), after(number))
        await guard.watch("ramp-1")
    assert woken == ["run-1"]
    clock.move(11 * 60)
    await report(engine, observed(100, seed=99), clock())
    await guard.watch("ramp-1")
    await guard.watch("ramp-1")
    assert woken == ["run-1", "run-1"]
    assert (await state(engine))[1].split.percent == 50


async def test_silence_in_a_ramp_trips_it_without_any_observation(
    engine: AsyncEngine, guard: CircuitBreaker, evaluations: Evaluations, clock: Clock
) -> None:
    await begin(engine)
    nothing_comes(evaluations, clock, 601)
    async with watching(guard):
        serving = await until_served(engine, 0)
    assert serving.paused == "No observation for 10 min 1 s; 10 min is the limit."


async def test_a_guard_that_was_away_hears_no_silence(
    engine: AsyncEngine, guard: CircuitBreaker, clock: Clock
) -> None:
    await begin(engine)
    clock.move(601)
    async with watching(guard):
        await asyncio.sleep(0.05)
    assert (await state(engine))[0].closed_at is None


async def test_a_shadow_is_never_tripped_but_its_run_is_woken(
    engine: AsyncEngine, guard: CircuitBreaker, woken: list[str]
) -> None:
    await begin(engine, "shadow-1", shadow=True)
    await report(engine, paired(4000, errors=0.5), after(1), "shadow-1")
    await guard.watch("shadow-1")
    ledger, serving = await state(engine, "shadow-1")
    assert woken == ["run-1"]
    assert ledger.closed_at is None
    assert serving.split.mode == "shadow"


async def test_a_ramp_that_was_ended_meanwhile_is_not_tripped(
    engine: AsyncEngine, guard: CircuitBreaker, woken: list[str]
) -> None:
    await begin(engine)
    await report(engine, observed(4000, errors=0.5), after(1))
    async with engine.begin() as conn:
        await ledgers.close(conn, "ramp-1", at=after(2))
    await guard.watch("ramp-1")
    assert (await state(engine))[1].split.percent == 50
    assert woken == ["run-1"]


async def test_a_breach_that_nobody_saw_is_found_after_a_restart(
    engine: AsyncEngine, guard: CircuitBreaker
) -> None:
    await begin(engine)
    await report(engine, observed(4000, errors=0.5), after(1))
    async with watching(guard):
        await until_served(engine, 0)


async def test_one_broken_ledger_does_not_keep_the_guard_from_the_others(
    engine: AsyncEngine, guard: CircuitBreaker, evaluations: Evaluations, clock: Clock
) -> None:
    rules = (await begin(engine)).policy
    async with engine.begin() as conn:
        await ledgers.open_log(
            conn, attempt="a-broken-one", run_id="run-2", repository_id=REPOSITORY,
            capability="llm.other", policy=rules, at=after(0),
        )  # fmt: skip
        broken = await ledgers.locked(conn, "a-broken-one")
        await ledgers.append(conn, broken, "observations", b"no zlib", at=after(0))
    nothing_comes(evaluations, clock, 601)
    async with watching(guard):
        await until_served(engine, 0)


async def test_evidence_that_cannot_be_read_any_more_ends_the_ramp(
    engine: AsyncEngine, guard: CircuitBreaker, woken: list[str]
) -> None:
    await begin(engine)
    await report(engine, observed(100), after(1))
    async with engine.begin() as conn:
        await conn.execute(sa.update(evidence_entries).values(content=b"damaged"))
    await guard.watch("ramp-1")
    ledger, serving = await state(engine)
    assert ledger.breach is not None
    assert (ledger.breach.metric, serving.split.percent) == ("evidence", 0)
    assert woken == ["run-1"]


async def test_what_was_learnt_is_saved_every_so_often(
    engine: AsyncEngine, evaluations: Evaluations, clock: Clock
) -> None:
    async def wake(run: str) -> None:
        del run

    guard = CircuitBreaker(
        engine, evaluations, wake=wake, clock=clock, rhythm=BreakerRhythm(checkpoint=0.05)
    )
    await begin(engine)
    async with watching(guard):
        for number in range(3):
            await report(engine, observed(100, seed=number), after(number))
            guard.heard("ramp-1")
            await until(partial(_saved_is, engine, number + 1))
    _, course = await Evaluations(engine).current("ramp-1")
    assert course.seq == 3


async def test_what_can_no_longer_come_again_is_forgotten_to_the_last_in_bounded_transactions(
    client: Client,
    engine: AsyncEngine,
    guard: CircuitBreaker,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once: list[int] = []

    async def noted(conn: AsyncConnection, *, now: datetime, most: int) -> int:
        at_once.append(await forget_expired(conn, now=now, most=most))
        return at_once[-1]

    monkeypatch.setattr(circuit_breaker, "forget_expired", noted)
    monkeypatch.setattr(circuit_breaker, "FORGET_AT_ONCE", 40)
    await begin(engine)
    await client.report(lines(200))
    clock.move(71 * 60)
    async with watching(guard):
        await until(partial(_remembers, engine, 0))
    assert at_once[:5] == [40] * 5


async def _remembers(engine: AsyncEngine, count: int) -> bool:
    async with engine.connect() as conn:
        events = sa.select(sa.func.count()).select_from(observed_events)
        return (await conn.execute(events)).scalar_one() == count


async def _saved_is(engine: AsyncEngine, seq: int) -> bool:
    async with engine.connect() as conn:
        return (await conn.execute(sa.select(evidence_checkpoints.c.seq))).scalar() == seq
