"""What the answering parts of the demo GitHub need of it: its state, limits, runner, deliveries."""

from __future__ import annotations

from dataclasses import dataclass

from bot.demo.github.actions.runner import Runner
from bot.demo.github.deliveries.deliveries import Deliveries
from bot.demo.github.limits import RateLimits
from bot.demo.github.world.world import World


@dataclass(frozen=True)
class Site:
    """One GitHub, seen by whoever answers its requests."""

    world: World
    limits: RateLimits
    deliveries: Deliveries
    runner: Runner
