"""What was observed: each observation read, checked, and put into columns.

A line is JSON: `event_id`, `capability`, `arm`, `generation` (of the flag document that decided),
`time`, what was measured, and `pair_id` in a shadow or `key` where the split decides on keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AwareDatetime, Field, StrictBool, ValidationError

from bot import LazyModule
from bot.canary.eprocess import Bools, Floats, Ints
from bot.canary.policy import StrictValue
from bot.canary.units import ArmTally, RampUnits

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured, a row per request.

    Attributes:
        error: 1 failed, 0 did not.
        latency: seconds.
        cost: USD.
        revenue: USD, complete (its attribution window is over).
        spend: USD.
    """

    error: Floats
    latency: Floats
    cost: Floats
    revenue: Floats
    spend: Floats

    def __len__(self) -> int:
        """How many requests."""
        return len(self.error)

    def at(self, rows: Ints | Bools) -> Measurements:
        """Pick rows."""
        return Measurements(
            self.error[rows],
            self.latency[rows],
            self.cost[rows],
            self.revenue[rows],
            self.spend[rows],
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """Observations of a ramp in the order in which they were accepted.

    Attributes:
        candidate: whether the candidate served the request.
        pi: the probability with which the split gave it the request.
        measured: what was measured.
        counts: a row stands for so many equal observations; None: for one.
    """

    candidate: Bools
    pi: Floats
    measured: Measurements
    counts: Ints | None = None

    def __len__(self) -> int:
        """How many rows."""
        return len(self.candidate)

    def at(self, rows: Ints | Bools) -> Columns:
        """Pick rows."""
        counts = None if self.counts is None else self.counts[rows]
        return Columns(self.candidate[rows], self.pi[rows], self.measured.at(rows), counts)

    def tally(self, rows: Bools | None = None) -> ArmTally:
        """Count the observations of these rows, or of all, by arm."""
        among = np.ones(len(self), dtype=np.bool_) if rows is None else rows
        counts = np.ones(len(self), dtype=np.int64) if self.counts is None else self.counts
        ours = int(counts[among & self.candidate].sum())
        return ArmTally(int(counts[among].sum()) - ours, ours)


@dataclass(frozen=True, slots=True)
class PairColumns:
    """Complete pairs of a shadow: the same request answered by both."""

    baseline: Measurements
    candidate: Measurements

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.baseline)

    def at(self, rows: Ints | Bools) -> PairColumns:
        """Pick pairs."""
        return PairColumns(self.baseline.at(rows), self.candidate.at(rows))


def measurements(
    count: int,
    *,
    error: Floats | None = None,
    latency: Floats | None = None,
    cost: Floats | None = None,
    revenue: Floats | None = None,
    spend: Floats | None = None,
) -> Measurements:
    """Put columns together; those not given were not observed."""
    missing = np.full(count, np.nan)
    return Measurements(
        *(
            missing if column is None else column
            for column in (error, latency, cost, revenue, spend)
        )
    )


def succeeded(measured: Measurements) -> Bools:
    """Tell which requests did not fail, as far as is known, and were timed."""
    return np.asarray(np.isfinite(measured.latency) & (measured.error != 1), np.bool_)


LARGEST_LINE = 4096
"""Bytes."""
AHEAD = timedelta(minutes=5)
"""So far a client's clock may be ahead of ours."""
LATE = timedelta(hours=1)
"""Older observations are refused; revenue has so long from the end of its window, and a week."""
REVENUE_LATE = timedelta(days=7)

Arm = Literal["baseline", "candidate"]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Seconds = Annotated[float, Field(ge=0, le=86_400, strict=True)]
Money = Annotated[float, Field(ge=0, le=1e9, strict=True)]
_LONGEST_NAMED = 100

_NAME = "text of 1 to 200 characters"
_MONEY = "USD: a finite number from 0 to 1000000000, or left out"
_ALLOWED = {
    "event_id": _NAME,
    "capability": _NAME,
    "arm": "'baseline' or 'candidate'",
    "generation": "a whole number, 0 or more",
    "time": "an RFC 3339 time with its offset, such as 2026-01-01T00:00:00Z",
    "pair_id": f"{_NAME}, or left out",
    "key": f"{_NAME}, or left out",
    "latency": "seconds: a finite number from 0 to 86400, or left out",
    "error": "true, false, or left out",
    "cost": _MONEY,
    "revenue": _MONEY,
    "spend": _MONEY,
}


class Observation(StrictValue):
    """One request as one arm served it.

    Attributes:
        event_id: unique; a second line with it changes nothing.
        capability: what was provided.
        arm: who served it.
        generation: of the flag document that decided so.
        time: when the request was served.
        pair_id: shadow: the same for both answers to one request; ramp: the same for every try of
            one call, of which the first counts.
        key: what the split decided on, where it is not the request.
        latency: seconds.
        error: whether it failed.
        cost: USD.
        revenue: USD, once its attribution window is over; always with `spend`.
        spend: USD.
    """

    event_id: Name
    capability: Name
    arm: Arm
    generation: Annotated[int, Field(ge=0, strict=True)]
    time: Annotated[AwareDatetime, Field(strict=True)]
    pair_id: Name | None = None
    key: Name | None = None
    latency: Seconds | None = None
    error: StrictBool | None = None
    cost: Money | None = None
    revenue: Money | None = None
    spend: Money | None = None

    @property
    def only_revenue(self) -> bool:
        """Whether this adds revenue to a request reported before."""
        return self.latency is None and self.error is None and self.cost is None


@dataclass(frozen=True, slots=True)
class Expected:
    """What a capability expects now.

    Attributes:
        mode: whether candidates are shadowed or ramped.
        unit: what the split decides on.
        percents: the candidate's share by generation, of this shadow or ramp only.
        maturity: how old revenue must be.
    """

    mode: Literal["shadow", "ramp"]
    unit: Literal["request", "key"]
    percents: Mapping[int, int]
    maturity: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Rejection:
    """One line that does not count, and why.

    Attributes:
        line: counted from 1.
        event_id: if it could be read.
        field: the field at fault; None: the whole line.
        problem: what is allowed instead, one sentence.
        duplicate: it counts already, so nothing is lost.
    """

    line: int
    event_id: str | None
    field: str | None
    problem: str
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class ReadLines:
    """What became of the lines, all in their order. `places`: the lines of what was accepted."""

    accepted: tuple[Observation, ...]
    rejected: tuple[Rejection, ...]
    places: tuple[int, ...] = ()


def read_lines(
    lines: Iterable[bytes],
    expected: Mapping[str, Expected],
    *,
    now: datetime,
    known: Callable[[str], bool],
) -> ReadLines:
    """Read observations.

    Args:
        lines: without their ends; empty ones are skipped.
        expected: by capability.
        now: the time of receipt.
        known: whether an event id was accepted before.
    """
    accepted: list[Observation] = []
    rejected: list[Rejection] = []
    places: list[int] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        found = _read(line)
        if isinstance(found, Observation):
            event, fault = found.event_id, _fault(found, expected, now)
            if fault is None and (event in seen or known(event)):
                rejected.append(
                    Rejection(number, event, "event_id", "was accepted before", duplicate=True)
                )
            elif fault is None:
                seen.add(event)
                accepted.append(found)
                places.append(number)
            else:
                rejected.append(Rejection(number, event, *fault))
        else:
            rejected.append(Rejection(number, None, *found))
    return ReadLines(tuple(accepted), tuple(rejected), tuple(places))


Fault = tuple[str | None, str]


def _read(line: bytes) -> Observation | Fault:
    if len(line) > LARGEST_LINE:
        return None, f"is longer than {LARGEST_LINE} bytes"
    try:
        return Observation.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if not first["loc"]:
        return None, "must be one JSON object"
    field = str(first["loc"][0])
    if field not in _ALLOWED:
        return field[:_LONGEST_NAMED], f"is not known; allowed: {', '.join(_ALLOWED)}"
    return field, f"must be {_ALLOWED[field]}"


def _fault(seen: Observation, expected: Mapping[str, Expected], now: datetime) -> Fault | None:
    """Say what is wrong with a well-formed observation."""
    here = expected.get(seen.capability)
    if here is None:
        return "capability", f"has no shadow or ramp now; these have: {_list(expected)}"
    return _misplaced(seen, here) or _unmeasured(seen) or _untimely(seen, here, now)


def _misplaced(seen: Observation, here: Expected) -> Fault | None:
    percent = here.percents.get(seen.generation)
    if percent is None:
        known = _list(str(generation) for generation in sorted(here.percents))
        return "generation", f"is not of this {here.mode}; its generations: {known}"
    if here.mode == "shadow":
        return None if seen.pair_id else ("pair_id", "is needed in a shadow")
    if here.unit == "key" and not seen.key:
        return "key", "is needed: this capability is split by key"
    if percent == (0 if seen.arm == "candidate" else 100):
        return "arm", f"cannot be the {seen.arm}: generation {seen.generation} sends it nothing"
    return None


def _unmeasured(seen: Observation) -> Fault | None:
    if (seen.revenue is None) != (seen.spend is None):
        missing = "revenue" if seen.revenue is None else "spend"
        return missing, "is needed: revenue and spend are judged together"
    if seen.only_revenue and seen.revenue is None:
        return None, "measures nothing: give latency, error, cost, or revenue and spend"
    return None


def _untimely(seen: Observation, here: Expected, now: datetime) -> Fault | None:
    if seen.time > now + AHEAD:
        return "time", "is in the future: set the client's clock"
    if seen.revenue is not None:
        if seen.time > now - here.maturity:
            hours = here.maturity / timedelta(hours=1)
            return "revenue", f"is not complete yet: report it {hours:g} hours after the request"
        if seen.time < now - here.maturity - REVENUE_LATE:
            return "time", "is too long ago: revenue is taken until a week after its window"
    elif seen.time < now - LATE:
        return "time", "is too long ago: observations are taken for one hour"
    return None


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def measurements_of(observations: Iterable[Observation]) -> Measurements:
    """Put what was measured into columns."""
    rows = [
        [
            np.nan if value is None else float(value)
            for value in (seen.error, seen.latency, seen.cost, seen.revenue, seen.spend)
        ]
        for seen in observations
    ]
    return Measurements(*np.array(rows, dtype=np.float64).reshape(-1, 5).T)


def columns_of(
    observations: Iterable[Observation], percents: Mapping[int, int], units: RampUnits
) -> Columns:
    """Put a ramp's observations into columns; those that are no new draw are left out.

    Args:
        observations: accepted ones, in their order.
        percents: the candidate's share by generation.
        units: remembers the keys; changed by this call.
    """
    kept: list[Observation] = []
    chances: list[float] = []
    for seen in observations:
        chance = units.draw(
            seen.key,
            percents[seen.generation],
            candidate=seen.arm == "candidate",
            only_revenue=seen.only_revenue,
            call=seen.pair_id,
            at=seen.time.timestamp(),
        )
        if chance is not None:
            kept.append(seen)
            chances.append(chance)
    candidate = np.array([seen.arm == "candidate" for seen in kept], dtype=np.bool_)
    return Columns(candidate, np.array(chances, dtype=np.float64), measurements_of(kept))


LONGEST_LAG = timedelta(seconds=60)
"""So much later than the other arm's an arm's observations may come in."""


class Alignment:
    """Puts observations into the order of their times, both arms side by side.

    One arm's exporter may report some seconds after the other's. Then the arm that reports early
    looks as if it had more of the traffic, whenever the split or the load changes. So an
    observation waits until the other arm has reported as far, or for `LONGEST_LAG`. The order does
    not depend on who waits for whom, so tests stay valid.

    An arm's clock may be wrong as well. Nothing is observed after it came in, nor before its split
    was served: by as much as times deny that, an arm's clock is put right.

    Attributes:
        waiting: what waits, by our clock.
        reported: how far each arm has reported.
        behind: by how much each arm's clock is behind, for all that is known.
    """

    def __init__(
        self,
        waiting: Iterable[Observation] = (),
        reported: Mapping[Arm, datetime] | None = None,
        behind: Mapping[Arm, timedelta] | None = None,
    ) -> None:
        """Start empty, or with what was saved."""
        self.waiting = list(waiting)
        self.reported: dict[Arm, datetime] = dict(reported or {})
        self.behind: dict[Arm, timedelta] = dict(behind or {})

    def add(
        self,
        observations: Sequence[Observation],
        percents: Mapping[int, int],
        at: datetime,
        served: tuple[int, datetime] | None = None,
    ) -> list[Observation]:
        """Take observations in; those whose turn it is, in their order.

        Args:
            observations: in the order in which they were accepted.
            percents: the candidate's share by generation; where one arm has all, nothing waits.
            at: when.
            served: the share that is served now, and since when.
        """
        for seen in observations:
            if served and percents[seen.generation] == served[0] and not seen.only_revenue:
                late = served[1] - seen.time
                self.behind[seen.arm] = max(self.behind.get(seen.arm, timedelta()), late)
        alone: list[Observation] = []
        for seen in observations:
            if not 0 < percents[seen.generation] < 100:
                alone.append(seen)
                continue
            time = min(seen.time + self.behind.get(seen.arm, timedelta()), at)
            right = time == seen.time
            self.waiting.append(seen if right else seen.model_copy(update={"time": time}))
            if not seen.only_revenue:
                self.reported[seen.arm] = max(self.reported.get(seen.arm, time), time)
        until = at - LONGEST_LAG
        if len(self.reported) == 2:
            until = max(until, min(self.reported.values()))
        return self.release(until) + alone

    def release(self, until: datetime) -> list[Observation]:
        """Let go of everything up to a time; those that are later wait on."""
        due = [seen for seen in self.waiting if seen.time <= until]
        self.waiting = [seen for seen in self.waiting if seen.time > until]
        return sorted(due, key=lambda seen: seen.time)
