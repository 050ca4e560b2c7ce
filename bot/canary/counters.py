"""Counters instead of single observations: what Prometheus counted of each arm.

Two queries tell successes and failures, and a third what they cost. Every series carries the
labels `arm` and `generation` (of the flag document that decided), so that each count is judged by
the split that made it. Where successes are a histogram, its buckets tell how many answers exceeded
a threshold: exactly, if the threshold and what is tolerated beyond it are edges of buckets. Costs
are known as sums only; see `metrics.py` for how they are judged, and why return on spend is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import fsum, inf, isclose, isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from bot import LazyModule
from bot.canary.baseline import FrozenBaseline, Positive
from bot.canary.metrics import NO_RETURN, Total
from bot.canary.observations import Arm, Columns, measurements
from bot.canary.policy import Duration, Policy, RatioMetric, StrictValue

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

MOST_SERIES = 20_000
MOST_COUNTED = 2.0**53
"""Beyond it, a counter's floating point does not tell one more from none."""
KIND = "__kind"
"""The label by which one query tells successes, failures and costs apart."""

Query = Annotated[str, Field(min_length=1, max_length=4000)]
_RETURNS = ("roas", "revenue", "spend")
Kind = Literal["success", "failure", "cost"]
Quantile = Literal["latency_p50", "latency_p95", "latency_p99"]


class CounterFault(Exception):
    """What was counted cannot be used; the message says why, and what is allowed."""


class CounterSource(StrictValue):
    """Where a ramp's counts come from, instead of `POST /providers/observations`.

    The queries name raw counters, each instance's: where a sum falls since one of them began again,
    what the others had counted would count a second time.

    Attributes:
        successes: PromQL: a counter of answers, or the buckets of their latency histogram, by
            `arm` and `generation`.
        failures: PromQL: a counter of failed requests, likewise.
        cost: PromQL: a counter of USD, likewise; each request adds its whole cost to it, once.
        every: so often they are read. Each reading is one look at the costs: the more, the sooner
            they tell.
        thresholds: seconds, by metric: the latency that is watched. It and `1 + tolerance` times
            it must be edges of buckets. Metrics without one are not observed.
    """

    successes: Query
    failures: Query
    cost: Query | None = None
    every: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(seconds=15)
    thresholds: dict[Quantile, Positive] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _no_returns(cls, given: Any) -> Any:
        for name in _RETURNS:
            if isinstance(given, dict) and name in given:
                raise ValueError(
                    f"{name} cannot be judged by Prometheus: {NO_RETURN}. Allowed are successes, "
                    "failures, cost, every and thresholds; for ROAS leave prometheus out and "
                    "report observations"
                )
        return given

    @property
    def query(self) -> str:
        """All queries in one, so that all are answered as of the same moment."""
        asked = {"success": self.successes, "failure": self.failures, "cost": self.cost}
        return " or ".join(
            f'label_replace({query}, "{KIND}", "{kind}", "", "")'
            for kind, query in asked.items()
            if query is not None
        )

    def frozen(self, shadow: FrozenBaseline) -> FrozenBaseline:
        """The baseline as counters tell it: failures, the thresholds named here, sums of costs."""
        return FrozenBaseline(
            n=shadow.n,
            error_rate=shadow.error_rate,
            thresholds=dict(self.thresholds),
            cost=None if self.cost is None else "total",
            gap=shadow.gap,
            longest_gap=shadow.longest_gap,
        )

    def edges(self, policy: Policy) -> dict[str, tuple[float, float]]:
        """By metric: the edges of buckets it needs, seconds."""
        chosen = dict(policy.metrics.chosen())
        found: dict[str, tuple[float, float]] = {}
        for name, threshold in self.thresholds.items():
            metric = chosen.get(name)
            if isinstance(metric, RatioMetric):
                found[name] = (threshold, threshold * (1 + metric.tolerance))
        return found


@dataclass(frozen=True, slots=True)
class Series:
    """One counter as it stands.

    Attributes:
        name: its labels, canonically.
        group: those of its histogram: the same without `le`.
        arm: who served.
        generation: which split decided.
        kind: what it counts.
        edge: upper edge of its bucket, seconds; None: not a bucket.
        value: the count, or USD.
    """

    name: str
    group: str
    arm: Arm
    generation: int
    kind: Kind
    edge: float | None
    value: float

    @property
    def failed(self) -> bool:
        """Whether it counts failures."""
        return self.kind == "failure"


class Count(StrictValue):
    """So many equal requests. `latency`: of a bucket, seconds; None: not known."""

    arm: Arm
    generation: int
    failed: bool
    latency: float | None
    count: Annotated[int, Field(ge=1)]


class Counted(StrictValue):
    """What one reading brought.

    Attributes:
        read_at: when the counters were evaluated, seconds since the epoch.
        values: every counter's value, by its labels: the next reading counts from there.
        counts: what was new.
        totals: what was spent since.
    """

    read_at: float
    values: dict[str, float]
    counts: tuple[Count, ...]
    totals: tuple[Total, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was new."""
        return not (self.counts or self.totals)


def read_series(result: Sequence[Any]) -> list[Series]:
    """Read the result of an instant query (an instant vector of Prometheus's HTTP API).

    Raises:
        CounterFault: a label is missing or wrong, or there are too many series.
    """
    if len(result) > MOST_SERIES:
        raise CounterFault(f"there are {len(result)} series; at most {MOST_SERIES} are read")
    return [_series(each) for each in result]


def _series(found: Any) -> Series:
    try:
        labels = {str(name): str(value) for name, value in found["metric"].items()}
        value = float(found["value"][1])
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise CounterFault("the answer is not an instant vector") from None
    labels.pop("__name__", None)
    arm = labels.get("arm")
    if arm not in ("baseline", "candidate"):
        raise CounterFault("every series needs the label arm: baseline or candidate")
    generation = labels.get("generation", "")
    if not (generation.isascii() and generation.isdigit() and len(generation) < 19):
        raise CounterFault("every series needs the label generation: a whole number")
    if not isfinite(value) or not 0 <= value <= MOST_COUNTED:
        raise CounterFault(f"a counter must be a finite number, 0 to {MOST_COUNTED:.0e}")
    without_edge = {name: value for name, value in labels.items() if name != "le"}
    return Series(
        name=_canonical(labels),
        group=_canonical(without_edge),
        arm="candidate" if arm == "candidate" else "baseline",
        generation=int(generation),
        kind=_kind(labels),
        edge=_edge(labels["le"]) if "le" in labels else None,
        value=value,
    )


def _kind(labels: Mapping[str, str]) -> Kind:
    match labels.get(KIND):
        case "failure":
            return "failure"
        case "cost" if "le" in labels:
            raise CounterFault("cost must be a counter of USD, not the buckets of a histogram")
        case "cost":
            return "cost"
        case _:
            return "success"


def _edge(text: str) -> float:
    try:
        edge = float(text)
    except ValueError:
        raise CounterFault("the label le must be a number") from None
    if not edge > 0:
        raise CounterFault("the label le must be above 0")
    return edge


def _canonical(labels: Mapping[str, str]) -> str:
    return json.dumps(labels, sort_keys=True, separators=(",", ":"))


def counted(
    series: Iterable[Series],
    before: Counted | None,
    percents: Mapping[int, int],
    edges: Mapping[str, tuple[float, float]],
    *,
    read_at: float,
) -> Counted:
    """Tell what was counted since the reading before.

    A counter that fell began again from 0, as Prometheus itself takes it. One that is new began
    at 0 too: its generation is of this ramp only.

    Args:
        series: the counters now.
        before: the reading before; None: this is the first.
        percents: the candidate's share by generation; other generations are left out.
        edges: by metric, the edges of buckets that there must be.
        read_at: when they were evaluated.

    Raises:
        CounterFault: the buckets lack an edge.
    """
    ours = [each for each in series if _served(each, percents)]
    old = {} if before is None else before.values
    groups: dict[str, list[Series]] = {}
    for each in sorted((one for one in ours if one.kind != "cost"), key=_by_name):
        groups.setdefault(each.group, []).append(each)
    counts: list[Count] = []
    for group in groups.values():
        counts += _counts(group, old, edges)
    # What is gone now keeps its value: a counter that comes back goes on from there.
    values = dict(old) | {each.name: each.value for each in ours}
    return Counted(
        read_at=read_at,
        values=values,
        counts=tuple(counts),
        totals=_totals([each for each in ours if each.kind == "cost"], old),
    )


def _by_name(series: Series) -> str:
    return series.name


def _totals(costs: Sequence[Series], old: Mapping[str, float]) -> tuple[Total, ...]:
    """What was spent since, by arm and generation.

    Where one of a generation's counters began again, this reading of it is no bet: a part of what
    either arm spent is lost, and the next reading counts from here.
    """
    began_again = {each.generation for each in costs if each.value < old.get(each.name, 0.0)}
    new: dict[tuple[int, Arm], list[float]] = {}
    for each in sorted(costs, key=_by_name):
        if each.generation not in began_again:
            added = each.value - old.get(each.name, 0.0)
            new.setdefault((each.generation, each.arm), []).append(added)
    sums = {key: fsum(added) for key, added in sorted(new.items())}
    return tuple(
        Total(arm=arm, generation=generation, amount=amount)
        for (generation, arm), amount in sums.items()
        if amount > 0
    )


def _served(series: Series, percents: Mapping[int, int]) -> bool:
    """Tell whether the split gave this arm anything at all."""
    percent = percents.get(series.generation)
    return percent is not None and percent != (0 if series.arm == "candidate" else 100)


def _counts(
    group: list[Series], old: Mapping[str, float], edges: Mapping[str, tuple[float, float]]
) -> list[Count]:
    """What is new of one counter, or of one histogram by bucket."""
    began_again = any(each.value < old.get(each.name, 0.0) for each in group)
    buckets = sorted(group, key=lambda each: inf if each.edge is None else each.edge)
    if not buckets[0].failed and buckets[0].edge is not None:
        _check_edges([each.edge or 0.0 for each in buckets], edges)
    elif edges and not buckets[0].failed:
        raise CounterFault("thresholds are configured: successes must be buckets of a histogram")
    found: list[Count] = []
    total, below = 0, 0.0
    for each in buckets:
        new = each.value - (0.0 if began_again else old.get(each.name, 0.0))
        count = round(new) - total
        if count > 0:
            total += count
            found.append(
                Count(
                    arm=each.arm,
                    generation=each.generation,
                    failed=each.failed,
                    latency=None if each.failed else _within(below, each.edge),
                    count=count,
                )
            )
        below = each.edge or 0.0
    return found


def _within(below: float, edge: float | None) -> float | None:
    """A latency inside a bucket, so that comparing it with an edge cannot go wrong by rounding."""
    if edge is None or (edge == inf and below == 0):
        return None
    return below * 2 if edge == inf else (below + edge) / 2


def _check_edges(there: list[float], needed: Mapping[str, tuple[float, float]]) -> None:
    for name, wanted in needed.items():
        for edge in wanted:
            if not any(isclose(edge, each, rel_tol=1e-9) for each in there):
                raise CounterFault(f"{name}: {edge:g} s must be an edge of a bucket")


_LAG = 60.0
"""Seconds that one arm's counters may be behind the other's."""


class CountersAligned(StrictValue):
    """Saved: by generation, which arms were counted and since when; those that count."""

    seen: dict[int, tuple[bool, bool, float]] = Field(default_factory=dict)
    joined: tuple[int, ...] = ()
    newest: int = -1


class CounterAlignment:
    """Leaves out what only one arm's counters tell yet, where the other's are behind.

    A generation counts from the reading after the first by which both arms were counted, and no
    longer once a newer one is: so each arm adds the same length of time. Which readings these are
    is known before their requests were drawn, so tests stay valid.
    """

    def __init__(self, saved: CountersAligned | None = None) -> None:
        """Start before the first reading, or with what was saved."""
        self.state = saved or CountersAligned()

    def of(self, counted: Counted, percents: Mapping[int, int]) -> Counted:
        """What of a reading counts."""
        state, at = self.state, counted.read_at
        told: tuple[Count | Total, ...] = (*counted.counts, *counted.totals)
        newest = max([state.newest, *(each.generation for each in told)])

        def counts(generation: int) -> bool:
            if not 0 < percents[generation] < 100:
                return True
            return generation in state.joined and generation == newest

        seen = dict(state.seen)
        for each in told:
            theirs, ours, since = seen.get(each.generation, (False, False, at))
            ours, theirs = ours or each.arm == "candidate", theirs or each.arm == "baseline"
            seen[each.generation] = theirs, ours, since
        joined = sorted(g for g, (a, b, since) in seen.items() if (a and b) or at - since >= _LAG)
        self.state = CountersAligned(seen=seen, joined=tuple(joined), newest=newest)
        return counted.model_copy(
            update={
                "counts": tuple(each for each in counted.counts if counts(each.generation)),
                "totals": tuple(each for each in counted.totals if counts(each.generation)),
            }
        )


def columns_of_counts(counts: Sequence[Count], percents: Mapping[int, int]) -> Columns:
    """Put counts into columns; a row stands for so many equal requests."""
    error = np.array([each.failed for each in counts], dtype=np.float64)
    latency = np.array(
        [np.nan if each.latency is None else each.latency for each in counts], dtype=np.float64
    )
    return Columns(
        candidate=np.array([each.arm == "candidate" for each in counts], dtype=np.bool_),
        pi=np.array([percents[each.generation] / 100 for each in counts], dtype=np.float64),
        measured=measurements(len(counts), error=error, latency=latency),
        counts=np.array([each.count for each in counts], dtype=np.int64),
    )
