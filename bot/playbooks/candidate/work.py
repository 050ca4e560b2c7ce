"""A candidate on trial, by a shadow or a ramp: how it begins, and its papers."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

from bot import markdown
from bot.canary.report import RampReport, ShadowDiffReport
from bot.playbooks.candidate.capability import CapabilitySettings, RolloutResources
from bot.playbooks.candidate.case import RolloutMessages, status
from bot.playbooks.candidate.evidence import chart_of
from bot.playbooks.candidate.records import WeighedCandidate, decision
from bot.playbooks.incidents.branches import about_capability
from bot.playbooks.incidents.case import case_of
from bot.playbooks.incidents.opening import Opened
from bot.playbooks.incidents.papers import Result
from bot.playbooks.incidents.record_files import RecordFile
from bot.playbooks.run import Run, StepFailed
from bot.playbooks.steps import Patch, Step
from bot.playbooks.words.standing import StatusMessage
from bot.playbooks.words.voice import PublishedStatus
from bot.playbooks.work import IncidentWorkflow
from bot.records.documents.artifacts import canonical_bytes
from bot.records.lifecycle import IncidentStatus
from bot.triggers import Trigger

P = TypeVar("P", bound=CapabilitySettings)
C = TypeVar("C", bound=RolloutMessages)
R = TypeVar("R", ShadowDiffReport, RampReport)

TELL_EVERY = timedelta(minutes=10)
"""As long as nothing changes but the numbers, the issue is brought up to date so often."""


class RolloutWorkflow(IncidentWorkflow[P, C], Generic[P, C, R]):
    """One shadow or ramp under way.

    Attributes:
        report: what is known of it; None before the first look.
    """

    report: R | None = None

    def __init__(
        self,
        run: Run,
        trigger: Trigger,
        plan: P,
        parts: RolloutResources,
        opened: Opened,
        facts: type[C],
        kind: Literal["shadow", "ramp"],
        title: str,
        **more: Any,
    ) -> None:
        """Begin, or begin again after a crash.

        Args:
            run: the Run.
            trigger: the request.
            plan: what was settled.
            parts: what it acts through.
            opened: the incident.
            facts: the kind of case.
            kind: the playbook.
            title: of the incident (plain text).
            more: the facts that only this kind of case has.
        """
        case = case_of(
            facts,
            trigger,
            opened,
            plan,
            kind=kind,
            proposal="fix",
            title=title,
            web_url=parts.web_url,
            short=run.patched(Patch.SHORT_BRANCH_NAMES),
            about=about_capability(plan.capability),
            capability=plan.capability,
            baseline=plan.policy.baseline,
            candidate=plan.candidate,
            policy=plan.policy.digest,
            reported=False,
            **more,
        )
        super().__init__(run, trigger, plan, parts, opened, case, asked_on=trigger.source.subject)
        self._title = title
        self._told: tuple[object, datetime] | None = None

    @abstractmethod
    def weighed(self) -> WeighedCandidate:
        """What was weighed before it began, for the decision record."""

    @abstractmethod
    def issue_body(self, standing: StatusMessage, picture: str | None) -> str:
        """What its issue says; `picture`: the address of its evidence, where there is one."""

    def decide(self, at: datetime) -> None:
        """Write the decision record: proposed, its outcome pending."""
        self.adr = decision(
            self.case, self.plan.policy, self.weighed(), at=at, audit=self.casebook.anchor
        )

    def saying(self, standing: StatusMessage, head: str | None) -> PublishedStatus:
        """What the status and the issue say of a standing."""
        del head
        chart = None if self.report is None else chart_of(self.report)
        issue = self.issue_body(standing, self.parts.pictures.of_evidence(chart))
        return PublishedStatus(standing, status(self.case, standing), issue)

    def section(self, standing: StatusMessage) -> str:
        """Nothing is proposed: nothing stands in a description."""
        del standing
        return ""

    def record_files(self, result: Result) -> tuple[RecordFile, ...]:
        """The decision record, and the report once there is one."""
        del result
        adr = RecordFile(path=self.case.adr, content=markdown.for_file(self.adr))
        if self.report is None:
            return (adr,)
        written = canonical_bytes(self.report).decode()
        return adr, RecordFile(path=self.case.artifact, content=markdown.for_file(written))

    async def announce(self, standing: StatusMessage) -> None:
        """Open its issue and write its decision record, before a request reaches the candidate."""
        kind, now = self.case.kind, await self.run.now()
        self.happened(now, f"{kind} asked for")
        if self.case.issue is None:
            body = self.saying(standing, None).issue
            await self.open_issue(self._title, body, labels=(kind,))
        await self.casebook.papers(adr=self.case.adr, artifact=self.case.artifact)
        self.decide(now)
        files = self.record_files(Result())
        await self.record(Step.RECORD_ATTEMPT.of(kind), files, f"Open {kind} {self.case.incident}")
        await self.voice.first_status(self.saying(standing, None))

    def is_news(self, what: object, now: datetime) -> bool:
        """Tell whether people are to be told now: it changed, or was said some time ago."""
        if self._told is not None:
            before, at = self._told
            if before == what and now - at < TELL_EVERY:
                return False
        self._told = what, now
        return True

    async def decline(self) -> None:
        """It broke off: a retry is another one, with an incident and evidence of its own."""
        with suppress(StepFailed):
            await self.casebook.move(f"{self.case.kind}.broke off", IncidentStatus.DECLINED)
