"""What is asked of people before a playbook begins, and what a Founder says yes to.

The answer is bound to the plan as it was shown. When it comes the plan is made again; where it is
another by then, the answer is void and the new one is asked about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import rfc8785

from bot import markdown
from bot.playbooks.checks.green import CheckTally
from bot.playbooks.incident.context import IncidentContext
from bot.playbooks.incident.phrases import (
    StatusMessage,
    commit_linked,
    how_to_cancel,
    proposal_linked,
)
from bot.playbooks.pull_request.ownership import SHOWN, Foreign
from bot.playbooks.pull_request.snapshot import PullRequestSnapshot
from bot.playbooks.pull_request.watch import Followed
from bot.playbooks.pull_request.workflow import ProposalWorkflow
from bot.playbooks.run import Signal, SignalKind, first, heard
from bot.playbooks.steps import PlannedStep, WaitPoint, planned
from bot.triggers import Actor, Value

_PATHS_SHOWN = 20


class AskedPlan(Value):
    """What is going to be done, down to the commit. Another push is another plan.

    Attributes:
        of: whose yes it needs.
        incident: the incident's id.
        base: the branch.
        commit: the proposal's; before there is one, the first of `reverts`, which stands for all:
            the newest of what was named first.
        reverts: every commit that is undone.
        conflicts: paths that a person will have to resolve.
        irreversible: paths it touches that nothing brings back.
        steps: what is done, in this order.
        expires_after: how long the question stands.
    """

    of: Literal["founder", "person"]
    incident: str
    base: str
    commit: str
    reverts: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    irreversible: tuple[str, ...] = ()
    steps: tuple[PlannedStep, ...]
    expires_after: timedelta

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of what is done, without words and the time to answer."""
        plan = self.model_dump(
            mode="json",
            exclude={"expires_after": True, "steps": {"__all__": {"label": True, "undo": {"how"}}}},
        )
        return hashlib.sha256(rfc8785.dumps(plan)).hexdigest()

    def shown(self) -> str:
        """Its steps, each with how it is undone; Markdown."""
        steps = [
            f"{n}. {step.label}: **{step.undo.reversibility}**"
            + (f" ({step.undo.how})" if step.undo.how else "")
            for n, step in enumerate(self.steps, start=1)
        ]
        return "The plan:\n\n" + "\n".join(steps)


def founders_plan(
    case: IncidentContext, commit: str, irreversible: tuple[str, ...], expires_after: timedelta
) -> AskedPlan:
    """Lay out what is done so far and what a Founder's yes would do."""
    return AskedPlan(
        of="founder",
        incident=case.incident,
        base=case.base,
        commit=commit,
        irreversible=irreversible,
        steps=planned(case.kind, irreversible),
        expires_after=expires_after,
    )


def plan_of_others(case: IncidentContext, foreign: Foreign, expires_after: timedelta) -> AskedPlan:
    """Lay out what a yes to a commit that we did not make would do."""
    return AskedPlan(
        of=foreign.of,
        incident=case.incident,
        base=case.base,
        commit=foreign.head,
        irreversible=foreign.irreversible,
        steps=planned(case.kind, foreign.irreversible),
        expires_after=expires_after,
    )


def others_pushed(
    case: IncidentContext, plan: AskedPlan, view: PullRequestSnapshot
) -> StatusMessage:
    """The head holds commits that we did not make: somebody else answers for just this one."""
    makers = view.foreign.makers if view.foreign else ()
    command = markdown.code(f"/approve {plan.commit[:SHOWN]}")
    by = ", ".join(markdown.code(each) for each in makers) or "somebody whom GitHub does not name"
    who = "A Founder may" if plan.of == "founder" else "Anyone with write access may"
    if makers:
        who += f", but not {by}: nobody may approve their own commits"
    shown = _irreversible(plan)
    hours = plan.expires_after.total_seconds() / 3600
    return StatusMessage(
        state="needs you",
        headline=f"Read {commit_linked(case, plan.commit)} on {proposal_linked(case)}, then "
        f"comment {command}: it contains commits that I did not make.",
        details=(
            f"They are by {by}. I will merge it on that approval alone, once the checks that count "
            f"are green. {who}. The approval holds for this commit on its way to "
            f"{markdown.code(case.base)}; the next push voids it. The question is open for "
            f"{hours:g} hours, then `/retry` asks again.",
            *((f"It changes what only a Founder may change:\n\n{shown}",) if shown else ()),
            "Whoever merges it by hand, or sets it to auto-merge, answers for it; I will notice, "
            "and finish the records. " + how_to_cancel(case),
        ),
        checks=view.tally.shown,
        approvable=True,
        withheld=True,
    )


def _irreversible(plan: AskedPlan) -> str:
    """List the paths whose change cannot be undone; empty: there are none."""
    shown = [f"- {markdown.code(path)}" for path in plan.irreversible[:_PATHS_SHOWN]]
    if len(plan.irreversible) > _PATHS_SHOWN:
        shown.append(f"- … and {len(plan.irreversible) - _PATHS_SHOWN} more")
    return "\n".join(shown)


def founder_decides(case: IncidentContext, plan: AskedPlan, tally: CheckTally) -> StatusMessage:
    """It is green, and what it does cannot be undone."""
    shown = _irreversible(plan)
    hours = plan.expires_after.total_seconds() / 3600
    return StatusMessage(
        state="needs you",
        headline=f"A Founder decides: read {proposal_linked(case)}, then `/approve` or `/reject` "
        "it. It cannot be undone.",
        details=(
            f"It touches files that another revert cannot restore:\n\n{shown}",
            plan.shown(),
            f"An approval holds for {commit_linked(case, plan.commit)} alone (plan "
            f"{markdown.code(plan.digest[:12])}); another push voids it. The question is open for "
            f"{hours:g} hours, then `/retry` asks again.",
        ),
        checks=tally.shown,
        approvable=True,
    )


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
        plan_again: makes the plan as things are now; None where there is nothing to do any more.
    """

    plan: AskedPlan
    reason: str
    head: str
    plan_again: Callable[[], Awaitable[AskedPlan | None]]


def plan_to_begin(
    case: IncidentContext,
    *,
    of: Literal["founder", "person"],
    reverts: tuple[str, ...],
    conflicts: tuple[str, ...],
    irreversible: tuple[str, ...],
    expires_after: timedelta,
) -> AskedPlan:
    """Lay out what a yes would do, before anything is done.

    Args:
        case: the incident that it is about.
        of: whose yes it needs; a person is anyone with write access.
        reverts: every commit that would be undone; the first stands for all, so one is needed.
        conflicts: paths that a person would have to resolve.
        irreversible: paths it touches that nothing brings back.
        expires_after: how long the question stands.
    """
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


async def agreement(work: ProposalWorkflow[Any, Any], question: Question) -> Followed | None:
    """Wait until a person agrees to begin; how it ended where nobody does.

    Nothing has been done by then that needs undoing: the incident is open, and its issue says so.
    """
    plan, run = question.plan, work.run
    while True:
        until = await run.now() + plan.expires_after + _ON_ITS_WAY
        await work.recorder.wait_for_approval(WHY, plan.commit, plan)
        asking = may_it_begin(work.case, plan, question.reason)
        await work.tell(asking, question.head)
        await work.publisher.ask(work.case, asking, WHY)
        answer = await _answer(work, plan, until)
        now = await run.now()
        if answer is None or answer.kind is not SignalKind.APPROVE:
            await work.recorder.need_no_approval(WHY, plan.commit)
            await work.tell(settled(work.case, answer.actor if answer else None), question.head)
            if answer is None:
                return Followed(how="given up", at=now)
            rejected = answer.kind is SignalKind.REJECT
            how = "rejected" if rejected else "cancelled"
            return Followed(how=how, at=now, by=answer.actor)
        now_planned = await question.plan_again()
        if now_planned is None:
            await work.recorder.need_no_approval(WHY, plan.commit)
            await work.tell(settled(work.case, None), question.head)
            return Followed(how="cured elsewhere", at=now)
        if now_planned.digest == plan.digest:
            work.joined.add(answer.joins or "person")
            if answer.actor is not None:
                await work.recorder.approved(WHY, plan.commit, answer.actor.login)
                work.happened(now, f"{WHY}: approved by {answer.actor.login}")
            await work.tell(settled(work.case, answer.actor, began=True), question.head)
            return None
        await work.recorder.need_no_approval(WHY, plan.commit, asks_again=True)
        work.publisher.start_over()
        plan = now_planned


async def _answer(
    work: ProposalWorkflow[Any, Any], plan: AskedPlan, until: datetime
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
            f"{'A Founder' if plan.of == 'founder' else 'Anyone with write access'} may answer. An "
            "approval also merges it once it is green. It holds for this plan alone "
            f"({markdown.code(plan.digest[:12])}): if the plan changes, I will ask again. "
            f"The question is open for {hours:g} hours.",
        ),
        approvable=True,
    )


def settled(case: IncidentContext, by: Actor | None, *, began: bool = False) -> StatusMessage:
    """The question has its answer, or needs none any more."""
    if by is None:
        return StatusMessage(
            state="working", headline=f"Stopped: nobody approved this {case.kind} in time."
        )
    said = "In progress: {} approved this {}." if began else "Stopped: {} rejected this {}."
    return StatusMessage(state="working", headline=said.format(markdown.code(by.login), case.kind))
