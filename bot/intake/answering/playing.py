"""A playbook is carried out: its Run begins, and whoever asked hears how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.github.calls.issues import Emotion
from bot.intake.answering import replies
from bot.intake.answering.answer import TriggerAnswer
from bot.intake.answering.joining import JoiningRequests
from bot.playbooks.planning.weighing import Weigh
from bot.playbooks.run import Ending, Run, StepFailed
from bot.playbooks.steps import Patch, Step
from bot.records import budgets, runs
from bot.records.audit import chain
from bot.records.lifecycle import RunState
from bot.safety.admission import PLAYBOOKS, AdmissionFacts, Refused
from bot.safety.weighing import weigh
from bot.triggers import ActorKind, SourceKind, Trigger, Value

log = structlog.get_logger(__name__)

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
            # What nobody asked for needs no answer: the incident it joined says what is done.
            if trigger.actor.kind is ActorKind.PERSON:
                await answer.say(replies.refusal(trigger.actor, ending.reason, ending.remedy))
        case "declined":
            await _give_up(run, ending.reason)
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
        await runs.move(conn, run.id, RunState.FAILED, at=now, reason=refused.reason)
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
    log.info("a request was refused", run=run.id, command=command, why=refused.reason)


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


async def _give_up(run: Run, reason: str) -> None:
    now = await run.now()

    async def change(conn: AsyncConnection) -> bool:
        known = await runs.find(conn, run.id)
        if known is not None and known.incident_id is None:
            # It ended before anything was done: nothing of what is limited was used.
            await budgets.give_back(conn, known.repository_id, known.trigger_key)
        if known is not None and known.is_live:
            await runs.move(conn, run.id, RunState.FAILED, at=now, reason=reason)
        return True

    await run.write(Step.END_RUN, bool, change)
