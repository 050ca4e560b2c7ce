"""One revert under way: its words in their places, and its papers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bot.github.calls.checks import Button
from bot.playbooks.incidents.case import IncidentContext, case_of
from bot.playbooks.incidents.opening import Opened
from bot.playbooks.incidents.papers import Result
from bot.playbooks.incidents.record_files import RecordFile
from bot.playbooks.parts import Resources
from bot.playbooks.revert import records as documents
from bot.playbooks.revert import text as words
from bot.playbooks.revert.next_cause import bisect_for
from bot.playbooks.revert.plan import RevertPlan
from bot.playbooks.run import Run
from bot.playbooks.steps import Patch, Step
from bot.playbooks.words import wording
from bot.playbooks.words.standing import StatusMessage
from bot.playbooks.words.voice import OurCheck, PublishedStatus
from bot.playbooks.work import IncidentWorkflow
from bot.records.documents.adr import superseded_by
from bot.triggers import Autonomy, Trigger

HOTFIX_CHECK = "hotfix"
_RETRY = Button("Retry", "Look again, wait once more (/retry)", "retry")
_CANCEL = Button("Cancel", "Close the hotfix (/cancel)", "cancel")
_BEGIN = Button("Approve", "Revert it, merge when green (/approve)", "approve")
_LEAVE = Button("Reject", "Leave it as it is (/reject)", "reject")
_APPROVE = Button("Approve", "Merge it all the same (/approve)", "approve")


class RevertWorkflow(IncidentWorkflow[RevertPlan, IncidentContext]):
    """One revert under way."""

    merging_vouches = True

    def __init__(
        self, run: Run, trigger: Trigger, plan: RevertPlan, parts: Resources, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        case = case_of(
            IncidentContext,
            trigger,
            opened,
            plan,
            kind="revert",
            proposal="hotfix",
            title=f"Revert {wording.offenders_in_words(plan.offenders)}",
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
            self.case, self.plan, self.counting, at=at, audit=self.casebook.anchor
        )

    def section(self, standing: StatusMessage) -> str:
        """The managed section of the hotfix pull request's description."""
        return words.pull_request_section(self.case, self.counting, standing)

    def saying(self, standing: StatusMessage, head: str | None) -> PublishedStatus:
        """What every place says of a standing; the hotfix only once it is known."""
        case = self.case
        status, issue = wording.status(case, standing), words.issue_body(case, standing)
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
            # Nothing else lies between, and nothing can be tried afresh: it would learn nothing.
            return
        now = await self.run.now()
        asked = bisect_for(self.trigger, self.case, checks[0], bad=bad, now=now)

        async def put(_: bool) -> bool:
            await self.parts.put(asked)
            return True

        await self.run.step(Step.REQUEST_BISECT, bool, put)
        self.know(looks_further=True)
        self.happened(now, "bisect asked for: the hotfix does not cure it")

    async def verified(self, standing: StatusMessage, head: str) -> None:
        """Say only on the check-run that it is verified: the merge is a moment away."""
        await self.voice.verified(self.saying(standing, head))

    async def watching(self, standing: StatusMessage) -> None:
        """Say only in the sticky status that the base branch is watched."""
        await self.voice.status(self.saying(standing, None))

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
        title="Shall this be reverted?" if asking else "Decided",
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
