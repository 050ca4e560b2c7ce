"""Whom alerts blame, and what is done about it: the table, and the words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from syrupy.assertion import SnapshotAssertion

from bot.playbooks.alerts import messages as words
from bot.playbooks.alerts.decide import (
    AlertEvidence,
    Following,
    LeaveIt,
    LookForIt,
    RevertIt,
    RollBackCapability,
    calm_before_end,
    what_follows,
)
from bot.playbooks.alerts.messages import AlertFacts
from bot.playbooks.alerts.workflow import began_at
from bot.playbooks.autorevert.decide import CheckEvidence, SoleSuspect, TellPeople
from bot.playbooks.autorevert.evidence import CheckLook, proposal
from bot.records.alerts import Condition, ConditionGroup, Said
from bot.triggers import Autonomy, Severity
from tests.playbooks.alerts.alerting import BEGAN

SELF_WORK = SoleSuspect(sha="a" * 40, age=timedelta(0), pull_request=7, is_self_work=True)
PERSON = SELF_WORK.model_copy(update={"is_self_work": False})
OTHER = SELF_WORK.model_copy(update={"sha": "b" * 40, "pull_request": 8})


def _condition(name: str = "a", *, firing: bool = True, **said: object) -> Condition:
    facts = {"title": "errors <b>", "severity": Severity.HIGH, **said}
    return Condition(fingerprint=name, at=BEGAN, firing=firing, said=Said.model_validate(facts))


def _evidence(*, said: dict[str, object] | None = None, **changed: object) -> AlertEvidence:
    return AlertEvidence(conditions=(_condition(**(said or {})),)).model_copy(update=changed)


@pytest.mark.parametrize(
    ("at", "began"),
    [
        (BEGAN, BEGAN),
        (BEGAN + timedelta(days=9), BEGAN + timedelta(days=1)),
        (datetime(1, 1, 1, tzinfo=UTC), BEGAN + timedelta(days=1)),
        (datetime(1970, 1, 1, tzinfo=UTC), BEGAN + timedelta(days=1)),
    ],
)
def test_a_moment_that_its_sender_does_not_know_hides_no_change_before_the_alert(
    at: datetime, began: datetime
) -> None:
    group = ConditionGroup(
        id="g", repository_id=1, source="alertmanager", group_key="g", title="errors", episode=1,
        followed=True, unseen=False, received=1, run="",
        conditions=(_condition().model_copy(update={"at": at}),),
    )  # fmt: skip
    assert began_at(group, BEGAN + timedelta(days=1)) == began


NAMED: dict[str, object] = {"pull_request": 7}


PROPOSED = _evidence(said={"capability": "llm"}, autonomy=Autonomy.PROPOSE)


@pytest.mark.parametrize(
    ("evidence", "expected", "detail"),
    [
        (_evidence(said=NAMED, named=SELF_WORK), RevertIt, "merge"),
        (_evidence(said=NAMED, named=PERSON), RevertIt, "open"),
        (_evidence(said=NAMED, named=SELF_WORK, autonomy=Autonomy.OPEN), RevertIt, "open"),
        (
            _evidence(said=NAMED, named=SELF_WORK, autonomy=Autonomy.PROPOSE),
            RevertIt,
            "an alert names it",
        ),
        (_evidence(said=NAMED, named=SELF_WORK, autonomy=Autonomy.OFF), LeaveIt, "switched off"),
        (_evidence(said=NAMED), LeaveIt, "#7 is no merged change"),
        (
            _evidence(said=NAMED, named=SELF_WORK.model_copy(update={"is_opted_out": True})),
            LeaveIt,
            "opted out",
        ),
        (
            _evidence(said=NAMED, named=SELF_WORK.model_copy(update={"is_reverted": True})),
            LeaveIt,
            "reverted already",
        ),
        (
            _evidence(said=NAMED, named=SELF_WORK.model_copy(update={"is_hotfix": True})),
            LeaveIt,
            "itself a hotfix",
        ),
        (_evidence(said=NAMED | {"severity": "low"}, named=SELF_WORK), LeaveIt, "low"),
        (_evidence(said={"capability": "llm"}), RollBackCapability, "llm"),
        (_evidence(said={"capability": "llm"}, is_known=False), LeaveIt, "not configured"),
        (PROPOSED, LeaveIt, "/rollback llm"),
        (
            _evidence(said={"capability": "llm"}, autonomy=Autonomy.OFF),
            LeaveIt,
            "/rollback llm",
        ),
        (_evidence(suspects=(SELF_WORK,)), RevertIt, "open"),
        (_evidence(suspects=(SELF_WORK, OTHER)), LookForIt, "2 changes"),
        (_evidence(), LeaveIt, "nothing was merged"),
        (_evidence(said={"severity": "medium"}, suspects=(PERSON,)), LeaveIt, "not bad enough"),
        (
            _evidence(said={"severity": "medium", "signal": "slo.breach"}, suspects=(PERSON,)),
            RevertIt,
            "open",
        ),
        (_evidence(said={"signal": "budget.overrun"}, suspects=(PERSON,)), LeaveIt, "spent"),
    ],
)
def test_the_table_of_what_follows(evidence: AlertEvidence, expected: type, detail: str) -> None:
    following = what_follows(evidence)
    assert isinstance(following, expected), following
    assert detail in str(following)


def _facts(following: Following | None, **changed: object) -> AlertFacts:
    group = ConditionGroup(
        id="0" * 32,
        repository_id=1,
        source="alertmanager",
        group_key='{}:{alertname="Errors"}',
        title="errors <b> | @everyone",
        episode=1,
        followed=True,
        unseen=False,
        received=3,
        run="",
        conditions=(_condition(), _condition("b", firing=False, url="https://x.test/a")),
    )
    facts = AlertFacts(
        incident="01j",
        severity=Severity.HIGH,
        group=group,
        adr="docs/decisions/x.md",
        records_url="https://github.test/acme/shop/blob/playbooks/records",
        following=following,
    )
    return facts.model_copy(update=changed)


@pytest.mark.parametrize(
    "facts",
    [
        _facts(what_follows(_evidence(said=NAMED, named=SELF_WORK))),
        _facts(what_follows(_evidence(said={"capability": "llm"}))),
        _facts(what_follows(_evidence(suspects=(SELF_WORK, OTHER)))),
        _facts(what_follows(_evidence())),
        _facts(what_follows(_evidence()), resolved=True),
        _facts(what_follows(_evidence()), stopped="alice"),
        _facts(what_follows(PROPOSED)),
        _facts(what_follows(_evidence(suspects=(SELF_WORK, OTHER), autonomy=Autonomy.PROPOSE))),
        _facts(what_follows(_evidence(said=NAMED, named=SELF_WORK, autonomy=Autonomy.OFF))),
    ],
    ids=[
        "revert",
        "rollback",
        "bisect",
        "people",
        "resolved",
        "cancelled",
        "a rollback left to people",
        "several suspects left to people",
        "switched off",
    ],
)
def test_the_words_of_an_incident_about_alerts(
    facts: AlertFacts, snapshot: SnapshotAssertion
) -> None:
    assert words.issue_title(facts.group) + "\n\n" + words.issue_body(facts) == snapshot


def test_the_words_that_ask_for_a_rollback(snapshot: SnapshotAssertion) -> None:
    left = what_follows(PROPOSED)
    assert isinstance(left, LeaveIt)
    assert words.asked_by_hand(_facts(left, issue=5), left, 9) == snapshot


def test_the_words_of_a_proposal(snapshot: SnapshotAssertion) -> None:
    looked = CheckLook(purpose="slo", base="main", evidence=CheckEvidence(streak=None))
    decision = TellPeople(reason="it failed once, and it passed on aaaaaaaaa before")
    assert proposal("p95 | `x`", looked, decision, "#7") == snapshot


def test_each_time_an_alert_comes_back_it_has_to_be_gone_for_longer() -> None:
    calm = [calm_before_end(timedelta(minutes=2), times).total_seconds() for times in range(1, 9)]
    assert calm == [30, 60, 120, 240, 480, 960, 1800, 1800]
    assert calm_before_end(timedelta(minutes=2), 10_000) == timedelta(minutes=30)
