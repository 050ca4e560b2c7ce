"""One ramp under way: its words in their places, and its papers."""

from __future__ import annotations

from bot.canary.reports import RampReport
from bot.playbooks.candidate.capability import CandidateParts
from bot.playbooks.candidate.records import Weighed
from bot.playbooks.candidate.work import CandidateWork
from bot.playbooks.incidents.opening import Opened
from bot.playbooks.ramp import records
from bot.playbooks.ramp import text as words
from bot.playbooks.ramp.plan import RampPlan
from bot.playbooks.ramp.text import RampCase
from bot.playbooks.run import Run
from bot.playbooks.words.standing import Standing
from bot.triggers import Trigger


class RampWork(CandidateWork[RampPlan, RampCase, RampReport]):
    """One ramp under way."""

    def __init__(
        self, run: Run, trigger: Trigger, plan: RampPlan, parts: CandidateParts, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        super().__init__(
            run,
            trigger,
            plan,
            parts,
            opened,
            RampCase,
            "ramp",
            words.title(plan.capability, plan.candidate),
            shadow=plan.shadow,
            shadow_report=plan.shadow_report,
        )

    def weighed(self) -> Weighed:
        """What was weighed before it began, for the decision record."""
        return records.weighed(self.case, self.plan.policy)

    def issue_body(self, standing: Standing, picture: str | None) -> str:
        """What its issue says."""
        return words.issue(self.case, standing, self.report, picture)
