"""How likely every place of a step is, given a metric's values; and no change, and a drift. Pure.

Every commit's values lie about one of two levels: one before the culprit, one from it on. Levels
and spreads are unknown on each side and summed over a grid. The likelihood is robust: Student's t
with few degrees of freedom, so that an outlier says little (Lange, Little and Taylor 1989), and
every commit may be noisier or quieter than the others. Where values close in time resemble each
other, all of them count for less, as fewer independent ones would.

Rival hypotheses: no change at all, and a drift along the range or a good part of it; and what
`bot.culprit.metric_rivals` has.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import exp, inf, lgamma, log, log1p, pi, sqrt
from typing import TYPE_CHECKING

from bot import LazyModule
from bot.culprit.graph import Ancestry
from bot.culprit.metric_rivals import (
    TWO_MODES,
    log_mean_exp,
    modes,
    two_modes,
    walk,
    with_levels_of_their_own,
)
from bot.culprit.metric_sides import Floats, median

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

NO_CHANGE, DRIFT = 0.1, 0.2
"""How likely each rival is beforehand."""
TAILS = 3.0
"""Degrees of freedom of Student's t: values far off are rare, not impossible."""
_LEVELS = 48
_BEYOND = 0.15
"""So far beyond the outermost usual values a level may lie, as a share of their distance."""
_SPREADS = (0.04, 2.5, 9)
"""From, to, how many: spreads, as shares of the distance between the outermost usual values."""
_NOISIER = tuple(exp(each / 2.0) for each in range(-3, 4))
_NOISIER_WEIGHTS = (0.015, 0.083, 0.236, 0.332, 0.236, 0.083, 0.015)
"""How much noisier than the others one commit's runs are: log-normal, with a sigma of 0.6."""
_FEWEST_IN_TIME = 20
"""With fewer values it is not seen whether those close in time are alike."""
_OUTLIERS = 0.1
"""At most so many values are taken for outliers."""
FEWEST_TO_DRIFT = 6
"""With fewer commits that can be measured a drift is not told from a step."""


@dataclass(frozen=True, slots=True)
class MetricPosterior:
    """The probability of each commit, then of no change, and of a drift."""

    probability: Floats
    commits: int

    @property
    def unchanged(self) -> float:
        """That it changed nowhere."""
        return float(self.probability[self.commits])

    @property
    def drifts(self) -> float:
        """That it changes bit by bit."""
        return float(self.probability[self.commits + 1])


class MetricModel:
    """Judges one search's values; what was worked out of earlier ones is kept."""

    def __init__(self, ancestry: Ancestry, prior: Floats, *, rivals: bool) -> None:
        """Judge values of this range.

        Args:
            ancestry: which commits have which.
            prior: how likely each commit is beforehand; adds up to 1.
            rivals: weigh what else than a step explains the values.
        """
        self._ancestry = ancestry
        self._prior = prior
        self._rivals = rivals
        self._runs: Sequence[tuple[int, float]] = ()
        self._grid = (inf, inf)
        self._seen: Floats = np.zeros(0)
        self._modes: Floats = np.zeros((0, 0, 0))

    def posterior(
        self, runs: Sequence[tuple[int, float]], skipped: Collection[int]
    ) -> MetricPosterior:
        """Give the probability of every hypothesis.

        Args:
            runs: commits, as they are numbered, with what a run of them gave, in order of time;
                the good end comes after the last. Those of the call before come first again.
            skipped: commits that cannot be measured.
        """
        self._runs = runs
        count = len(self._prior)
        nodes = sorted({node for node, _ in self._runs}, key=lambda n: -1 if n == count else n)
        rows = self._table(nodes)
        flat = rows.reshape(len(nodes), -1)
        reach = np.zeros((len(nodes), count), np.bool_)
        for row, node in enumerate(nodes):
            if node < count:
                reach[row] = self._ancestry.of(node)
        patterns, group = np.unique(reach.T, axis=0, return_inverse=True)
        if self._rivals:
            differ = with_levels_of_their_own(rows, _levels())
            flat = differ.reshape(len(nodes), -1)
        bad = patterns.astype(np.float64) @ flat
        good = flat.sum(axis=0) - bad
        step = log_mean_exp(good) + log_mean_exp(bad)
        even = float(log_mean_exp(flat.sum(axis=0)[None, :])[0])
        places = np.array([0.0 if n == count else (n + 1) / count for n in nodes])
        drifts, drift_share = -inf, 0.0
        if not self._rivals:
            drifts, drift_share = _drift(rows, places, np.array(_RAMPS)), DRIFT
        else:
            own = np.array([[node == n for node, _ in self._runs] for n in nodes])
            worth = self._worth(np.array([v for _, v in self._runs]))
            summed = np.einsum("nv,vms->nms", own * worth, self._modes)
            step_in_modes, even_in_modes = two_modes(summed, patterns.astype(np.float64))
            one, two = log1p(-TWO_MODES), log(TWO_MODES)
            step = np.logaddexp(step + one, step_in_modes + two)
            even = float(np.logaddexp(even + one, even_in_modes + two))
            if len(ramps := self._ramps(skipped)):
                drift_share = DRIFT
                ramp = _drift(rows, places, ramps)
                drifts = float(np.logaddexp(ramp, walk(rows, places, _levels())) - log(2.0))
        logs = np.concatenate(
            [
                step[group.ravel()] + np.log(self._prior * (1.0 - NO_CHANGE - drift_share)),
                [even + log(NO_CHANGE), drifts + log(drift_share) if drift_share else -inf],
            ]
        )
        weight = np.exp(logs - logs.max())
        return MetricPosterior(weight / weight.sum(), count)

    def _ramps(self, skipped: Collection[int]) -> Floats:
        """The drifts that a commit could tell from a step: one that can be measured lies within."""
        count = len(self._prior)
        usable = np.array([(n + 1) / count for n in range(count) if n not in skipped])
        if len(usable) < FEWEST_TO_DRIFT:
            return np.zeros((0, 2))
        return np.array([(a, b) for a, b in _RAMPS if ((a < usable) & (usable < b)).any()])

    def _table(self, nodes: Sequence[int]) -> Floats:
        """Log-likelihood of each node's values, by level and spread."""
        values = np.array([v for _, v in self._runs])
        each = self._each(values)
        places = np.array([nodes.index(node) for node, _ in self._runs])
        own = (places == np.arange(len(nodes))[:, None]) * self._worth(values)
        by_scale = (own @ each.reshape(len(values), -1)).reshape(len(nodes), *each.shape[1:])
        top = by_scale.max(axis=-1, keepdims=True)
        mixed = np.log(np.exp(by_scale - top) @ np.array(_NOISIER_WEIGHTS)) + top[..., 0]
        result: Floats = mixed
        return result

    def _each(self, values: Floats) -> Floats:
        """Log-likelihood of each value, by level, spread and noise of its commit."""
        low, high = self._usual(values)
        least, most, count = _SPREADS
        if (low, high) != self._grid:
            self._grid = (low, high)
            self._seen = np.zeros((0, _LEVELS, count, len(_NOISIER)))
            self._modes = modes(self._seen[..., len(_NOISIER) // 2])
        width = (high - low) or abs(high) or 1.0
        levels = np.linspace(low - _BEYOND * width, high + _BEYOND * width, _LEVELS)
        spreads = np.exp(np.linspace(log(least), log(most), count)) * width
        scales = spreads[:, None] * np.array(_NOISIER)
        fresh = values[len(self._seen) :]
        away = (fresh[:, None, None, None] - levels[None, :, None, None]) / scales
        new = -(TAILS + 1) / 2 * np.log1p(away**2 / TAILS) - np.log(scales / width) + _STUDENT
        self._seen = np.concatenate([self._seen, new])
        if self._rivals:
            of_new = modes(new[..., len(_NOISIER) // 2])
            self._modes = np.concatenate([self._modes, of_new])
        return self._seen

    @staticmethod
    def _usual(values: Floats) -> tuple[float, float]:
        """The outermost values that are no outliers, by the median's absolute deviations."""
        middle = median(values)
        usual = median(np.abs(values - middle))
        near = values[np.abs(values - middle) <= 6.0 * usual] if usual else values
        if len(near) < len(values) * (1.0 - _OUTLIERS):
            # Far more than outliers would be: most were measured on one side of a large step.
            low, high = np.quantile(values, [_OUTLIERS / 2, 1.0 - _OUTLIERS / 2])
            near = values[(low <= values) & (values <= high)]
        return float(near.min()), float(near.max())

    def _worth(self, values: Floats) -> float:
        """How many independent values each one counts for, if those close in time are alike.

        The share of independent values in an autoregressive series is (1 - r) / (1 + r).
        """
        if len(values) < _FEWEST_IN_TIME:
            return 1.0
        nodes = np.array([node for node, _ in self._runs])
        rest = values.copy()
        for node in {node for node, _ in self._runs}:
            own = nodes == node
            rest[own] -= median(values[own])
        spread = median(np.abs(rest))
        if spread == 0.0:
            return 1.0
        rest = np.clip(rest, -4 * spread, 4 * spread)
        alike = float((rest[1:] * rest[:-1]).sum() / (rest**2).sum())
        alike = min(max(0.0, alike - 0.5 / sqrt(len(rest))), 0.9)
        return (1.0 - alike) / (1.0 + alike)


def _levels() -> Floats:
    """Where the levels lie, in widths from the lowest usual value."""
    return np.linspace(-_BEYOND, 1.0 + _BEYOND, _LEVELS)


_STUDENT = lgamma((TAILS + 1) / 2) - lgamma(TAILS / 2) - 0.5 * log(TAILS * pi)


_RAMPS = tuple((a / 4, b / 4) for a in range(4) for b in range(a + 1, 5))
"""Where a drift begins and ends: at any quarters of the range."""


def _drift(rows: Floats, places: Floats, ramps: Floats) -> float:
    """Evidence of a straight line from one level to another, each anywhere, along some ramp."""
    levels = np.arange(1, rows.shape[1], 3)
    first, last = (each.ravel() for each in np.meshgrid(levels, levels, indexing="ij"))
    start, end = ramps.T
    total = np.zeros((len(start), len(first), rows.shape[2]))
    for row, place in zip(rows, places, strict=True):
        along = np.clip((place - start) / (end - start), 0, 1)[:, None]
        total += row[np.rint(first + (last - first) * along).astype(np.intp)]
    return float(log_mean_exp(log_mean_exp(total.reshape(len(start), -1))))
