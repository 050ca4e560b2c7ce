"""Waiting for a yes before anything is done: what nobody asked for begins when a person agrees.

The answer is bound to the plan as it was shown. When it comes the plan is made anew; where it is
another by then, the answer is void and the new one is asked about.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from bot import markdown
from bot.playbooks.incidents.case import IncidentContext
from bot.playbooks.proposal.follow import Followed
from bot.playbooks.proposal.founder import AskedPlan
from bot.playbooks.run import Signal, SignalKind
from bot.playbooks.signals import first, heard
from bot.playbooks.steps import WaitPoint, planned
from bot.playbooks.words.standing import StatusMessage
from bot.playbooks.work import IncidentWorkflow
from bot.triggers import Actor

WHY = "to begin"
"""How the question is named in the records."""

_ON_ITS_WAY = timedelta(minutes=1)
"""An answer that was given in the last moment is still heard."""


@dataclass(frozen=True)
class Question:
    """What is asked before a playbook begins.

    Attributes:
        plan: what a yes would do.
        reason: why nobody may do it by themselves; Markdown.
        head: the commit on which our check-run offers the buttons.
        anew: makes the plan as things are now; None where there is nothing to do any more.
    """

    plan: AskedPlan
    reason: str
    head: str
    anew: Callable[[], Awaitable[AskedPlan | None]]


def plan_to_begin(
    case: IncidentContext,
    *,
    of: Literal["founder", "person"],
    reverts: tuple[str, ...],
    conflicts: tuple[str, ...],
    irreversible: tuple[str, ...],
    expires_after: timedelta,
) -> AskedPlan:
    """Lay out what a yes would do, before anything is done."""
    return AskedPlan(
        of=of,
        incident=case.incident,
        base=case.base,
        commit=reverts[0],
        reverts=reverts,
        conflicts=conflicts,
        irreversible=irreversible,
        steps=planned(case.kind, irreversible),
        expires_after=expires_after,
    )


async def agreement(work: IncidentWorkflow[Any, Any], question: Question) -> Followed | None:
    """Wait until a person agrees to begin; how it ended where nobody does.

    Nothing has been done by then that needs undoing: the incident is open, and its issue says so.
    """
    plan, run = question.plan, work.run
    while True:
        until = await run.now() + plan.expires_after + _ON_ITS_WAY
        await work.casebook.wait_for_approval(WHY, plan.commit, plan)
        asking = may_it_begin(work.case, plan, question.reason)
        await work.tell(asking, question.head)
        await work.voice.ask(work.case, asking, WHY)
        answer = await _answer(work, plan, until)
        now = await run.now()
        if answer is None or answer.kind is not SignalKind.APPROVE:
            await work.casebook.need_no_approval(WHY, plan.commit)
            await work.tell(settled(work.case, answer.actor if answer else None), question.head)
            if answer is None:
                return Followed(how="given up", at=now)
            rejected = answer.kind is SignalKind.REJECT
            how = "rejected" if rejected else "cancelled"
            return Followed(how=how, at=now, by=answer.actor)
        now_planned = await question.anew()
        if now_planned is None:
            await work.casebook.need_no_approval(WHY, plan.commit)
            await work.tell(settled(work.case, None), question.head)
            return Followed(how="cured elsewhere", at=now)
        if now_planned.digest == plan.digest:
            work.joined.add(answer.joins or "person")
            if answer.actor is not None:
                await work.casebook.approved(WHY, plan.commit, answer.actor.login)
                work.happened(now, f"{WHY}: approved by {answer.actor.login}")
            await work.tell(settled(work.case, answer.actor, began=True), question.head)
            return None
        await work.casebook.need_no_approval(WHY, plan.commit)
        work.voice.start_over()
        plan = now_planned


async def _answer(
    work: IncidentWorkflow[Any, Any], plan: AskedPlan, until: datetime
) -> Signal | None:
    """The first word that decides; None where none came in time."""
    run = work.run
    while (left := until - await run.now()) > timedelta():
        pause = min(left, work.parts.patience.look_later)
        signals = await heard(run, pause.total_seconds(), WaitPoint.AGREEMENT)
        work.note_joined(signals)
        if cancel := first(signals, SignalKind.CANCEL):
            return cancel
        about_this = [each for each in signals if each.commit in (None, plan.commit)]
        if said := first(about_this, SignalKind.REJECT, SignalKind.APPROVE):
            return said
        asked = next((each for each in signals if each.joins), None)
        if asked is not None and plan.of == "person":
            # Whoever asks for it has it begin.
            return asked.model_copy(update={"kind": SignalKind.APPROVE})
    return None


def may_it_begin(case: IncidentContext, plan: AskedPlan, reason: str) -> StatusMessage:
    """Nothing is done yet: a person says whether it begins."""
    hours = plan.expires_after.total_seconds() / 3600
    return StatusMessage(
        state="needs you",
        headline=f"Decide whether this {case.kind} begins: `/approve` or `/reject`. Nothing is "
        "done yet.",
        details=(
            reason,
            plan.shown(),
            f"{'A Founder' if plan.of == 'founder' else 'Anyone with write access'} may answer. A "
            "yes also merges it once it is green; it holds "
            f"for this plan alone ({markdown.code(plan.digest[:12])}), and another one is asked "
            f"about anew. The question is open for {hours:g} hours.",
        ),
        approvable=True,
    )


def settled(case: IncidentContext, by: Actor | None, *, began: bool = False) -> StatusMessage:
    """The question has its answer, or needs none any more."""
    who = "Nobody" if by is None else markdown.code(by.login)
    said = f"{who} {'had' if began else 'did not have'} this {case.kind} begin."
    return StatusMessage(state="working", headline=f"Nothing to do for you: {said}")
