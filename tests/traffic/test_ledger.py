"""A ledger keeps what counts in its order; whoever adds it up comes to the same digits."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.canary.judge import Breach
from bot.canary.observations import Observation
from bot.canary.policy import Policy
from bot.records.lifecycle import UnknownRecord
from bot.records.tables.traffic import evidence_entries
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.evaluation import Evaluations, RampEvaluation, UnreadableEvidence
from bot.traffic.evidence_log import (
    AlreadyUnderWay,
    BreachFound,
    EvidenceLog,
    EvidenceLogClosed,
    Judged,
    pack,
)
from tests.canary.traffic import frozen, policy
from tests.traffic.trials import (
    CAPABILITY,
    REPOSITORY,
    START,
    after,
    observed,
    paired,
    ramping,
    shadowing,
)

FROZEN = frozen()


async def begin(
    engine: AsyncEngine,
    attempt: str = "ramp-1",
    rules: Policy | None = None,
    *,
    shadow: bool = False,
) -> EvidenceLog:
    split = shadowing(attempt=attempt) if shadow else ramping(50, attempt)
    async with engine.begin() as conn:
        ledger = await ledgers.open_log(
            conn,
            attempt=attempt,
            run_id="run-1",
            repository_id=REPOSITORY,
            capability=CAPABILITY,
            policy=rules or policy(),
            frozen=None if shadow else FROZEN,
            at=START,
        )
        await allocation.set_traffic(
            conn,
            REPOSITORY,
            CAPABILITY,
            split,
            allocation.Decided(at=START, actor="alice", why="begin"),
        )
    return ledger


async def report(
    engine: AsyncEngine, seen: Iterable[Observation], at: datetime, attempt: str = "ramp-1"
) -> EvidenceLog:
    async with engine.begin() as conn:
        ledger = await ledgers.locked(conn, attempt)
        return await ledgers.append(conn, ledger, "observations", pack(tuple(seen)), at=at)


async def test_a_ledger_is_opened_once_and_one_at_a_time(engine: AsyncEngine) -> None:
    first = await begin(engine)
    assert await begin(engine) == first
    with pytest.raises(AlreadyUnderWay, match=r"llm\.summarize has a shadow or ramp under way"):
        await begin(engine, "ramp-2")


async def test_what_is_added_counts_in_order_and_changes_the_digest(engine: AsyncEngine) -> None:
    await begin(engine)
    first = await report(engine, observed(10), after(1))
    second = await report(engine, observed(10, seed=1), after(2))
    assert (first.seq, second.seq) == (1, 2)
    assert len({ledgers.GENESIS, first.digest, second.digest}) == 3
    assert second.seen_at == after(2)


async def test_a_closed_ledger_takes_nothing_and_keeps_its_first_end(engine: AsyncEngine) -> None:
    await begin(engine)
    await report(engine, observed(10), after(1))
    breach = BreachFound(metric="error", evidence="too many")
    async with engine.begin() as conn:
        closed = await ledgers.close(conn, "ramp-1", at=after(2), breach=breach)
        assert closed == await ledgers.close(conn, "ramp-1", at=after(3))
        assert closed == await ledgers.find(conn, "ramp-1")
        with pytest.raises(EvidenceLogClosed):
            await ledgers.append(conn, closed, "observations", b"", at=after(3))
        with pytest.raises(EvidenceLogClosed):
            await ledgers.enter_phase(conn, "ramp-1", 1, at=after(3))
    await begin_anew(engine)


async def begin_anew(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        again = await ledgers.open_log(
            conn, attempt="ramp-2", run_id="run-2", repository_id=REPOSITORY,
            capability=CAPABILITY, policy=policy(), frozen=FROZEN, at=after(4),
        )  # fmt: skip
        assert [each.attempt for each in await ledgers.open_ones(conn)] == ["ramp-2"]
    assert again.seq == 0


async def test_a_course_is_the_same_however_often_it_was_interrupted(engine: AsyncEngine) -> None:
    await begin(engine)
    patient = Evaluations(engine)
    for number in range(6):
        await report(engine, observed(500, seed=number), after(number))
        if number == 2:
            async with engine.begin() as conn:
                await ledgers.enter_phase(conn, "ramp-1", 1, at=after(number))
        interrupted = Evaluations(engine)
        _, course = await interrupted.current("ramp-1")
        async with engine.begin() as conn:
            await ledgers.save_checkpoint(conn, "ramp-1", course.seq, course.save())
        await patient.current("ramp-1")
    _, ours = await patient.current("ramp-1")
    _, theirs = await Evaluations(engine).current("ramp-1")
    _, resumed = await interrupted.current("ramp-1")
    assert ours.save() == theirs.save() == resumed.save()
    assert isinstance(ours, RampEvaluation)
    assert [stage.percent for stage in ours.stages(None, None)] == [5, 25]
    assert ours.evidence.assigned.counts[0] + ours.evidence.assigned.counts[1] == 3000


async def test_a_shadow_is_resumed_with_answers_that_wait_for_their_other_half(
    engine: AsyncEngine,
) -> None:
    await begin(engine, "shadow-1", shadow=True)
    seen = list(paired(3000))
    patient = Evaluations(engine)
    for start in range(0, len(seen), 1001):
        await report(engine, seen[start : start + 1001], after(start / 100), "shadow-1")
        _, course = await Evaluations(engine).current("shadow-1")
        async with engine.begin() as conn:
            await ledgers.save_checkpoint(conn, "shadow-1", course.seq, course.save())
        await patient.current("shadow-1")
    _, ours = await patient.current("shadow-1")
    _, theirs = await Evaluations(engine).current("shadow-1")
    assert ours.save() == theirs.save()
    look = await patient.look("shadow-1", after(120))
    assert look.judged.kind in ("continue", "promote")


async def test_a_breach_ends_the_course_where_the_evidence_crossed_its_limit(
    engine: AsyncEngine,
) -> None:
    await begin(engine)
    for number in range(8):
        await report(engine, observed(500, seed=number, errors=0.5), after(number))
    evaluations = Evaluations(engine)
    look = await evaluations.look("ramp-1", after(10))
    assert look.judged.kind == "breach"
    assert look.judged.breach is not None
    assert look.judged.breach.metric == "error"
    assert look.seq == 1
    assert isinstance(look.judged.verdict, Breach)
    assert look == type(look).model_validate_json(look.model_dump_json())


async def test_silence_is_a_verdict_of_the_clock_and_stays_once_it_closed_the_ledger(
    engine: AsyncEngine,
) -> None:
    await begin(engine)
    await report(engine, observed(100), after(1))
    evaluations = Evaluations(engine)
    for second in range(0, 700, 100):
        evaluations.awake.look(after(second))
    silent = (await evaluations.look("ramp-1", after(700))).judged
    assert silent.breach is not None
    assert silent.breach.metric == "silence"
    async with engine.begin() as conn:
        await ledgers.close(conn, "ramp-1", at=after(700), breach=silent.breach)
    assert (await evaluations.look("ramp-1", after(9000))).judged == silent


async def test_entries_that_a_checkpoint_holds_may_go(engine: AsyncEngine) -> None:
    await begin(engine)
    for number in range(4):
        await report(engine, observed(100, seed=number), after(number))
    _, course = await Evaluations(engine).current("ramp-1")
    before = course.save()
    async with engine.begin() as conn:
        await ledgers.save_checkpoint(conn, "ramp-1", 3, b"is replaced")
        await ledgers.save_checkpoint(conn, "ramp-1", 4, before)
        await ledgers.save_checkpoint(conn, "ramp-1", 2, b"comes too late")
        assert await ledgers.prune(conn, now=after(3600), keep=timedelta(minutes=5)) == 4
    _, again = await Evaluations(engine).current("ramp-1")
    assert again.save() == before


async def test_missing_entries_are_not_passed_over(engine: AsyncEngine) -> None:
    await begin(engine)
    for number in range(3):
        await report(engine, observed(100, seed=number), after(number))
    async with engine.begin() as conn:
        await conn.execute(sa.delete(evidence_entries).where(evidence_entries.c.seq == 2))
    with pytest.raises(UnreadableEvidence):
        await Evaluations(engine).current("ramp-1")


async def test_a_damaged_checkpoint_is_added_up_anew(engine: AsyncEngine) -> None:
    await begin(engine)
    for number in range(3):
        await report(engine, observed(100, seed=number), after(number))
    _, before = await Evaluations(engine).current("ramp-1")
    async with engine.begin() as conn:
        await ledgers.save_checkpoint(conn, "ramp-1", 2, b"no checkpoint")
    _, again = await Evaluations(engine).current("ramp-1")
    assert again.save() == before.save()


async def test_what_came_after_the_end_is_not_in_the_digest(engine: AsyncEngine) -> None:
    await begin(engine)
    first = await report(engine, observed(10), after(1))
    await report(engine, observed(10, seed=1), after(2))
    async with engine.begin() as conn:
        closed = await ledgers.close(conn, "ramp-1", at=after(3), seq=1)
    assert closed.digest == first.digest


async def test_an_unknown_attempt_is_said_to_be_unknown(engine: AsyncEngine) -> None:
    with pytest.raises(UnknownRecord):
        await Evaluations(engine).current("nothing")


@pytest.mark.parametrize("kind", ["continue", "hold", "promote", "breach"])
def test_a_verdict_survives_being_written_down(kind: str) -> None:
    judged = Judged.model_validate(
        {"kind": kind, "reasons": ("because",) if kind in ("continue", "hold") else ()}
        | ({"percent": 25} if kind == "promote" else {})
        | (
            {
                "breach": BreachFound(metric="error", evidence="many", log_e=4.7, limit=4.6),
                "reasons": ("many",),
            }
            if kind == "breach"
            else {}
        )
    )
    assert Judged.of(Judged.model_validate_json(judged.model_dump_json()).verdict) == judged
