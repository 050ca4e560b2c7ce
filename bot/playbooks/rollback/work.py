"""One rollback under way: its words in their places, and its papers."""

from __future__ import annotations

from datetime import datetime

from bot.playbooks.candidate.capability import RolloutResources
from bot.playbooks.candidate.case import RolloutMessages, status
from bot.playbooks.incidents.branches import about_capability
from bot.playbooks.incidents.case import case_of
from bot.playbooks.incidents.opening import Opened
from bot.playbooks.incidents.papers import Result
from bot.playbooks.incidents.record_files import RecordFile
from bot.playbooks.rollback import records as documents
from bot.playbooks.rollback import text as words
from bot.playbooks.rollback.plan import RollbackPlan
from bot.playbooks.rollback.text import RollbackFacts
from bot.playbooks.run import Run
from bot.playbooks.steps import Patch
from bot.playbooks.words.standing import StatusMessage
from bot.playbooks.words.voice import PublishedStatus
from bot.playbooks.work import IncidentWorkflow
from bot.records.documents.adr import Pointer
from bot.triggers import Trigger


class RollbackWorkflow(IncidentWorkflow[RollbackPlan, RolloutMessages]):
    """One rollback under way."""

    merging_vouches = True

    def __init__(
        self,
        run: Run,
        trigger: Trigger,
        plan: RollbackPlan,
        parts: RolloutResources,
        opened: Opened,
    ) -> None:
        """Begin, or begin again after a crash."""
        retreat = plan.retreat
        case = case_of(
            RolloutMessages,
            trigger,
            opened,
            plan,
            kind="rollback",
            proposal="fix",
            title=words.title(plan.capability, retreat.candidate),
            web_url=parts.web_url,
            short=run.patched(Patch.SHORT_BRANCH_NAMES),
            about=about_capability(plan.capability),
            capability=plan.capability,
            baseline=retreat.baseline,
            candidate=retreat.candidate,
            policy=plan.policy,
            before=plan.base_head,
        )
        super().__init__(run, trigger, plan, parts, opened, case, asked_on=trigger.source.subject)
        self.facts = RollbackFacts(
            anomaly=plan.anomaly,
            before=retreat.before,
            reshadow=plan.reshadow,
            diffs=plan.diffs,
            watched=plan.watched,
        )

    def decide(self, at: datetime) -> None:
        """Write the decision record: proposed, its outcome pending."""
        self.adr = documents.decision(
            self.case,
            self.facts,
            Pointer(label=self.plan.mode.capitalize(), value=self.plan.report),
            at=at,
            audit=self.casebook.anchor,
        )

    def section(self, standing: StatusMessage) -> str:
        """The managed section of the fix pull request's description."""
        return words.section(self.case, standing, self.facts, self.counting)

    def saying(self, standing: StatusMessage, head: str | None) -> PublishedStatus:
        """What every place says of a standing."""
        del head
        case = self.case
        issue = words.issue(case, standing, self.facts)
        section = None if case.pull_request is None else self.section(standing)
        return PublishedStatus(standing, status(case, standing), issue, section)

    def record_files(self, result: Result) -> tuple[RecordFile, ...]:
        """The ADR and the report."""
        return self.adr_and_report(documents.report(self.account(result), self.case, self.plan))
