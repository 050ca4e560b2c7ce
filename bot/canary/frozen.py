"""What the shadow taught of the baseline, frozen before the ramp begins.

Thresholds and scales must not know the data they judge; so they come from the shadow and do not
move any more. They need not be right for a test to be valid, only for it to be quick.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from bot.canary.eprocess import Floats
from bot.canary.facts import StrictValue

QUANTILES = {"latency_p50": 0.50, "latency_p95": 0.95, "latency_p99": 0.99}

Positive = Annotated[float, Field(gt=0)]


class FrozenCost(StrictValue):
    """Costs above `cap` (the 99.9% quantile) count as `cap`; `mean`: of the costs. USD."""

    mean: Positive
    cap: Positive


class FrozenRoas(StrictValue):
    """`ratio`: revenue per spend; `scale`: what a request hardly ever brings or costs. USD."""

    ratio: Positive
    scale: Positive


class FrozenBaseline(StrictValue):
    """The baseline as the shadow saw it. A metric it did not see is None, and is not judged.

    Attributes:
        n: requests seen.
        error_rate: share that failed; None if failures were not reported.
        latency: 256 evenly spaced quantiles of the latency of successes, seconds.
        thresholds: seconds, by metric: the quantile it watches.
        cost: see there; `total`: only sums of costs will be known.
        roas: see there.
    """

    n: int
    error_rate: float | None = None
    latency: tuple[float, ...] | None = None
    thresholds: dict[str, float] = Field(default_factory=dict)
    cost: FrozenCost | Literal["total"] | None = None
    roas: FrozenRoas | None = None

    def rank(self, latency: Floats) -> Floats:
        """The share of the baseline's latencies below each of these; ties count half."""
        knots = np.array(self.latency)
        below = np.searchsorted(knots, latency, "left") + np.searchsorted(knots, latency, "right")
        return below / (2 * len(knots))
