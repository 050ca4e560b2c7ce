"""Observations as columns of numbers. NaN stands for what was not observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bot.canary.eprocess import Bools, Floats, Ints
from bot.canary.tally import ArmTally


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
