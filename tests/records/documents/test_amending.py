"""What a person's word makes of an incident's papers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from bot.records.documents.adr import amended_adr, amended_report, outcome_of
from bot.records.documents.artifacts import DecisionOutcome
from bot.records.lifecycle import IncidentStatus

AT = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
ADR = """---
status: "accepted"
date: 2026-04-30
decision-makers: ["alice"]
outcome: "failed"
outcome-date: 2026-04-30
---

# Revert #4

## Decision Outcome

### Confirmation

The checks that count are green.

* 2026-04-30: main did not turn green.

## More Information
"""
PROPOSED = ADR.replace('"accepted"', '"proposed"')


def test_what_was_carried_out_is_confirmed_by_closing_and_failed_by_opening_again() -> None:
    assert outcome_of(ADR, IncidentStatus.RESOLVED) is DecisionOutcome.CONFIRMED
    assert outcome_of(ADR, IncidentStatus.ACTIVE) is DecisionOutcome.FAILED
    changed = amended_adr(ADR, DecisionOutcome.CONFIRMED, "closed by bob.", at=AT)
    assert 'outcome: "confirmed"\noutcome-date: 2026-05-01\n' in changed
    assert "main did not turn green.\n* 2026-05-01: closed by bob.\n" in changed
    assert 'status: "accepted"' in changed


def test_what_was_never_carried_out_is_rejected() -> None:
    assert outcome_of(PROPOSED, IncidentStatus.RESOLVED) is DecisionOutcome.FAILED
    changed = amended_adr(PROPOSED, DecisionOutcome.FAILED, "closed by bob.", at=AT)
    assert 'status: "rejected"' in changed
    assert 'outcome: "failed"' in changed


def test_a_report_keeps_its_form_and_everything_else_it_says() -> None:
    facts = {"incident": "a", "outcome": "failed", "status": "mitigated", "timeline": []}
    report = json.dumps(facts)
    changed = amended_report(
        report, IncidentStatus.RESOLVED, DecisionOutcome.CONFIRMED, "closed by bob", at=AT
    )
    assert changed.endswith("}\n")
    assert json.loads(changed) == {
        "incident": "a",
        "outcome": "confirmed",
        "status": "resolved",
        "timeline": [{"at": "2026-05-01T12:30:00Z", "what": "closed by bob", "url": None}],
    }
    bare = amended_report("{}", IncidentStatus.RESOLVED, DecisionOutcome.CONFIRMED, "x", at=AT)
    assert json.loads(bare) == {}


def test_papers_that_are_not_there_stay_so() -> None:
    assert amended_adr("", DecisionOutcome.FAILED, "x", at=AT) == ""
    assert amended_report("", IncidentStatus.ACTIVE, DecisionOutcome.FAILED, "x", at=AT) == ""
