"""One ramp under way: its words in their places, and its papers."""

from __future__ import annotations

from datetime import datetime

from bot.canary.reports import RampReport
from bot.playbooks.candidate.capability import CandidateParts
from bot.playbooks.candidate.case import status
from bot.playbooks.candidate.evidence import chart_of
from bot.playbooks.candidate.work import CandidateWork
from bot.playbooks.incidents.case import case_of
from bot.playbooks.incidents.casebook import Opened
from bot.playbooks.ramp import records as documents
from bot.playbooks.ramp import text as words
from bot.playbooks.ramp.plan import RampPlan
from bot.playbooks.ramp.text import RampCase
from bot.playbooks.run import Run
from bot.playbooks.words.standing import Standing
from bot.playbooks.words.voice import Saying
from bot.triggers import Trigger


class RampWork(CandidateWork[RampPlan, RampCase, RampReport]):
    """One ramp under way."""

    def __init__(
        self, run: Run, trigger: Trigger, plan: RampPlan, parts: CandidateParts, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        case = case_of(
            RampCase,
            trigger,
            opened,
            plan,
            kind="ramp",
            proposal="fix",
            title=words.title(plan.capability, plan.candidate),
            web_url=parts.web_url,
            capability=plan.capability,
            baseline=plan.policy.baseline,
            candidate=plan.candidate,
            policy=plan.policy.digest,
            reported=False,
            shadow=plan.shadow,
            shadow_report=plan.shadow_report,
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
        chart = None if self.report is None else chart_of(self.report)
        picture = self.parts.pictures.of_evidence(chart)
        issue = words.issue(self.case, standing, self.report, picture)
        return Saying(standing, status(self.case, standing), issue)
