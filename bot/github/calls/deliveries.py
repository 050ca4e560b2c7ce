"""Webhook deliveries that failed, and sending them again. Only the App itself may ask."""

from __future__ import annotations

from datetime import datetime

from bot.github.models import DeliveryAttempt
from bot.github.transport.channel import Channel

DELIVERIES = "/app/hook/deliveries"


class Deliveries:
    """The App's webhook deliveries of the last three days."""

    def __init__(self, as_app: Channel) -> None:
        """Ask through `as_app`, signed by the App's JWT."""
        self._channel = as_app

    async def failed(self, since: datetime) -> tuple[DeliveryAttempt, ...]:
        """Give the events since then of which no attempt was taken, oldest first.

        GitHub keeps deliveries for three days. Each event is given once: its latest attempt.
        Where nothing failed, this is one request.
        """
        failed: dict[str, DeliveryAttempt] = {}
        for delivery in await self._since(since, status="failure"):
            failed.setdefault(delivery.guid, delivery)
        if failed:
            first = min(delivery.delivered_at for delivery in failed.values())
            for delivery in await self._since(first, status="success"):
                failed.pop(delivery.guid, None)
        return tuple(
            sorted(failed.values(), key=lambda delivery: (delivery.delivered_at, delivery.id))
        )

    async def _since(self, since: datetime, *, status: str) -> list[DeliveryAttempt]:
        """List attempts, newest first; GitHub's filter is checked against what each one says."""
        found = []
        async for data in self._channel.items(DELIVERIES, query={"status": status}):
            delivery = DeliveryAttempt.model_validate(data)
            if delivery.delivered_at < since:
                break
            if delivery.is_ok == (status == "success") and delivery.status != "pending":
                found.append(delivery)
        return found

    async def redeliver(self, delivery: DeliveryAttempt) -> None:
        """Have GitHub send it again; the new attempt keeps the event's delivery id."""
        # Sent twice it only arrives twice, and the inbox takes each delivery id once.
        await self._channel.post(
            f"{DELIVERIES}/{{delivery_id}}/attempts", repeatable=True, delivery_id=delivery.id
        )
