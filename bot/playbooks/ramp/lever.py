"""What a ramp changes about who is served by whom; each change is one transaction, done once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.canary.policy import Phase
from bot.playbooks.candidate.capability import lift_latch
from bot.playbooks.ramp.plan import RampPlan
from bot.playbooks.run import Run
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.recovery import incidents, runs
from bot.traffic import ledger as ledgers
from bot.traffic import servings
from bot.traffic.split import Serving, Split
from bot.traffic.tripping import trip
from bot.traffic.verdicts import BreachFound
from bot.triggers import OURSELVES


class Lever:
    """Moves the traffic of one ramp."""

    def __init__(self, run: Run, repository_id: int, attempt: str, plan: RampPlan) -> None:
        """Take it in hand; nothing is moved yet."""
        self._run = run
        self._repository = repository_id
        self._attempt = attempt
        self._plan = plan

    async def begin(self, phase: Phase, now: datetime) -> None:
        """Open the ledger, and give the candidate its first traffic.

        Raises:
            StepFailed: the capability is paused, or has another shadow or ramp.
        """
        plan = self._plan

        async def change(conn: AsyncConnection) -> Serving:
            await runs.move(conn, self._run.id, RunState.VERIFYING, at=now)
            why = f"a ramp of {plan.candidate} was asked for"
            await lift_latch(conn, self._repository, plan.capability, at=now, why=why)
            await ledgers.open_ledger(
                conn,
                attempt=self._attempt,
                run_id=self._run.id,
                repository_id=self._repository,
                capability=plan.capability,
                policy=plan.policy,
                frozen=plan.frozen,
                source=plan.source,
                at=now,
            )
            return await self._serve(conn, phase, now)

        await self._run.write("give the candidate its first traffic", Serving, change)

    async def enter(self, index: int, phase: Phase, now: datetime) -> None:
        """Give the candidate more.

        Raises:
            StepFailed: it was taken back meanwhile.
        """

        async def change(conn: AsyncConnection) -> Serving:
            await ledgers.enter_phase(conn, self._attempt, index, at=now)
            return await self._serve(conn, phase, now)

        await self._run.write("give the candidate more traffic", Serving, change)

    async def promote(self, now: datetime) -> None:
        """Make the candidate the active provider, and end the shadow that proposed it.

        Raises:
            StepFailed: it was taken back meanwhile.
        """
        plan = self._plan

        async def change(conn: AsyncConnection) -> Serving:
            ledger = await ledgers.locked(conn, self._attempt)
            if ledger.closed_at is not None:
                raise ledgers.LedgerClosed(f"{self._attempt} is over")
            await ledgers.close(conn, self._attempt, at=now)
            shadow = await incidents.find(conn, plan.shadow)
            if shadow is not None and shadow.status is IncidentStatus.RESOLVED:
                await incidents.move(conn, shadow.id, IncidentStatus.CLOSED, at=now)
            split = Split(baseline=plan.candidate, salt=plan.salt)
            return await self._set(conn, split, now, f"{plan.candidate} passed its ramp")

        await self._run.write("make the candidate active", Serving, change)

    async def leave(self, why: str, now: datetime) -> bool:
        """Give everything back to the baseline although nothing is wrong; False if it is over."""
        plan = self._plan

        async def change(conn: AsyncConnection) -> bool:
            ledger = await ledgers.locked(conn, self._attempt)
            if ledger.closed_at is not None:
                return False
            await ledgers.close(conn, self._attempt, at=now)
            split = Split(baseline=plan.policy.baseline, salt=plan.salt)
            await self._set(conn, split, now, why)
            return True

        return await self._run.write("give all traffic back", bool, change)

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

        await self._run.write("give all traffic back and pause", bool, change)

    async def _serve(self, conn: AsyncConnection, phase: Phase, now: datetime) -> Serving:
        plan = self._plan
        split = Split(
            baseline=plan.policy.baseline,
            candidate=plan.candidate,
            percent=phase.percent,
            mode="ramp",
            attempt=self._attempt,
            salt=plan.salt,
        )
        return await self._set(conn, split, now, f"ramp: {phase.percent}% for {plan.candidate}")

    async def _set(self, conn: AsyncConnection, split: Split, now: datetime, why: str) -> Serving:
        return await servings.set_traffic(
            conn,
            self._repository,
            self._plan.capability,
            split,
            at=now,
            actor=OURSELVES.login,
            why=why,
            run=self._run.id,
            incident=self._attempt,
        )
