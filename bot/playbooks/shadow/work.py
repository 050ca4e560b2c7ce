"""One shadow under way: its words in their places, and its papers."""

from __future__ import annotations

from datetime import datetime

from bot.canary.reports import ShadowDiffReport
from bot.playbooks.candidate.capability import CandidateParts
from bot.playbooks.candidate.case import CandidateCase, status
from bot.playbooks.candidate.work import CandidateWork
from bot.playbooks.incidents.case import case_of
from bot.playbooks.incidents.casebook import Opened
from bot.playbooks.run import Run
from bot.playbooks.shadow import records as documents
from bot.playbooks.shadow import text as words
from bot.playbooks.shadow.plan import ShadowPlan
from bot.playbooks.words.standing import Standing
from bot.playbooks.words.voice import Saying
from bot.triggers import Trigger


class ShadowWork(CandidateWork[ShadowPlan, CandidateCase, ShadowDiffReport]):
    """One shadow under way."""

    def __init__(
        self, run: Run, trigger: Trigger, plan: ShadowPlan, parts: CandidateParts, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        case = case_of(
            CandidateCase,
            trigger,
            opened,
            plan,
            kind="shadow",
            proposal="fix",
            title=words.title(plan.capability, plan.candidate),
            web_url=parts.web_url,
            capability=plan.capability,
            baseline=plan.policy.baseline,
            candidate=plan.candidate,
            policy=plan.policy.digest,
            reported=False,
        )
        super().__init__(run, trigger, plan, parts, opened, case, asked_on=trigger.source.subject)

    def decide(self, at: datetime) -> None:
        """Write the decision record: proposed, its outcome pending."""
        self.adr = documents.decision(
            self.case, self.plan.policy, at=at, audit=self.casebook.anchor
        )

    def title(self) -> str:
        """What its incident is called."""
        return words.title(self.plan.capability, self.plan.candidate)

    def saying(self, standing: Standing, head: str | None) -> Saying:
        """What the status and the issue say of a standing."""
        del head
        issue = words.issue(self.case, standing, self.report)
        return Saying(standing, status(self.case, standing), issue)
