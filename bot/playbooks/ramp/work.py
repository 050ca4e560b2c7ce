"""One ramp under way: its words in their places, and its papers."""

from __future__ import annotations

from bot.canary.report import RampReport
from bot.playbooks.candidate.capability import RolloutResources
from bot.playbooks.candidate.records import WeighedCandidate
from bot.playbooks.candidate.work import RolloutWorkflow
from bot.playbooks.incidents.opening import Opened
from bot.playbooks.ramp import records
from bot.playbooks.ramp import text as words
from bot.playbooks.ramp.plan import RampPlan
from bot.playbooks.ramp.text import RampMessages
from bot.playbooks.run import Run
from bot.playbooks.words.standing import StatusMessage
from bot.triggers import Trigger


class RampWorkflow(RolloutWorkflow[RampPlan, RampMessages, RampReport]):
    """One ramp under way."""

    def __init__(
        self, run: Run, trigger: Trigger, plan: RampPlan, parts: RolloutResources, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        super().__init__(
            run,
            trigger,
            plan,
            parts,
            opened,
            RampMessages,
            "ramp",
            words.title(plan.capability, plan.candidate),
            shadow=plan.shadow,
            shadow_report=plan.shadow_report,
        )

    def weighed(self) -> WeighedCandidate:
        """What was weighed before it began, for the decision record."""
        return records.weighed(self.case, self.plan.policy)

    def issue_body(self, standing: StatusMessage, picture: str | None) -> str:
        """What its issue says."""
        return words.issue(self.case, standing, self.report, picture)
