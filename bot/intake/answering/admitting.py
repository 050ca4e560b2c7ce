"""May this Trigger go on? The facts are read here; the decision is the safety room's."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playbooks.run import Run
from bot.safety.admission import Facts, Refused, admit, initiative_of
from bot.safety.circumstances import Circumstances
from bot.safety.spending import draw
from bot.triggers import ActorKind, Trigger


class Admitting:
    """Asks whether a Trigger is admitted."""

    def __init__(self, circumstances: Circumstances) -> None:
        """Remember what reads the facts that an admission rests on."""
        self._circumstances = circumstances

    async def facts(self, run: Run, trigger: Trigger) -> Facts:
        """Read what the sender may do, and what holds."""
        if trigger.actor.kind is ActorKind.BOT:
            return Facts(command=trigger.request.command, initiative=initiative_of(trigger))
        return await run.step(
            "read what the sender may do", Facts, lambda _: self._circumstances.of(trigger)
        )

    async def refusal(self, run: Run, trigger: Trigger, facts: Facts) -> Refused | None:
        """Why not, or None; what goes on is counted against the caps."""
        decision = admit(facts)
        if isinstance(decision, Refused):
            return decision
        if facts.draws_on and (reached := await self._draw(run, trigger, facts)):
            capped = admit(facts.model_copy(update={"cap": reached}))
            if isinstance(capped, Refused):
                return capped
        return None

    async def _draw(self, run: Run, trigger: Trigger, facts: Facts) -> str:
        now = await run.now()

        async def count(conn: AsyncConnection) -> str:
            return await draw(conn, trigger, facts, now)

        return await run.write("count it against the caps", str, count)
