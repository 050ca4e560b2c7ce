"""The revert, as the specification has it.

1. Open incident: write audit row with reason and PR/commit refs.
2. Revert offending PR (git revert) into hotfix branch.
3. Run preview smoke + evals; ensure green.
4. Merge hotfix; update ADR with outcome; unpause when safe.

Unpausing needs no step here: `bot.safety.self_work` sees that the incident is resolved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from bot import markdown
from bot.git.revert import RevertConflict
from bot.github.calls.checks import Button
from bot.playbooks.checks.results import HOTFIX_CHECK
from bot.playbooks.incident import phrases
from bot.playbooks.incident.context import (
    IncidentContext,
    NewIncident,
    Opened,
    begin,
    case_of,
)
from bot.playbooks.incident.phrases import StatusMessage, assignees, offenders_in_words
from bot.playbooks.incident.publisher import OurCheck, PublishedStatus
from bot.playbooks.incident.record_files import RecordFile
from bot.playbooks.incident.report_base import Result
from bot.playbooks.plan import Declined, Weigh, Weighed
from bot.playbooks.pull_request import status_messages
from bot.playbooks.pull_request.approval import AskedPlan, Question, agreement, plan_to_begin
from bot.playbooks.pull_request.finish import broke_off, followed_to_its_end
from bot.playbooks.pull_request.proposal import Proposal, ProposalTerms, take_earlier_attempts_back
from bot.playbooks.pull_request.publish import Hotfix, Reverting
from bot.playbooks.pull_request.snapshot import see_which_checks_count
from bot.playbooks.pull_request.watch import Followed
from bot.playbooks.pull_request.workflow import ProposalWorkflow
from bot.playbooks.revert import messages as words
from bot.playbooks.revert import report as documents
from bot.playbooks.revert.plan import RevertPlan, RevertPlanned, make_plan
from bot.playbooks.revert.ports import RevertGitHub, RevertResources
from bot.playbooks.run import Ending, Run, SignalKind, StepFailed, attempt, first, heard
from bot.playbooks.steps import Patch, Step, WaitPoint
from bot.playbooks.steps import planned as planned_steps
from bot.records.documents.adr import superseded_by
from bot.triggers import (
    OURSELVES,
    UNKNOWN_SEVERITY,
    ActorKind,
    Autonomy,
    BisectRequest,
    Request,
    RevertRequest,
    Source,
    SourceKind,
    Trigger,
)


def bisect_for(
    trigger: Trigger, case: IncidentContext, check: str, *, bad: str, now: datetime
) -> Trigger:
    """Ask for the commit that broke a check, between the last good commit and the broken one.

    The same incident asks once for the same check.

    Args:
        trigger: what asked for the revert.
        case: the revert's facts.
        check: what fails with the hotfix as it did without it.
        bad: a commit of the base branch on which it fails.
        now: the time.
    """
    named = hashlib.sha256(check.encode()).hexdigest()[:12]
    return Trigger(
        source=Source(
            kind=SourceKind.CHECK_RUN,
            object_id=f"not-cured:{case.incident}:{named}",
            url=trigger.source.url,
        ),
        repository=trigger.repository,
        actor=OURSELVES,
        received_at=now,
        request=BisectRequest(
            good=case.before,
            bad=bad,
            check=check,
            reason=f"The revert of incident {case.incident} did not cure it.",
        ),
    )


_RETRY = Button("Retry", "Look again, wait once more (/retry)", "retry")
_CANCEL = Button("Cancel", "Close the hotfix (/cancel)", "cancel")
_BEGIN = Button("Approve", "Revert it, merge when green (/approve)", "approve")
_LEAVE = Button("Reject", "Leave it as it is (/reject)", "reject")
_APPROVE = Button("Approve", "Merge it anyway (/approve)", "approve")


class RevertWorkflow(ProposalWorkflow[RevertPlan, IncidentContext]):
    """One revert under way."""

    merging_vouches = True
    parts: RevertResources
    github: RevertGitHub

    def __init__(
        self, run: Run, trigger: Trigger, plan: RevertPlan, parts: RevertResources, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        case = case_of(
            IncidentContext,
            trigger,
            opened,
            plan,
            kind="revert",
            proposal="hotfix",
            title=f"Revert {phrases.offenders_in_words(plan.offenders)}",
            web_url=parts.web_url,
            short=run.patched(Patch.SHORT_BRANCH_NAMES),
            offenders=plan.offenders,
            before=plan.before,
            left=plan.left,
        )
        super().__init__(run, trigger, plan, parts, opened, case, asked_on=_asked_on(trigger, plan))
        self._opened_on = opened.incident.detected_at.date()

    def decide(self, at: datetime) -> None:
        """Write the decision record: proposed, its outcome pending."""
        self.adr = documents.decision(
            self.case, self.plan, self.counting, at=at, audit=self.recorder.anchor
        )

    def section(self, standing: StatusMessage) -> str:
        """The managed section of the hotfix pull request's description."""
        return words.pull_request_section(self.case, self.counting, standing)

    def saying(self, standing: StatusMessage, head: str | None) -> PublishedStatus:
        """What every place says of a standing; the hotfix only once it is known."""
        case = self.case
        status, issue = phrases.status(case, standing), words.issue_body(case, standing)
        if head is None:
            return PublishedStatus(standing, status, issue)
        if case.pull_request is None:
            return PublishedStatus(
                standing, status, issue, check=_before_there_is_one(standing, head, status)
            )
        approve = (_APPROVE,) if standing.approvable else ()
        check = OurCheck(
            name=HOTFIX_CHECK,
            head=head,
            title=words.check_title(standing),
            summary=status,
            buttons=(*approve, _RETRY, _CANCEL),
        )
        return PublishedStatus(standing, status, issue, self.section(standing), check)

    async def not_cured(self, checks: Sequence[str], *, bad: str) -> None:
        """Have the real cause looked for, once, unless automatic action is off here."""
        config = self.plan.config
        if self.case.looks_further or config.triggers.autonomy is Autonomy.OFF:
            return
        if self.plan.commits == (bad,) and not config.bisect.can_try:
            # Nothing else lies between, and nothing can be tried again: it would learn nothing.
            return
        now = await self.run.now()
        asked = bisect_for(self.trigger, self.case, checks[0], bad=bad, now=now)

        async def put(_: bool) -> bool:
            await self.parts.put(asked)
            return True

        await self.run.step(Step.REQUEST_BISECT, bool, put)
        self.case = self.case.model_copy(update={"looks_further": True})
        self.happened(now, "bisect asked for: the hotfix does not cure it")

    async def verified(self, standing: StatusMessage, head: str, *, is_awaited: bool) -> None:
        """Say only on the check-run that it is verified: the merge is a moment away."""
        await self.publisher.verified(self.saying(standing, head), is_awaited=is_awaited)

    async def watching(self, standing: StatusMessage) -> None:
        """Say only in the sticky status that the base branch is watched."""
        await self.publisher.status(self.saying(standing, None))

    def record_files(self, result: Result) -> tuple[RecordFile, ...]:
        """The ADR, the report, and the ADRs that this one supersedes (if it stands)."""
        report = documents.report(self.account(result), self.plan, self.counting)
        older = () if result.accepted is False else self.plan.superseded
        return (
            *self.adr_and_report(report),
            *(
                RecordFile(
                    path=file.path,
                    content=superseded_by(file.content, self.case.adr, self._opened_on),
                )
                for file in older
            ),
        )


def _before_there_is_one(standing: StatusMessage, head: str, status: str) -> OurCheck:
    """What stands on the commit that is to be reverted while a person is asked about it."""
    asking = standing.state == "needs you"
    return OurCheck(
        name=HOTFIX_CHECK,
        head=head,
        title="Should this be reverted?" if asking else "Decided",
        summary=status,
        buttons=(_BEGIN, _LEAVE) if asking else (),
        # A question is no verdict on the commit.
        conclusion=None if asking else "neutral",
    )


def _asked_on(trigger: Trigger, plan: RevertPlan) -> int | None:
    """Where people look for an answer; None where only the incident issue is left."""
    if trigger.source.subject is not None:
        return trigger.source.subject
    return next((o.number for o in plan.offenders if o.number), None)


async def revert(
    run: Run, trigger: Trigger, request: RevertRequest, parts: RevertResources, weigh: Weigh
) -> Ending:
    """Bring the repository back to before what the request names, and record all of it.

    Args:
        run: the Run this is part of.
        trigger: who asked, where, and when.
        request: what is reverted, why, and how far it goes where no person asked.
        parts: what is acted through.
        weigh: judges the steps of the plan: refuses them, or says whose yes they need.

    Returns:
        How it ended; declined where it is refused, joined where the same is being done already.

    Raises:
        StepFailed: a step failed for good; what can be undone is undone by then.
    """
    before: str | None = None
    while True:
        planned = await _make_plan(run, request, parts)
        plan = planned.root
        if isinstance(plan, Declined):
            done = plan.is_done
            return Ending(outcome="declined", reason=plan.reason, remedy=plan.remedy, is_done=done)
        ruling = weigh(planned_steps("revert", plan.irreversible))
        if ruling.refused:
            return Ending(outcome="declined", reason=ruling.reason, remedy=ruling.remedy)
        begun = await begin(
            run,
            trigger,
            plan,
            partial(_incident, request),
            parts.signing_key,
            words.joined,
            planned_after=before,
            can_plan_again=run.patched(Patch.OVERTAKEN_PLANS),
        )
        if isinstance(begun, Ending):
            return begun
        _, opened = begun
        if not opened.overtaken:
            break
        before = opened.incident.id
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


async def _make_plan(run: Run, request: RevertRequest, parts: RevertResources) -> RevertPlanned:
    async def make(_: bool) -> RevertPlanned:
        return await make_plan(
            request, github=parts.github, mirror=parts.mirror, settled=parts.settled
        )

    return await run.step(Step.PLAN_REVERT, RevertPlanned, make)


async def _announce(work: RevertWorkflow) -> None:
    """Open the incident issue and put the sticky status where people asked."""
    standing = status_messages.starting(work.case)
    await take_earlier_attempts_back(work)
    await see_which_checks_count(work, work.plan.before)
    now = await work.run.now()
    work.happened(now, "incident opened")
    if work.case.issue is None:
        title, body = words.issue_title(work.case), words.issue_body(work.case, standing)
        await work.open_issue(title, body)
    await work.publisher.first_status(work.saying(standing, None))
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

    async def plan_again() -> AskedPlan | None:
        planned = await _make_plan(work.run, request, work.parts)
        if isinstance(planned.root, Declined):
            return None
        work.plan = plan = planned.root
        if work.run.patched(Patch.PLANNED_AGAIN):
            # The branch may have another name by now, or be another.
            work.case = work.case.model_copy(
                update={"base": plan.base, "before": plan.before, "left": plan.left}
            )
        return asked()

    return Question(
        plan=asked(), reason=ruling.reason, head=work.plan.commits[0], plan_again=plan_again
    )


def _asks_first(work: RevertWorkflow, request: RevertRequest, ruling: Weighed) -> bool:
    """Whether a person is asked before anything is done, not only before the merge."""
    if work.joined and ruling.of != "founder":
        return False
    return ruling.of == "person" or request.autonomy is Autonomy.PROPOSE


def _person_wanted(request: Request, ruling: Weighed, plan: RevertPlan) -> bool:
    """Whether nobody asked for this, and the evidence alone does not suffice to merge it.

    Whatever asked for it: where a person's work goes too, no evidence suffices
    (docs/decisions/0004).
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
            starting=status_messages.starting(case),
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
