"""The papers of an incident that people took over: what they say is written into them. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime

from bot.records.documents.adr import with_outcome, with_status
from bot.records.documents.artifacts import DecisionOutcome, TimelineEvent, canonical_bytes
from bot.records.lifecycle import IncidentStatus

_ACCEPTED = re.compile(r'^status: "?accepted"?$', re.MULTILINE)


def outcome_of(adr: str, status: IncidentStatus) -> DecisionOutcome:
    """Say what a person's word makes of a decision: only what was carried out can be confirmed."""
    carried_out = _ACCEPTED.search(adr.partition("\n---\n")[0]) is not None
    good = carried_out and status is IncidentStatus.RESOLVED
    return DecisionOutcome.CONFIRMED if good else DecisionOutcome.FAILED


def amended_adr(adr: str, outcome: DecisionOutcome, said: str, *, at: datetime) -> str:
    """Note the outcome; a decision that was never carried out is rejected.

    Args:
        adr: as it stands; what is empty stays so.
        outcome: what became of the decision.
        said: one plain sentence.
        at: when.
    """
    if not adr:
        return adr
    if outcome is DecisionOutcome.FAILED and not _ACCEPTED.search(adr.partition("\n---\n")[0]):
        adr = with_status(adr, "rejected", at.date())
    return with_outcome(adr, outcome, at.date(), said)


def amended_report(
    report: str, status: IncidentStatus, outcome: DecisionOutcome, said: str, *, at: datetime
) -> str:
    """Note in a JSON report what became of its incident, and when.

    Args:
        report: as it stands; what is empty stays so.
        status: the incident's.
        outcome: what became of the decision.
        said: what happened, for the timeline.
        at: when.
    """
    if not report:
        return report
    facts = json.loads(report)
    happened = TimelineEvent(at=at, what=said).model_dump(mode="json")
    facts |= {
        name: value
        for name, value in (("status", str(status)), ("outcome", str(outcome)))
        if name in facts
    }
    if isinstance(facts.get("timeline"), list):
        facts["timeline"] = [*facts["timeline"], happened]
    return canonical_bytes(facts).decode()
