"""Stub."""

from __future__ import annotations

from bot.demo.calls import Routes
from bot.demo.world import Event, World

routes = Routes()


def listen(world: World, event: Event) -> None:
    """Merge what waits for this event."""
    del world, event
