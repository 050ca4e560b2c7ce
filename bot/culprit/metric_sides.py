"""A metric's values before a suspect and from it on: how they differ, and which side one is on."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import TYPE_CHECKING, Literal, TypeAlias

from bot import LazyModule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")

Floats: TypeAlias = "NDArray[np.float64]"
Worse = Literal["lower", "higher"]
"""Which direction of a metric is worse."""

_ERRORS = 3.0
"""A level has changed where its medians differ by more than so many standard errors."""
_INTERVAL = 1.96
"""Standard errors to either end of a 95% interval."""
_ALL_BUT_SURELY = 1.645
"""Standard deviations that a normal value exceeds in 5% of cases."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The values of commits without the suspect, and of those that have it.

    Medians and median deviations are compared, so that outliers move neither.

    Attributes:
        before: the values without it, in the metric's own unit.
        after: those with it.
        worse: which direction is a regression; None: either is.
    """

    before: Floats
    after: Floats
    worse: Worse | None = None

    @property
    def _are_both_known(self) -> bool:
        return bool(len(self.before) and len(self.after))

    @property
    def effect(self) -> float:
        """The level with the suspect minus that without it; 0 where one is not known."""
        return median(self.after) - median(self.before) if self._are_both_known else 0.0

    @property
    def error(self) -> float:
        """The standard error of the effect."""
        if not self._are_both_known:
            return 0.0
        before, after = deviation(self.before), deviation(self.after)
        # A median's error is that of a mean times sqrt(pi / 2).
        return sqrt(pi / 2 * (after**2 / len(self.after) + before**2 / len(self.before)))

    @property
    def interval(self) -> tuple[float, float]:
        """The effect's 95% interval."""
        return self.effect - _INTERVAL * self.error, self.effect + _INTERVAL * self.error

    @property
    def deviations(self) -> float:
        """The effect in standard deviations of a single run; 0 where runs do not differ."""
        if not self._are_both_known:
            return 0.0
        before, after = len(self.before), len(self.after)
        squares = deviation(self.before) ** 2 * before + deviation(self.after) ** 2 * after
        return self.effect / sqrt(squares / (before + after)) if squares else 0.0

    @property
    def is_another_level(self) -> bool:
        """Whether the level changed, not only how much the values vary."""
        return abs(self.effect) > _ERRORS * self.error

    @property
    def bad_side(self) -> Worse | None:
        """On which side of `level` bad values lie; None where there is no level."""
        side: Worse | None = (
            "lower" if self.effect < 0.0 else "higher" if self.effect > 0.0 else None
        )
        return side if self.worse in (None, side) else None

    @property
    def level(self) -> float | None:
        """The number that parts good values from bad ones: halfway between both medians.

        None where a side is not known, both are the same, or it changed for the better.
        """
        if self.bad_side is None:
            return None
        return (median(self.before) + median(self.after)) / 2

    def is_bad(self, value: float) -> bool:
        """Tell whether a value lies on the bad side of `level`; on it, it is good.

        Raises:
            ValueError: there is no level.
        """
        level = self.level
        if level is None:
            raise ValueError("Nothing parts good values from bad ones.")
        return value < level if self.bad_side == "lower" else value > level

    @property
    def wrong_side(self) -> tuple[float, float]:
        """Bound from above how often a value lies on the wrong side of `level`.

        Two shares between 0 and 1: of the values of good commits those on its bad side, and of the
        values of bad commits those on its good side, each as large as it may well be: the upper
        end of Wilson's interval (Wilson 1927), which is exceeded in 5% of cases. Where fresh runs
        are compared with the level, those are the rates of false failures and of false passes that
        `fresh_runs` asks for. Both are 1 where there is no level.
        """
        if self.level is None:
            return 1.0, 1.0
        false_fail = sum(map(self.is_bad, self.before.tolist()))
        false_pass = sum(not self.is_bad(each) for each in self.after.tolist())
        return _at_most(false_fail, len(self.before)), _at_most(false_pass, len(self.after))


def median(values: Floats) -> float:
    """The same as numpy's, in a tenth of its time for a few values."""
    ordered = np.sort(values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[half])
    return float((ordered[half - 1] + ordered[half]) / 2)


def deviation(values: Floats) -> float:
    """A standard deviation that outliers do not move, as far as there are values enough."""
    away = np.abs(values - median(values))
    usual = 1.4826 * median(away)
    return usual if usual else float(away.mean())


def _at_most(count: int, of: int) -> float:
    """The upper end of Wilson's interval for a share, which is exceeded in 5% of cases."""
    share, square = count / of, _ALL_BUT_SURELY**2 / of
    root = sqrt(share * (1.0 - share) * square + square**2 / 4.0)
    return min(1.0, (share + square / 2.0 + root) / (1.0 + square))
