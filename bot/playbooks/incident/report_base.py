"""What the papers of every incident have in common: its ADR and its report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.playbooks.checks.green import CheckTally
from bot.playbooks.incident.context import IncidentContext
from bot.records.audit.anchors import Anchor
from bot.records.documents.adr import Pointer, with_outcome, with_status
from bot.records.documents.artifacts import (
    DecisionOutcome,
    HotfixRefs,
    MergeRecord,
    NumberedLink,
    Origin,
    TimelineEvent,
)
from bot.records.lifecycle import IncidentStatus
from bot.triggers import Trigger, Value


class Result(Value):
    """What became of an incident so far.

    Attributes:
        status: the incident's.
        outcome: whether the decision did what it was for.
        stopped: why it paused, or ended without a merge.
        tally: what the checks said of the proposal.
        refs: where the proposal stands in git, once it does.
        merge: how it got in.
        accepted: whether the decision stood: True once merged, False once it was dropped, None
            while it is open.
        said: one plain sentence of what was observed, for the ADR's confirmation.
    """

    status: IncidentStatus = IncidentStatus.ACTIVE
    outcome: DecisionOutcome = DecisionOutcome.PENDING
    stopped: str | None = None
    tally: CheckTally | None = None
    refs: HotfixRefs | None = None
    merge: MergeRecord | None = None
    accepted: bool | None = None
    said: str = ""


@dataclass(frozen=True)
class ReportAccount:
    """What every report on an incident tells alike, whatever the playbook.

    Attributes:
        case: the facts.
        trigger: the request.
        result: what became of it so far.
        run: the Run's id.
        timeline: what happened.
        audit: the signed end of the audit chain as of now.
    """

    case: IncidentContext
    trigger: Trigger
    result: Result
    run: str
    timeline: tuple[TimelineEvent, ...]
    audit: Anchor

    @property
    def told(self) -> dict[str, Any]:
        """The fields of `IncidentReport`, but for `schema` and `seed`."""
        case, result = self.case, self.result
        return {
            "incident": case.incident,
            "run": self.run,
            "repository": case.repository,
            "repository_id": str(self.trigger.repository.id),
            "trigger": origin(self.trigger),
            "requested_by": case.requested_by.login,
            "reason": case.reason,
            "severity": case.severity,
            "status": result.status,
            "outcome": result.outcome,
            "merge": result.merge,
            "timeline": self.timeline,
            "adr": case.adr,
            "issue": numbered(case, "issues", case.issue),
            "pull_request": numbered(case, "pull", case.pull_request),
            "audit": self.audit,
        }


def settled(adr: str, result: Result, on: datetime) -> str:
    """Write into the ADR what became of its decision, once that is known."""
    if result.accepted is not None:
        adr = with_status(adr, "accepted" if result.accepted else "rejected", on.date())
    if result.outcome is not DecisionOutcome.PENDING:
        adr = with_outcome(adr, result.outcome, on.date(), result.said)
    return adr


def pointers(case: IncidentContext) -> tuple[Pointer, ...]:
    """Where the ADR sends its readers: the report, and the incident issue where there is one."""
    report = Pointer(label="Report", value=case.artifact)
    issue = numbered(case, "issues", case.issue)
    if issue is None:
        return (report,)
    return (report, Pointer(label="Incident issue", value=f"#{issue.number}", url=issue.url))


def origin(trigger: Trigger) -> Origin:
    """Where a request came from, for the report."""
    return Origin(
        source=trigger.source.kind,
        object_id=trigger.source.object_id,
        received_at=trigger.received_at,
        url=trigger.source.url,
    )


def numbered(case: IncidentContext, place: str, number: int | None) -> NumberedLink | None:
    """Link an issue (`issues`) or a pull request (`pull`), for the report."""
    if number is None:
        return None
    return NumberedLink(number=number, url=f"{case.repository_url}/{place}/{number}")
