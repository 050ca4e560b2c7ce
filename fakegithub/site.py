"""What the answering parts of the demo GitHub need of it: its state, limits, runner, deliveries."""

from __future__ import annotations

from dataclasses import dataclass

from fakegithub.actions.runner import WorkflowRunner
from fakegithub.deliveries.deliveries import DeliverySender
from fakegithub.limits import RateLimits
from fakegithub.world.world import World


@dataclass(frozen=True)
class Site:
    """One GitHub, seen by whoever answers its requests."""

    world: World
    limits: RateLimits
    deliveries: DeliverySender
    runner: WorkflowRunner
