"""Each Trigger: acknowledged, admitted or refused, carried out, answered.

Runs inside the engine, so a crash anywhere resumes where it was. Playbooks do the work; what is
small enough to be one step (status, retry, severity …) is done beside this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.commands import existing_run, replies
from bot.commands.answer import Tone, TriggerAnswer, Writing, tone_of
from bot.commands.approve import ApproveCommands
from bot.commands.approve_config import ConfigApprovals
from bot.commands.close_issue import IssueClosings
from bot.commands.command_context import CommandContext, ContextReader, Executions
from bot.commands.existing_run import JoiningRequests, RunSignals, Wake
from bot.commands.pause import PauseCommands
from bot.github.calls.issues import Emotion
from bot.github.client import GitHub
from bot.playbooks.plan import Weigh
from bot.playbooks.run import Ending, Run, SignalKind, StepFailed
from bot.playbooks.steps import Patch, Step
from bot.records import budgets, runs
from bot.records.audit import chain
from bot.records.lifecycle import RunState
from bot.safety.admission import AdmissionFacts, Refused, admit, weigh
from bot.safety.admission_facts import AdmissionReader
from bot.safety.budgets import draw
from bot.slash_commands import COMMANDS, PLAYBOOKS, help_text
from bot.triggers import (
    COMMENTS,
    ActorKind,
    ApproveRequest,
    CloseRequest,
    CorrectionRequest,
    JudgeRequest,
    PauseRequest,
    RejectRequest,
    ReopenRequest,
    RevertRequest,
    Role,
    RulingRequest,
    SeverityRequest,
    SourceKind,
    TriageRequest,
    Trigger,
    UnpauseRequest,
    Value,
)

log = structlog.get_logger(__name__)


class AdmissionDesk:
    """Asks whether a Trigger is admitted."""

    def __init__(self, admission_reader: AdmissionReader, executions: Executions) -> None:
        """Prepare.

        Args:
            admission_reader: reads the facts that an admission rests on.
            executions: ends Runs in the records that are over: nothing joins a dead one.
        """
        self._admission_reader = admission_reader
        self._executions = executions

    async def facts(self, run: Run, trigger: Trigger) -> AdmissionFacts:
        """Read what the sender may do, and what holds."""

        async def read(_: bool) -> AdmissionFacts:
            await self._executions.settle(trigger.repository.id)
            return await self._admission_reader.of(trigger)

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


Playbook = Callable[[Run, Trigger, Any, Weigh], Awaitable[Ending]]
"""Carries out the request it is registered for, once its plan is weighed too."""
Playbooks = Mapping[type[Value], Playbook]
"""By the type of request."""


async def play(
    answer: TriggerAnswer, playbook: Playbook, facts: AdmissionFacts, joining: JoiningRequests
) -> None:
    """Carry out the request of a Trigger that was admitted, and answer it.

    Args:
        answer: to whoever asked.
        playbook: what the request asks for.
        facts: what its admission rested on.
        joining: passes it on where the same is being done already.
    """
    run, trigger, request = answer.run, answer.trigger, answer.trigger.request
    now = await run.now()

    async def begin(conn: AsyncConnection) -> bool:
        await runs.start(
            conn,
            run.id,
            trigger,
            playbook=request.command,
            at=now,
            inputs=request.model_dump(mode="json"),
        )
        await runs.move(conn, run.id, RunState.PREFLIGHT, at=now)
        return True

    await run.write(Step.BEGIN_RUN, bool, begin)
    ending = await playbook(run, trigger, request, partial(weigh, facts))
    match ending.outcome:
        case "succeeded":
            await answer.react(Emotion.DONE)
        case "joined" if ending.incident and run.patched(Patch.A_WORD_JOINS):
            await joining.join(answer, ending.incident, facts)
        case "joined":
            if run.patched(Patch.JOINED_RUNS_END):
                await _give_up(run, ending.reason, RunState.CANCELLED)
            # What nobody asked for needs no answer: the incident it joined says what is done.
            if trigger.actor.kind is ActorKind.PERSON:
                await answer.say(replies.refusal(trigger.actor, ending.reason, ending.remedy))
        case "declined":
            await _give_up(run, ending.reason, counted_as=runs.DECLINED)
            # Somebody was quicker than what nobody asked for: there is nobody to answer.
            if not (ending.is_done and trigger.is_automatic):
                await answer.refuse(ending.reason, ending.remedy)
        case "stopped" | "failed":
            await answer.react(Emotion.REFUSED)


async def record_refusal(answer: TriggerAnswer, refused: Refused) -> None:
    """Keep a refused playbook that was asked for where nobody can be answered.

    Its Run was promised to a program, or follows from an alert: it is found, with the reason, in
    the records, the audit and the log.
    """
    run, trigger = answer.run, answer.trigger
    source, command = trigger.source, trigger.request.command
    has_place = source.subject is not None or source.kind is SourceKind.COCKPIT
    if command not in PLAYBOOKS or has_place or not run.patched(Patch.REFUSALS_ARE_RECORDED):
        return
    now = await run.now()

    async def record(conn: AsyncConnection) -> bool:
        await runs.start(
            conn,
            run.id,
            trigger,
            playbook=command,
            at=now,
            inputs=trigger.request.model_dump(mode="json"),
        )
        await runs.move(
            conn, run.id, RunState.FAILED, at=now, reason=refused.reason, counted_as=runs.DECLINED
        )
        await chain.append(
            conn,
            trigger.repository.id,
            "request.refused",
            actor=trigger.actor.login,
            at=now,
            run=run.id,
            data={"command": command, "reason": refused.reason},
        )
        return True

    await run.write(Step.RECORD_REFUSAL, bool, record)


async def fail(answer: TriggerAnswer, failed: StepFailed) -> None:
    """End a Run that broke off, and tell whoever asked."""
    run = answer.run
    await _give_up(run, f"{failed.step.label}: {failed}")
    text = replies.failure(answer.trigger.actor, failed.step.label, str(failed), failed.aftermath)
    try:
        await answer.say(text, Emotion.REFUSED)
    except StepFailed as deaf:
        # What broke the Run (a permission, a suspension) may keep us from saying so.
        log.error("nobody could be told", run=run.id, step=failed.step.id, why=str(deaf))


async def _give_up(
    run: Run, reason: str, state: RunState = RunState.FAILED, counted_as: str | None = None
) -> None:
    now = await run.now()

    async def change(conn: AsyncConnection) -> bool:
        known = await runs.find(conn, run.id)
        if known is not None and known.incident_id is None:
            # It ended before anything was done: nothing of what is limited was used.
            await budgets.give_back(conn, known.repository_id, known.trigger_key)
        if known is not None and known.is_live:
            await runs.move(conn, run.id, state, at=now, reason=reason, counted_as=counted_as)
        return True

    await run.write(Step.END_RUN, bool, change)


Judge = Callable[[Run, Trigger, JudgeRequest], Awaitable[None]]
"""Judges a check that failed; it asks for playbooks, and is none."""


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
        admission_reader: AdmissionReader,
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
            admission_reader: reads what an admission rests on.
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
        self._admitting = AdmissionDesk(admission_reader, context.executions)
        self._waking = RunSignals(context, wake, holding, approving, config_approving, closing)
        self._joining = JoiningRequests(context.records, wake, approving, admission_reader)
        self._holding = holding
        self._closing = closing
        self._writing = writing
        self._admission_reader = admission_reader

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
            trigger.repository,
            playbook=trigger.request.command,
            metered=False,
            outsider=trigger.actor.login,
        )
        answer = TriggerAnswer(run, trigger, client, self._writing)
        facts = await self._admission_reader.of_stranger(trigger, role)
        answer.tone = tone_of(trigger, facts)
        if answer.tone is Tone.NOTHING:
            return None
        decision = admit(facts)
        if isinstance(decision, Refused):
            return await answer.refuse(decision.reason, decision.remedy)
        return await self._carry_out(answer, facts)

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
        return await self._carry_out(answer, facts)

    async def _carry_out(self, answer: TriggerAnswer, facts: AdmissionFacts) -> None:
        request = answer.trigger.request
        if entry := COMMANDS.get(request.command):
            return await entry.handle(self)(answer, facts)
        match request:
            case TriageRequest():
                return await self.play(answer, facts)
            case CloseRequest() | ReopenRequest():
                return await self._closing.heed(answer, request)
            case CorrectionRequest() as wrong:
                text = replies.correction(answer.trigger.actor, wrong.problems)
                return await answer.say(text, Emotion.REFUSED)
            case _:
                raise ValueError(f"nothing carries out {request.command}")

    # --- one for each handler that an entry of bot/slash_commands.py names ---

    async def play(self, answer: TriggerAnswer, facts: AdmissionFacts) -> None:
        """Carry out the playbook of a request."""
        playbook = self._playbooks[type(answer.trigger.request)]
        await play(answer, playbook, facts, self._joining)

    async def status(self, answer: TriggerAnswer, _: AdmissionFacts) -> None:
        """Say where everything here stands."""
        await existing_run.tell_status(answer, await self._context.look(answer.run, answer.trigger))

    async def help(self, answer: TriggerAnswer, _: AdmissionFacts) -> None:
        """Say which commands there are."""
        await answer.say(help_text())

    async def cancel(self, answer: TriggerAnswer, _: AdmissionFacts) -> None:
        """Stop what is under way here."""
        await self._waking.cancel(answer)

    async def approve(self, answer: TriggerAnswer, _: AdmissionFacts) -> None:
        """Pass on a yes."""
        await self._waking.decide(answer, answer.asked(ApproveRequest))

    async def reject(self, answer: TriggerAnswer, _: AdmissionFacts) -> None:
        """Pass on a no."""
        await self._waking.decide(answer, answer.asked(RejectRequest))

    async def rule(self, answer: TriggerAnswer, _: AdmissionFacts) -> None:
        """Pass on what a person knows of a commit."""
        await self._waking.rule(answer, answer.asked(RulingRequest))

    async def severity(self, answer: TriggerAnswer, _: AdmissionFacts) -> None:
        """Change how bad the incident here is."""
        here = await self._context.look(answer.run, answer.trigger)
        wanted = answer.asked(SeverityRequest).severity
        await existing_run.set_severity(answer, here, wanted, self._context.records)

    async def pause(self, answer: TriggerAnswer, _: AdmissionFacts) -> None:
        """Hold self-work or a capability."""
        request = answer.asked(PauseRequest)
        await answer.reply(await self._holding.pause(answer.run, answer.trigger, request))

    async def unpause(self, answer: TriggerAnswer, _: AdmissionFacts) -> None:
        """Let it go on."""
        request = answer.asked(UnpauseRequest)
        await answer.reply(await self._holding.unpause(answer.run, answer.trigger, request))

    async def retry(self, answer: TriggerAnswer, _: AdmissionFacts) -> None:
        """Try what failed here again."""
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

    async def _shows_receipt(self, trigger: Trigger) -> bool:
        if trigger.source.kind not in COMMENTS or trigger.actor.kind is not ActorKind.PERSON:
            return True
        if not trigger.source.addressed and await self._admission_reader.prefix_only(trigger):
            return False
        role = await self._admission_reader.role_of(trigger)
        return await self._writing.talk.shows_receipt(trigger, role)

    async def _nothing_to_retry(self, answer: TriggerAnswer, here: CommandContext) -> None:
        if here.parked:
            return await answer.say(replies.parked(answer.trigger.actor), Emotion.REFUSED)
        if here.live:
            return await answer.say(replies.nothing_to_retry(answer.trigger.actor), Emotion.REFUSED)
        return await self._waking.nothing(answer, here)

    async def _join(self, answer: TriggerAnswer, incident: str, facts: AdmissionFacts) -> None:
        """Tell the Run that looks for what to revert that somebody wants it reverted."""
        trigger = answer.trigger

        async def give_back(conn: AsyncConnection) -> bool:
            await budgets.give_back(conn, trigger.repository.id, trigger.key)
            return True

        await answer.run.write(Step.GIVE_BACK_CAPS, bool, give_back)
        await self._joining.join(answer, incident, facts)
