"""What the baseline did before, in a size that does not grow: sums, sketches, a frozen copy.

Counts are whole numbers, so the order in which values come does not matter and a restart loses
nothing. Quantiles are off by at most a quarter of a percent (the idea of DDSketch: Masson, Rim
and Lee 2019).

Thresholds and scales must not know the data they judge; so they come from the shadow and do not
move any more. They need not be right for a test to be valid, only for it to be quick.
"""

from __future__ import annotations

from collections import Counter
from math import ceil, log
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from bot import LazyModule
from bot.canary.eprocess import Floats, Ints
from bot.canary.observations import Columns, Measurements, PairColumns, succeeded
from bot.canary.policy import StrictValue

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

GROWTH = 1.005
SMALLEST = 1e-9
"""Values below count as zero."""
_LOG_GROWTH = log(GROWTH)


class SketchState(StrictValue):
    """A saved sketch; a bucket is a place and a count."""

    zeros: int
    buckets: tuple[tuple[int, int], ...]


class Sketch:
    """How many values fell into each bucket. Values are finite and not negative."""

    def __init__(self) -> None:
        """Start empty."""
        self._zeros = 0
        self._buckets: Counter[int] = Counter()

    def __len__(self) -> int:
        """How many values were counted."""
        return self._zeros + self._buckets.total()

    def add(self, values: Floats, counts: Ints | None = None) -> None:
        """Count values; `counts` says how often each."""
        often = np.ones(len(values), dtype=np.int64) if counts is None else counts
        zero = values < SMALLEST
        self._zeros += int(often[zero].sum())
        places = np.ceil(np.log(values[~zero]) / _LOG_GROWTH).astype(np.int64)
        found, which = np.unique(places, return_inverse=True)
        sums = np.zeros(len(found), dtype=np.int64)
        np.add.at(sums, which, often[~zero])
        self._buckets.update(dict(zip(found.tolist(), sums.tolist(), strict=True)))

    def quantiles(self, shares: Floats) -> Floats:
        """The values below which these shares (0 to 1) lie.

        Raises:
            ValueError: nothing was counted.
        """
        return self.ranked(np.ceil(shares * len(self)).astype(np.int64))

    def quantile(self, share: float) -> float:
        """The value below which this share (0 to 1) lies.

        Raises:
            ValueError: nothing was counted.
        """
        return float(self.ranked(np.array([ceil(share * len(self))]))[0])

    def ranked(self, ranks: Ints) -> Floats:
        """The values of these ranks; 1 is the smallest. Ranks outside are moved to the ends.

        Raises:
            ValueError: nothing was counted.
        """
        if len(self) == 0:
            raise ValueError("No values, no quantile.")
        places = sorted(self._buckets)
        ends = np.cumsum([self._zeros, *(self._buckets[place] for place in places)])
        values = np.array([0.0, *(GROWTH ** (place - 0.5) for place in places)])
        picked: Floats = values[np.searchsorted(ends, np.clip(ranks, 1, len(self)))]
        return picked

    def share_above(self, value: float) -> float:
        """The share of values above this one; the sketch must not be empty."""
        above = sum(
            count for place, count in self._buckets.items() if GROWTH ** (place - 0.5) > value
        )
        return above / len(self)

    def mean(self) -> float:
        """The mean; the sketch must not be empty."""
        return self._moment(1)

    def variance(self) -> float:
        """The variance; the sketch must not be empty."""
        return max(0.0, self._moment(2) - self.mean() ** 2)

    def _moment(self, power: int) -> float:
        """The mean of a power, added up from the smallest bucket."""
        if len(self) == 0:
            raise ValueError("No values, no mean.")
        total = 0.0
        for place, count in sorted(self._buckets.items()):
            total += GROWTH ** ((place - 0.5) * power) * count
        return total / len(self)

    def save(self) -> SketchState:
        """Write the counts down."""
        return SketchState(zeros=self._zeros, buckets=tuple(sorted(self._buckets.items())))

    @classmethod
    def restored(cls, saved: SketchState) -> Sketch:
        """Make a sketch of what `save` wrote."""
        sketch = cls()
        sketch._zeros = saved.zeros
        sketch._buckets.update(dict(saved.buckets))
        return sketch


QUANTILES = {"latency_p50": 0.50, "latency_p95": 0.95, "latency_p99": 0.99}

Positive = Annotated[float, Field(gt=0)]


class FrozenCost(StrictValue):
    """Costs above `cap` (the 99.9% quantile) count as `cap`; `mean`: of the costs. USD."""

    mean: Positive
    cap: Positive


class FrozenRoas(StrictValue):
    """`ratio`: revenue per spend; `scale`: what a request hardly ever brings or costs. USD."""

    ratio: Positive
    scale: Positive


class FrozenBaseline(StrictValue):
    """The baseline as the shadow saw it. A metric it did not see is None, and is not judged.

    Attributes:
        n: requests seen.
        error_rate: share that failed; None if failures were not reported.
        latency: 256 evenly spaced quantiles of the latency of successes, seconds.
        thresholds: seconds, by metric: the quantile it watches.
        cost: see there; `total`: only sums of costs will be known.
        roas: see there.
        gap: seconds between observations, as they came in on average.
        longest_gap: seconds, without any.
    """

    n: int
    error_rate: float | None = None
    latency: tuple[float, ...] | None = None
    thresholds: dict[str, float] = Field(default_factory=dict)
    cost: FrozenCost | Literal["total"] | None = None
    roas: FrozenRoas | None = None
    gap: float | None = None
    longest_gap: float | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out what earlier releases did not know, so that their digests stay the same."""
        written: dict[str, object] = write(self)
        later = ("gap", "longest_gap")
        return {k: v for k, v in written.items() if v is not None or k not in later}

    def rank(self, latency: Floats) -> Floats:
        """The share of the baseline's latencies below each of these; ties count half."""
        knots = np.array(self.latency)
        below = np.searchsorted(knots, latency, "left") + np.searchsorted(knots, latency, "right")
        return below / (2 * len(knots))


FEWEST = 100
"""Fewer values do not freeze a metric: it counts as not observed."""
WINSOR = 0.999
_KNOTS = 256


def midpoints() -> Floats:
    """The shares in the middle of each of 256 equal parts of whatever is ranked."""
    middles: Floats = (np.arange(_KNOTS) + 0.5) / _KNOTS
    return middles


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
            latency = tuple(self.latency.quantiles(midpoints()).tolist())
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


class RhythmState(StrictValue):
    """A saved rhythm; seconds. `lately` remembers less than `recent`; `second`: next to longest."""

    gaps: int = 0
    mean: float = 0.0
    recent: float = 0.0
    lately: float = 0.0
    longest: float = 0.0
    second: float = 0.0


_REMEMBERED = 32
_REMEMBERED_LATELY = 8
"""Evening comes before 32 rare requests do."""
UNUSUAL = 20
"""A silence of so many usual gaps is one: chance makes it once in e^20, if requests are rare."""


class Rhythm:
    """How long it usually is from one entry of observations to the next."""

    def __init__(self, saved: RhythmState | None = None) -> None:
        """Start without any, or with what was saved."""
        self.state = saved or RhythmState()

    def add(self, gap: float) -> None:
        """Note a gap, seconds."""
        was = self.state
        gaps = was.gaps + 1
        self.state = RhythmState(
            gaps=gaps,
            mean=was.mean + (gap - was.mean) / gaps,
            recent=was.recent + (gap - was.recent) / min(gaps, _REMEMBERED),
            lately=was.lately + (gap - was.lately) / min(gaps, _REMEMBERED_LATELY),
            longest=max(was.longest, gap),
            second=max(was.second, min(was.longest, gap)),
        )

    def unusual(self, frozen: FrozenBaseline | None = None) -> float:
        """How long a silence is unusual, seconds; `frozen`: what the shadow knew before.

        Silences that were seen twice are usual; a single one may have been our own absence.
        """
        usual, longest = max(self.state.mean, self.state.recent, self.state.lately), 0.0
        if frozen is not None:
            usual, longest = max(usual, frozen.gap or 0.0), frozen.longest_gap or 0.0
        return max(UNUSUAL * usual, 1.5 * max(self.state.second, longest))
