"""One look at a shadow: what the evidence says, and whether the shadow may still go on."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.canary.judge import Verdict
from bot.canary.report import ShadowDiffReport
from bot.canary.sample_size import shadow_left
from bot.playbooks.candidate.reports import read_course, report_of_shadow
from bot.playbooks.shadow.plan import ShadowPlan
from bot.records.lifecycle import UnknownRecord
from bot.traffic import evidence_log as ledgers
from bot.traffic.evaluation import Evaluations, ShadowEvaluation
from bot.traffic.evidence_log import BreachFound, Judged
from bot.triggers import Value


class ShadowSnapshot(Value):
    """What a shadow looks like.

    Attributes:
        judged: what the evidence says.
        extra_cost: of the candidate's mirrored answers, USD.
        pairs: compared so far.
        over: whether it was ended.
        breach: why, if by an anomaly.
        started: when mirroring began.
        left: about how long it takes yet; None: too little is seen.
    """

    judged: Judged
    extra_cost: float
    pairs: int = 0
    over: bool
    breach: BreachFound | None
    started: datetime | None = None
    left: timedelta | None = None


async def look_at_shadow(courses: Evaluations, attempt: str, now: datetime) -> ShadowSnapshot:
    """Judge a shadow now.

    Raises:
        UnknownRecord: it never began.
    """
    ledger, course = await courses.current(attempt)
    if not isinstance(course, ShadowEvaluation):
        raise UnknownRecord(f"{attempt} is not a shadow")
    return ShadowSnapshot(
        judged=Judged.of(course.judge(ledger.closed_at or now)),
        extra_cost=course.evidence.extra_cost,
        pairs=course.evidence.pairs,
        over=ledger.closed_at is not None,
        breach=ledger.breach,
        started=course.started,
        left=shadow_left(course.evidence, started=course.started, now=now),
    )


async def describe_shadow(
    records: AsyncEngine, attempt: str, plan: ShadowPlan, now: datetime
) -> ShadowDiffReport:
    """Write down what is known of a shadow; once it is over, always the same.

    Raises:
        UnknownRecord: it never began.
    """
    async with records.connect() as conn:
        ledger = await ledgers.find(conn, attempt)
        course = None if ledger is None else await read_course(conn, ledger)
    if ledger is None or not isinstance(course, ShadowEvaluation):
        raise UnknownRecord(f"the shadow {attempt} never began")
    verdict: Verdict = course.judge(ledger.closed_at or now)
    if ledger.breach is not None:
        verdict = ledger.breach.verdict
    return report_of_shadow(ledger, course, verdict, candidate=plan.candidate, now=now)
