"""Alerts as their senders send them: fire, recover, fire again, test, a bad one among good."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from bot.records.alerts import WELL_AFTER
from bot.records.incidents import Incident
from tests.intake.alerts import published
from tests.intake.alerts.published import (
    DATADOG_DEFAULT,
    GRAFANA_TEST,
    SENTRY_ISSUE,
    SENTRY_ISSUE_ALERT,
    SENTRY_METRIC_ALERT,
    datadog,
    sentry,
)
from tests.playbooks.alerts.alerting import Sender, alert, event, grafana, payload
from tests.shop import ALERT_MAPPINGS, API_TOKEN, Clock, Shop

JSON = "application/json"
BATCHES = "application/cloudevents-batch+json"


@pytest.fixture
async def sender(shop: Shop) -> AsyncIterator[Sender]:
    async with aiohttp.ClientSession() as session:
        yield Sender(shop, session)


@pytest.fixture
def later(clock: Clock) -> Callable[[], None]:
    """Let so much time pass that what fires now is no echo of what was."""
    return lambda: clock.forward(seconds=WELL_AFTER.total_seconds())


async def _ended_and_begun_again(sender: Sender, first: Incident) -> None:
    again = await sender.incident("active")
    assert again.id == first.id, "what fires again soon is the same incident"

    async def is_open() -> bool:
        return bool((await sender.shop.alice.issue(first.issue or 0))["state"] == "open")

    await sender.shop.eventually(is_open)


# --- Alertmanager and Grafana ---


@pytest.mark.thorough
@pytest.mark.sampled("grafana")
@pytest.mark.parametrize("kind", ["alertmanager", "grafana"])
async def test_an_alert_that_fires_again_with_its_old_start_is_not_taken_for_resolved(
    shop: Shop, sender: Sender, later: Callable[[], None], kind: str
) -> None:
    send = getattr(sender, kind)
    await send("g", alert("A"))
    first = await sender.incident("active")
    await send("g", alert("A", "resolved"))
    await sender.incident("resolved")
    await send("g", alert("A"))
    await shop.looked_again()
    assert [each.status for each in await sender.incidents()] == ["resolved"], "an echo"
    later()
    await send("g", alert("A"))
    await _ended_and_begun_again(sender, first)
    await send("g", alert("A", "resolved"))
    await sender.incident("resolved")


@pytest.mark.thorough
async def test_what_fires_again_while_its_end_is_being_recorded_keeps_its_issue_open(
    shop: Shop, sender: Sender
) -> None:
    await sender.alertmanager("g", alert("A"))
    first = await sender.incident("active")
    await shop.eventually(lambda: _recorded(shop, first))
    with shop.holding_back(f"/repos/{shop.name}/git/commits", method="POST", times=1) as came:
        await sender.alertmanager("g", alert("A", "resolved"))
        await sender.incident("resolved")
        await shop.eventually(came)
        await sender.alertmanager("g", alert("A", at=timedelta(minutes=9)))
        assert (await sender.incident("active")).id == first.id
    await shop.looked_again()
    assert (await shop.alice.issue(first.issue or 0))["state"] == "open"


async def _recorded(shop: Shop, incident: Incident) -> bool:
    return await shop.alice.file(incident.adr or "", "playbooks/records") is not None


@pytest.mark.sampled("payload")
@pytest.mark.parametrize("body", [payload, grafana])
async def test_one_bad_alert_costs_only_itself(
    shop: Shop, sender: Sender, body: Callable[..., dict[str, Any]]
) -> None:
    path = "/alerts/alertmanager" if body is payload else "/alerts/grafana"
    good = alert("A", repository=shop.name)
    bad = [
        alert("B", repository=shop.name) | {"startsAt": "noon"},
        alert("C", repository=shop.name) | {"labels": {"a": 1}},
        "not an alert",
        alert("D", repository="acme/none"),
        alert("Watchdog", repository=shop.name, severity="none"),
    ]
    status, answer = await sender.post(path, body("g", good) | {"alerts": [*bad, good]}, JSON)
    assert (status, answer["accepted"]) == (202, 1)
    named = [(each["index"], each["field"]) for each in answer["rejected"]]
    assert named == [
        (0, "startsAt"), (1, "labels.a"), (2, "body"), (3, "labels.repository"),
        (4, "labels.severity"),
    ]  # fmt: skip
    await sender.incident("active")
    over = alert("A", "resolved", repository=shop.name)
    await sender.post(path, body("g", over) | {"alerts": [*bad, over]}, JSON)
    await sender.incident("resolved")


async def test_what_is_not_needed_may_be_anything(shop: Shop, sender: Sender) -> None:
    one = alert("A", repository=shop.name) | {
        "annotations": None,
        "endsAt": "0001-01-01T00:00:00+02:00",
        "generatorURL": 7,
    }
    body = payload("g", one) | {"commonLabels": {"a": 1}, "externalURL": None, "status": "odd"}
    status, answer = await sender.post("/alerts/alertmanager", body, JSON)
    assert (status, answer["accepted"]) == (202, 1), answer
    await sender.incident("active")


@pytest.mark.thorough
async def test_a_group_key_may_have_any_length(sender: Sender) -> None:
    key = '{}:{pod="' + "x" * 5000 + '"}'
    await sender.alertmanager(key, alert("A"))
    incident = await sender.incident("active")
    assert incident.group_key is not None
    assert incident.group_key.startswith('{}:{pod="xxx')
    await sender.alertmanager(key, alert("A", "resolved"))
    await sender.incident("resolved")


@pytest.mark.thorough
async def test_more_alerts_than_fit_are_not_all_lost(shop: Shop, sender: Sender) -> None:
    many = [alert(f"A{n}", repository=shop.name) for n in range(2001)]
    status, answer = await sender.post("/alerts/alertmanager", payload("g", *many), JSON)
    assert (status, answer["accepted"]) == (202, 2000)
    assert [each["index"] for each in answer["rejected"]] == [2000]
    incident = await sender.incident("active")
    issue = await shop.alice.issue(incident.issue or 0)
    assert "left some alerts out" in issue["body"], "what was left out may still fire"


@pytest.mark.parametrize("path", ["/alerts/cloudevents", "/alerts/mapped/datadog"])
async def test_a_batch_may_be_empty_or_too_long_and_is_not_all_lost(
    shop: Shop, sender: Sender, path: str
) -> None:
    one, kind = datadog() | {"repository": shop.name}, JSON
    if path == "/alerts/cloudevents":
        one, kind = event("slo.breach", repository=shop.name), BATCHES
    assert await sender.post(path, [], kind) == (202, {"accepted": 0, "rejected": []})
    status, answer = await sender.post(path, [one] * 2001, kind)
    assert (status, answer["accepted"]) == (202, 2000)
    [rejected] = answer["rejected"]
    assert (rejected["index"], rejected["field"]) == (2000, "body")
    assert rejected["problem"] == "at most 2,000 in one request; 1 were left out"
    await sender.incident("active")


async def test_grafanas_test_button_is_answered_and_nothing_follows(
    shop: Shop, sender: Sender
) -> None:
    changed = json.loads(json.dumps(GRAFANA_TEST))
    changed["alerts"][0]["labels"] = {"alertname": "Ours", "repository": shop.name}
    old = GRAFANA_TEST | {"groupKey": "57c6d9296de2ad39"}
    for body in (GRAFANA_TEST, changed, old):
        status, answer = await sender.post("/alerts/grafana", body, JSON)
        assert (status, answer["accepted"]) == (202, 0)
        assert "It came through" in answer["rejected"][0]["problem"]
    await shop.looked_again()
    assert await sender.incidents() == []


@pytest.mark.thorough
async def test_an_alert_that_only_sounds_like_a_test_counts(sender: Sender) -> None:
    real = alert("TestAlert", instance="shop-1")
    await sender.grafana('{}/{team="a"}:{alertname="TestAlert"}', real)
    await sender.incident("active")


# --- CloudEvents ---


def _event(shop: Shop, number: int, **data: Any) -> CloudEvent:
    attributes = {
        "id": f"event-{number}",
        "type": "com.acme.eval.drop",
        "source": "/evals",
        "subject": "summaries",
        "time": datetime(2026, 5, 1, 12, number, tzinfo=UTC),
    }
    return CloudEvent(attributes, {"repository": shop.name, "summary": "It is worse"} | data)


async def _send(sender: Sender, message: HTTPMessage) -> tuple[int, Any]:
    async with sender.session.post(
        f"http://127.0.0.1:{sender.shop.bot.port}/alerts/cloudevents",
        data=message.body,
        headers={"Authorization": f"Bearer {API_TOKEN}", **message.headers},
    ) as response:
        return response.status, await response.json(content_type=None)


def _binary(event: CloudEvent) -> HTTPMessage:
    message = to_binary_event(event)
    return HTTPMessage({**message.headers, "content-type": "application/json"}, message.body)


def _as_base64(event: CloudEvent) -> HTTPMessage:
    body = json.dumps(event.get_data()).encode()
    return to_structured_event(CloudEvent(dict(event.get_attributes()), body))


def _batched(events: Sequence[Any]) -> HTTPMessage:
    members = [
        json.loads(to_structured_event(each).body) if isinstance(each, CloudEvent) else each
        for each in events
    ]
    return HTTPMessage({"content-type": BATCHES}, json.dumps(members).encode())


@pytest.mark.sampled("_binary")
@pytest.mark.parametrize(
    "write", [to_structured_event, _binary, _as_base64, lambda event: _batched([event])]
)
async def test_what_the_sdk_writes_fires_recovers_and_fires_again(
    shop: Shop, sender: Sender, write: Callable[[CloudEvent], HTTPMessage]
) -> None:
    said = _event(shop, 1, severity="critical")
    assert (await _send(sender, write(said)))[0] == 202
    first = await sender.incident("active")
    assert (first.severity, first.title) == ("critical", "It is worse")
    assert (await _send(sender, write(_event(shop, 2, status="resolved"))))[0] == 202
    await sender.incident("resolved")
    assert (await _send(sender, write(_event(shop, 3, severity="critical"))))[0] == 202
    await _ended_and_begun_again(sender, first)


async def test_what_fires_in_the_future_recovers_when_its_end_is_heard(
    shop: Shop, sender: Sender
) -> None:
    said = _event(shop, 1, severity="critical")
    told = to_structured_event(said)
    ahead = told.body.replace(b"2026-05-01", b"2999-05-01")
    assert ahead != told.body
    assert (await _send(sender, HTTPMessage(told.headers, ahead)))[0] == 202
    await sender.incident("active")
    end = to_structured_event(_event(shop, 2, status="resolved"))
    assert (await _send(sender, end))[0] == 202
    await sender.incident("resolved")


@pytest.mark.thorough
async def test_one_bad_event_of_a_batch_costs_only_itself(shop: Shop, sender: Sender) -> None:
    good = _event(shop, 1)
    raw = event("eval.drop", repository=shop.name)
    bad = [
        {**raw, "type": "eval.gone"},
        {name: value for name, value in raw.items() if name != "id"},
        7,
        {**raw, "time": "noon"},
        {**raw, "data": None, "data_base64": "!"},
        {**raw, "data": {"repository": "acme/none"}},
    ]
    status, answer = await _send(sender, _batched([*bad, good]))
    assert (status, answer["accepted"]) == (202, 1), answer
    named = [(each["index"], each["field"]) for each in answer["rejected"]]
    assert named == [
        (0, "type"),
        (1, "id"),
        (2, "body"),
        (3, "time"),
        (4, "data_base64"),
        (5, "data.repository"),
    ]
    await sender.incident("active")


async def test_data_in_base64_is_decoded_or_refused_and_never_left_out(sender: Sender) -> None:
    raw = {k: v for k, v in event("slo.breach").items() if k != "data"}
    for given in ("?", 7, base64.b64encode(b"[1]").decode(), base64.b64encode(b"x").decode()):
        body = json.dumps(raw | {"data_base64": given}).encode()
        structured = HTTPMessage({"content-type": "application/cloudevents+json"}, body)
        status, answer = await _send(sender, structured)
        assert (status, answer["errors"][0]["field"]) == (400, "data_base64"), answer


@pytest.mark.thorough
async def test_attributes_may_have_any_length_null_is_unset_and_json_has_many_names(
    shop: Shop, sender: Sender
) -> None:
    raw = event("slo.breach", repository=shop.name) | {
        "id": "i" * 3000,
        "subject": None,
        "time": None,
        "dataschema": None,
    }
    raw["source"] = "/\ud800" + "s" * 3000
    raw["data"]["summary"] = "\ud800 is half a letter"
    status, answer = await _send(sender, _batched([raw]))
    assert (status, answer["accepted"]) == (202, 1), answer
    first = await sender.incident("active")
    assert first.severity == "medium"
    headers = {
        "content-type": "application/problem+json; charset=utf-8",
        "ce-specversion": "1.0",
        "ce-type": "slo.breach",
        "ce-id": "second",
        "ce-source": "/caf%C3%A9",
        "ce-time": "2026-05-01T12:00:00.123456789Z",
    }
    body = json.dumps({"repository": shop.name}).encode()
    assert (await _send(sender, HTTPMessage(headers, body)))[0] == 202


async def test_a_sender_of_events_that_asks_first_is_answered(sender: Sender) -> None:
    address = f"http://127.0.0.1:{sender.shop.bot.port}/alerts/cloudevents"
    asks = {"WebHook-Request-Origin": "eventgrid.test", "WebHook-Request-Rate": "120"}
    async with sender.session.options(address, headers=asks) as response:
        assert response.status == 200
        assert response.headers["WebHook-Allowed-Origin"] == "*"
        assert response.headers["WebHook-Allowed-Rate"] == "*"
        assert response.headers["Allow"] == "POST"
    async with sender.session.get(address) as response:
        assert response.status == 405


# --- Datadog ---


async def _datadog(sender: Sender, minute: int, **variables: str) -> tuple[int, Any]:
    at = datetime(2026, 5, 1, 12, minute, tzinfo=UTC)
    body = datadog(DATE=str(int(at.timestamp() * 1000)), **variables)
    body["repository"] = sender.shop.name
    return await sender.post("/alerts/mapped/datadog", body, JSON)


@pytest.mark.thorough
async def test_what_datadog_is_told_to_send_fires_recovers_and_fires_again(
    shop: Shop, sender: Sender
) -> None:
    assert await _datadog(sender, 1) == (202, {"accepted": 1, "rejected": []})
    first = await sender.incident("active")
    assert first.severity == "critical"
    assert first.title == "[Triggered on {host:ip-012345}] Host is Down"
    await _datadog(sender, 2, ALERT_TRANSITION="Re-Triggered")
    await _datadog(sender, 3, ALERT_TRANSITION="Recovered", ALERT_TYPE="success")
    await sender.incident("resolved")
    await _datadog(sender, 4, ALERT_TRANSITION="Warn", ALERT_PRIORITY="")
    await _ended_and_begun_again(sender, first)
    # Late by a retry of Datadog's: it belongs to what is over.
    await _datadog(sender, 5, ALERT_TRANSITION="Recovered")
    await sender.incident("resolved")
    await _datadog(sender, 4, ALERT_TRANSITION="Re-Warn")
    await shop.looked_again()
    assert [each.status for each in await sender.incidents()] == ["resolved"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"EVENT_TITLE": "[Triggered] [TEST] Host is Down"}, "It came through"),
        ({"ALERT_TITLE": "[TEST] [Triggered on {host:a}] Host is Down"}, "It came through"),
        ({"ALERT_TRANSITION": "No Data"}, "'No Data' says neither"),
        ({"ALERT_TRANSITION": "null"}, "'null' says neither"),
        ({"ALERT_TRANSITION": "Recovered"}, None),
    ],
)
async def test_datadogs_test_and_what_says_nothing_of_the_repository_open_nothing(
    shop: Shop, sender: Sender, variables: dict[str, str], why: str | None
) -> None:
    status, answer = await _datadog(sender, 1, **variables)
    assert status == 202
    assert (why or "") in "".join(each["problem"] for each in answer["rejected"])
    await shop.looked_again()
    assert await sender.incidents() == []


async def test_datadogs_default_payload_is_refused_with_what_to_paste(sender: Sender) -> None:
    status, answer = await sender.post("/alerts/mapped/datadog", DATADOG_DEFAULT, JSON)
    assert status == 400
    assert "docs/alerts/datadog.md" in answer["detail"]


@pytest.mark.thorough
async def test_a_bad_entry_of_a_mapped_batch_costs_only_itself(shop: Shop, sender: Sender) -> None:
    good = datadog() | {"repository": shop.name}
    nameless = {k: v for k, v in good.items() if k not in ("aggreg_key", "alert_id")}
    elsewhere = good | {"repository": "acme/none"}
    body = [7, nameless, elsewhere, DATADOG_DEFAULT, good]
    status, answer = await sender.post("/alerts/mapped/datadog", body, JSON)
    assert (status, answer["accepted"]) == (202, 1)
    named = [(each["index"], each["field"]) for each in answer["rejected"]]
    assert named == [(0, "state"), (1, "id"), (2, "repository"), (3, "state")]
    await sender.incident("active")


# --- Sentry ---


async def _sentry(sender: Sender, body: dict[str, Any], key: str = "of sentry") -> tuple[int, Any]:
    """Send as Sentry does: signed, without a token."""
    text = json.dumps(body).encode()
    mac = hmac.new(key.encode(), text, hashlib.sha256).hexdigest()
    async with sender.session.post(
        f"http://127.0.0.1:{sender.shop.bot.port}/alerts/mapped/sentry",
        data=text,
        headers={
            "Content-Type": JSON,
            "Sentry-Hook-Resource": "metric_alert",
            "Sentry-Hook-Timestamp": "1600000000",
            "Sentry-Hook-Signature": mac,
        },
    ) as response:
        return response.status, await response.json(content_type=None)


@pytest.mark.thorough
async def test_sentrys_metric_alert_fires_recovers_and_fires_again(
    shop: Shop, sender: Sender
) -> None:
    published_ = SENTRY_METRIC_ALERT
    assert (await _sentry(sender, sentry(published_, shop.name)))[0] == 202
    first = await sender.incident("active")
    assert (first.severity, first.title) == ("critical", "Too many errors")
    await _sentry(sender, sentry(published_, shop.name, action="resolved"))
    await sender.incident("resolved")
    await _sentry(sender, sentry(published_, shop.name, action="warning"))
    await _ended_and_begun_again(sender, first)


async def test_sentrys_issue_alert_ends_when_its_issue_is_resolved(
    shop: Shop, sender: Sender
) -> None:
    assert (await _sentry(sender, sentry(SENTRY_ISSUE_ALERT, shop.name)))[0] == 202
    first = await sender.incident("active")
    assert (first.severity, first.title) == ("high", "ReferenceError: heck is not defined")
    other = sentry(SENTRY_ISSUE, shop.name, action="resolved")
    await _sentry(sender, other)
    assert (await sender.incidents())[0].status == "active", "that was another issue"
    assert len(await sender.incidents()) == 1, "what no alert named opens nothing"
    other["data"]["issue"]["id"] = SENTRY_ISSUE_ALERT["data"]["event"]["issue_id"]
    await _sentry(sender, other)
    await sender.incident("resolved")
    await _sentry(sender, sentry(SENTRY_ISSUE_ALERT, shop.name))
    await _ended_and_begun_again(sender, first)


async def test_sentrys_test_and_what_is_no_alert_open_nothing(shop: Shop, sender: Sender) -> None:
    test = sentry(SENTRY_ISSUE_ALERT, shop.name)
    test["data"]["event"]["tags"].append(["sample_event", "yes"])
    status, answer = await _sentry(sender, test)
    assert (status, answer["accepted"]) == (202, 0)
    assert "It came through" in answer["rejected"][0]["problem"]
    installed = {"action": "created", "data": {"installation": {"status": "installed"}}}
    for body in (installed, sentry(SENTRY_ISSUE, shop.name)):
        status, answer = await _sentry(sender, body)
        assert (status, answer["accepted"]) == (202, 0)
        assert "says neither" in answer["rejected"][0]["problem"]
    await shop.looked_again()
    assert await sender.incidents() == []


@pytest.mark.thorough
async def test_a_rule_and_an_issue_of_the_same_number_are_two_things(
    shop: Shop, sender: Sender
) -> None:
    issue = sentry(SENTRY_ISSUE_ALERT, shop.name)
    issue["data"]["event"]["issue_id"] = "7"
    await _sentry(sender, issue)
    await _sentry(sender, sentry(SENTRY_METRIC_ALERT, shop.name))

    async def two() -> bool:
        return len(await sender.incidents()) == 2

    await shop.eventually(two)


@pytest.mark.thorough
async def test_only_sentrys_own_secret_or_a_token_may_send(shop: Shop, sender: Sender) -> None:
    body = sentry(SENTRY_METRIC_ALERT, shop.name)
    status, answer = await _sentry(sender, body, key="of somebody else")
    assert status == 401
    assert "Sentry-Hook-Signature" in answer["detail"]
    wrong = "not this one"
    assert (await sender.post("/alerts/mapped/sentry", body, JSON, wrong))[0] == 401
    assert (await sender.post("/alerts/mapped/nobody", body, JSON, wrong))[0] == 401
    status, answer = await sender.post("/alerts/mapped/nobody", body, JSON)
    assert status == 404
    assert all(name in answer["detail"] for name in ALERT_MAPPINGS)
    elsewhere = sentry(SENTRY_METRIC_ALERT, "other/shop")
    assert (await _sentry(sender, elsewhere))[0] == 422
    assert await sender.incidents() == []
    assert (await sender.post("/alerts/mapped/sentry", body, JSON))[0] == 202
    await sender.incident("active")


# --- anything else ---


@pytest.mark.thorough
async def test_any_sender_is_read_by_pointers(shop: Shop, sender: Sender) -> None:
    said = {"id": 7, "is": "DOWN", "about": shop.name}
    assert (await sender.post("/alerts/mapped/uptime", said, JSON))[0] == 202
    await sender.incident("active")
    assert (await sender.post("/alerts/mapped/uptime", said | {"is": "up"}, JSON))[0] == 202
    await sender.incident("resolved")
    assert (await sender.post("/alerts/mapped/uptime", said | {"is": None}, JSON))[0] == 400
    assert (await sender.post("/alerts/mapped/uptime", said, "text/plain"))[0] == 415


def test_the_pages_are_there_for_every_sender_and_are_found() -> None:
    index = (published.DOCS / "README.md").read_text(encoding="utf-8")
    pages = {each.name for each in published.DOCS.glob("*.md")} - {"README.md"}
    assert pages == {f"{name}.md" for name in ("alertmanager", "grafana", "cloudevents", "datadog",
                                               "sentry", "mapped")}  # fmt: skip
    assert all(page in index for page in pages)
