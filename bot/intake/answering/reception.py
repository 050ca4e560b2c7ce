"""One Trigger from receipt to answer: acknowledge, admit, carry out, react.

Runs inside the engine, so a crash anywhere resumes where it was. Playbooks do the work; what is
small enough to be one step (status, retry, severity …) is done beside this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.github.calls.reactions import Emotion
from bot.github.client import GitHub
from bot.intake.answering import incident_here, replies
from bot.intake.answering.admitting import Admitting
from bot.intake.answering.answer import Answer, Reply
from bot.intake.answering.approving import Approving
from bot.intake.answering.closing import Closing
from bot.intake.answering.config_approving import ConfigApproving
from bot.intake.answering.here import look_here
from bot.intake.answering.holding import Holding
from bot.intake.answering.playing import Playbooks, fail, play
from bot.intake.answering.waking import Wake, Waking
from bot.playbooks.run import Run, SignalKind, StepFailed
from bot.safety.admission import Refused, admit
from bot.safety.circumstances import Circumstances
from bot.triggers import (
    ApproveRequest,
    CancelRequest,
    CloseRequest,
    CorrectionRequest,
    HelpRequest,
    JudgeRequest,
    LaterRequest,
    PauseRequest,
    RejectRequest,
    ReopenRequest,
    RetryRequest,
    RulingRequest,
    SeverityRequest,
    StatusRequest,
    Trigger,
    UnpauseRequest,
    Value,
)

Judge = Callable[[Run, Trigger, JudgeRequest], Awaitable[None]]
"""Judges a check that failed; it asks for playbooks, and is none."""
Order = Callable[[Run, Trigger, Any], Awaitable[Reply]]
"""Carries out a small request at once, and says what came of it."""


class Reception:
    """Answers Triggers."""

    def __init__(
        self,
        *,
        github: GitHub,
        records: AsyncEngine,
        playbooks: Playbooks,
        judge: Judge,
        wake: Wake,
        circumstances: Circumstances,
        holding: Holding,
        approving: Approving,
        config_approving: ConfigApproving,
        closing: Closing,
    ) -> None:
        """Prepare.

        Args:
            github: to acknowledge and answer.
            records: to find what runs where.
            playbooks: what carries out which request.
            judge: judges a failing check of the default branch.
            wake: sends a Signal to a Run, at most once per key.
            circumstances: reads what an admission rests on.
            holding: pauses, unpauses, and lets single commits through.
            approving: decides what only a Founder may.
            config_approving: approves sensitive sections of the configuration.
            closing: resolves incidents whose issue a person closes.
        """
        self._github = github
        self._records = records
        self._playbooks = playbooks
        self._judge = judge
        self._admitting = Admitting(circumstances)
        self._waking = Waking(records, wake, holding, approving, config_approving)
        self._closing = closing
        self._orders: Mapping[type[Value], Order] = {
            PauseRequest: holding.pause,
            UnpauseRequest: holding.unpause,
        }

    async def receive(self, run: Run, trigger: Trigger) -> None:
        """Carry out one Trigger."""
        answer = self._answer(run, trigger)
        try:
            await self._receive(answer)
        except StepFailed as failed:
            await fail(answer, failed)

    async def broke(self, run: Run, trigger: Trigger, failed: StepFailed) -> None:
        """Tell whoever asked that this bot itself is at fault."""
        await fail(self._answer(run, trigger), failed)

    def _answer(self, run: Run, trigger: Trigger) -> Answer:
        client = self._github.repository(trigger.repository, playbook=trigger.request.command)
        return Answer(run, trigger, client)

    async def _receive(self, answer: Answer) -> None:
        run, trigger, request = answer.run, answer.trigger, answer.trigger.request
        if isinstance(request, JudgeRequest):
            # It only looks: what follows from it is a Trigger of its own, and admitted then.
            return await self._judge(run, trigger, request)
        await answer.react(Emotion.SEEN)
        facts = await self._admitting.facts(run, trigger)
        if refused := await self._admitting.refusal(run, trigger, facts):
            return await answer.refuse(refused.reason, refused.remedy)
        if playbook := self._playbooks.get(type(request)):
            return await play(answer, playbook, facts)
        if order := self._orders.get(type(request)):
            return await answer.reply(await order(run, trigger, request))
        match request:
            case RulingRequest():
                await self._waking.rule(answer, request)
            case RetryRequest():
                await self._retry(answer)
            case CancelRequest():
                await self._waking.cancel(answer)
            case ApproveRequest() | RejectRequest():
                await self._waking.decide(answer, request)
            case StatusRequest():
                here = await look_here(run, self._records, trigger)
                await incident_here.tell_status(answer, here)
            case SeverityRequest():
                here = await look_here(run, self._records, trigger)
                await incident_here.set_severity(answer, here, request)
            case CloseRequest() | ReopenRequest():
                await self._closing.heed(answer, request)
            case HelpRequest():
                await answer.say(replies.help_reply())
            case LaterRequest():
                await answer.say(replies.later(trigger.actor, request.name), Emotion.REFUSED)
            case CorrectionRequest():
                text = replies.correction(trigger.actor, request.problems)
                await answer.say(text, Emotion.REFUSED)
        return None

    async def _retry(self, answer: Answer) -> None:
        run, trigger = answer.run, answer.trigger
        here = await look_here(run, self._records, trigger)
        if live := here.live:
            return await self._waking.send(answer, live, SignalKind.RETRY)
        failed = here.last_failed
        asked = None if failed is None else Trigger.model_validate(failed.trigger)
        playbook = None if asked is None else self._playbooks.get(type(asked.request))
        if asked is None or playbook is None:
            return await answer.nothing_here()
        # The same request once more, answered where it was made first.
        again = trigger.model_copy(
            update={
                "request": asked.request,
                "source": trigger.source.model_copy(update={"subject": asked.source.subject}),
            }
        )
        facts = await self._admitting.facts(run, again)
        decision = admit(facts)
        if isinstance(decision, Refused):
            return await answer.refuse(decision.reason, decision.remedy)
        return await play(Answer(run, again, answer.client), playbook, facts)
