"""What a ramp changes about who is served by whom; each change is one transaction, done once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.canary.policy import Phase
from bot.playbooks.candidate.lever import TrafficControl
from bot.playbooks.ramp.plan import RampPlan
from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.records import incidents
from bot.records.lifecycle import IncidentStatus
from bot.traffic import evidence_log as ledgers
from bot.traffic.circuit_breaker import trip
from bot.traffic.evidence_log import BreachFound
from bot.traffic.flagd import Allocation, Split
from bot.triggers import OURSELVES


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
                raise ledgers.EvidenceLogClosed(f"{self._attempt} is over")
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
            await trip(
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
