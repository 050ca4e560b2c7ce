"""The pure readers: a hundred thousand inputs each, drawn by hypothesis and spoiled by a seed."""

from __future__ import annotations

import random
import time
import traceback
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from benchmarks.fuzzing.entrances import ENTRANCES, Entrance, Input, Place

NEIGHBOURS = 20
"""Inputs made from each document that is drawn."""
LONGEST = 1.0
"""Seconds that one reading may take."""


@dataclass
class Finding:
    """An input that broke something, small enough to be kept as an example."""

    head: str
    body: str
    """In hexadecimal."""
    why: str


@dataclass
class Tally:
    """What came of the inputs of one entrance."""

    inputs: int = 0
    past: int = 0
    longest: float = 0.0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)


class Slow(AssertionError):
    """A reading took too long."""


def read_pure(name: str, count: int, with_seed: int) -> Tally:
    """Give `count` inputs to the pure reader of an entrance; the first failure ends it, shrunk."""
    entrance, tally, place = ENTRANCES[name], Tally(), Place()
    broken: list[tuple[Input, str]] = []
    began = time.monotonic()

    @seed(with_seed)
    @settings(
        max_examples=-(-count // NEIGHBOURS),
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn=entrance.well_formed(place), draw=st.integers(0, 2**32))
    def each(drawn: tuple[str, object], draw: int) -> None:
        rng = random.Random(draw)  # noqa: S311 - repeatable
        for one in entrance.inputs(drawn, rng, NEIGHBOURS):
            _read_one(entrance, one, place, tally, broken)

    try:
        each()
    except Exception:
        if not broken:
            raise
        one, why = broken[-1]
        tally.findings.append(Finding(one.head, one.body.hex(), why))
    tally.seconds = time.monotonic() - began
    return tally


def _read_one(
    entrance: Entrance,
    one: Input,
    place: Place,
    tally: Tally,
    broken: list[tuple[Input, str]],
) -> None:
    began = time.perf_counter()
    try:
        is_past = entrance.read(one, place)
        took = time.perf_counter() - began
        if took > LONGEST:
            # A busy machine is no finding: it has to be as slow when it is read again.
            began = time.perf_counter()
            entrance.read(one, place)
            took = time.perf_counter() - began
            if took > LONGEST:
                raise Slow(f"reading took {took:.1f} s")
    except Exception:
        broken.append((one, traceback.format_exc(limit=-4)))
        raise
    tally.inputs += 1
    tally.past += is_past
    tally.longest = max(tally.longest, took)
