"""What one arm looked like, in bounded memory: for people, and to freeze a baseline."""

from __future__ import annotations

import numpy as np

from bot.canary.columns import Measurements, succeeded
from bot.canary.facts import Facts
from bot.canary.frozen import QUANTILES, FrozenBaseline, FrozenCost, FrozenRoas
from bot.canary.sketch import Sketch, SketchState

FEWEST = 100
"""Fewer values do not freeze a metric: it counts as not observed."""
WINSOR = 0.999
_KNOTS = (np.arange(256) + 0.5) / 256


class ArmState(Facts):
    """A saved summary."""

    n: int
    judged: int
    failed: int
    latency: SketchState
    cost: SketchState
    revenue: SketchState
    spend: SketchState


class ArmSummary:
    """One arm's distributions, for people and to freeze a baseline. Memory is bounded."""

    def __init__(self) -> None:
        """Start empty."""
        self.n = 0
        self.judged = 0
        self.failed = 0
        self.latency = Sketch()
        self.cost = Sketch()
        self.revenue = Sketch()
        self.spend = Sketch()

    def add(self, measured: Measurements) -> None:
        """Count a batch; latencies of successes only."""
        self.n += len(measured)
        self.judged += int(np.isfinite(measured.error).sum())
        self.failed += int((measured.error == 1).sum())
        self.latency.add(measured.latency[succeeded(measured)])
        self.cost.add(measured.cost[np.isfinite(measured.cost)])
        both = np.isfinite(measured.revenue) & np.isfinite(measured.spend)
        self.revenue.add(measured.revenue[both])
        self.spend.add(measured.spend[both])

    @property
    def roas(self) -> float | None:
        """Revenue per spend; None without spend."""
        spent = self.spend.mean() if len(self.spend) else 0.0
        return self.revenue.mean() / spent if spent > 0 else None

    def freeze(self) -> FrozenBaseline:
        """Fix thresholds and scales from what was seen so far."""
        latency: tuple[float, ...] | None = None
        thresholds: dict[str, float] = {}
        if len(self.latency) >= FEWEST and self.latency.quantile(0.5) > 0:
            latency = tuple(self.latency.quantiles(_KNOTS).tolist())
            thresholds = {name: self.latency.quantile(q) for name, q in QUANTILES.items()}
        return FrozenBaseline(
            n=self.n,
            error_rate=self.failed / self.judged if self.judged >= FEWEST else None,
            latency=latency,
            thresholds=thresholds,
            cost=self._cost(),
            roas=self._roas(),
        )

    def _cost(self) -> FrozenCost | None:
        if len(self.cost) < FEWEST or self.cost.mean() <= 0:
            return None
        mean = self.cost.mean()
        return FrozenCost(mean=mean, cap=max(self.cost.quantile(WINSOR), mean * 2))

    def _roas(self) -> FrozenRoas | None:
        if len(self.spend) < FEWEST or not self.roas:
            return None
        largest = (self.revenue.quantile(WINSOR), self.roas * self.spend.quantile(WINSOR))
        return FrozenRoas(ratio=self.roas, scale=max(largest))

    def save(self) -> ArmState:
        """Write the state down."""
        return ArmState(
            n=self.n,
            judged=self.judged,
            failed=self.failed,
            latency=self.latency.save(),
            cost=self.cost.save(),
            revenue=self.revenue.save(),
            spend=self.spend.save(),
        )

    @classmethod
    def restored(cls, saved: ArmState) -> ArmSummary:
        """Make a summary of what `save` wrote."""
        found = cls()
        found.n, found.judged, found.failed = saved.n, saved.judged, saved.failed
        found.latency = Sketch.restored(saved.latency)
        found.cost = Sketch.restored(saved.cost)
        found.revenue = Sketch.restored(saved.revenue)
        found.spend = Sketch.restored(saved.spend)
        return found
