"""What senders write is read into the same words, whatever the format."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from bot.intake.alerts.cloudevents import CloudEvent, event_report, window_of
from bot.intake.alerts.formats import AlertmanagerBody, GrafanaBody, alert_report
from bot.records.alerts import ConditionReport
from bot.triggers import Repository
from tests.playbooks.alerts.alerting import alert, event, grafana, payload

REPOSITORY = Repository(id=1, owner="acme", name="shop", installation_id=2)
NOW = datetime(2026, 5, 1, 13, tzinfo=UTC)


def _alert(**labels: str) -> ConditionReport:
    body = AlertmanagerBody.model_validate(payload("g", alert("A", **labels)))
    return alert_report(body.alerts[0], body, REPOSITORY)


def _event(kind: str, **data: object) -> ConditionReport:
    return event_report(CloudEvent.model_validate(event(kind, **data)), REPOSITORY, NOW)


@pytest.mark.parametrize(
    ("report", "severity"),
    [
        (_alert(severity="page"), "critical"),
        (_alert(severity="warning"), "medium"),
        (_alert(severity="whatever"), "medium"),
        (_event("slo.breach", burn_rates={"1h": 15, "5m": 15}), "critical"),
        (_event("slo.breach", burn_rates={"6h": 7, "30m": 7}, severity="info"), "high"),
        (_event("slo.breach"), "medium"),
        (_event("eval.drop"), "medium"),
        (_event("eval.drop", beyond="guardrail"), "high"),
        (_event("safety.violation"), "high"),
        (_event("safety.violation", irreversible=True), "critical"),
        (_event("budget.overrun", share=0.85), "low"),
        (_event("budget.overrun", share=1.5, still_spending=True), "high"),
    ],
)
def test_severity_follows_the_table(report: ConditionReport, severity: str) -> None:
    assert report.said.severity == severity


@pytest.mark.parametrize(
    ("labels", "blamed"),
    [
        ({"pull_request": "7"}, (7, None, None)),
        ({"pull_request": "#7"}, (7, None, None)),
        ({"commit": "ABCDEF1"}, (None, "abcdef1", None)),
        ({"capability": "llm.summarize"}, (None, None, "llm.summarize")),
        ({"pull_request": "7; rm"}, (None, None, None)),
        ({"commit": "HEAD"}, (None, None, None)),
        ({"capability": "a b"}, (None, None, None)),
    ],
)
def test_labels_blame_only_what_is_written_like_it(
    labels: dict[str, str], blamed: tuple[object, ...]
) -> None:
    said = _alert(**labels).said
    assert (said.pull_request, said.commit, said.capability) == blamed


def test_a_recovery_is_about_the_same_condition_as_its_breach() -> None:
    breach, over = _event("slo.breach"), _event("slo.breach", status="resolved")
    assert breach.group == over.group
    assert (breach.firing, over.firing) == (True, False)


def test_an_event_without_a_time_counts_from_when_it_came() -> None:
    body = {k: v for k, v in event("slo.breach").items() if k != "time"}
    assert event_report(CloudEvent.model_validate(body), REPOSITORY, NOW).at == NOW


def test_titles_are_one_line_and_addresses_are_web_addresses() -> None:
    one = alert("A") | {
        "annotations": {"summary": "a\n\x1b[31m  b"},
        "generatorURL": "javascript:x",
    }
    body = AlertmanagerBody.model_validate(payload("g", one))
    said = alert_report(body.alerts[0], body, REPOSITORY).said
    assert (said.title, said.url) == ("a [31m b", "http://alertmanager.test")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["version", "groupKey", "status", "alerts", "labels", "startsAt", "data", "id"]),
        inner, max_size=4), max_leaves=8))  # fmt: skip
def test_nonsense_is_refused_and_never_breaks_the_reader(given_: object) -> None:
    for model in (AlertmanagerBody, GrafanaBody, CloudEvent):
        with pytest.raises(ValidationError):
            model.model_validate_json(json.dumps(given_))


def test_grafana_says_the_same_in_its_own_words() -> None:
    one = alert("A", at=timedelta(minutes=1), capability="llm.summarize", severity="warning")
    theirs = AlertmanagerBody.model_validate(payload("g", one))
    ours = GrafanaBody.model_validate(grafana("g", one))
    expected = alert_report(theirs.alerts[0], theirs, REPOSITORY)
    found = alert_report(ours.alerts[0], ours, REPOSITORY)
    assert found.said == expected.said
    assert (found.source, found.at, found.firing) == ("grafana", expected.at, True)
    assert found.group != expected.group


@pytest.mark.parametrize("body", [AlertmanagerBody, GrafanaBody])
@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-10:00"])
def test_a_time_beyond_all_calendars_is_refused_and_not_our_fault(
    body: type[BaseModel], time: str
) -> None:
    given_ = (payload if body is AlertmanagerBody else grafana)(
        "g", alert("A") | {"startsAt": time}
    )
    with pytest.raises(ValidationError, match="between the years 1 and 9999"):
        body.model_validate(given_)


@pytest.mark.parametrize(
    ("group", "one"),
    [
        ({"truncatedAlerts": None}, {}),
        ({"commonLabels": None, "commonAnnotations": 7, "groupLabels": None}, {}),
        ({}, {"annotations": {"summary": "A is bad", "value": 12, "runbook": None}}),
        ({}, {"annotations": {"summary": "A is bad", **{f"a{n}": "x" for n in range(300)}}}),
        ({}, {"endsAt": None, "generatorURL": None, "values": {"B": float("nan")}}),
    ],
)
@pytest.mark.parametrize("body", [AlertmanagerBody, GrafanaBody])
def test_what_is_not_needed_costs_neither_an_alert_nor_its_group(
    body: type[AlertmanagerBody | GrafanaBody], group: dict[str, object], one: dict[str, object]
) -> None:
    written = payload if body is AlertmanagerBody else grafana
    said = body.model_validate(written("g", alert("A") | one) | group)
    assert alert_report(said.alerts[0], said, REPOSITORY).said.title == "A is bad"
    assert not alert_report(said.alerts[0], said, REPOSITORY).unseen


@pytest.mark.parametrize("version", ["4", 1, None, "1.0"])
def test_another_version_than_documented_is_refused(version: object) -> None:
    with pytest.raises(ValidationError, match="version"):
        GrafanaBody.model_validate(grafana("g", alert("A")) | {"version": version})


def test_windows_are_minutes_hours_and_days() -> None:
    assert window_of("90m") == timedelta(minutes=90)
    with pytest.raises(ValueError, match="5m, 6h or 3d"):
        window_of("1w")
