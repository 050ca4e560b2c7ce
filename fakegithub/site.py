"""What the answering parts of the demo GitHub need of it: its state, limits, runner, deliveries."""

from __future__ import annotations

from dataclasses import dataclass

from fakegithub.actions.runner import Runner
from fakegithub.deliveries.deliveries import Deliveries
from fakegithub.limits import RateLimits
from fakegithub.world.world import World


@dataclass(frozen=True)
class Site:
    """One GitHub, seen by whoever answers its requests."""

    world: World
    limits: RateLimits
    deliveries: Deliveries
    runner: Runner
