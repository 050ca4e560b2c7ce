"""How often a signal lies: the unknown rates of false failures and false passes.

Neither rate is known, so both are integrated out. Each has a two-component Beta mixture as its
prior: mostly rare, sometimes frequent. The integral is a sum over a fixed grid of rates, even in
log-odds, where the integrand is smooth and the trapezoid rule is accurate far beyond need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import lgamma

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LOG_ODDS = np.linspace(-11.0, 7.0, 64)
RATES: Floats = 1.0 / (1.0 + np.exp(-_LOG_ODDS))
"""The grid of rates, from 0.002% to 99.9%."""
LOG_RATES: Floats = np.log(RATES)
LOG_OTHERWISE: Floats = np.log1p(-RATES)

WORST_FLAKE = 0.5
"""A good commit fails at most so often; a signal that lies more is no signal."""
RAREST_FAILURE = 0.8
"""A broken commit passes at most so often. A rarer failure drowns in flakes: it is taken for one,
or no number of runs could ever say that the bad end is fine.
"""

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
        """Give the probability of each rate in `RATES`, summing to 1."""
        density = np.zeros_like(RATES)
        for part in self.parts:
            scale = lgamma(part.a + part.b) - lgamma(part.a) - lgamma(part.b)
            # d rate = rate (1 - rate) d log-odds, hence a and b without the usual minus one.
            density += part.weight * np.exp(scale + part.a * LOG_RATES + part.b * LOG_OTHERWISE)
        density *= np.exp(self.hits * LOG_RATES + self.misses * LOG_OTHERWISE)
        density[self.limit < RATES] = 0.0
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
    if_good = cell.fails * LOG_RATES + cell.passes * LOG_OTHERWISE
    if_bad = cell.passes * LOG_RATES + cell.fails * LOG_OTHERWISE
    if cell.repeated and cell.agrees:
        first_good, first_bad = (
            (LOG_RATES, LOG_OTHERWISE) if cell.fails else (LOG_OTHERWISE, LOG_RATES)
        )
        if_good = either(agreement, first_good, if_good)
        if_bad = either(agreement, first_bad, if_bad)
    return if_good, if_bad


def either(probability: float, first: Floats | float, second: Floats) -> Floats:
    """Log of the mixture `probability`·exp(first) + (1 - `probability`)·exp(second)."""
    with np.errstate(divide="ignore"):
        mixed: Floats = np.logaddexp(np.log(probability) + first, np.log1p(-probability) + second)
    return mixed
