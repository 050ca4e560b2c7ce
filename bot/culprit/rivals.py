"""Rival explanations of the same results: a signal that does not lie by chance alone. Pure.

Beside "one commit broke it, and flakes are independent" stand four others. In each a commit is
guilty too, so each gives an evidence for every hypothesis, and the posterior is a mixture:

* the rate of false failures changes at some commit (a flaky test was added, or mended);
* the rate of false passes changes at some commit behind the culprit;
* storms: for stretches of time runs fail whatever they try (an outage, a burst);
* it had been broken and mended before: bad from a to b, and again from the culprit on.

The first two sum over the commit where the rate changes, the third is a hidden Markov model of
calm and storm (Rabiner 1989, the forward recursion), the fourth a sum over the earlier break.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from bot import LazyModule
from bot.culprit.flake_rates import log_odds, rates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")


Floats: TypeAlias = "NDArray[np.float64]"
Ints: TypeAlias = "NDArray[np.intp]"

_EVERY = 2
_FEW = [12, 19, 24, 28, 31, 34, 36, 38]
"""Places in `rates`, from 0.05% to 46%, where both rates are looked at together."""


def log_mean(logs: Floats, weights: Floats, axis: int = -1) -> Floats:
    """Log of the weighted sum of exponentials along an axis."""
    top = logs.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    total = (np.exp(logs - top) * weights).sum(axis=axis)
    with np.errstate(divide="ignore"):
        result: Floats = np.log(total) + np.squeeze(top, axis)
    return result


def thinned(weights: Floats) -> Floats:
    """Gather the weights of all rates at the few in `_FEW`, each at the nearest."""
    nearest = np.abs(log_odds()[:, None] - log_odds()[_FEW]).argmin(axis=1)
    return np.bincount(nearest, weights, len(_FEW)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Rows:
    """The tried nodes: what each says at each rate, and under which groups it is bad.

    Attributes:
        bad: groups by nodes, 1 where the node is bad.
        if_good: nodes by rates, log-likelihood where it is good, by the rate of false failures.
        if_bad: nodes by rates, log-likelihood where it is bad, by the rate of false passes.
        share: for each group the share of the range's commits in it.
    """

    bad: Floats
    if_good: Floats
    if_bad: Floats
    share: Floats


class RatesBelieved:
    """Beliefs on one rate over `rates`: as it usually is, and where it has changed."""

    def __init__(self, usual: Floats, changed: Floats) -> None:
        """Start from the weight of each rate under either belief."""
        pair = np.stack([usual, changed], axis=1)
        self.both: Floats = pair[::_EVERY] + pair[1::_EVERY]
        """Every second rate, the two beliefs as columns."""


def changed_rate(
    rows: Rows, good: RatesBelieved, bad: RatesBelieved, rising: float, at_limit: bool
) -> tuple[Floats, Floats]:
    """Weigh that one of the rates changed at some commit.

    Args:
        rows: what was tried.
        good: beliefs on false failures.
        bad: beliefs on false passes.
        rising: share in which the signal fails more often from the change on.
        at_limit: false passes as frequent as they can be are weighed as such.

    Returns:
        Log-evidence, groups of the culprit by groups of the commit where the rate changed, for
        false failures and for false passes. The share of the second is counted in.
    """
    with np.errstate(divide="ignore"):
        share = np.log(rows.share)
    healthy = 1.0 - rows.bad
    # Each pair of rates stands at the one next to its limit: a rate that is really at the limit
    # would else be taken for one that cannot be.
    if_good, if_bad = rows.if_good[:, ::_EVERY], rows.if_bad[:, int(at_limit) :: _EVERY]
    together = healthy @ healthy.T
    size = np.diagonal(together)
    nested = bool((together == np.minimum.outer(size, size)).all())
    stretches = _along_a_line if nested else _anywhere
    found = []
    for own, other, own_ll, other_ll, rate, other_rate, rises in (
        (healthy, rows.bad, if_good, if_bad, good, bad, rising),
        (rows.bad, healthy, if_bad, if_good, bad, good, 1.0 - rising),
    ):
        first, second = stretches(own, healthy, own_ll, rate)
        # Either side may be the one that lies unusually often.
        either = np.logaddexp(
            first[0] + second[1] + np.log(rises), first[1] + second[0] + np.log1p(-rises)
        )
        rest = _integrated(other @ other_ll, other_rate)[0]
        found.append(either + rest[:, None] + share[None, :])
    return found[0], found[1]


def _anywhere(
    own: Floats, healthy: Floats, logs: Floats, rate: RatesBelieved
) -> tuple[Floats, Floats]:
    """Integrate the rate out on its own nodes before each change, and from there on."""
    count, rates = len(own), logs.shape[1]
    masks = own[:, None, :] * healthy[None, :, :]
    before = (masks.reshape(count * count, -1) @ logs).reshape(count, count, rates)
    return _integrated(before, rate), _integrated((own @ logs)[:, None, :] - before, rate)


def _along_a_line(
    own: Floats, healthy: Floats, logs: Floats, rate: RatesBelieved
) -> tuple[Floats, Floats]:
    """The same where of two groups one's healthy nodes are always among the other's.

    Then either side of a change is a group's own, or all between two groups, or nothing.
    """
    count = len(own)
    size = healthy.sum(axis=1)
    total, nothing = _integrated(own @ logs, rate), np.log(rate.both.sum(axis=0))
    upto = healthy @ logs
    less, more = np.nonzero(size[:, None] < size[None, :])
    between = np.empty((2, count, count))
    between[:] = nothing[:, None, None]
    between[:, less, more] = _integrated(upto[more] - upto[less], rate)
    culprit, change = np.indices((count, count))
    if own is healthy:
        earlier = np.where(size[change] < size[culprit], change, culprit)
        return total[:, earlier], between.transpose(0, 2, 1)
    later = np.where(size[change] > size[culprit], change, culprit)
    return between, total[:, later]


def _integrated(logs: Floats, rate: RatesBelieved) -> Floats:
    """Integrate a rate out, under both beliefs on it (first axis)."""
    top = logs.max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        result: Floats = np.moveaxis(np.log(np.exp(logs - top) @ rate.both) + top, -1, 0)
    return result


@dataclass(frozen=True, slots=True)
class EarlierBreak:
    """That it was broken and mended before the culprit, weighed along a line of commits.

    Gap g lies before the g-th tried commit of the line, the last one behind them all.

    Attributes:
        culprit: log-evidence for each gap that the last break lies there, sizes counted in.
        windows: the same by the gap of the mending too (rows); on the diagonal both lie in one gap,
            where nothing was tried.
        first: the likeliest gap of the first break, for each gap of the last one.
        mended: the likeliest gap of the mending, for each gap of the last one.
    """

    culprit: Floats
    windows: Floats
    first: Ints
    mended: Ints


LEAST_STRETCH = 0.125
"""A stretch mended in between is at least this share of the line: shorter ones nobody sees."""


def earlier_break(
    if_good: Floats,
    if_bad: Floats,
    sizes: Floats,
    false_fail: Floats,
    false_pass: Floats,
    usable: Floats | None = None,
) -> EarlierBreak:
    """Weigh that the line is good, bad, good and bad again, in stretches.

    Args:
        if_good: tried commits of the line in order by `rates`.
        if_bad: the same, where bad.
        sizes: commits in each gap: one more than there are tried commits.
        false_fail: weight of each rate in `rates`.
        false_pass: the same.
        usable: commits in each gap that can be tried; all, if not given. Nobody misses a stretch
            that was fixed where nothing can be tried.
    """
    few = len(_FEW)
    good = np.repeat(_sums_before(if_good[:, _FEW]), few, axis=1)
    bad = np.tile(_sums_before(if_bad[:, _FEW]), few)
    weights = np.outer(thinned(false_fail), thinned(false_pass)).ravel()
    count = len(sizes)
    with np.errstate(divide="ignore"):
        log_sizes = np.log(sizes / sizes.sum())
    lean = good - bad
    # Broken in gap i: good before, bad from there on. Best first break for each mending.
    starts = log_sizes[:, None] + lean
    broken = np.full((count, few * few), -np.inf)
    broken[1:] = np.logaddexp.accumulate(starts, axis=0)[:-1]
    mean = log_mean(starts, weights)
    leads = np.concatenate([[True], mean[1:] > np.maximum.accumulate(mean)[:-1]])
    first = np.zeros(count, np.intp)
    first[1:] = np.maximum.accumulate(np.where(leads, np.arange(count), 0))[:-1]
    mending = broken + log_sizes[:, None] - lean
    ends = np.cumsum(sizes)
    least = max(1.0, np.ceil(LEAST_STRETCH * ends[-1]))
    breaking = starts + bad[-1]
    # What lies between the mending and the last break has to be long enough.
    long_enough = ends[None, :] - 1 - (ends - sizes)[:, None] >= least
    windows = _products(mending, breaking, weights)
    windows[~(long_enough & np.triu(np.ones((count, count), np.bool_), 1))] = -np.inf
    mended = windows.argmax(axis=0)
    room = (sizes if usable is None else usable) - least
    roomy = np.flatnonzero((room > 0) & (np.arange(count) > 0))
    # Mended and broken again within one gap, where nothing was tried.
    ways = room[roomy] * (room[roomy] + 1) / 2 / ends[-1] ** 2
    windows[roomy, roomy] = log_mean(broken[roomy] + bad[-1], weights) + np.log(ways)
    found = log_mean(windows, np.ones(count)[:, None], axis=0)
    # Three points in order: a sixth of the cube.
    return EarlierBreak(found + np.log(6.0), windows + np.log(6.0), first, mended)


def _products(rows: Floats, columns: Floats, weights: Floats) -> Floats:
    """Log of the weighted sum of exponentials of every row plus every column's entry.

    What the one says at a rate the other may all but rule out: so that no sum is lost below the
    least number, each rate's heights are first shared evenly between both.
    """
    rows, columns = (np.maximum(each, -1e300) for each in (rows, columns))
    lean = (rows.max(axis=0) - columns.max(axis=0)) / 2.0
    rows, columns = rows - lean, columns + lean
    tops = [each.max(axis=-1, keepdims=True) for each in (rows, columns)]
    with np.errstate(divide="ignore"):
        logs = np.log((np.exp(rows - tops[0]) * weights) @ np.exp(columns - tops[1]).T)
    result: Floats = logs + tops[0] + tops[1].T
    return result


def doubtful(found: EarlierBreak, culprit: int) -> tuple[Floats, Floats, float]:
    """Say how much speaks for a mended stretch behind the likeliest culprit, by place.

    Args:
        found: what is known of an earlier break.
        culprit: the gap of the likeliest culprit.

    Returns:
        For each tried commit (it lies between its gap and the next), and for each gap, the share
        of the earlier break's evidence under which it was mended there; and the share under
        which another than the likeliest culprit broke it last.
    """
    top = float(found.windows.max())
    # Where too few can be tried, no stretch is long enough.
    weights = np.exp(found.windows - top) if np.isfinite(top) else np.ones_like(found.windows)
    total = weights.sum()
    weights[:, culprit] = 0.0
    # Mended at or before a gap, broken again behind it: sums over a corner of the matrix.
    corner = np.cumsum(np.cumsum(weights, axis=0)[:, ::-1], axis=1)[:, ::-1]
    here, within = np.diagonal(corner, 1) / total, np.diagonal(weights) / total
    return here, within, float(weights.sum() / total) if np.isfinite(top) else 0.0


def _sums_before(logs: Floats) -> Floats:
    """Sums of all rows before each gap."""
    result: Floats = np.concatenate([np.zeros((1, logs.shape[1])), np.cumsum(logs, axis=0)])
    return result


_KINDS = (
    # share of time, how much of it lasts to the next moment, runs that fail
    (1 / 6, 0.80, 0.90),
    (0.15, 0.90, 0.95),
    (0.15, 0.95, 0.99),
    (0.10, 0.975, 0.995),
)  # fmt: skip
"""Kinds of storm: bursts of a few runs up to outages of some forty."""


@dataclass(frozen=True, slots=True)
class TimedRun:
    """One run: of which tried node, when, and how it ended; `weight` below 1 for a repeat."""

    row: int
    at: int | None
    failed: bool
    weight: float = 1.0


class Storms:
    """The forward recursion over the runs so far, for every group at once."""

    def __init__(self, false_fail: Floats, false_pass: Floats) -> None:
        """Start before any run, with the weight of each rate in `rates`."""
        few, kinds = len(_FEW), len(_KINDS)
        fails = np.repeat(rates()[_FEW], few * kinds)
        passes = np.tile(np.repeat(rates()[_FEW], kinds), few)
        self._share, self._lasts, self._storm = (
            np.tile(c, few * few) for c in zip(*_KINDS, strict=True)
        )
        weights = np.outer(thinned(false_fail), thinned(false_pass)).ravel()
        start = np.repeat(weights, kinds) / kinds
        self._calm_good, self._calm_bad = fails, 1.0 - passes
        self._calm = (start * (1.0 - self._share))[None, :]
        self._stormy = (start * self._share)[None, :]
        self._scale = np.zeros(1)
        self._at: int | None = None

    def split(self, kept: Ints) -> None:
        """Follow a split of the groups: `kept[g]` is the old number of the new group g."""
        self._calm, self._stormy = self._calm[kept], self._stormy[kept]
        self._scale = self._scale[kept]

    def learn(self, run: TimedRun, bad: NDArray[np.bool_]) -> None:
        """Take one run, not earlier than the last; `bad` says for each group what its node is."""
        self._pass_time(run.at)
        calm = np.where(bad[:, None], self._calm_bad, self._calm_good)
        storm = self._storm
        if not run.failed:
            calm, storm = 1.0 - calm, 1.0 - storm
        if run.at is None:
            # From another time: it had a weather of its own.
            calm = (1.0 - self._share) * calm + self._share * storm
            storm = calm
        if run.weight != 1.0:
            calm, storm = calm**run.weight, storm**run.weight
        self._calm = self._calm * calm
        self._stormy = self._stormy * storm
        top = self._calm.max(axis=1) + self._stormy.max(axis=1)
        self._calm, self._stormy = self._calm / top[:, None], self._stormy / top[:, None]
        self._scale = self._scale + np.log(top)

    def _pass_time(self, at: int | None) -> None:
        if at is None:
            return
        gap = 0 if self._at is None else max(0, at - self._at)
        self._at = at if self._at is None else max(at, self._at)
        if gap:
            left = self._lasts**gap
            both = self._calm + self._stormy
            fresh = both * self._share
            self._stormy = self._stormy * left + fresh * (1.0 - left)
            self._calm = both - self._stormy

    @property
    def evidence(self) -> Floats:
        """Log-evidence of each group."""
        both: Floats = np.log((self._calm + self._stormy).sum(axis=1)) + self._scale
        return both

    @property
    def now(self) -> Floats:
        """For each group, how likely there was a storm at the last run."""
        stormy = self._stormy.sum(axis=1)
        result: Floats = stormy / (stormy + self._calm.sum(axis=1))
        return result
