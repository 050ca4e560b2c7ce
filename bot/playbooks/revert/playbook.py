"""Revert (fast recovery): section 1 of the specification.

1. Open incident: write audit row with reason and PR/commit refs.
2. Revert offending PR (git revert) into hotfix branch.
3. Run preview smoke + evals; ensure green.
4. Merge hotfix; update ADR with outcome; unpause when safe.

Unpausing needs no step here: `bot.safety.pause_policy` sees that the incident is resolved.
"""

from __future__ import annotations

from datetime import timedelta

from bot import markdown
from bot.git.revert import RevertConflict
from bot.playbooks.attempt import attempt
from bot.playbooks.incidents.opening import NewIncident, open_incident
from bot.playbooks.incidents.papers import Result
from bot.playbooks.parts import Resources
from bot.playbooks.planning.declined import Declined
from bot.playbooks.planning.weighing import Weigh, Weighed
from bot.playbooks.proposal import standings
from bot.playbooks.proposal.agreeing import Question, agreement, plan_to_begin
from bot.playbooks.proposal.computed import Reverting
from bot.playbooks.proposal.counting import see_which_checks_count
from bot.playbooks.proposal.follow import Followed
from bot.playbooks.proposal.founder import AskedPlan
from bot.playbooks.proposal.hotfix import Hotfix
from bot.playbooks.proposal.proposal import Proposal, ProposalTerms, take_earlier_attempts_back
from bot.playbooks.proposal.settling import broke_off, followed_to_its_end
from bot.playbooks.revert import text as words
from bot.playbooks.revert.plan import RevertPlan, RevertPlanned, make_plan
from bot.playbooks.revert.work import RevertWorkflow
from bot.playbooks.run import Ending, Run, SignalKind, StepFailed
from bot.playbooks.signals import first, heard
from bot.playbooks.steps import Patch, Step, WaitPoint
from bot.playbooks.steps import planned as planned_steps
from bot.playbooks.words.wording import assignees, offenders_in_words
from bot.triggers import ActorKind, Autonomy, Request, RevertRequest, Severity, Trigger

__all__ = ["revert"]

UNKNOWN_SEVERITY = Severity.MEDIUM
"""A person says "revert" without saying how bad it is."""


async def revert(
    run: Run, trigger: Trigger, request: RevertRequest, parts: Resources, weigh: Weigh
) -> Ending:
    """Bring the repository back to before what the request names, and record all of it."""
    before: str | None = None
    while True:
        planned = await _make_plan(run, request, parts)
        plan = planned.root
        if isinstance(plan, Declined):
            return Ending(outcome="declined", reason=plan.reason, remedy=plan.remedy)
        ruling = weigh(planned_steps("revert", plan.irreversible))
        if ruling.refused:
            return Ending(outcome="declined", reason=ruling.reason, remedy=ruling.remedy)
        opened = await open_incident(
            run,
            trigger,
            _incident(request, plan),
            parts.signing_key,
            planned_after=before,
            can_plan_again=run.patched(Patch.OVERTAKEN_PLANS),
        )
        if not opened.overtaken:
            break
        before = opened.incident.id
    if opened.joined:
        return words.joined(opened.incident.issue, opened.incident.id)
    work = RevertWorkflow(run, trigger, plan, parts, opened)
    try:
        await _announce(work)
        if cancelled := await _cancelled_already(work):
            return await followed_to_its_end(work, cancelled)
        if _asks_first(work, request, ruling) and (
            unwanted := await agreement(work, _question(work, request, ruling))
        ):
            return await followed_to_its_end(work, unwanted)
        hotfix = _hotfix(work, ruling)
        published = await _revert_into_hotfix_branch(work, hotfix)
        followed = await hotfix.follow(published)  # 3. … ensure green.  4. Merge hotfix;
        return await followed_to_its_end(work, followed)  # … update ADR with outcome.
    except StepFailed as failed:
        if ended := await broke_off(work, failed):
            return ended
        raise


def _incident(request: RevertRequest, plan: RevertPlan) -> NewIncident:
    return NewIncident(
        kind="revert",
        subject=plan.subject,
        title=f"{plan.base} broken by {offenders_in_words(plan.offenders)}",
        severity=request.severity or UNKNOWN_SEVERITY,
        reason=request.reason,
        refs={
            "pull_requests": [o.number for o in plan.offenders if o.number],
            "commits": [*plan.commits],
            "base": plan.base_head,
        },
        about=request.about,
    )


async def _make_plan(run: Run, request: RevertRequest, parts: Resources) -> RevertPlanned:
    async def make(_: bool) -> RevertPlanned:
        return await make_plan(
            request, github=parts.github, mirror=parts.mirror, settled=parts.settled
        )

    return await run.step(Step.PLAN_REVERT, RevertPlanned, make)


async def _announce(work: RevertWorkflow) -> None:
    """Open the incident issue and put the sticky status where people asked."""
    standing = standings.starting(work.case)
    await take_earlier_attempts_back(work)
    await see_which_checks_count(work, work.plan.before)
    now = await work.run.now()
    work.happened(now, "incident opened")
    if work.case.issue is None:
        title, body = words.issue_title(work.case), words.issue_body(work.case, standing)
        await work.open_issue(title, body)
    await work.voice.first_status(work.saying(standing, None))
    work.decide(now)


async def _cancelled_already(work: RevertWorkflow) -> Followed | None:
    """Hear whether somebody said `/cancel`, or asked for the same, before there was a hotfix."""
    signals = await heard(work.run, 0, WaitPoint.BEFORE_PUBLISHING)
    work.note_joined(signals)
    cancel = first(signals, SignalKind.CANCEL)
    if cancel is None:
        return None
    return Followed(how="cancelled", at=await work.run.now(), by=cancel.actor)


def _question(work: RevertWorkflow, request: RevertRequest, ruling: Weighed) -> Question:
    """What a person is asked before a revert that nobody asked for begins."""

    def asked() -> AskedPlan:
        plan = work.plan
        conflict = plan.outcome if isinstance(plan.outcome, RevertConflict) else None
        return plan_to_begin(
            work.case,
            of=ruling.of or "person",
            reverts=plan.commits,
            conflicts=tuple(each.path for each in conflict.paths) if conflict else (),
            irreversible=plan.irreversible,
            expires_after=timedelta(hours=plan.config.founder.approval_hours),
        )

    async def anew() -> AskedPlan | None:
        planned = await _make_plan(work.run, request, work.parts)
        if isinstance(planned.root, Declined):
            return None
        work.plan = planned.root
        return asked()

    return Question(plan=asked(), reason=ruling.reason, head=work.plan.commits[0], anew=anew)


def _asks_first(work: RevertWorkflow, request: RevertRequest, ruling: Weighed) -> bool:
    """Whether a person is asked before anything is done, not only before the merge."""
    if work.joined and ruling.of != "founder":
        return False
    return ruling.of == "person" or request.autonomy is Autonomy.PROPOSE


def _person_wanted(request: Request, ruling: Weighed, plan: RevertPlan) -> bool:
    """Whether nobody asked for this, and the evidence alone does not suffice to merge it.

    Whatever asked for it: where a person's work goes too, no evidence suffices (Decisions 4).
    """
    autonomy = request.autonomy if isinstance(request, RevertRequest) else None
    if autonomy is not None and plan.is_self_work is False:
        return True
    return autonomy not in (None, Autonomy.MERGE) or not (ruling.may_merge or ruling.of)


def _hotfix(work: RevertWorkflow, ruling: Weighed) -> Proposal:
    """The computed revert with its ADR and report."""
    plan, case, trigger = work.plan, work.case, work.trigger
    by_person = trigger.actor.kind is ActorKind.PERSON or "person" in work.joined
    return Proposal(
        work,
        Reverting(work.parts.mirror, plan.commits, plan.config, plan.own_incidents),
        plan.outcome,
        ProposalTerms(
            title=words.pull_request_title(case),
            message=words.commit_message(case, plan.commits),
            files=work.record_files(Result()),
            before=plan.before,
            starting=standings.starting(case),
            evals_wanted=not by_person,
            person_wanted=_person_wanted(trigger.request, ruling, plan) and not work.joined,
            irreversible=plan.irreversible,
        ),
    )


# 2. Revert offending PR (git revert) into hotfix branch.


async def _revert_into_hotfix_branch(work: RevertWorkflow, hotfix: Proposal) -> Hotfix:
    published = await hotfix.open()
    number = work.case.pull_request
    if number is not None and (whom := assignees(work.case)):

        async def assign(_: bool) -> bool:
            await work.github.issues.ensure_assignees(number, whom)
            return True

        what = f"assign {markdown.code(whom[0])}"
        await attempt(work.run, Step.ASSIGN_REQUESTER, bool, assign, what=what, otherwise=False)
    return published
