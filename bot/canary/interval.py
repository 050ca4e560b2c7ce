"""Intervals for people: how many times the baseline's value the candidate's is.

Verdicts do not use them: they hold at one look, e-processes at every look.
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import TYPE_CHECKING

from bot import LazyModule
from bot.canary.baseline import Sketch
from bot.canary.eprocess import Floats, Ints
from bot.canary.policy import StrictValue

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

RESAMPLES = 2000
LEVEL = 0.95
_Z = 1.959963984540054


class Interval(StrictValue):
    """A ratio of candidate to baseline with its 95% interval.

    Attributes:
        ratio: the point estimate.
        low: lower end.
        high: upper end.
        method: how it was computed.
        resamples: how many were drawn; 0 if none.
    """

    ratio: float
    low: float
    high: float
    method: str
    resamples: int = 0


def generator(seed: str, metric_index: int) -> np.random.Generator:
    """The source of randomness for one metric: `PCG64(SeedSequence([seed, metric index]))`."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(seed), metric_index])))


def quantile_ratio(
    baseline: Sketch, candidate: Sketch, share: float, rng: np.random.Generator
) -> Interval | None:
    """Compare a quantile by the binomial-index bootstrap.

    A resample's quantile is the original value at a rank that is binomial(n + 1, share), so only
    ranks are drawn (Schultzberg and Ankargren 2022, "Resampling-free bootstrap inference for
    quantiles"). None where a quantile is zero or nothing was seen.
    """
    if not (len(baseline) and len(candidate)) or baseline.quantile(share) <= 0:
        return None
    below = baseline.ranked(_ranks(len(baseline), share, rng))
    ours = candidate.ranked(_ranks(len(candidate), share, rng))
    ratios = ours[below > 0] / below[below > 0]
    point = candidate.quantile(share) / baseline.quantile(share)
    return _between(point, ratios, "binomial-index bootstrap")


def _ranks(count: int, share: float, rng: np.random.Generator) -> Ints:
    return rng.binomial(count + 1, share, RESAMPLES)


def rate_ratio(
    baseline: tuple[int, int], candidate: tuple[int, int], rng: np.random.Generator
) -> Interval | None:
    """Compare rates, each given as (events, requests), by the binomial bootstrap.

    Half an event is added to each arm, so that none at all still has a ratio (Haldane 1956).
    """
    if not (baseline[1] and candidate[1]):
        return None

    def rates(arm: tuple[int, int]) -> Floats:
        events, count = arm
        drawn: Floats = (rng.binomial(count, events / count, RESAMPLES) + 0.5) / (count + 1)
        return drawn

    below, ours = rates(baseline), rates(candidate)
    point = (candidate[0] + 0.5) / (candidate[1] + 1) / ((baseline[0] + 0.5) / (baseline[1] + 1))
    return _between(point, ours / below, "binomial bootstrap")


def _between(point: float, ratios: Floats, method: str) -> Interval:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail]).tolist()
    return Interval(ratio=point, low=low, high=high, method=method, resamples=RESAMPLES)


def mean_ratio(baseline: Sketch, candidate: Sketch) -> Interval | None:
    """Compare means by the delta method on the log ratio; None where a mean is zero."""
    if not (len(baseline) and len(candidate)) or min(baseline.mean(), candidate.mean()) <= 0:
        return None
    spread = relative_variance(baseline) + relative_variance(candidate)
    return _around(candidate.mean() / baseline.mean(), spread)


def relative_variance(sketch: Sketch) -> float:
    """The squared relative standard error of the mean."""
    return sketch.variance() / len(sketch) / sketch.mean() ** 2


def return_ratio(
    baseline: tuple[Sketch, Sketch], candidate: tuple[Sketch, Sketch]
) -> Interval | None:
    """Compare revenue per spend, each given as (revenue, spend), by the delta method.

    Revenue and spend are taken as independent: wide rather than narrow where they go together.
    """
    sketches = (*baseline, *candidate)
    if not all(map(len, sketches)) or min(sketch.mean() for sketch in sketches) <= 0:
        return None
    point = candidate[0].mean() / candidate[1].mean() / (baseline[0].mean() / baseline[1].mean())
    return _around(point, sum(map(relative_variance, sketches)))


def _around(point: float, spread: float) -> Interval:
    reach = _Z * sqrt(spread)
    low, high = exp(log(point) - reach), exp(log(point) + reach)
    return Interval(ratio=point, low=low, high=high, method="delta method on the log ratio")
