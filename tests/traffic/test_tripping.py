"""Tripping the breaker: baseline first, and the evidence stands still."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.traffic import allocation
from bot.traffic.circuit_breaker import Tripped, trip
from bot.traffic.evaluation import Evaluations
from bot.traffic.evidence_log import BreachFound
from tests.traffic.test_ledger import begin, report
from tests.traffic.trials import CAPABILITY, REPOSITORY, after, observed

ALERT = BreachFound(metric="alert", evidence="An alert fired: checkout is slow.")


async def tripped(engine: AsyncEngine, breach: BreachFound = ALERT) -> Tripped:
    async with engine.begin() as conn:
        return await trip(conn, "ramp-1", breach, at=after(5), actor="guard")


async def test_the_candidate_loses_its_traffic_and_the_reason_is_kept(engine: AsyncEngine) -> None:
    await begin(engine)
    await report(engine, observed(100), after(1))
    first = await tripped(engine)
    assert first.first
    assert first.serving.split.percent == 0
    assert first.serving.paused == ALERT.evidence
    look = await Evaluations(engine).look("ramp-1", after(9000))
    assert look.closed
    assert look.judged.breach == ALERT


async def test_tripping_twice_is_tripping_once(engine: AsyncEngine) -> None:
    await begin(engine)
    first = await tripped(engine)
    second = await tripped(engine, BreachFound(metric="error", evidence="later"))
    assert not second.first
    assert second.ledger == first.ledger
    assert second.serving == first.serving
    async with engine.connect() as conn:
        assert len(await allocation.history(conn, REPOSITORY, CAPABILITY)) == 2
