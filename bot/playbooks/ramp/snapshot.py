"""A ramp as its evidence and traffic show it now."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.canary.judge import Promote, Verdict
from bot.canary.policy import Phase
from bot.canary.report import RampReport
from bot.canary.sample_size import stage_left
from bot.playbooks.ramp.plan import RampPlan
from bot.playbooks.ramp.ports import (
    RampEvaluations,
    allocation,
    circuit_breaker,
    incidents,
    ledgers,
    pauses,
)
from bot.playbooks.rollout.capability import TrafficControl
from bot.playbooks.rollout.evidence import read_course, report_of_ramp
from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.records.lifecycle import IncidentStatus, UnknownRecord
from bot.traffic.evaluation import Look, RampEvaluation, StageEnd
from bot.traffic.evidence_log import BreachFound, EvidenceLog, EvidenceLogClosed, Judged
from bot.traffic.flagd import Allocation, Split
from bot.triggers import OURSELVES, Value


class RampTraffic(TrafficControl):
    """Moves the traffic of one ramp."""

    def __init__(self, run: Run, repository_id: int, attempt: str, plan: RampPlan) -> None:
        """Take it in hand; nothing is moved yet."""
        super().__init__(run, repository_id, attempt, plan)
        self._plan = plan

    async def begin(self, phase: Phase, now: datetime) -> None:
        """Open the ledger, and give the candidate its first traffic.

        Raises:
            StepFailed: the capability is paused, or has another shadow or ramp.
        """
        await self.open(
            Step.START_TRAFFIC,
            self._split(phase),
            now,
            asked_for=f"a ramp of {self._plan.candidate} was asked for",
            why=self._why(phase),
            frozen=self._plan.frozen,
            source=self._plan.source,
        )

    async def enter(self, index: int, phase: Phase, now: datetime) -> None:
        """Give the candidate more.

        Raises:
            StepFailed: it was taken back meanwhile.
        """

        async def change(conn: AsyncConnection) -> Allocation:
            await ledgers.enter_phase(conn, self._attempt, index, at=now)
            return await self.serve(conn, self._split(phase), now, self._why(phase))

        await self._run.write(Step.INCREASE_TRAFFIC, Allocation, change)

    async def promote(self, now: datetime) -> None:
        """Make the candidate the active provider, and end the shadow that proposed it.

        Raises:
            StepFailed: it was taken back meanwhile.
        """
        plan = self._plan

        async def change(conn: AsyncConnection) -> Allocation:
            ledger = await ledgers.locked(conn, self._attempt)
            if ledger.closed_at is not None:
                raise EvidenceLogClosed(f"{self._attempt} is over")
            await ledgers.close(conn, self._attempt, at=now)
            shadow = await incidents.find(conn, plan.shadow)
            if shadow is not None and shadow.status is IncidentStatus.RESOLVED:
                await incidents.move(conn, shadow.id, IncidentStatus.CLOSED, at=now)
            split = Split(baseline=plan.candidate, salt=plan.salt)
            return await self.serve(conn, split, now, f"{plan.candidate} passed its ramp")

        await self._run.write(Step.PROMOTE_CANDIDATE, Allocation, change)

    async def leave(self, why: str, now: datetime) -> bool:
        """Give everything back to the baseline although nothing is wrong; False if it is over."""
        split = Split(baseline=self._plan.policy.baseline, salt=self._plan.salt)
        return await self.close(Step.RETURN_TRAFFIC, split, now, why=why)

    async def trip(self, breach: BreachFound, now: datetime) -> None:
        """An anomaly: give everything back, and pause the capability."""

        async def change(conn: AsyncConnection) -> bool:
            await circuit_breaker.trip(
                conn,
                self._attempt,
                breach,
                at=now,
                actor=OURSELVES.login,
                run=self._run.id,
                incident=self._attempt,
            )
            return True

        await self._run.write(Step.TRIP_RAMP, bool, change)

    def _split(self, phase: Phase) -> Split:
        return Split(
            baseline=self._plan.policy.baseline,
            candidate=self._plan.candidate,
            percent=phase.percent,
            mode="ramp",
            attempt=self._attempt,
            salt=self._plan.salt,
        )

    def _why(self, phase: Phase) -> str:
        return f"ramp: {phase.percent}% for {self._plan.candidate}"


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
    evaluations: RampEvaluations, records: AsyncEngine, attempt: str, plan: RampPlan, now: datetime
) -> RampSnapshot:
    """Judge a ramp now, and see whether it still has the capability.

    Raises:
        UnknownRecord: it never began.
    """
    look: Look = await evaluations.look(attempt, now)
    _, course = await evaluations.current(attempt)
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
    verdict: Verdict = course.judge(ledger.closed_at or now, now)
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
