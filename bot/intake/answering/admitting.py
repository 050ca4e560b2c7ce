"""May this Trigger go on? The facts are read here; the decision is the safety room's."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.intake.answering.here import Executions
from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.safety.admission import AdmissionFacts, Refused, admit, initiative_of
from bot.safety.circumstances import AdmissionReader
from bot.safety.spending import draw
from bot.triggers import ActorKind, Trigger


class AdmissionDesk:
    """Asks whether a Trigger is admitted."""

    def __init__(self, circumstances: AdmissionReader, executions: Executions) -> None:
        """Prepare.

        Args:
            circumstances: reads the facts that an admission rests on.
            executions: ends Runs in the records that are over: nothing joins a dead one.
        """
        self._circumstances = circumstances
        self._executions = executions

    async def facts(self, run: Run, trigger: Trigger) -> AdmissionFacts:
        """Read what the sender may do, and what holds."""
        if trigger.actor.kind is ActorKind.BOT:
            return AdmissionFacts(
                command=trigger.request.command, initiative=initiative_of(trigger)
            )

        async def read(_: bool) -> AdmissionFacts:
            await self._executions.settle(trigger.repository.id)
            return await self._circumstances.of(trigger)

        return await run.step(Step.READ_ADMISSION_FACTS, AdmissionFacts, read)

    async def refusal(self, run: Run, trigger: Trigger, facts: AdmissionFacts) -> Refused | None:
        """Why not, or None; what goes on is counted against the caps."""
        decision = admit(facts)
        if isinstance(decision, Refused):
            return decision
        if facts.draws_on and (reached := await self._draw(run, trigger, facts)):
            capped = admit(facts.model_copy(update={"cap": reached}))
            if isinstance(capped, Refused):
                return capped
        return None

    async def _draw(self, run: Run, trigger: Trigger, facts: AdmissionFacts) -> str:
        now = await run.now()

        async def count(conn: AsyncConnection) -> str:
            return await draw(conn, trigger, facts, now)

        return await run.write(Step.COUNT_AGAINST_CAPS, str, count)
