"""Rates of flakes on a grid: what is believed of them before the search, and what a cell says.

A good commit may fail and a broken one may pass, each at a rate that nobody knows. Both are
integrated out over a grid that is even in log-odds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import lgamma
from typing import TYPE_CHECKING, TypeAlias

from bot import LazyModule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")

Floats: TypeAlias = "NDArray[np.float64]"

WORST_FLAKE = 0.5
"""A good commit fails at most so often; a signal that lies more is no signal."""
RAREST_FAILURE = 0.4
"""A broken commit passes at most so often. What fails more rarely became flaky: a commit is named
as where that began, and nobody is blamed.
"""
RAREST_BEFORE_RIVALS = 0.8
"""The same where nobody asks whether it became flaky."""


@cache
def log_odds() -> Floats:
    """The grid of rates, by their log-odds."""
    return np.linspace(-11.0, 7.0, 64)


@cache
def rates() -> Floats:
    """The grid of rates, from 0.002% to 99.9%."""
    found: Floats = 1.0 / (1.0 + np.exp(-log_odds()))
    return found


@cache
def log_rates() -> Floats:
    """Logarithms of the grid of rates."""
    logs: Floats = np.log(rates())
    return logs


@cache
def log_otherwise() -> Floats:
    """Logarithms of how often it does not happen."""
    logs: Floats = np.log1p(-rates())
    return logs


EVENLY = (1.5, 1.5)
"""Beta(a, b) of a rate that has changed, as searches believed whose logs do not say it."""


@dataclass(frozen=True, slots=True)
class FurtherChanges:
    """How likely it is beforehand that more than one thing changes along the range.

    Attributes:
        good: the rate of false failures does, where a commit is guilty.
        bad: the rate of false passes does.
        rising: share in which the signal then fails more often than before: a flaky test was added,
            or what was broken in part breaks wholly. In the rest it fails more rarely.
        onset: how often, for each time that nobody is guilty for another reason, nobody is because
            the signal only became flaky. Most failures that come up are flakes (84% at Google,
            Micco 2017), and what fails in half of all runs is rather flaky than broken.
        broken_before: it had been broken and mended before, beside all else.
        at_limit: false passes at their limit are weighed as such, not as rarer ones.
        good_becomes: Beta(a, b), up to the limit, of the rate of false failures where it changes.
            It is taken to be near that limit: there a lucky search is wrong most often (a least
            favourable prior), and where it changes less, results show it anyway.
        bad_becomes: the same of false passes.
    """

    good: float = 0.15
    bad: float = 0.2
    rising: float = 0.8
    onset: float = 10.0
    broken_before: float = 0.15
    at_limit: bool = True
    good_becomes: tuple[float, float] = (4.0, 1.3)
    bad_becomes: tuple[float, float] = (10.0, 1.0)

    @classmethod
    def with_rarer_breaks(cls) -> FurtherChanges:
        """What searches believed before earlier breaks were taken to be likelier."""
        return cls(broken_before=0.06)

    @classmethod
    def at_first(cls) -> FurtherChanges:
        """What searches believed whose logs do not say it."""
        return cls(
            good=0.2,
            bad=0.15,
            rising=0.5,
            onset=0.4,
            broken_before=0.03,
            at_limit=False,
            good_becomes=EVENLY,
            bad_becomes=EVENLY,
        )


HISTORY_CAP = 50.0
"""Past runs count as at most so many: this regression need not flake like the last one."""


@dataclass(frozen=True, slots=True)
class Beta:
    """One component of a mixture: Beta(a, b) with a weight."""

    weight: float
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class Mixture:
    """A mixture of Betas over a rate up to a limit, and the runs seen since.

    `hits` of them lied, `misses` did not.
    """

    parts: tuple[Beta, ...]
    limit: float = 1.0
    hits: float = 0.0
    misses: float = 0.0

    def on_grid(self) -> Floats:
        """Give the probability of each rate in `rates`, summing to 1."""
        density = np.zeros_like(rates())
        for part in self.parts:
            scale = lgamma(part.a + part.b) - lgamma(part.a) - lgamma(part.b)
            # d rate = rate (1 - rate) d log-odds, hence a and b without the usual minus one.
            density += part.weight * np.exp(scale + part.a * log_rates() + part.b * log_otherwise())
        density *= np.exp(self.hits * log_rates() + self.misses * log_otherwise())
        density[self.limit < rates()] = 0.0
        probability: Floats = density / density.sum()
        return probability

    def seen(self, hits: int, misses: int) -> Mixture:
        """Learn from past runs, counted as `HISTORY_CAP` at most."""
        scale = min(1.0, HISTORY_CAP / max(1, hits + misses))
        return replace(self, hits=self.hits + hits * scale, misses=self.misses + misses * scale)


@dataclass(frozen=True, slots=True)
class History:
    """Past runs of the signal on commits whose state is known.

    Green runs teach the rate of false failures only; how often a broken commit passes is taught
    by runs on commits known to be broken.
    """

    good_passed: int = 0
    good_failed: int = 0
    bad_failed: int = 0
    bad_passed: int = 0


@dataclass(frozen=True, slots=True)
class RatePriors:
    """What is believed of both rates before the search.

    The weights and widths were settled by measuring (benchmarks/culprit.py): a broader tail of
    false passes costs runs at 20% flakes, a thinner one accuracy at 30% false passes.
    """

    false_fail: Mixture = Mixture((Beta(0.8, 1, 19), Beta(0.2, 1, 3)), limit=WORST_FLAKE)
    false_pass: Mixture = Mixture((Beta(0.7, 1, 19), Beta(0.3, 1, 3)), limit=RAREST_FAILURE)

    @classmethod
    def without_rivals(cls) -> RatePriors:
        """What was believed while every failure of a broken commit was taken for its own."""
        return cls(false_pass=replace(cls().false_pass, limit=RAREST_BEFORE_RIVALS))

    def after(self, history: History) -> RatePriors:
        """Fit the priors to the signal's own history."""
        return RatePriors(
            self.false_fail.seen(history.good_failed, history.good_passed),
            self.false_pass.seen(history.bad_passed, history.bad_failed),
        )


@dataclass(slots=True)
class Cell:
    """The results of one tree in one environment."""

    fails: int = 0
    passes: int = 0

    @property
    def agrees(self) -> bool:
        """Whether no run contradicts another."""
        return self.fails == 0 or self.passes == 0

    @property
    def repeated(self) -> bool:
        """Whether there was more than one run."""
        return self.fails + self.passes > 1


def cell_likelihood(cell: Cell, agreement: float) -> tuple[Floats, Floats]:
    """Give the log-likelihood of a cell for each rate, if its commit is good and if it is bad.

    With probability `agreement` a cell is stuck: whatever it said first it says again, so that
    repeats that agree add little, and any number of them stays below a bound. Repeats that
    disagree prove that the cell is not stuck, and count in full.

    Args:
        cell: the results.
        agreement: probability that repeats agree whatever the truth, 0 to 1.

    Returns:
        For each rate of false failures, the log-likelihood if good; and for each rate of false
        passes, the log-likelihood if bad.
    """
    if_good = cell.fails * log_rates() + cell.passes * log_otherwise()
    if_bad = cell.passes * log_rates() + cell.fails * log_otherwise()
    if cell.repeated and cell.agrees:
        first_good, first_bad = (
            (log_rates(), log_otherwise()) if cell.fails else (log_otherwise(), log_rates())
        )
        if_good = either(agreement, first_good, if_good)
        if_bad = either(agreement, first_bad, if_bad)
    return if_good, if_bad


def either(probability: float, first: Floats | float, second: Floats) -> Floats:
    """Log of the mixture `probability`·exp(first) + (1 - `probability`)·exp(second)."""
    with np.errstate(divide="ignore"):
        mixed: Floats = np.logaddexp(np.log(probability) + first, np.log1p(-probability) + second)
    return mixed
