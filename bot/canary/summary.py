"""What the arms looked like, in bounded memory: for people, and to freeze a baseline."""

from __future__ import annotations

import numpy as np

from bot.canary.columns import Columns, Measurements, PairColumns, succeeded
from bot.canary.eprocess import Ints
from bot.canary.facts import StrictValue
from bot.canary.frozen import QUANTILES, FrozenBaseline, FrozenCost, FrozenRoas
from bot.canary.sketch import Sketch, SketchState

FEWEST = 100
"""Fewer values do not freeze a metric: it counts as not observed."""
WINSOR = 0.999
_KNOTS = (np.arange(256) + 0.5) / 256


class ArmState(StrictValue):
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

    def add(self, measured: Measurements, counts: Ints | None = None) -> None:
        """Count a batch; latencies of successes only. `counts`: how often each row happened."""
        often = np.ones(len(measured), dtype=np.int64) if counts is None else counts
        self.n += int(often.sum())
        self.judged += int(often[np.isfinite(measured.error)].sum())
        self.failed += int(often[measured.error == 1].sum())
        spent = np.isfinite(measured.revenue) & np.isfinite(measured.spend)
        for sketch, values, rows in (
            (self.latency, measured.latency, succeeded(measured)),
            (self.cost, measured.cost, np.isfinite(measured.cost)),
            (self.revenue, measured.revenue, spent),
            (self.spend, measured.spend, spent),
        ):
            sketch.add(values[rows], often[rows])

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


class ArmsState(StrictValue):
    """Saved summaries of both arms."""

    baseline: ArmState
    candidate: ArmState


class Arms:
    """Both arms' summaries."""

    def __init__(self) -> None:
        """Start empty."""
        self.baseline = ArmSummary()
        self.candidate = ArmSummary()

    def add(self, columns: Columns) -> None:
        """Count a ramp's observations."""
        for arm, rows in (
            (self.baseline, ~columns.candidate),
            (self.candidate, columns.candidate),
        ):
            found = columns.at(rows)
            arm.add(found.measured, found.counts)

    def add_pairs(self, pairs: PairColumns) -> None:
        """Count a shadow's pairs."""
        self.baseline.add(pairs.baseline)
        self.candidate.add(pairs.candidate)

    def save(self) -> ArmsState:
        """Write the state down."""
        return ArmsState(baseline=self.baseline.save(), candidate=self.candidate.save())

    @classmethod
    def restored(cls, saved: ArmsState) -> Arms:
        """Make it of what `save` wrote."""
        found = cls()
        found.baseline = ArmSummary.restored(saved.baseline)
        found.candidate = ArmSummary.restored(saved.candidate)
        return found
