"""Runs that wait hear what people say to them: cancel, approve, reject, skip, good, bad, retry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from bot.github.calls.issues import Emotion
from bot.intake.answering import replies
from bot.intake.answering.answer import Reply, TriggerAnswer
from bot.intake.answering.approving import ApproveCommands
from bot.intake.answering.config_approving import ConfigApprovals
from bot.intake.answering.here import CommandContext, ContextReader
from bot.intake.answering.holding import PauseCommands
from bot.playbooks.run import Signal, SignalKind
from bot.playbooks.steps import Step
from bot.records.runs import StoredRun
from bot.safety.config_consent import may_name
from bot.triggers import ApproveRequest, RejectRequest, RulingRequest

Wake = Callable[[str, Signal, str], Awaitable[None]]
"""Sends a Signal to the Run of this id, at most once per key."""


class RunSignals:
    """Passes on what is meant for a Run under way."""

    def __init__(
        self,
        context: ContextReader,
        wake: Wake,
        holding: PauseCommands,
        approving: ApproveCommands,
        config_approving: ConfigApprovals,
    ) -> None:
        """Prepare.

        Args:
            context: finds what runs where.
            wake: sends a Signal to a Run.
            holding: lets single commits through where no plan waits for a yes.
            approving: decides what only a Founder may.
            config_approving: approves sensitive sections of the configuration.
        """
        self._context = context
        self._wake = wake
        self._holding = holding
        self._approving = approving
        self._config_approving = config_approving

    async def cancel(self, answer: TriggerAnswer) -> None:
        """Cancel what is under way here."""
        here = await self._context.look(answer.run, answer.trigger)
        if not here.live:
            return await self._nothing(answer, here)
        if here.parked:
            return await self._give_up(answer, here)
        return await self.send(answer, here, here.live, SignalKind.CANCEL)

    async def rule(self, answer: TriggerAnswer, request: RulingRequest) -> None:
        """Tell the bisect here what a person knows of one commit."""
        here = await self._context.look(answer.run, answer.trigger)
        searching = [each for each in here.live if each.playbook == "bisect"]
        if not searching:
            return await answer.nothing_here()
        return await self.send(answer, here, searching, SignalKind(request.command), request.sha)

    async def decide(self, answer: TriggerAnswer, request: ApproveRequest | RejectRequest) -> None:
        """Say yes or no to the one plan that waits for it: named by its id, or the only one."""
        run, trigger = answer.run, answer.trigger
        here = await self._context.look(run, trigger)
        pending = here.pending(request.approval)
        is_yes = isinstance(request, ApproveRequest)
        # A digest names a version of the configuration, and nothing that is held.
        named = is_yes and may_name(request.approval or "")
        if named and not pending and (config := await self._config_approving.approve(run, trigger)):
            return await answer.reply(config)
        if is_yes and not pending and (held := await self._holding.let_through(run, trigger)):
            return await answer.reply(held)
        if (
            is_yes
            and not named
            and not pending
            and (config := await self._config_approving.approve(run, trigger))
        ):
            return await answer.reply(config)
        if len(pending) != 1:
            text = replies.which_approval(trigger.actor, request.command, pending, here.incidents)
            if (
                not pending
                and (others := here.asked_about_here())
                and may_name(request.approval or "")
            ):
                # It may name a commit that is not there any more.
                text = replies.asks_about_others(trigger.actor, request.command, others)
                return await answer.say(text, Emotion.REFUSED)
            if not pending:
                return await self._nothing(answer, here, text)
            return await answer.say(text, Emotion.REFUSED)
        kind = SignalKind.APPROVE if is_yes else SignalKind.REJECT
        about = await self._approving.decide(run, trigger, pending[0].id, yes=is_yes)
        if isinstance(about, Reply):
            return await answer.reply(about)
        return await self.send(answer, here, pending, kind, about)

    async def _nothing(self, answer: TriggerAnswer, here: CommandContext, text: str = "") -> None:
        """Nothing hears it; where something has broken off, the next step is said."""
        if here.is_left:
            return await answer.say(replies.left_here(answer.trigger.actor), Emotion.REFUSED)
        return await answer.nothing_here(text)

    async def _give_up(self, answer: TriggerAnswer, here: CommandContext) -> None:
        """End what waits for another release; what it left open is told of as it is settled."""

        async def end(_: bool) -> bool:
            for run in here.parked:
                await self._context.executions.give_up(run)
            await self._context.executions.settle(answer.trigger.repository.id)
            return True

        await answer.run.step(Step.GIVE_UP_PARKED, bool, end)
        heard = [each for each in here.live if each.id not in here.parked]
        await self.send(answer, here, heard, SignalKind.CANCEL)

    async def send(
        self,
        answer: TriggerAnswer,
        here: CommandContext,
        live: Sequence[StoredRun],
        kind: SignalKind,
        commit: str | None = None,
    ) -> None:
        """Send a Signal to each of these Runs, about one commit perhaps.

        Args:
            answer: to whoever asked.
            here: what is going on where they asked.
            live: the Runs that are meant.
            kind: what they said.
            commit: the commit it is about.
        """
        if any(each.id in here.parked for each in live):
            return await answer.say(replies.parked(answer.trigger.actor), Emotion.REFUSED)
        signal = Signal(kind=kind, actor=answer.trigger.actor, commit=commit)
        for each in live:
            await self._wake(each.id, signal, f"{answer.run.id}:{each.id}")
        return await answer.react(Emotion.DONE)
