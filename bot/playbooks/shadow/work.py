"""One shadow under way: its words in their places, and its papers."""

from __future__ import annotations

from bot.canary.report import ShadowDiffReport
from bot.playbooks.candidate.capability import RolloutResources
from bot.playbooks.candidate.case import RolloutMessages
from bot.playbooks.candidate.records import WeighedCandidate
from bot.playbooks.candidate.work import RolloutWorkflow
from bot.playbooks.incidents.opening import Opened
from bot.playbooks.run import Run
from bot.playbooks.shadow import records
from bot.playbooks.shadow import text as words
from bot.playbooks.shadow.plan import ShadowPlan
from bot.playbooks.words.standing import StatusMessage
from bot.triggers import Trigger


class ShadowWorkflow(RolloutWorkflow[ShadowPlan, RolloutMessages, ShadowDiffReport]):
    """One shadow under way."""

    def __init__(
        self, run: Run, trigger: Trigger, plan: ShadowPlan, parts: RolloutResources, opened: Opened
    ) -> None:
        """Begin, or begin again after a crash."""
        title = words.title(plan.capability, plan.candidate)
        super().__init__(run, trigger, plan, parts, opened, RolloutMessages, "shadow", title)

    def weighed(self) -> WeighedCandidate:
        """What was weighed before it began, for the decision record."""
        return records.weighed(self.case, self.plan.policy)

    def issue_body(self, standing: StatusMessage, picture: str | None) -> str:
        """What its issue says."""
        return words.issue(self.case, standing, self.report, picture)
