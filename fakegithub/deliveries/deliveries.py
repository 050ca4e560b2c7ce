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
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import aiohttp

from fakegithub.deliveries.delivery_faults import (
    Delay,
    DeliveryFault,
    Duplicate,
    Lose,
    Reorder,
)
from fakegithub.world.model import FakeApp, FakeInstallation
from fakegithub.world.world import Event, World, node_id

LARGEST_PAYLOAD = 25 * 1024 * 1024


ANSWER_WITHIN_SECONDS = 10.0


_KEPT_ANSWER = 10_000


_ALWAYS_SENT = frozenset({"installation", "installation_repositories"})


# An App that may write checks hears of them without asking.
_SENT_TO_CHECKERS = frozenset({"check_run", "check_suite"})


@dataclass(eq=False)
class FakeDelivery:
    """One attempt to deliver one event to one App; a redelivery is another with the same GUID."""

    id: int
    guid: str
    app: FakeApp
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

    waiting: deque[tuple[FakeDelivery, DeliveryFault | None]] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    held: list[FakeDelivery] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class DeliverySender:
    """Sends every event to every App that may hear it: each App one after the other."""

    def __init__(self, world: World, fault_of: Callable[[Event], DeliveryFault | None]) -> None:
        """Nothing is sent before `start`. `fault_of` tells what shall go wrong with an event."""
        self.world, self._fault_of = world, fault_of
        self.log: dict[int, FakeDelivery] = {}
        self.answer_within = ANSWER_WITHIN_SECONDS
        self._queues: dict[int, _Queue] = {}
        self._late: set[asyncio.Task[None]] = set()
        self._unsent = 0
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # Publishing

    def publish(self, event: Event) -> None:
        """Queue the event for its receivers; called for every event, at once, in order."""
        for installation in self._receivers(event):
            payload = event.payload
            if "installation" not in payload:
                node = node_id("Installation", installation.id)
                payload = payload | {"installation": {"id": installation.id, "node_id": node}}
            body = _as_sent(payload)
            if len(body) > LARGEST_PAYLOAD:
                continue  # GitHub does not send these at all
            fault = self._fault_of(event)
            if isinstance(fault, Lose) and not fault.recorded:
                continue
            self._enqueue(self._prepare(event, installation, body), fault)

    def _receivers(self, event: Event) -> list[FakeInstallation]:
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

    def _prepare(self, event: Event, installation: FakeInstallation, body: bytes) -> FakeDelivery:
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
        return FakeDelivery(
            self.world.new_id(), guid, app, event.name, event.action, installation.id,
            event.repository.id if event.repository else None, body, headers,
            app.webhook_url or "",
        )  # fmt: skip

    def redeliver(self, former: FakeDelivery) -> FakeDelivery:
        """Send a delivery again: same GUID and payload, to the App's present address."""
        again = replace(
            former, id=self.world.new_id(), redelivery=True, delivered_at=None, duration=0.0,
            status="pending", status_code=0, answer=None, answer_headers=None,
            url=former.app.webhook_url or former.url,
        )  # fmt: skip
        self._enqueue(again, None)
        return again

    def _enqueue(self, delivery: FakeDelivery, fault: DeliveryFault | None) -> None:
        queue = self._queues.setdefault(delivery.app.id, _Queue())
        copies = fault.copies if isinstance(fault, Duplicate) else 1
        for _ in range(copies):
            queue.waiting.append((delivery, fault))
            self._unsent += 1
        queue.wake.set()
        # What publishes may be plain code, outside of any task.
        if self._loop is not None and queue.task is None:
            queue.task = self._loop.create_task(self._work(queue))

    # Sending

    async def start(self) -> None:
        """Begin sending, what was published before first."""
        self._session = aiohttp.ClientSession()
        self._loop = asyncio.get_running_loop()
        for queue in self._queues.values():
            queue.task = self._loop.create_task(self._work(queue))

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

    def _send_later(self, delivery: FakeDelivery, seconds: float) -> None:
        async def send() -> None:
            await asyncio.sleep(seconds)
            await self._send(delivery)

        self._keep(asyncio.ensure_future(send()))

    def _release_later(self, queue: _Queue, delivery: FakeDelivery, seconds: float) -> None:
        async def release() -> None:
            await asyncio.sleep(seconds)
            if delivery in queue.held:
                queue.held.remove(delivery)
                await self._send(delivery)

        self._keep(asyncio.ensure_future(release()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _send(self, delivery: FakeDelivery) -> None:
        try:
            await self._post(delivery)
        finally:
            self._unsent -= 1

    async def _post(self, delivery: FakeDelivery) -> None:
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

    def _record(self, delivery: FakeDelivery, seconds: float, status: str, code: int) -> None:
        delivery.delivered_at = self.world.now()
        delivery.duration = round(seconds, 2)
        delivery.status, delivery.status_code = status, code
        self.log[delivery.id] = delivery


def _subscribed(installation: FakeInstallation, event: str) -> bool:
    if event in _ALWAYS_SENT or event in installation.events:
        return True
    return event in _SENT_TO_CHECKERS and installation.permissions.get("checks") == "write"


def signature(secret: str, payload: bytes, algorithm: str = "sha256") -> str:
    """The value of `X-Hub-Signature-256` (with sha1: of `X-Hub-Signature`) for a payload."""
    return f"{algorithm}={hmac.new(secret.encode(), payload, algorithm).hexdigest()}"


def _as_sent(payload: object) -> bytes:
    """The body as GitHub writes it: compact, and characters as they are."""
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    # Half a character has no bytes of its own.
    return text.encode("utf-8", "backslashreplace")
