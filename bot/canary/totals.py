"""Costs of which only the sums are known: what a counter of money added between two readings.

A counter tells what the requests of an arm cost together, and nothing of a single one. Still there
is a test. Take one reading: with `c` the costs of its requests, `b` their draws (1: the
candidate's, with probability pi, whatever the cost), the candidate's part of the money is

    share = sum(b c) / sum(c)        and        E[share | c] = pi,

if a request would have cost the same with either provider, or followed the same distribution. So
`share / pi - 1` is a score of mean 0 that is never below -1, however heavy the tails, however many
requests there were, and whatever drift or bursts did to the costs. Betting on such scores (Waudby-
Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", as in
`score_ticks`) gives an e-process: 1/alpha is ever reached with probability alpha at most (Ville).
If the candidate's costs, divided by what is tolerated, are stochastically smaller than the
baseline's, the share only falls, and so does the bet. For the promotion gate the same is done with
the baseline's part.

What it takes: each request adds its whole cost once, to a counter that stands beside the other
arm's on the same program, so that both are read at the same instant. What it costs: a reading is a
single bet, whose stake one request might decide; so evidence grows with the number of readings,
and small differences need many of them. What it does not promise: equal means with another shape
are not the null hypothesis; with many requests a reading they come to nearly the same.

Return on spend has no such test. Revenue comes later than the spend it belongs to, often in parts,
after the arm was drawn: what is added in one reading then depends on the draws of readings
before, its mean given the past is not 0, and false alarms are not bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Annotated

import numpy as np
from pydantic import Field

from bot.canary.columns import Columns, Measurements, PairColumns
from bot.canary.comparison import Bound, Comparison, Gain
from bot.canary.eprocess import Bools, Floats, Ints
from bot.canary.facts import StrictValue
from bot.canary.likelihood import BETS, score_ticks
from bot.canary.observations import Arm
from bot.canary.policy import RatioMetric

NO_RETURN = (
    "revenue comes later than the spend it belongs to, often in parts, and a counter does not tell "
    "to which request; so nothing bounds its false alarms"
)
"""Why return on spend is not judged by counters."""


class Total(StrictValue):
    """What the requests of one arm and split cost together since the reading before, USD."""

    arm: Arm
    generation: int
    amount: Annotated[float, Field(gt=0)]


@dataclass(frozen=True, slots=True)
class SpentBetween:
    """What was spent between two readings, a row per split.

    Attributes:
        pi: the probability with which a request was the candidate's.
        baseline: USD.
        candidate: USD.
    """

    pi: Floats
    baseline: Floats
    candidate: Floats


def spent_of(totals: Sequence[Total], percents: Mapping[int, int]) -> SpentBetween:
    """Put totals side by side, by generation."""
    generations = sorted({each.generation for each in totals})

    def of(arm: Arm) -> Floats:
        return np.array(
            [
                fsum(t.amount for t in totals if (t.generation, t.arm) == (generation, arm))
                for generation in generations
            ],
            dtype=np.float64,
        )

    pi = np.array([percents[each] / 100 for each in generations], dtype=np.float64)
    return SpentBetween(pi, of("baseline"), of("candidate"))


class TotalCosts(Comparison):
    """Costs, by each arm's part of the money; see the module."""

    alternatives = len(BETS)
    unit = "reading"

    def __init__(self, name: str, metric: RatioMetric) -> None:
        """Compare shares of what was spent."""
        super().__init__(name, metric.alpha, Bound(1 + metric.tolerance), Bound(1 + metric.margin))

    def worse_of(self, spent: SpentBetween) -> Ints:
        """Evidence that the candidate costs more than tolerated; a row per split."""
        pi, share = _shares(spent, self.tolerance.ease)
        return score_ticks(share / pi - 1)

    def within_of(self, spent: SpentBetween) -> Ints:
        """Evidence that it does not cost as much as the margin; a row per split."""
        pi, share = _shares(spent, self.margin.ease)
        return score_ticks((1 - share) / (1 - pi) - 1)

    def seen(self, measured: Measurements) -> Bools:
        """No single cost is known."""
        return np.zeros(len(measured), dtype=np.bool_)

    def _ramped(self, columns: Columns, bound: Bound, sign: int) -> Gain:
        del columns, bound, sign
        return _NOTHING

    def _paired(self, pairs: PairColumns, bound: Bound, sign: int) -> Gain:
        del pairs, bound, sign
        return _NOTHING


_NOTHING = Gain(np.zeros(0, dtype=np.int64), np.zeros((0, len(BETS)), dtype=np.int64))


def _shares(spent: SpentBetween, ease: float) -> tuple[Floats, Floats]:
    """The candidate's share where the split left both arms something, and where money was spent."""
    ours = spent.candidate / ease
    rows = (spent.pi > 0) & (spent.pi < 1) & (ours + spent.baseline > 0)
    return spent.pi[rows], ours[rows] / (ours[rows] + spent.baseline[rows])
