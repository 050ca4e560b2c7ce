"""What a shadow does next, by what its evidence shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.canary.judge import Breach, Continue, Hold, Promote, Verdict
from bot.canary.policy import Policy
from bot.canary.report import ShadowDiffReport
from bot.canary.sample_size import shadow_left
from bot.logs import explained
from bot.playbooks.rollout.evidence import read_course, report_of_shadow
from bot.playbooks.run import Ask, Wait
from bot.playbooks.shadow.plan import ShadowPlan
from bot.playbooks.shadow.ports import ShadowEvaluations, ledgers
from bot.records.lifecycle import UnknownRecord
from bot.traffic.evaluation import ShadowEvaluation
from bot.traffic.evidence_log import BreachFound, Judged
from bot.triggers import Value


class AskAboutShadow(Ask):
    """Something keeps the shadow from a verdict; it goes on by itself once that is mended.

    `may_insist`: enough was compared for a person to want the ramp all the same.
    """

    may_insist: bool


@dataclass(frozen=True, slots=True)
class ProposeRamp:
    """Within bounds: a ramp may be asked for."""


@dataclass(frozen=True, slots=True)
class StopShadow:
    """Mirror nothing more. `reasons`: a sentence each."""

    how: Literal["out of bounds", "too dear"]
    reasons: tuple[str, ...]


Move = Wait | AskAboutShadow | ProposeRamp | StopShadow


@explained
def next_move(policy: Policy, verdict: Verdict, extra_cost: float, pairs: int) -> Move:
    """Decide what follows from a verdict.

    Args:
        policy: the one the shadow started with.
        verdict: of the evidence so far.
        extra_cost: of the candidate's mirrored answers so far, USD.
        pairs: compared so far.
    """
    match verdict:
        case Breach():
            return StopShadow("out of bounds", (verdict.evidence,))
        case Promote():
            return ProposeRamp()
        case Hold(reasons) if extra_cost > policy.shadow.max_extra_cost_usd:
            # The cap is a cap: what is not mirrored costs nothing.
            return StopShadow("too dear", reasons)
        case Hold(reasons):
            return AskAboutShadow(reasons=reasons, may_insist=pairs >= policy.shadow.min_pairs)
        case Continue(waiting):
            return Wait(missing=waiting)


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


async def look_at_shadow(
    evaluations: ShadowEvaluations, attempt: str, now: datetime
) -> ShadowSnapshot:
    """Judge a shadow now.

    Raises:
        UnknownRecord: it never began.
    """
    ledger, course = await evaluations.current(attempt)
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
