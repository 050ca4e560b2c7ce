"""A candidate on trial, by a shadow or a ramp: how it begins, and its papers."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Generic, TypeVar

from bot.canary.reports import RampReport, ShadowDiffReport
from bot.playbooks.candidate.case import CandidateCase
from bot.playbooks.incidents.papers import Result
from bot.playbooks.incidents.record_files import RecordFile
from bot.playbooks.words.standing import Standing
from bot.playbooks.work import Plan, Work
from bot.records.documents.artifacts import canonical_bytes

P = TypeVar("P", bound=Plan)
C = TypeVar("C", bound=CandidateCase)
R = TypeVar("R", ShadowDiffReport, RampReport)


class CandidateWork(Work[P, C], Generic[P, C, R]):
    """One shadow or ramp under way.

    Attributes:
        report: what is known of it; None before the first look.
    """

    report: R | None = None

    @abstractmethod
    def title(self) -> str:
        """What its incident is called (plain text)."""

    @abstractmethod
    def decide(self, at: datetime) -> None:
        """Write the decision record: proposed, its outcome pending."""

    def section(self, standing: Standing) -> str:
        """Nothing is proposed: nothing stands in a description."""
        del standing
        return ""

    def record_files(self, result: Result) -> tuple[RecordFile, ...]:
        """The decision record, and the report once there is one."""
        del result
        adr = RecordFile(path=self.case.adr, content=self.adr)
        if self.report is None:
            return (adr,)
        written = canonical_bytes(self.report).decode()
        return adr, RecordFile(path=self.case.artifact, content=written)

    async def announce(self, standing: Standing) -> None:
        """Open its issue and write its decision record, before a request reaches the candidate."""
        kind, now = self.case.kind, await self.run.now()
        self.happened(now, f"{kind} asked for")
        if self.case.issue is None:
            body = self.saying(standing, None).issue
            self.know(
                issue=await self.voice.open_issue(self.case, self.title(), body, labels=(kind,))
            )
            await self.casebook.issue(self.case.issue or 0)
        await self.casebook.papers(adr=self.case.adr, artifact=self.case.artifact)
        self.decide(now)
        files = self.record_files(Result())
        await self.record(f"record the {kind}", files, f"Open {kind} {self.case.incident}")
        await self.voice.first_status(self.saying(standing, None))
