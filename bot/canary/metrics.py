"""The metrics: failures, latency by quantile and by rank, cost, return on ad spend.

Latency is judged among successes: a quick failure is not speed, and counts as a failure.
"""

from __future__ import annotations

import numpy as np

from bot.canary.columns import Measurements, succeeded
from bot.canary.comparison import Bound, Comparison, EventComparison, ScoreComparison
from bot.canary.eprocess import Bools, Floats
from bot.canary.frozen import FrozenBaseline, FrozenCost, FrozenRoas
from bot.canary.policy import ErrorMetric, Policy, RatioMetric
from bot.canary.totals import TotalCosts


class Failures(EventComparison):
    """Failed requests."""

    def __init__(self, name: str, metric: ErrorMetric) -> None:
        """Compare failure rates."""
        tolerated = Bound(ratio=1 + metric.tolerance)
        super().__init__(name, metric.alpha, tolerated, Bound(ratio=metric.margin_ratio))

    def seen(self, measured: Measurements) -> Bools:
        """Tell where it was reported whether the request failed."""
        return np.isfinite(measured.error)

    def bad(self, measured: Measurements, ease: float | Floats) -> Bools:  # noqa: ARG002  a failure has no size
        """Tell which requests failed."""
        return np.asarray(measured.error == 1, np.bool_)


class SlowAnswers(EventComparison):
    """Answers slower than a quantile of the baseline."""

    def __init__(self, name: str, metric: RatioMetric, threshold: float) -> None:
        """Compare how often `threshold` (seconds) is exceeded."""
        super().__init__(name, metric.alpha, *_bounds(metric))
        self.threshold = threshold

    def seen(self, measured: Measurements) -> Bools:
        """Tell which requests succeeded and were timed."""
        return succeeded(measured)

    def bad(self, measured: Measurements, ease: float | Floats) -> Bools:
        """Tell which successes were slower than the threshold."""
        return succeeded(measured) & (measured.latency > self.threshold * ease)


class LatencyRanks(ScoreComparison):
    """Whole distributions of latency: a sequential Mann-Whitney test."""

    def __init__(self, name: str, metric: RatioMetric, frozen: FrozenBaseline) -> None:
        """Rank latencies among the frozen baseline's."""
        super().__init__(name, metric.alpha, *_bounds(metric))
        self.frozen = frozen

    def seen(self, measured: Measurements) -> Bools:
        """Tell which requests succeeded and were timed."""
        return succeeded(measured)

    def score(self, measured: Measurements, ease: float | Floats) -> Floats:
        """The rank: -1 quicker than all of the baseline, 1 slower than all."""
        return 2 * self.frozen.rank(measured.latency / ease) - 1


class Costs(ScoreComparison):
    """Mean costs, the largest ones cut."""

    def __init__(self, name: str, metric: RatioMetric, frozen: FrozenCost) -> None:
        """Compare costs on the frozen scale."""
        super().__init__(name, metric.alpha, *_bounds(metric))
        self.frozen = frozen

    def seen(self, measured: Measurements) -> Bools:
        """Tell which costs were reported."""
        return np.isfinite(measured.cost)

    def score(self, measured: Measurements, ease: float | Floats) -> Floats:
        """The distance from the baseline's mean; 1 at the cap."""
        mean, cap = self.frozen.mean, self.frozen.cap
        return np.clip((np.minimum(measured.cost / ease, cap) - mean) / (cap - mean), -1, 1)


class ReturnOnSpend(ScoreComparison):
    """Revenue short of what the spend should bring at the baseline's ratio."""

    def __init__(self, name: str, metric: RatioMetric, frozen: FrozenRoas) -> None:
        """Compare what is missing, on the frozen scale."""
        tolerated, margin = Bound(1 / (1 - metric.tolerance)), Bound(1 / (1 - metric.margin))
        super().__init__(name, metric.alpha, tolerated, margin)
        self.frozen = frozen

    def seen(self, measured: Measurements) -> Bools:
        """Tell where both revenue and spend were reported."""
        return np.isfinite(measured.revenue) & np.isfinite(measured.spend)

    def score(self, measured: Measurements, ease: float | Floats) -> Floats:
        """The missing revenue; the candidate may bring the tolerated share less."""
        missing = self.frozen.ratio * measured.spend / ease - measured.revenue
        return np.clip(missing / self.frozen.scale, -1, 1)


def _bounds(metric: RatioMetric) -> tuple[Bound, Bound]:
    return Bound(1 + metric.tolerance), Bound(1 + metric.margin)


def comparisons(policy: Policy, frozen: FrozenBaseline) -> dict[str, Comparison]:
    """Set up every metric of the policy that the shadow observed, by name."""
    found: dict[str, Comparison] = {}
    for name, metric in policy.metrics.chosen():
        if isinstance(metric, ErrorMetric):
            if frozen.error_rate is not None:
                found[name] = Failures(name, metric)
        elif name == "latency":
            if frozen.latency is not None:
                found[name] = LatencyRanks(name, metric, frozen)
        elif name == "cost":
            if frozen.cost == "total":
                found[name] = TotalCosts(name, metric)
            elif frozen.cost is not None:
                found[name] = Costs(name, metric, frozen.cost)
        elif name == "roas":
            if frozen.roas is not None:
                found[name] = ReturnOnSpend(name, metric, frozen.roas)
        elif name in frozen.thresholds:
            found[name] = SlowAnswers(name, metric, frozen.thresholds[name])
    return found
