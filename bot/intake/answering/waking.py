"""Runs that wait hear what people say to them: cancel, approve, reject, skip, good, bad, retry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.github.calls.reactions import Emotion
from bot.intake.answering import replies
from bot.intake.answering.answer import Answer, Reply
from bot.intake.answering.approving import Approving
from bot.intake.answering.config_approving import ConfigApproving
from bot.intake.answering.here import look_here
from bot.intake.answering.holding import Holding
from bot.playbooks.run import Signal, SignalKind
from bot.records.recovery.runs import Run
from bot.triggers import ApproveRequest, RejectRequest, RulingRequest

Wake = Callable[[str, Signal, str], Awaitable[None]]
"""Sends a Signal to the Run of this id, at most once per key."""


class Waking:
    """Passes on what is meant for a Run under way."""

    def __init__(
        self,
        records: AsyncEngine,
        wake: Wake,
        holding: Holding,
        approving: Approving,
        config_approving: ConfigApproving,
    ) -> None:
        """Prepare.

        Args:
            records: to find what runs where.
            wake: sends a Signal to a Run.
            holding: lets single commits through where no plan waits for a yes.
            approving: decides what only a Founder may.
            config_approving: approves sensitive sections of the configuration.
        """
        self._records = records
        self._wake = wake
        self._holding = holding
        self._approving = approving
        self._config_approving = config_approving

    async def cancel(self, answer: Answer) -> None:
        """Cancel what is under way here."""
        here = await look_here(answer.run, self._records, answer.trigger)
        if not here.live:
            return await answer.nothing_here()
        return await self.send(answer, here.live, SignalKind.CANCEL)

    async def rule(self, answer: Answer, request: RulingRequest) -> None:
        """Tell the bisect here what a person knows of one commit."""
        here = await look_here(answer.run, self._records, answer.trigger)
        searching = [each for each in here.live if each.playbook == "bisect"]
        if not searching:
            return await answer.nothing_here()
        return await self.send(answer, searching, SignalKind(request.command), request.sha)

    async def decide(self, answer: Answer, request: ApproveRequest | RejectRequest) -> None:
        """Say yes or no to the one plan that waits for it: named by its id, or the only one."""
        run, trigger = answer.run, answer.trigger
        here = await look_here(run, self._records, trigger)
        pending = here.pending(request.approval)
        is_yes = isinstance(request, ApproveRequest)
        if is_yes and not pending and (held := await self._holding.let_through(run, trigger)):
            return await answer.reply(held)
        if (
            is_yes
            and not pending
            and (config := await self._config_approving.approve(run, trigger))
        ):
            return await answer.reply(config)
        if len(pending) != 1:
            text = replies.which_approval(trigger.actor, request.command, pending, here.incidents)
            return await answer.say(text, Emotion.REFUSED)
        kind = SignalKind.APPROVE if is_yes else SignalKind.REJECT
        about = await self._approving.decide(run, trigger, pending[0].id, yes=is_yes)
        if isinstance(about, Reply):
            return await answer.reply(about)
        return await self.send(answer, pending, kind, about)

    async def send(
        self, answer: Answer, live: Sequence[Run], kind: SignalKind, commit: str | None = None
    ) -> None:
        """Send a Signal to each of these Runs, about one commit perhaps."""
        signal = Signal(kind=kind, actor=answer.trigger.actor, commit=commit)
        for each in live:
            await self._wake(each.id, signal, f"{answer.run.id}:{each.id}")
        await answer.react(Emotion.DONE)
