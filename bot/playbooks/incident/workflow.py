"""One incident under way: what is known about it so far, and the papers it keeps.

Everything here follows from recorded steps, so a replay after a crash comes to the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Generic, Literal, Protocol, TypeVar

from bot import markdown
from bot.github.models import RepositoryFacts
from bot.playbooks.checks.green import Counting
from bot.playbooks.incident import record_files, report_base
from bot.playbooks.incident.branches import Naming
from bot.playbooks.incident.context import C, Opened, SettledPlan
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.ports import IncidentResources
from bot.playbooks.incident.publisher import PublishedStatus, StatusPlaces, StatusPublisher
from bot.playbooks.incident.record_files import Recorded, RecordFile, recorded
from bot.playbooks.incident.recorder import IncidentRecorder
from bot.playbooks.incident.report_base import ReportAccount, Result
from bot.playbooks.run import Run, Signal
from bot.playbooks.steps import AnyStep, Patch
from bot.playbooks.undo import Undoer
from bot.records.documents.artifacts import TimelineEvent
from bot.triggers import Trigger

CLOCKS_DIFFER_BY = timedelta(hours=1)
"""At most, ours and GitHub's: what is ours is looked for from that long before the command."""


class ProposalPlan(SettledPlan, Protocol):
    """What every plan of a playbook that proposes a change has settled."""

    @property
    def base_head(self) -> str:
        """The head of the base branch when it was settled."""

    @property
    def facts(self) -> RepositoryFacts:
        """The repository's settings."""


P = TypeVar("P", bound=ProposalPlan)


class IncidentWorkflow(ABC, Generic[P, C]):
    """One incident under way; each playbook adds its words and papers.

    Attributes:
        plan: what was settled before anything was touched.
        case: the facts its texts need; grows as things appear.
        attempt: which attempt at the incident this is, counted from 1.
        recorder: writes down what happens.
        publisher: tells people.
        counting: the checks that decide about the proposal.
        adr: the text of its decision record.
        timeline: what happened, for the report.
        undoers: how the steps that touch the world are taken back; added before they run.
        joined: which sorts of requests for the same came in after the Run began.
    """

    def __init__(
        self,
        run: Run,
        trigger: Trigger,
        plan: P,
        parts: IncidentResources,
        opened: Opened,
        case: C,
        *,
        asked_on: int | None,
    ) -> None:
        """Begin, or begin again after a crash.

        Args:
            run: the Run.
            trigger: the request.
            plan: what was settled.
            parts: what it acts through.
            opened: the incident.
            case: its facts.
            asked_on: where people look for an answer; None where only the incident issue is left.
        """
        self.run = run
        self.trigger = trigger
        self.plan = plan
        self.parts = parts
        self.github = parts.github
        self.case = case.model_copy(update={"page": parts.page_of(case.incident)})
        self.attempt = opened.attempt
        self.recorder = IncidentRecorder(run, trigger, opened, parts.signing_key)
        since = opened.incident.detected_at - CLOCKS_DIFFER_BY
        status_places = StatusPlaces(parts.github, case.incident, since=since, run=run.id)
        self.publisher = StatusPublisher(
            run, status_places, asked_on, opened.attempt, self.case.page
        )
        self.counting = Counting(smoke=(), smoke_from="passed before", evals=())
        self.adr = ""
        self.timeline: tuple[TimelineEvent, ...] = ()
        self.undoers: list[Undoer] = []
        self.joined: set[Literal["person", "program"]] = set()

    # --- what each playbook says in its own way ---

    @abstractmethod
    def saying(self, standing: StatusMessage, head: str | None) -> PublishedStatus:
        """What every place says of a standing; `head` is the proposal's commit, if it counts."""

    @abstractmethod
    def record_files(self, result: Result) -> tuple[RecordFile, ...]:
        """The ADR, the report, and what else is kept, in this order."""

    async def brought_home(self) -> None:
        """Tidy up what only led to the merge, now that the records are on the default branch."""

    # --- what is alike ---

    @property
    def naming(self) -> Naming:
        """How its branch is called, and what says that it is its own."""
        case, short = self.case, self.run.patched(Patch.SHORT_BRANCH_NAMES)
        return Naming(case.kind, case.proposal, case.incident, self.attempt, short)

    def note_joined(self, signals: Sequence[Signal]) -> None:
        """Take notice of who asked for the same, as far as these Signals tell."""
        for each in signals:
            if each.joins is None:
                continue
            self.joined.add(each.joins)
            known = (self.case.requested_by.login, *self.case.also_asked)
            who = each.actor
            if who is not None and each.joins == "person" and who.login not in known:
                self.case = self.case.model_copy(
                    update={"also_asked": (*self.case.also_asked, who.login)}
                )

    def happened(self, at: datetime, what: str, url: str | None = None) -> None:
        """Add to the report's timeline."""
        self.timeline = (*self.timeline, TimelineEvent(at=at, what=what, url=url))

    async def open_issue(
        self, title: str, body: str, *, labels: tuple[str, ...] | None = None
    ) -> None:
        """Open the incident issue, and note it; where none can be opened, it goes without.

        Args:
            title: plain text.
            body: Markdown.
            labels: None: those of an incident.
        """
        number = await self.publisher.open_issue(self.case, title, body, labels=labels)
        if number is not None:
            self.case = self.case.model_copy(update={"issue": number})
            await self.recorder.issue(number)

    async def tell(
        self, standing: StatusMessage, head: str | None = None, *, last: bool = False
    ) -> None:
        """Make every place say the same; the `last` time the issue says it when it is closed."""
        self.case = self.case.model_copy(
            update={"severity": self.recorder.severity, "untold": self.run.untold.left}
        )
        await self.publisher.everywhere(self.case, self.saying(standing, head), last=last)

    def account(self, result: Result) -> ReportAccount:
        """What its report tells, as things are now, besides what is the playbook's own."""
        return ReportAccount(
            case=self.case,
            trigger=self.trigger,
            result=result,
            run=self.run.id,
            timeline=self.timeline,
            audit=self.recorder.anchor,
        )

    def adr_and_report(self, report: bytes) -> tuple[RecordFile, RecordFile]:
        """The two files that every incident leaves, where they belong."""
        return (
            RecordFile(path=self.case.adr, content=markdown.for_file(self.adr)),
            RecordFile(path=self.case.artifact, content=markdown.for_file(report.decode())),
        )

    async def record(self, step: AnyStep, files: Sequence[RecordFile], message: str) -> bool:
        """Put files and the audit anchor on the records branch, as this step; whether it took."""
        anchor, incident = self.recorder.anchor, self.case.incident

        async def put_there() -> Recorded:
            return await record_files.record(
                self.github, self.parts.store, files, anchor, message, incident=incident
            )

        put = await recorded(self.run, step, put_there)
        if put is not None:
            self.case = self.case.model_copy(update={"records_branch": put.branch})
        return put is not None

    def settle(self, result: Result, on: datetime) -> tuple[RecordFile, ...]:
        """Write the final ADR and report."""
        anchor = self.recorder.anchor
        self.adr = report_base.settled(self.adr, result, on)
        self.case = self.case.model_copy(
            update={
                "audit_head": f"{anchor.seq}:{anchor.head_hash[:12]}",
                "severity": self.recorder.severity,
            }
        )
        return self.record_files(result)
