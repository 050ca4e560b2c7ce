"""Shadows and ramps for tests: their splits, and observations drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from bot.canary.observations import Observation
from bot.traffic.flagd import Allocation, Split

START = datetime(2026, 1, 1, tzinfo=UTC)
CAPABILITY = "llm.summarize"
REPOSITORY = 11


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def ramping(percent: int, attempt: str = "ramp-1", salt: str = "7") -> Split:
    return Split(
        baseline="provider-a",
        candidate="provider-b",
        percent=percent,
        mode="ramp",
        attempt=attempt,
        salt=salt,
    )


def shadowing(rate: float = 0.1, attempt: str = "shadow-1") -> Split:
    return Split(
        baseline="provider-a",
        candidate="provider-b",
        mode="shadow",
        attempt=attempt,
        sample_rate=rate,
        seed="20260101",
    )


def serving(split: Split, generation: int = 1, paused: str | None = None) -> Allocation:
    return Allocation(
        repository_id=REPOSITORY,
        capability=CAPABILITY,
        generation=generation,
        split=split,
        paused=paused,
        actor="alice",
        why="a test",
        at=START,
    )


def observed(
    count: int,
    *,
    percent: int = 50,
    generation: int = 1,
    errors: float = 0.02,
    seed: int = 0,
    at: datetime = START,
    name: str = "e",
) -> Iterator[Observation]:
    """A split of traffic whose candidate fails as often as said."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    for number in range(count):
        candidate = rng.random() < percent / 100
        yield Observation(
            event_id=f"{name}-{seed}-{number}",
            capability=CAPABILITY,
            arm="candidate" if candidate else "baseline",
            generation=generation,
            time=at,
            latency=0.2 * rng.lognormvariate(0, 0.5),
            error=rng.random() < (errors if candidate else 0.02),
            cost=0.001 * rng.lognormvariate(0, 0.5),
        )


def paired(
    count: int, *, generation: int = 1, errors: float = 0.02, seed: int = 0, at: datetime = START
) -> Iterator[Observation]:
    """Both answers to the same requests."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    for number in range(count):
        for arm in ("baseline", "candidate"):
            yield Observation(
                event_id=f"{arm}-{seed}-{number}",
                capability=CAPABILITY,
                arm="candidate" if arm == "candidate" else "baseline",
                generation=generation,
                time=at,
                pair_id=f"{seed}-{number}",
                latency=0.2 * rng.lognormvariate(0, 0.5),
                error=rng.random() < (errors if arm == "candidate" else 0.02),
                cost=0.001 * rng.lognormvariate(0, 0.5),
            )
