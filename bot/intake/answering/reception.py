"""One Trigger from receipt to answer: acknowledge, admit, carry out, react.

Runs inside the engine, so a crash anywhere resumes where it was. Playbooks do the work; what is
small enough to be one step (status, retry, severity …) is done beside this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.github.calls.issues import Emotion
from bot.github.client import GitHub
from bot.intake.answering import incident_here, replies
from bot.intake.answering.admitting import AdmissionDesk
from bot.intake.answering.answer import Reply, TriggerAnswer, Writing
from bot.intake.answering.approving import ApproveCommands
from bot.intake.answering.closing import IssueClosings
from bot.intake.answering.config_approving import ConfigApprovals
from bot.intake.answering.here import CommandContext, ContextReader
from bot.intake.answering.holding import PauseCommands
from bot.intake.answering.joining import JoiningRequests
from bot.intake.answering.playing import Playbooks, fail, play, record_refusal
from bot.intake.answering.talk import COMMENTS, Tone, tone_of
from bot.intake.answering.waking import RunSignals, Wake
from bot.playbooks.run import Run, SignalKind, StepFailed
from bot.playbooks.steps import Step
from bot.records import budgets
from bot.safety.admission import AdmissionFacts, Refused, admit
from bot.safety.circumstances import AdmissionReader
from bot.triggers import (
    ActorKind,
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
    RevertRequest,
    Role,
    RulingRequest,
    SeverityRequest,
    StatusRequest,
    TriageRequest,
    Trigger,
    UnpauseRequest,
    Value,
)

Judge = Callable[[Run, Trigger, JudgeRequest], Awaitable[None]]
"""Judges a check that failed; it asks for playbooks, and is none."""
Order = Callable[[Run, Trigger, Any], Awaitable[Reply]]
"""Carries out a small request at once, and says what came of it."""


class CommandHandler:
    """Answers Triggers."""

    def __init__(
        self,
        *,
        github: GitHub,
        context: ContextReader,
        playbooks: Playbooks,
        judge: Judge,
        wake: Wake,
        circumstances: AdmissionReader,
        holding: PauseCommands,
        approving: ApproveCommands,
        config_approving: ConfigApprovals,
        closing: IssueClosings,
        writing: Writing,
    ) -> None:
        """Prepare.

        Args:
            github: to acknowledge and answer.
            context: finds what runs where.
            playbooks: what carries out which request.
            judge: judges a failing check of the default branch.
            wake: sends a Signal to a Run, at most once per key.
            circumstances: reads what an admission rests on.
            holding: pauses, unpauses, and lets single commits through.
            approving: decides what only a Founder may.
            config_approving: approves sensitive sections of the configuration.
            closing: resolves incidents whose issue a person closes.
            writing: puts answers where they were asked for.
        """
        self._github = github
        self._context = context
        self._playbooks = playbooks
        self._judge = judge
        self._admitting = AdmissionDesk(circumstances, context.executions)
        self._waking = RunSignals(context, wake, holding, approving, config_approving)
        self._joining = JoiningRequests(context.records, wake, approving, circumstances)
        self._closing = closing
        self._writing = writing
        self._circumstances = circumstances
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

    async def answer_stranger(self, run: Run, trigger: Trigger, role: Role) -> None:
        """Say to somebody without write access what there is to say; nothing is carried out.

        Raises:
            GitHubError: the configuration is not known, and could not be read.
        """
        client = self._github.repository(
            trigger.repository, playbook=trigger.request.command, recovery=False, metered=False
        )
        answer = TriggerAnswer(run, trigger, client, self._writing)
        facts = await self._circumstances.of_stranger(trigger, role)
        answer.tone = tone_of(trigger, facts)
        if answer.tone is Tone.NOTHING:
            return None
        decision = admit(facts)
        if isinstance(decision, Refused):
            return await answer.refuse(decision.reason, decision.remedy)
        return await self._tell(answer)

    async def broke(self, run: Run, trigger: Trigger, failed: StepFailed) -> None:
        """Tell whoever asked that this bot itself is at fault."""
        await fail(self._answer(run, trigger), failed)

    def _answer(self, run: Run, trigger: Trigger) -> TriggerAnswer:
        client = self._github.repository(trigger.repository, playbook=trigger.request.command)
        return TriggerAnswer(run, trigger, client, self._writing)

    async def _receive(self, answer: TriggerAnswer) -> None:
        run, trigger, request = answer.run, answer.trigger, answer.trigger.request
        if isinstance(request, JudgeRequest):
            # It only looks: what follows from it is a Trigger of its own, and admitted then.
            return await self._judge(run, trigger, request)
        await answer.react(Emotion.SEEN, partial(self._shows_receipt, trigger))
        facts = await self._admitting.facts(run, trigger)
        answer.tone = tone_of(trigger, facts)
        if answer.tone is Tone.NOTHING:
            return None
        if answer.tone is Tone.ONCE:
            # What strangers say is in no cap: they could use up what the repository has.
            answer.client = self._github.repository(
                trigger.repository, playbook=request.command, metered=False
            )
        if refused := await self._admitting.refusal(run, trigger, facts):
            await record_refusal(answer, refused)
            return await answer.refuse(refused.reason, refused.remedy)
        if facts.joins is not None:
            return await self._join(answer, facts.joins, facts)
        if isinstance(request, RevertRequest) and facts.meant:
            request = request.model_copy(update={"targets": facts.meant})
            answer.trigger = trigger = trigger.model_copy(update={"request": request})
        if playbook := self._playbooks.get(type(request)):
            return await play(answer, playbook, facts, self._joining)
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
            case SeverityRequest():
                here = await self._context.look(run, trigger)
                await incident_here.set_severity(answer, here, request)
            case CloseRequest() | ReopenRequest():
                await self._closing.heed(answer, request)
            case _:
                await self._tell(answer)
        return None

    async def _tell(self, answer: TriggerAnswer) -> None:
        """Answer what anybody may ask: it changes nothing."""
        trigger = answer.trigger
        match trigger.request:
            case StatusRequest():
                here = await self._context.look(answer.run, trigger)
                await incident_here.tell_status(answer, here)
            case HelpRequest():
                await answer.say(replies.help_reply())
            case LaterRequest() as later:
                await answer.say(replies.later(trigger.actor, later.name), Emotion.REFUSED)
            case CorrectionRequest() as wrong:
                text = replies.correction(trigger.actor, wrong.problems)
                await answer.say(text, Emotion.REFUSED)

    async def _shows_receipt(self, trigger: Trigger) -> bool:
        if trigger.source.kind not in COMMENTS or trigger.actor.kind is not ActorKind.PERSON:
            return True
        if not trigger.source.addressed and await self._circumstances.prefix_only(trigger):
            return False
        role = await self._circumstances.role_of(trigger)
        return await self._writing.talk.shows_receipt(trigger, role)

    async def _retry(self, answer: TriggerAnswer) -> None:
        run, trigger = answer.run, answer.trigger
        here = await self._context.look(run, trigger)
        # What follows alerts hears of them by itself: it has nothing to try once more.
        if heard := [each for each in here.live if each.playbook != "triage"]:
            return await self._waking.send(answer, here, heard, SignalKind.RETRY)
        failed = here.last_failed
        asked = None if failed is None else Trigger.model_validate(failed.trigger)
        playbook = None if asked is None else self._playbooks.get(type(asked.request))
        if asked is None or playbook is None:
            return await self._nothing_to_retry(answer, here)
        # The same request once more, answered where it was made first; no alert was in a place.
        is_triage = isinstance(asked.request, TriageRequest)
        subject = trigger.source.subject if is_triage else asked.source.subject
        again = trigger.model_copy(
            update={
                "request": asked.request,
                "source": trigger.source.model_copy(update={"subject": subject}),
            }
        )
        facts = await self._admitting.facts(run, again)
        decision = admit(facts)
        if isinstance(decision, Refused):
            return await answer.refuse(decision.reason, decision.remedy)
        told = TriggerAnswer(run, again, answer.client, self._writing)
        return await play(told, playbook, facts, self._joining)

    async def _nothing_to_retry(self, answer: TriggerAnswer, here: CommandContext) -> None:
        if here.parked:
            return await answer.say(replies.parked(answer.trigger.actor), Emotion.REFUSED)
        if here.live:
            return await answer.say(replies.nothing_to_retry(answer.trigger.actor), Emotion.REFUSED)
        return await answer.nothing_here()

    async def _join(self, answer: TriggerAnswer, incident: str, facts: AdmissionFacts) -> None:
        """Tell the Run that looks for what to revert that somebody wants it reverted."""
        trigger = answer.trigger

        async def give_back(conn: AsyncConnection) -> bool:
            await budgets.give_back(conn, trigger.repository.id, trigger.key)
            return True

        await answer.run.write(Step.GIVE_BACK_CAPS, bool, give_back)
        await self._joining.join(answer, incident, facts)
