"""What an App asks about its deliveries. https://docs.github.com/rest/apps/webhooks."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from fakegithub.access.answers import Answer, RequestRefused, not_found
from fakegithub.deliveries.deliveries import FakeDelivery
from fakegithub.rest.calls import Call, Routes
from fakegithub.world.world import timestamp

routes = Routes()


KEPT_FOR = timedelta(days=3)


# What an App may ask about its deliveries


def _recent(call: Call) -> list[FakeDelivery]:
    """The calling App's deliveries of the last three days, newest first."""
    oldest = call.world.clock() - KEPT_FOR
    mine = [
        d
        for d in call.github.deliveries.log.values()
        if d.app is call.caller.app and d.delivered_at is not None and d.delivered_at >= oldest
    ]
    return sorted(mine, key=lambda d: d.id, reverse=True)


def _present(delivery: FakeDelivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "guid": delivery.guid,
        "delivered_at": timestamp(delivery.delivered_at) if delivery.delivered_at else "",
        "redelivery": delivery.redelivery,
        "duration": delivery.duration,
        "status": delivery.status,
        "status_code": delivery.status_code,
        "event": delivery.event,
        "action": delivery.action,
        "installation_id": delivery.installation_id,
        "repository_id": delivery.repository_id,
        "throttled_at": None,
    }


def _one(call: Call) -> FakeDelivery:
    wanted = call.number("delivery_id")
    found = next((d for d in _recent(call) if d.id == wanted), None)
    if found is None:
        raise not_found()
    return found


@routes.get("/app/hook/deliveries", jwt=True)
def list_deliveries(call: Call) -> Answer:
    """Newest first, by cursor; `status=failure` keeps those that were not answered with 2xx."""
    size, cursor = call.query.get("per_page", "30"), call.query.get("cursor", "")
    if not size.isdecimal() or (cursor and not cursor.removeprefix("v1_").isdecimal()):
        raise RequestRefused(400, "Invalid cursor or per_page")
    found = _recent(call)
    wanted = call.query.get("status")
    if wanted in ("success", "failure"):
        found = [d for d in found if (d.status == "OK") == (wanted == "success")]
    if cursor:
        found = [d for d in found if d.id < int(cursor.removeprefix("v1_"))]
    part = found[: min(max(int(size), 1), 100)]
    headers = {}
    if len(part) < len(found):
        following = call.url.update_query({"cursor": f"v1_{part[-1].id}"})
        headers["Link"] = f'<{following}>; rel="next"'
    return Answer(200, [_present(d) for d in part], headers)


@routes.get("/app/hook/deliveries/{delivery_id}", jwt=True)
def get_delivery(call: Call) -> Answer:
    """One delivery with what was sent and what was answered."""
    delivery = _one(call)
    request = {"headers": delivery.headers, "payload": json.loads(delivery.payload)}
    response = {"headers": delivery.answer_headers, "payload": delivery.answer}
    whole = _present(delivery) | {"url": delivery.url, "request": request, "response": response}
    return Answer(200, whole)


@routes.post("/app/hook/deliveries/{delivery_id}/attempts", jwt=True)
def redeliver(call: Call) -> Answer:
    """Send one delivery again; it keeps its GUID."""
    call.github.deliveries.redeliver(_one(call))
    return Answer(202, {})


@routes.get("/app/hook/config", jwt=True)
def get_config(call: Call) -> Answer:
    """Where the App's webhooks go; the secret is masked."""
    return Answer(200, _present_config(call))


@routes.add("PATCH", "/app/hook/config", jwt=True)
def update_config(call: Call) -> Answer:
    """Point the App's webhook elsewhere, or give it another secret."""
    app, body = call.caller.app, call.body
    if app is None:
        raise not_found()
    app.webhook_url = body.get("url", app.webhook_url)
    app.webhook_secret = body.get("secret", app.webhook_secret)
    return Answer(200, _present_config(call))


def _present_config(call: Call) -> dict[str, Any]:
    app = call.caller.app
    if app is None:
        raise not_found()
    shown = {"content_type": "json", "insecure_ssl": "0"}
    shown |= {"url": app.webhook_url} if app.webhook_url else {}
    return shown | ({"secret": "********"} if app.webhook_secret else {})
