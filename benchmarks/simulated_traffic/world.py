"""Traffic through a ramp: what both arms answer, second by second, and what is wrong with one.

20 requests a second for 2,400 s; the candidate gets 5, 25, 50 and 95%, 600 s each. One request in
a hundred fails, latencies are lognormal (median 0.2 s, sigma 0.8), costs lognormal (sigma 0.8), and
one request in twenty brings revenue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
MEAN_COST = 0.0138
"""USD, where costs are lognormal."""


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
        failing: the baseline's failure rate.
        repeats: clients try again at the same arm, up to 3 times, each with probability 0.6: after
            a call of any kind, or after one that failed, which fails again in 8 of 10 tries.
        named: how the tries of a call are told; where it is by `key`, three calls share one, each
            drawn for itself.
        heavy: the share of the traffic that has one key, which stays with its arm.
        heavy_keys: so many keys share it evenly.
        lag: seconds that the candidate's reports come later than the baseline's.
        late_arm: whose reports these are instead.
        wavering: the lag goes from nothing to twice that and back, every four minutes.
        rare: one request in so many of the candidate's costs `rare_times` as much.
        rare_times: see there.
        rare_arm: whose these are instead.
        revenue: factor on the candidate's revenue.
        stale: factor on all latencies while the shadow looked.
        alone: seconds at 100% after the ramp, in which the candidate differs by `alone_latency` and
            `alone_cost`, and by nothing before.
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
    failing: float = 0.01
    repeats: Literal["", "any", "failed"] = ""
    named: Literal["pair_id", "key"] = "pair_id"
    heavy: float = 0.0
    heavy_keys: int = 1
    lag: float = 0.0
    late_arm: Literal["baseline", "candidate"] = "candidate"
    wavering: bool = False
    rare: int = 0
    rare_times: float = 1.0
    rare_arm: Literal["baseline", "candidate", "both"] = "candidate"
    revenue: float = 1.0
    stale: float = 1.0
    alone: float = 0.0
    alone_latency: float = 1.0
    alone_cost: float = 1.0


@dataclass(frozen=True)
class Traffic:
    """One run: when each request came, whose it was, and what was measured."""

    times: Floats
    percent: NDArray[np.int64]
    columns: Columns
    keys: NDArray[np.int64] | None

    def reported(self, scene: Scene) -> Floats:
        """When each report comes in."""
        late = self.columns.candidate == (scene.late_arm == "candidate")
        wave = 1 + np.sin(self.times * (2 * np.pi / 240)) if scene.wavering else 1.0
        return self.times + np.where(late, scene.lag * wave, 0.0)


def shadow(scene: Scene, rng: np.random.Generator) -> Measurements:
    """What the shadow saw of the baseline beforehand."""
    found = _answers(scene, np.zeros(SHADOW_REQUESTS), rng)
    return replace(found, latency=found.latency * scene.stale)


def traffic(scene: Scene, rng: np.random.Generator) -> Traffic:
    """Let one ramp happen."""
    count = RATE * SECONDS
    times = np.sort(rng.uniform(0, SECONDS, count))
    keys = None
    if scene.alone:
        after = np.sort(rng.uniform(SECONDS, SECONDS + scene.alone, int(RATE * scene.alone)))
        times = np.concatenate([times, after])
        count = len(times)
    stage = np.minimum(times * len(scene.percents) / SECONDS, len(scene.percents)).astype(np.intp)
    percent = np.array((*scene.percents, 100))[stage]
    if scene.sticky:
        weights = rng.pareto(1.1, KEYS) + 0.05
        keys = rng.choice(KEYS, count, p=weights / weights.sum())
        candidate = rng.random(KEYS)[keys] < percent / 100
    elif scene.heavy:
        heavy = rng.random(count) < scene.heavy
        which = rng.integers(0, scene.heavy_keys, count)
        keys = np.where(heavy, which, np.arange(count) + scene.heavy_keys)
        drawn = rng.random(scene.heavy_keys)[which]
        candidate = np.where(heavy, drawn, rng.random(count)) < percent / 100
    else:
        candidate = rng.random(count) < percent / 100
    measured = _answers(scene, times, rng, keys if scene.sticky else None)
    if scene.repeats:
        again = _repeated(scene, measured, rng)
        delay = rng.exponential(1.0, len(again)) * (np.diff(again, prepend=-1) == 0)
        moved = times[again] + delay
        order = np.argsort(moved, kind="stable")
        again = again[order]
        keys, candidate, percent = again, candidate[again], percent[again]
        times, first, count = moved[order], measured.at(again), len(again)
        measured = _answers(scene, times, rng)
        if scene.repeats == "failed":
            fails = (first.error == 1) & (rng.random(len(again)) < 0.8)
            measured = replace(measured, error=fails.astype(np.float64))
    worse = candidate & (times >= scene.begins)
    failed = (measured.error == 1) | (worse & (rng.random(count) < scene.errors / 0.99))
    measured = Measurements(
        failed.astype(np.float64),
        np.where(worse, measured.latency * scene.latency, measured.latency),
        np.where(worse, measured.cost * scene.cost, measured.cost),
        np.where(worse, measured.revenue * scene.revenue, measured.revenue),
        measured.spend,
    )
    if scene.rare:
        whose = {"baseline": ~candidate, "candidate": worse, "both": np.ones_like(candidate)}
        large = whose[scene.rare_arm] & (rng.random(len(times)) < 1 / scene.rare)
        measured = replace(
            measured, cost=np.where(large, MEAN_COST * scene.rare_times, measured.cost)
        )
    alone = times >= SECONDS
    measured = replace(
        measured,
        latency=np.where(alone, measured.latency * scene.alone_latency, measured.latency),
        cost=np.where(alone, measured.cost * scene.alone_cost, measured.cost),
    )
    return Traffic(times, percent, Columns(candidate, percent / 100, measured), keys)


def _repeated(scene: Scene, measured: Measurements, rng: np.random.Generator) -> NDArray[np.intp]:
    """The number of the call behind each try."""
    count = len(measured)
    again = np.ones(count, dtype=np.intp)
    going = measured.error == 1 if scene.repeats == "failed" else np.ones(count, dtype=np.bool_)
    for _ in range(3):
        going = going & (rng.random(count) < 0.6)
        again += going
    return np.repeat(np.arange(count), again)


def _answers(
    scene: Scene,
    times: Floats,
    rng: np.random.Generator,
    keys: NDArray[np.int64] | None = None,
) -> Measurements:
    """What the baseline answers at these times."""
    count = len(times)
    slower = np.ones(count)
    failing = np.full(count, scene.failing)
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
