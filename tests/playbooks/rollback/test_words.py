"""Every word a rollback says, side by side: read them aloud when a snapshot changes."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from bot.playbooks.checks.green import Counting
from bot.playbooks.rollback import messages, report
from bot.playbooks.rollback.messages import RollbackFacts
from bot.records.audit.anchors import Anchor
from bot.records.documents.adr import Pointer
from bot.records.documents.reports import Anomaly, Reshadow
from tests.playbooks.rollout.facts import ALERTS, BREACH, START, diffs, rollback_case

COUNTING = Counting(smoke=("smoke",), smoke_from="configured", evals=())
AGAIN = Reshadow(
    needed=True,
    reason="The candidate fails more often than tolerated, and the shadow before did not show it.",
    failing_metric="error",
    min_pairs=2400,
    salt="8",
    command="/shadow llm.summarize provider-b",
)
STRAIGHT_ON = Reshadow(
    needed=False,
    reason="The data was broken; nothing was learned about the candidate. Fix what reports it, "
    "then ramp again.",
    failing_metric=None,
    min_pairs=None,
    salt="8",
    command="/ramp llm.summarize",
)
MEASURED = Anomaly(
    kind="breach", metric="error", said=BREACH.evidence, log_e=4.3, limit=4.2, also=BREACH.also
)
CASES = {
    "measured": (
        rollback_case(reason=BREACH.evidence),
        RollbackFacts(anomaly=MEASURED, before=25, reshadow=AGAIN, diffs=diffs(), watched=7),
    ),
    "an alert": (
        rollback_case(requested_by=ALERTS, reason="ErrorBudgetBurn fires"),
        RollbackFacts(
            anomaly=Anomaly(kind="alert", metric=None, said="ErrorBudgetBurn fires"),
            before=5, reshadow=AGAIN, diffs={}, watched=7,
        ),
    ),
    "a person": (
        rollback_case(reason="answers are *empty*"),
        RollbackFacts(
            anomaly=Anomaly(kind="person", metric=None, said="answers are *empty*"),
            before=100, reshadow=AGAIN, diffs={}, watched=None,
        ),
    ),
    "in a shadow": (
        rollback_case(),
        RollbackFacts(
            anomaly=Anomaly(kind="person", metric=None, said="Asked for by alice."),
            before=0, reshadow=STRAIGHT_ON, diffs={}, watched=7, promoted="provider-a",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_incident_issue_the_fix_and_their_commits(
    name: str, snapshot: SnapshotAssertion
) -> None:
    case, facts = CASES[name]
    standing = messages.starting(case)
    said = [
        messages.issue_title(case),
        messages.issue(case, standing, facts),
        messages.title(case.capability, case.candidate),
        messages.section(case, standing, facts, COUNTING),
        messages.commit_message(case, facts),
        messages.flags_message(case.capability, case.baseline),
    ]
    assert "\n\n=====\n\n".join(said) == snapshot


@pytest.mark.parametrize("name", CASES)
def test_the_decision_record(name: str, snapshot: SnapshotAssertion) -> None:
    case, facts = CASES[name]
    anchor = Anchor(repository="1", seq=9, head_hash="f" * 64, time=START, signature="s")
    ramp = Pointer(label="Ramp", value="reports/ramp.json")
    assert report.decision(case, facts, ramp, at=START, audit=anchor) == snapshot


def test_what_is_answered_where_nothing_is_done(snapshot: SnapshotAssertion) -> None:
    case, _ = CASES["measured"]
    nothing = messages.nothing_to_take_back("llm.summarize", None).declined
    behind = messages.nothing_to_take_back("llm.summarize", "provider-b").declined
    said = [
        nothing,
        behind,
        messages.joined(9, case.incident),
        messages.joined(None, case.incident),
    ]
    assert said == snapshot
