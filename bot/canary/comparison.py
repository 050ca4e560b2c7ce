"""Two families of comparison: what an observation says for "worse" and for "good enough".

An *event* is something bad that happens to some requests (a failure, a slow answer): its rates
are compared. A *score* between -1 and 1 is high where a request went badly (its rank among the
baseline's latencies, its cost, its missing revenue): its means are compared. Either way the
candidate's value is first eased by what is tolerated, so that a candidate exactly that much
worse looks like the baseline.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import log
from typing import NamedTuple

import numpy as np

from bot.canary.columns import Columns, Measurements, PairColumns
from bot.canary.eprocess import Bools, Floats, Ints
from bot.canary.likelihood import BETS, GRID, event_ticks, score_ticks


class Gain(NamedTuple):
    """Rows that say something, their log likelihood ratios in ticks, and how often each counts."""

    rows: Ints
    increments: Ints
    counts: Ints | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """Where the candidate would be just bad enough.

    Attributes:
        ease: its values divided by this look like the baseline's.
        ratio: its rate of events is so many times the baseline's.
    """

    ease: float = 1.0
    ratio: float = 1.0


class Comparison(ABC):
    """How one metric is compared between the arms.

    Attributes:
        name: the metric.
        alpha: the chance of a false breach.
        tolerance: beyond it, the candidate is worse.
        margin: to be promoted, the candidate must be shown to be better than this.
        alternatives: columns of the increments.
        unit: what an increment stands for.
    """

    alternatives: int
    unit: str = "observation"

    def __init__(self, name: str, alpha: float, tolerance: Bound, margin: Bound) -> None:
        """Set up for a metric of the policy."""
        self.name = name
        self.alpha = alpha
        self.tolerance = tolerance
        self.margin = margin

    @abstractmethod
    def seen(self, measured: Measurements) -> Bools:
        """Tell which rows carry this metric."""

    def worse(self, columns: Columns) -> Gain:
        """Evidence that the candidate is worse than tolerated."""
        return self._ramped(columns, self.tolerance, 1)

    def within(self, columns: Columns) -> Gain:
        """Evidence that the candidate is not as bad as the margin."""
        return self._ramped(columns, self.margin, -1)

    def worse_pairs(self, pairs: PairColumns) -> Gain:
        """The same as `worse`, from a shadow's pairs."""
        return self._paired(pairs, self.tolerance, 1)

    def within_pairs(self, pairs: PairColumns) -> Gain:
        """The same as `within`, from a shadow's pairs."""
        return self._paired(pairs, self.margin, -1)

    @abstractmethod
    def _ramped(self, columns: Columns, bound: Bound, sign: int) -> Gain: ...

    @abstractmethod
    def _paired(self, pairs: PairColumns, bound: Bound, sign: int) -> Gain: ...


class EventComparison(Comparison):
    """Compares how often something bad happens."""

    alternatives = len(GRID)

    @abstractmethod
    def bad(self, measured: Measurements, ease: float | Floats) -> Bools:
        """Tell where it happened, values being divided by `ease`."""

    def _ramped(self, columns: Columns, bound: Bound, sign: int) -> Gain:
        ease = np.where(columns.candidate, bound.ease, 1.0)
        rows = np.flatnonzero(self.bad(columns.measured, ease))
        found = columns.at(rows)
        null = log(bound.ratio)
        increments = event_ticks(found.pi, found.candidate, null, null + sign * GRID)
        return Gain(rows, increments, found.counts)

    def _paired(self, pairs: PairColumns, bound: Bound, sign: int) -> Gain:
        """Only pairs of which one went badly say anything; either may, evenly."""
        ours = self.bad(pairs.candidate, bound.ease)
        both = self.seen(pairs.baseline) & self.seen(pairs.candidate)
        rows = np.flatnonzero(both & (ours != self.bad(pairs.baseline, 1.0)))
        null = log(bound.ratio)
        evenly = np.full(len(rows), 0.5)
        return Gain(rows, event_ticks(evenly, ours[rows], null, null + sign * GRID))


class ScoreComparison(Comparison):
    """Compares the means of a score."""

    alternatives = len(BETS)

    @abstractmethod
    def score(self, measured: Measurements, ease: float | Floats) -> Floats:
        """How badly each request went, -1 to 1, values being divided by `ease`."""

    def _ramped(self, columns: Columns, bound: Bound, sign: int) -> Gain:
        rows = np.flatnonzero(self.seen(columns.measured))
        found = columns.at(rows)
        scores = self.score(found.measured, np.where(found.candidate, bound.ease, 1.0))
        lean = found.candidate - found.pi
        return Gain(rows, score_ticks(sign * scores * lean), found.counts)

    def _paired(self, pairs: PairColumns, bound: Bound, sign: int) -> Gain:
        rows = np.flatnonzero(self.seen(pairs.baseline) & self.seen(pairs.candidate))
        found = pairs.at(rows)
        more = self.score(found.candidate, bound.ease) - self.score(found.baseline, 1.0)
        return Gain(rows, score_ticks(sign * more / 2))
