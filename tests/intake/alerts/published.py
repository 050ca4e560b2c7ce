"""What senders publish of what they send, as far as it is read, each with its source."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from textwrap import dedent
from typing import Any

DOCS = Path(__file__).parents[3] / "docs" / "alerts"

DATADOG_VARIABLES = {
    "$AGGREG_KEY": "9bd4ac313a4d1e8fae2482df7b77628",
    "$ALERT_ID": "1234",
    "$ALERT_PRIORITY": "P1",
    "$ALERT_TITLE": "[Triggered on {host:ip-012345}] Host is Down",
    "$ALERT_TRANSITION": "Triggered",
    "$ALERT_TYPE": "error",
    "$DATE": "1406662672000",
    "$EVENT_TITLE": "[Triggered] [Memory Alert]",
    "$LINK": "https://app.datadoghq.com/event/jump_to?event_id=123456",
}
"""The variables and their examples: docs.datadoghq.com/integrations/webhooks, "Variables"."""

DATADOG_DEFAULT = {
    "body": "%%%\nWe get high traffic\nNotify: @webhook-playbooks\n%%%",
    "last_updated": "1759343824000",
    "event_type": "query_alert_monitor",
    "title": "[Triggered] High tracking",
    "date": "1759343824000",
    "org": {"id": "352347", "name": "acme"},
    "id": "8306082202796025694",
}
"""What Datadog sends where nobody pasted a payload: the same page, default of "Payload"."""

SENTRY_METRIC_ALERT: dict[str, Any] = {
    "action": "critical",
    "actor": {"id": "sentry", "name": "Sentry", "type": "application"},
    "data": {
        "description_text": "1000 events in the last 10 minutes\\\\nFilter: level:error",
        "description_title": "Critical: Too many errors",
        "metric_alert": {
            "alert_rule": {
                "aggregate": "count()",
                "created_by": None,
                "dataset": "events",
                "date_created": "2020-09-13T12:26:40.000000Z",
                "id": "7",
                "name": "Too many errors",
                "organization_id": "5",
                "projects": ["bar"],
                "query": "level:error",
                "triggers": [],
            },
            "date_closed": None,
            "date_started": "2020-09-13T12:26:40.000000Z",
            "id": "4",
            "identifier": "1",
            "projects": ["bar"],
            "status": 2,
            "title": "Sacred Marmot",
        },
        "web_url": "https://sentry.io/organizations/baz/alerts/1/",
    },
    "installation": {"uuid": "a8e5d37a-696c-4c54-adb5-b3f28d64c7de"},
}
"""docs.sentry.io, "Integration Platform", "Webhooks", "Metric Alerts" (`Payload`)."""

SENTRY_ISSUE_ALERT: dict[str, Any] = {
    "action": "triggered",
    "actor": {"id": "sentry", "name": "Sentry", "type": "application"},
    "data": {
        "event": {
            "datetime": "2019-08-19T21:06:17.677000Z",
            "event_id": "e4874d664c3540c1a32eab185f12c5ab",
            "fingerprint": ["{{ default }}"],
            "issue_url": "https://sentry.io/api/0/issues/1117540176/",
            "issue_id": "1117540176",
            "level": "error",
            "project": 1,
            "release": None,
            "tags": [["browser", "Chrome 75.0.3770"], ["handled", "no"], ["level", "error"]],
            "title": "ReferenceError: heck is not defined",
            "type": "error",
            "url": "https://sentry.io/api/0/projects/test-org/front-end/events/e4874d664c/",
            "web_url": "https://sentry.io/organizations/test-org/issues/1117540176/events/e4874d66/",
        },
        "triggered_rule": "Very Important Alert Rule!",
        "issue_alert": {"title": "Very Important Alert Rule!", "settings": []},
    },
    "installation": {"uuid": "a8e5d37a-696c-4c54-adb5-b3f28d64c7de"},
}
"""The same documentation, "Issue Alerts" (`Payload`)."""

SENTRY_ISSUE: dict[str, Any] = {
    "action": "created",
    "actor": {"id": "sentry", "name": "Sentry", "type": "application"},
    "data": {
        "issue": {
            "count": "1",
            "culprit": "?(runner)",
            "firstSeen": "2019-08-19T20:58:37.391000Z",
            "id": "1170820242",
            "level": "error",
            "permalink": None,
            "project": {"id": "1", "name": "front-end", "platform": "", "slug": "front-end"},
            "shortId": "FRONT-END-9",
            "status": "unresolved",
            "substatus": "escalating",
            "title": "ReferenceError: blooopy is not defined",
            "type": "error",
        }
    },
    "installation": {"uuid": "a8e5d37a-696c-4c54-adb5-b3f28d64c7de"},
}
"""The same documentation, "Issues" (`Payload`)."""

GRAFANA_TEST: dict[str, Any] = {
    "receiver": "playbooks",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "TestAlert", "instance": "Grafana"},
            "annotations": {"summary": "Notification test"},
            "startsAt": "2026-05-01T12:00:00.123456789Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": "57c6d9296de2ad39",
            "silenceURL": "https://grafana.test/alerting/silence/new",
            "dashboardURL": "",
            "panelURL": "",
            "values": None,
        }
    ],
    "groupLabels": {"alertname": "TestAlert", "instance": "Grafana"},
    "commonLabels": {"alertname": "TestAlert", "instance": "Grafana"},
    "commonAnnotations": {"summary": "Notification test"},
    "externalURL": "https://grafana.test/",
    "version": "1",
    "groupKey": "webhook-57c6d9296de2ad39-1777636800",
    "truncatedAlerts": 0,
    "orgId": 1,
    "title": "[FIRING:1] TestAlert Grafana",
    "state": "alerting",
    "message": "**Firing**\n",
}
"""`newTestAlert` and `TestNotifier` of github.com/grafana/alerting (notify), in the payload of
grafana.com/docs/grafana/latest/alerting, "Configure webhook notifications"."""


def pasted(page: str, language: str, place: int = 0) -> str:
    """What a page of docs/alerts tells to paste: its blocks of a language, in their order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^( *)```(\w+)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    found = [dedent(block) for _, named, block in blocks if named == language]
    return found[place]


def datadog(**variables: str) -> dict[str, Any]:
    """The payload of docs/alerts/datadog.md, filled in as Datadog does."""
    text = pasted("datadog.md", "json")
    values = DATADOG_VARIABLES | {f"${name}": value for name, value in variables.items()}
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(name, values[name])
    filled: dict[str, Any] = json.loads(text)
    return filled


def sentry(published: dict[str, Any], repository: str, **action: str) -> dict[str, Any]:
    """A published payload of Sentry's about a project that is called like a repository."""
    body = deepcopy(published) | action
    data = body["data"]
    if "metric_alert" in data:
        data["metric_alert"]["projects"] = [repository]
    elif "event" in data:
        data["event"]["project"] = repository
    else:
        data["issue"]["project"]["slug"] = repository
    return body
