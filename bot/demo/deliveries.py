"""Webhook deliveries: signed, numbered, redeliverable."""

from __future__ import annotations

from bot.demo.calls import Routes
from bot.demo.faults import Faults
from bot.demo.world import Event, World

routes = Routes()


class Deliveries:
    """Sends every event to every App that may hear it."""

    def __init__(self, world: World, faults: Faults) -> None:
        """Remember the world; nothing is sent before `start`."""
        self.world, self.faults = world, faults

    def publish(self, event: Event) -> None:
        """Queue the event for its receivers; called for every event, at once, in order."""

    async def start(self) -> None:
        """Begin sending."""

    async def stop(self) -> None:
        """Stop sending."""

    async def settle(self, timeout: float = 30) -> None:  # noqa: ASYNC109
        """Wait until nothing is left to send."""
