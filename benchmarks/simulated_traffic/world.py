"""Traffic through a ramp: what both arms answer, second by second, and what is wrong with one.

20 requests a second for 2,400 s; the candidate gets 5, 25, 50 and 95%, 600 s each. One request in
a hundred fails, latencies are lognormal (median 0.2 s, sigma 0.8), costs lognormal (sigma 0.8), and
one request in twenty brings revenue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bot.canary.observations import Columns, Measurements

Floats = NDArray[np.float64]

RATE = 20
SECONDS = 2400
PERCENTS = (5, 25, 50, 95)
STAGE_SECONDS = SECONDS // len(PERCENTS)
SHADOW_REQUESTS = 2000
KEYS = 6000
LATENCY_SIGMA = 0.8


@dataclass(frozen=True)
class Scene:
    """What the world is like, and what the candidate does differently.

    Attributes:
        tails: of latency, cost and revenue.
        drift: latency grows by half and failures double, in both arms.
        bursts: outages of both arms: 20 of 10 to 30 s, a third fails, three times slower.
        sticky: the split decides on keys; few keys send most requests, and fail or are slow
            together.
        latency: factor on the candidate's latency.
        errors: added to the candidate's failure rate.
        cost: factor on the candidate's cost.
        begins: seconds; the candidate is as good as the baseline before.
        percents: the split, equally long.
    """

    tails: Literal["lognormal", "pareto"] = "lognormal"
    drift: bool = False
    bursts: bool = False
    sticky: bool = False
    latency: float = 1.0
    errors: float = 0.0
    cost: float = 1.0
    begins: float = 0.0
    percents: tuple[int, ...] = PERCENTS


@dataclass(frozen=True)
class Traffic:
    """One run: when each request came, whose it was, and what was measured."""

    times: Floats
    percent: NDArray[np.int64]
    columns: Columns
    keys: NDArray[np.int64] | None


def shadow(scene: Scene, rng: np.random.Generator) -> Measurements:
    """What the shadow saw of the baseline beforehand."""
    return _answers(scene, np.zeros(SHADOW_REQUESTS), rng)


def traffic(scene: Scene, rng: np.random.Generator) -> Traffic:
    """Let one ramp happen."""
    count = RATE * SECONDS
    times = np.sort(rng.uniform(0, SECONDS, count))
    stage = (times * len(scene.percents) / SECONDS).astype(np.intp)
    percent = np.array(scene.percents)[stage]
    keys = None
    if scene.sticky:
        weights = rng.pareto(1.1, KEYS) + 0.05
        keys = rng.choice(KEYS, count, p=weights / weights.sum())
        candidate = rng.random(KEYS)[keys] < percent / 100
    else:
        candidate = rng.random(count) < percent / 100
    measured = _answers(scene, times, rng, keys)
    worse = candidate & (times >= scene.begins)
    failed = (measured.error == 1) | (worse & (rng.random(count) < scene.errors / 0.99))
    measured = Measurements(
        failed.astype(np.float64),
        np.where(worse, measured.latency * scene.latency, measured.latency),
        np.where(worse, measured.cost * scene.cost, measured.cost),
        measured.revenue,
        measured.spend,
    )
    return Traffic(times, percent, Columns(candidate, percent / 100, measured), keys)


def _answers(
    scene: Scene,
    times: Floats,
    rng: np.random.Generator,
    keys: NDArray[np.int64] | None = None,
) -> Measurements:
    """What the baseline answers at these times."""
    count = len(times)
    slower = np.ones(count)
    failing = np.full(count, 0.01)
    if scene.drift:
        slower += 0.5 * times / SECONDS
        failing *= 1 + times / SECONDS
    if scene.bursts:
        for start in rng.uniform(0, SECONDS, 20):
            during = (times >= start) & (times < start + rng.uniform(10, 30))
            slower[during] *= 3
            failing[during] = 0.33
    if keys is not None:
        slower *= np.exp(rng.normal(0, 0.5, KEYS))[keys]
        failing = np.minimum(failing * rng.pareto(1.1, KEYS)[keys], 0.9)
    draw = _pareto if scene.tails == "pareto" else _lognormal
    return Measurements(
        (rng.random(count) < failing).astype(np.float64),
        0.2 * slower * draw(count, LATENCY_SIGMA, rng),
        0.01 * draw(count, 0.8, rng),
        np.where(rng.random(count) < 0.05, 0.4 * draw(count, 0.5, rng), 0.0),
        0.01 * draw(count, 0.3, rng),
    )


def _lognormal(count: int, sigma: float, rng: np.random.Generator) -> Floats:
    return np.exp(rng.normal(0, sigma, count))


def _pareto(count: int, sigma: float, rng: np.random.Generator) -> Floats:  # noqa: ARG001  the tail is the same for all
    """Index 1.5: the mean exists, the variance does not."""
    return rng.pareto(1.5, count) + 1
