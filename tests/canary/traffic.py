"""Traffic for tests: columns drawn from a seed, and the baseline that a shadow froze."""

from __future__ import annotations

from typing import Any

import numpy as np

from bot.canary.baseline import ArmSummary, FrozenBaseline
from bot.canary.observations import Columns, Measurements, PairColumns, measurements
from bot.canary.policy import Policy

PROVIDERS = {"baseline": "provider-a", "candidates": ["provider-b"]}


def policy(**fields: Any) -> Policy:
    return Policy.model_validate(PROVIDERS | fields)


def only(metric: str, **fields: Any) -> dict[str, Any]:
    """The `metrics` section that compares one metric."""
    names = ("error", "latency", "latency_p50", "latency_p95", "latency_p99", "cost", "roas")
    return {name: fields if name == metric else None for name in names}


def answers(
    count: int,
    rng: np.random.Generator,
    *,
    errors: float = 0.02,
    slower: float = 1.0,
    dearer: float = 1.0,
    returns: float = 0.4,
) -> Measurements:
    return measurements(
        count,
        error=(rng.random(count) < errors).astype(float),
        latency=0.2 * slower * np.exp(rng.normal(0, 0.5, count)),
        cost=0.001 * dearer * np.exp(rng.normal(0, 0.5, count)),
        revenue=np.where(rng.random(count) < 0.2, returns, 0.0),
        spend=np.full(count, 0.02),
    )


def frozen(seed: int = 0) -> FrozenBaseline:
    summary = ArmSummary()
    summary.add(answers(2000, np.random.default_rng(seed)))
    return summary.freeze()


def ramp_columns(
    count: int, rng: np.random.Generator, *, percent: int = 50, **worse: float
) -> Columns:
    """A split of traffic whose candidate is worse as said."""
    candidate = rng.random(count) < percent / 100
    theirs, ours = answers(count, rng), answers(count, rng, **worse)
    mixed = Measurements(
        *(
            np.where(candidate, getattr(ours, name), getattr(theirs, name))
            for name in ("error", "latency", "cost", "revenue", "spend")
        )
    )
    return Columns(candidate, np.full(count, percent / 100), mixed)


def shadow_pairs(count: int, rng: np.random.Generator, **worse: float) -> PairColumns:
    return PairColumns(answers(count, rng), answers(count, rng, **worse))
