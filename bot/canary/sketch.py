"""Distributions in bounded memory: counts in buckets that grow by half a percent.

Counts are whole numbers, so the order in which values come does not matter and a restart loses
nothing. Quantiles are off by at most a quarter of a percent (the idea of DDSketch: Masson, Rim
and Lee 2019).
"""

from __future__ import annotations

from collections import Counter
from math import ceil, log

import numpy as np

from bot.canary.eprocess import Floats, Ints
from bot.canary.facts import StrictValue

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
