"""One look at a ramp: what the evidence says, and whether the ramp may still go on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.canary.judge import Promote, Verdict
from bot.canary.report import RampReport
from bot.canary.sample_size import stage_left
from bot.playbooks.candidate.reports import read_course, report_of_ramp
from bot.playbooks.ramp.plan import RampPlan
from bot.records import pauses
from bot.records.lifecycle import UnknownRecord
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.evaluation import Evaluations, Look, RampEvaluation, StageEnd
from bot.traffic.evidence_log import BreachFound, EvidenceLog, Judged
from bot.traffic.flagd import Allocation
from bot.triggers import Value

End = Literal["rolled back", "promoted", "left"]
_STAGE_ENDS: dict[End, StageEnd] = {
    "rolled back": "breach",
    "promoted": "promote",
    "left": "cancelled",
}


class RampSnapshot(Value):
    """What a ramp looks like.

    Attributes:
        judged: what the evidence says.
        phase: index of the phase served now.
        paused: why the capability is held, if somebody paused it: it keeps its share meanwhile.
        over: how it ended, if it did: rolled back, promoted, or left by a person.
        breach: why it was rolled back.
        entered: when the phase began.
        left: about how long the phase takes yet; None: too little is seen.
    """

    judged: Judged
    phase: int
    paused: str | None = None
    over: End | None = None
    breach: BreachFound | None = None
    entered: datetime | None = None
    left: timedelta | None = None


async def look_at_ramp(
    courses: Evaluations, records: AsyncEngine, attempt: str, plan: RampPlan, now: datetime
) -> RampSnapshot:
    """Judge a ramp now, and see whether it still has the capability.

    Raises:
        UnknownRecord: it never began.
    """
    look: Look = await courses.look(attempt, now)
    _, course = await courses.current(attempt)
    async with records.connect() as conn:
        ledger = await _ramp(conn, attempt)
        serving = await allocation.find(conn, ledger.repository_id, ledger.capability)
        pause = await pauses.in_force(conn, ledger.repository_id, ledger.capability)
    return RampSnapshot(
        judged=look.judged,
        phase=ledger.phase,
        paused=None if pause is None else pause.reason,
        over=_end(ledger, serving, plan.candidate),
        breach=ledger.breach,
        entered=ledger.entered_at,
        left=stage_left(course.evidence, entered=course.entered, opened=ledger.opened_at, now=now)
        if isinstance(course, RampEvaluation)
        else None,
    )


async def describe_ramp(
    records: AsyncEngine, attempt: str, plan: RampPlan, now: datetime
) -> RampReport:
    """Write down what is known of a ramp; once it is over, always the same.

    Raises:
        UnknownRecord: it never began.
    """
    async with records.connect() as conn:
        ledger = await _ramp(conn, attempt)
        serving = await allocation.find(conn, ledger.repository_id, ledger.capability)
        course = await read_course(conn, ledger)
    if not isinstance(course, RampEvaluation):
        raise UnknownRecord(f"{attempt} is not a ramp")
    over = _end(ledger, serving, plan.candidate)
    verdict: Verdict = course.judge(ledger.closed_at or now)
    if ledger.breach is not None:
        verdict = ledger.breach.verdict
    elif over == "promoted":
        verdict = Promote(None)
    return report_of_ramp(
        ledger,
        course,
        verdict,
        candidate=plan.candidate,
        salt=plan.salt,
        shadow=plan.shadow,
        now=now,
        ended=_STAGE_ENDS[over] if over else None,
    )


async def _ramp(conn: AsyncConnection, attempt: str) -> EvidenceLog:
    ledger = await ledgers.find(conn, attempt)
    if ledger is None:
        raise UnknownRecord(f"the ramp {attempt} never began")
    return ledger


def _end(ledger: EvidenceLog, serving: Allocation | None, candidate: str) -> End | None:
    if ledger.closed_at is None:
        return None
    if ledger.breach is not None:
        return "rolled back"
    promoted = serving is not None and serving.split.baseline == candidate
    return "promoted" if promoted else "left"
