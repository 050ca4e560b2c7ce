"""Webhook deliveries: signed, numbered, in order, recorded, and sent again on request.

https://docs.github.com/webhooks and https://docs.github.com/rest/apps/webhooks
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import uuid
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp

from bot.demo.github.calls import Answer, Call, Refused, Routes, not_found
from bot.demo.github.delivery_faults import Delay, DeliveryFault, Duplicate, Lose, Reorder
from bot.demo.github.faults import Faults
from bot.demo.github.model import App, Installation
from bot.demo.github.world import Event, World, node_id, timestamp

routes = Routes()

LARGEST_PAYLOAD = 25 * 1024 * 1024
ANSWER_WITHIN_SECONDS = 10.0
KEPT_FOR = timedelta(days=3)
_KEPT_ANSWER = 10_000
_ALWAYS_SENT = frozenset({"installation", "installation_repositories"})
# An App that may write checks hears of them without asking.
_SENT_TO_CHECKERS = frozenset({"check_run", "check_suite"})


@dataclass(eq=False)
class Delivery:
    """One attempt to deliver one event to one App; a redelivery is another with the same GUID."""

    id: int
    guid: str
    app: App
    event: str
    action: str | None
    installation_id: int | None
    repository_id: int | None
    payload: bytes
    headers: dict[str, str]
    url: str
    redelivery: bool = False
    delivered_at: datetime | None = None
    duration: float = 0.0
    status: str = "pending"
    status_code: int = 0
    answer: str | None = None
    answer_headers: dict[str, str] | None = None


@dataclass(eq=False)
class _Queue:
    """What waits for one App, in order, and the task that sends it."""

    waiting: deque[tuple[Delivery, DeliveryFault | None]] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    held: list[Delivery] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class Deliveries:
    """Sends every event to every App that may hear it: each App one after the other."""

    def __init__(self, world: World, faults: Faults) -> None:
        """Remember the world; nothing is sent before `start`."""
        self.world, self.faults = world, faults
        self.log: dict[int, Delivery] = {}
        self.answer_within = ANSWER_WITHIN_SECONDS
        self._queues: dict[int, _Queue] = {}
        self._late: set[asyncio.Task[None]] = set()
        self._unsent = 0
        self._session: aiohttp.ClientSession | None = None

    # Publishing

    def publish(self, event: Event) -> None:
        """Queue the event for its receivers; called for every event, at once, in order."""
        for installation in self._receivers(event):
            payload = event.payload
            if "installation" not in payload:
                node = node_id("Installation", installation.id)
                payload = payload | {"installation": {"id": installation.id, "node_id": node}}
            body = json.dumps(payload).encode()
            if len(body) > LARGEST_PAYLOAD:
                continue  # GitHub does not send these at all
            fault = self.faults.delivery(event)
            if isinstance(fault, Lose) and not fault.recorded:
                continue
            self._enqueue(self._prepare(event, installation, body), fault)

    def _receivers(self, event: Event) -> list[Installation]:
        if event.installation is not None:
            found = [event.installation]
        elif event.repository is not None:
            found = list(self.world.installations_on(event.repository))
        else:
            found = [i for i in self.world.installations.values() if i.suspended_at is None]
        return [
            installation
            for installation in found
            if installation.app.webhook_url
            and event.only_app in (None, installation.app)
            and _subscribed(installation, event.name)
        ]

    def _prepare(self, event: Event, installation: Installation, body: bytes) -> Delivery:
        app, guid = installation.app, str(uuid.UUID(int=self.world.rng.getrandbits(128), version=4))
        headers = {
            "Accept": "*/*",
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/demo",
            "X-GitHub-Delivery": guid,
            "X-GitHub-Event": event.name,
            "X-GitHub-Hook-ID": str(app.id),
            "X-GitHub-Hook-Installation-Target-ID": str(app.id),
            "X-GitHub-Hook-Installation-Target-Type": "integration",
        }
        return Delivery(
            self.world.new_id(), guid, app, event.name, event.action, installation.id,
            event.repository.id if event.repository else None, body, headers,
            app.webhook_url or "",
        )  # fmt: skip

    def redeliver(self, former: Delivery) -> Delivery:
        """Send a delivery again: same GUID and payload, to the App's present address."""
        again = replace(
            former, id=self.world.new_id(), redelivery=True, delivered_at=None, duration=0.0,
            status="pending", status_code=0, answer=None, answer_headers=None,
            url=former.app.webhook_url or former.url,
        )  # fmt: skip
        self._enqueue(again, None)
        return again

    def _enqueue(self, delivery: Delivery, fault: DeliveryFault | None) -> None:
        queue = self._queues.setdefault(delivery.app.id, _Queue())
        copies = fault.copies if isinstance(fault, Duplicate) else 1
        for _ in range(copies):
            queue.waiting.append((delivery, fault))
            self._unsent += 1
        queue.wake.set()
        if self._session is not None and queue.task is None:
            queue.task = asyncio.ensure_future(self._work(queue))

    # Sending

    async def start(self) -> None:
        """Begin sending, what was published before first."""
        self._session = aiohttp.ClientSession()
        for queue in self._queues.values():
            queue.task = asyncio.ensure_future(self._work(queue))

    async def stop(self) -> None:
        """Stop sending; what waits is lost."""
        tasks = [q.task for q in self._queues.values() if q.task is not None] + list(self._late)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._queues.clear()
        self._unsent = 0
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def settle(self, timeout: float = 30) -> None:  # noqa: ASYNC109 - the agreed name
        """Wait until nothing is left to send.

        Raises:
            TimeoutError: when something still is after `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            while self._unsent:  # noqa: ASYNC110 - several places count it down
                await asyncio.sleep(0.005)

    async def _work(self, queue: _Queue) -> None:
        while True:
            while not queue.waiting:
                queue.wake.clear()
                await queue.wake.wait()
            delivery, fault = queue.waiting.popleft()
            match fault:
                case Delay(seconds):
                    self._send_later(delivery, seconds)
                    continue
                case Reorder(seconds):
                    queue.held.append(delivery)
                    self._release_later(queue, delivery, seconds)
                    continue
                case Lose():
                    self._record(delivery, 0.0, "failed to connect to host", 502)
                    self._unsent -= 1
                case _:
                    await self._send(delivery)
            while queue.held:
                await self._send(queue.held.pop(0))

    def _send_later(self, delivery: Delivery, seconds: float) -> None:
        async def send() -> None:
            await asyncio.sleep(seconds)
            await self._send(delivery)

        self._keep(asyncio.ensure_future(send()))

    def _release_later(self, queue: _Queue, delivery: Delivery, seconds: float) -> None:
        async def release() -> None:
            await asyncio.sleep(seconds)
            if delivery in queue.held:
                queue.held.remove(delivery)
                await self._send(delivery)

        self._keep(asyncio.ensure_future(release()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _send(self, delivery: Delivery) -> None:
        try:
            await self._post(delivery)
        finally:
            self._unsent -= 1

    async def _post(self, delivery: Delivery) -> None:
        if self._session is None:
            return
        headers, secret = dict(delivery.headers), delivery.app.webhook_secret
        if secret is not None:
            headers["X-Hub-Signature"] = signature(secret, delivery.payload, "sha1")
            headers["X-Hub-Signature-256"] = signature(secret, delivery.payload)
        delivery.headers = headers
        began = time.monotonic()
        try:
            async with self._session.post(
                delivery.url, data=delivery.payload, headers=headers, allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self.answer_within),
            ) as response:  # fmt: skip
                text = (await response.content.read(_KEPT_ANSWER)).decode(errors="replace")
                status, code = "OK", response.status
                if not 200 <= code < 300:
                    status = f"Invalid HTTP Response: {code}"
                delivery.answer, delivery.answer_headers = text, dict(response.headers)
        except TimeoutError:
            status, code = "timed out", 504
        except (aiohttp.ClientError, OSError):
            status, code = "failed to connect to host", 502
        self._record(delivery, time.monotonic() - began, status, code)

    def _record(self, delivery: Delivery, seconds: float, status: str, code: int) -> None:
        delivery.delivered_at = self.world.now()
        delivery.duration = round(seconds, 2)
        delivery.status, delivery.status_code = status, code
        self.log[delivery.id] = delivery


def _subscribed(installation: Installation, event: str) -> bool:
    if event in _ALWAYS_SENT or event in installation.events:
        return True
    return event in _SENT_TO_CHECKERS and installation.permissions.get("checks") == "write"


def signature(secret: str, payload: bytes, algorithm: str = "sha256") -> str:
    """The value of `X-Hub-Signature-256` (with sha1: of `X-Hub-Signature`) for a payload."""
    return f"{algorithm}={hmac.new(secret.encode(), payload, algorithm).hexdigest()}"


# What an App may ask about its deliveries


def _recent(call: Call) -> list[Delivery]:
    """The calling App's deliveries of the last three days, newest first."""
    oldest = call.world.clock() - KEPT_FOR
    mine = [
        d
        for d in call.github.deliveries.log.values()
        if d.app is call.caller.app and d.delivered_at is not None and d.delivered_at >= oldest
    ]
    return sorted(mine, key=lambda d: d.id, reverse=True)


def _present(delivery: Delivery) -> dict[str, Any]:
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


def _one(call: Call) -> Delivery:
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
        raise Refused(400, "Invalid cursor or per_page")
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
    shown = {"content_type": "json", "insecure_ssl": "0", "url": app.webhook_url or ""}
    return shown | ({"secret": "********"} if app.webhook_secret else {})
