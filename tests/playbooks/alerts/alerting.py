"""Senders of alerts, and what they find afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from bot.records import incidents
from bot.records.incidents import Incident
from tests.shop import API_TOKEN, Shop

BEGAN = datetime(2026, 5, 1, 12, tzinfo=UTC)


def alert(
    name: str, status: str = "firing", *, at: timedelta = timedelta(), **labels: str
) -> dict[str, Any]:
    """One alert as Alertmanager writes it."""
    begun = BEGAN + at
    ended = begun + timedelta(minutes=5) if status == "resolved" else None
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "critical", **labels},
        "annotations": {"summary": f"{name} is bad"},
        "startsAt": begun.isoformat().replace("+00:00", "Z"),
        "endsAt": ended.isoformat().replace("+00:00", "Z") if ended else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.test/graph?g0.expr=up",
        "fingerprint": f"{abs(hash((name, tuple(sorted(labels.items()))))):016x}"[:16],
    }


def payload(group: str, *alerts: dict[str, Any], truncated: int = 0) -> dict[str, Any]:
    """Alertmanager's webhook."""
    firing = any(each["status"] == "firing" for each in alerts)
    return {
        "version": "4",
        "groupKey": group,
        "truncatedAlerts": truncated,
        "status": "firing" if firing else "resolved",
        "receiver": "playbooks",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.test",
        "alerts": list(alerts),
    }


def grafana(group: str, *alerts: dict[str, Any]) -> dict[str, Any]:
    """The webhook of Grafana's alerting: Alertmanager's, with a version and fields of its own."""
    body = payload(group, *alerts)
    return body | {
        "version": "1",
        "orgId": 1,
        "title": f"[{body['status'].upper()}:{len(alerts)}] {group}",
        "state": "alerting" if body["status"] == "firing" else "ok",
        "message": "**Firing**\n\nValue: B=44.2, C=1\n",
        "alerts": [
            each
            | {
                "values": {"B": 44.23943737541908, "C": 1},
                "silenceURL": "http://grafana.test/alerting/silence/new",
                "dashboardURL": "",
                "panelURL": "",
                "imageURL": "",
            }
            for each in alerts
        ],
    }


def event(kind: str, number: int = 1, **data: Any) -> dict[str, Any]:
    """A CloudEvent about the shop's checkout."""
    return {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "/evals",
        "type": kind,
        "subject": "checkout",
        "time": (BEGAN + timedelta(minutes=number)).isoformat(),
        "data": data,
    }


@dataclass
class Sender:
    """Sends to one bot, about one shop."""

    shop: Shop
    session: aiohttp.ClientSession

    async def post(
        self, path: str, body: Any, content_type: str, token: str = API_TOKEN
    ) -> tuple[int, Any]:
        """Send, and give status and JSON."""
        async with self.session.post(
            f"http://127.0.0.1:{self.shop.bot.port}{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}", "Content-Type": content_type},
        ) as response:
            return response.status, await response.json(content_type=None)

    async def alertmanager(self, group: str, *alerts: dict[str, Any], truncated: int = 0) -> None:
        """Send a group of alerts; it is taken."""
        for each in alerts:
            each["labels"].setdefault("repository", self.shop.name)
        body = payload(group, *alerts, truncated=truncated)
        status, answer = await self.post("/alerts/alertmanager", body, "application/json")
        assert status == 202, answer

    async def grafana(self, group: str, *alerts: dict[str, Any]) -> Any:
        """Send a group of alerts as Grafana does; the answer."""
        for each in alerts:
            each["labels"].setdefault("repository", self.shop.name)
        status, answer = await self.post(
            "/alerts/grafana", grafana(group, *alerts), "application/json"
        )
        assert status == 202, answer
        return answer

    async def cloudevent(self, kind: str, number: int = 1, **data: Any) -> None:
        """Send a CloudEvent; it is taken."""
        body = event(kind, number, repository=self.shop.name, **data)
        status, answer = await self.post(
            "/alerts/cloudevents", body, "application/cloudevents+json"
        )
        assert status == 202, answer

    async def just_now(self, kind: str, **data: Any) -> None:
        """Send a CloudEvent without a time of its own."""
        body = event(kind, repository=self.shop.name, **data)
        del body["time"]
        status, answer = await self.post(
            "/alerts/cloudevents", body, "application/cloudevents+json"
        )
        assert status == 202, answer

    async def incidents(self, kind: str = "alert") -> list[Incident]:
        """The shop's incidents of a kind, newest first."""
        async with self.shop.bot.read_only.connect() as conn:
            found = await incidents.list_recent(conn, self.shop.repository.id)
        return [each for each in found if each.kind == kind]

    async def incident(self, status: str, kind: str = "alert") -> Incident:
        """Wait until the newest incident has a status (and an issue)."""

        async def look() -> Incident | None:
            found = await self.incidents(kind)
            return found[0] if found and found[0].status == status and found[0].issue else None

        return await self.shop.eventually(look)  # type: ignore[no-any-return]
