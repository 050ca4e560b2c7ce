"""What others do with the same traffic. Each returns the second of its alarm, or None.

Their rules as documented, on the metrics that they could have: failures, latency and cost.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from simulated_traffic.world import STAGE_SECONDS, Floats, Traffic

Judge = Callable[[Traffic], float | None]

WINDOW = 60
Z = 2.128
"""One-sided 5% / 3."""
_FEWEST = 30


def naive_z(seen: Traffic) -> float | None:
    """Two-sample z tests on failures, mean latency and cost, 5% together, looked at each second."""
    second = seen.times.astype(np.intp)
    candidate = seen.columns.candidate
    first = np.inf
    measured = seen.columns.measured
    for values in (measured.error, measured.latency, measured.cost):
        arms = []
        for rows in (candidate, ~candidate):
            count = np.cumsum(np.bincount(second[rows], minlength=second[-1] + 1))
            total = np.cumsum(np.bincount(second[rows], values[rows], second[-1] + 1))
            square = np.cumsum(np.bincount(second[rows], values[rows] ** 2, second[-1] + 1))
            mean = total / np.maximum(count, 1)
            spread = np.maximum(square / np.maximum(count, 1) - mean**2, 0)
            arms.append((count, mean, spread / np.maximum(count, 1)))
        (n1, mean1, var1), (n2, mean2, var2) = arms
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (mean1 - mean2) / np.sqrt(var1 + var2)
        over = np.flatnonzero((z > Z) & (n1 >= _FEWEST) & (n2 >= _FEWEST))
        if len(over):
            first = min(first, float(over[0] + 1))
    return None if first == np.inf else first


def _slow_windows(seen: Traffic) -> Floats:
    """Windows of a minute in which the candidate's p95 is above 1.1 times the baseline's."""
    window = (seen.times / WINDOW).astype(np.intp)
    candidate, latency = seen.columns.candidate, seen.columns.measured.latency
    found = []
    for number in range(window[-1] + 1):
        here = window == number
        ours, theirs = latency[here & candidate], latency[here & ~candidate]
        slow = len(ours) and len(theirs)
        if slow and np.quantile(ours, 0.95) > 1.1 * np.quantile(theirs, 0.95):
            found.append(number)
    return np.array(found)


def five_windows(seen: Traffic) -> float | None:
    """Flagger: five failed checks of p95 in all, one check a minute."""
    slow = _slow_windows(seen)
    return (slow[4] + 1.0) * WINDOW if len(slow) >= 5 else None


def three_consecutive(seen: Traffic) -> float | None:
    """Argo Rollouts with `consecutiveErrorLimit`-like rules: three failed checks in a row."""
    slow = set(_slow_windows(seen).tolist())
    for number in sorted(slow):
        if {number + 1, number + 2} <= slow:
            return (number + 3.0) * WINDOW
    return None


def kayenta(seen: Traffic) -> float | None:
    """Kayenta: Mann-Whitney (98%) once per interval, on each metric's value per minute.

    An interval is a stage. The score is the share of metrics that are not worse; below 75 of
    100 the canary fails. Here: failure rate, p95 latency and mean cost, equally weighted.
    """
    for stage in range(int(seen.times[-1] // STAGE_SECONDS) + 1):
        series: list[tuple[list[float], list[float]]] = [([], []), ([], []), ([], [])]
        for minute in range(STAGE_SECONDS // WINDOW):
            start = stage * STAGE_SECONDS + minute * WINDOW
            low, high = np.searchsorted(seen.times, [start, start + WINDOW])
            measured = seen.columns.measured.at(np.arange(low, high))
            candidate = seen.columns.candidate[low:high]
            for arm, rows in enumerate((candidate, ~candidate)):
                if rows.any():
                    series[0][arm].append(float(measured.error[rows].mean()))
                    series[1][arm].append(float(np.quantile(measured.latency[rows], 0.95)))
                    series[2][arm].append(float(measured.cost[rows].mean()))
        worse = sum(_greater(ours, theirs) < 0.01 for ours, theirs in series)
        if 100 * (len(series) - worse) / len(series) < 75:
            return (stage + 1.0) * STAGE_SECONDS
    return None


def _greater(ours: list[float], theirs: list[float]) -> float:
    """One-sided Mann-Whitney p value, normal approximation with ties."""
    if not (ours and theirs):
        return 1.0
    values = np.array(ours + theirs)
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]
    n, m = len(ours), len(theirs)
    u = ranks[:n].sum() - n * (n + 1) / 2
    ties = float((counts**3 - counts).sum()) / ((n + m) * (n + m - 1))
    variance = n * m / 12 * (n + m + 1 - ties)
    if variance == 0:
        return 1.0
    z = (u - n * m / 2 - 0.5) / sqrt(variance)
    return 0.5 * (1 - erf(z / sqrt(2)))


def msprt(seen: Traffic) -> float | None:
    """Mixture SPRT for means (Johari, Pekelis and Walsh 2015), each second, 5% together.

    The normal approximation that experimentation platforms use, on failures, mean latency and cost;
    the mixing deviation is a tenth of the pooled one.
    """
    second = seen.times.astype(np.intp)
    first = np.inf
    measured = seen.columns.measured
    for values in (measured.error, measured.latency, measured.cost):
        (n1, mean1, var1), (n2, mean2, var2) = (
            _running(values, rows, second)
            for rows in (seen.columns.candidate, ~seen.columns.candidate)
        )
        apart, spread = mean1 - mean2, var1 / np.maximum(n1, 1) + var2 / np.maximum(n2, 1)
        mixing = 0.01 * (var1 + var2) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            log_e = 0.5 * np.log(spread / (spread + mixing)) + mixing * apart**2 / (
                2 * spread * (spread + mixing)
            )
        over = np.flatnonzero(
            (log_e > -np.log(0.05 / 3)) & (apart > 0) & (n1 >= _FEWEST) & (n2 >= _FEWEST)
        )
        if len(over):
            first = min(first, float(over[0] + 1))
    return None if first == np.inf else first


def _running(
    values: Floats, rows: NDArray[np.bool_], second: NDArray[np.intp]
) -> tuple[Floats, Floats, Floats]:
    """Count, mean and variance of an arm until each second."""
    size = second[-1] + 1
    count = np.cumsum(np.bincount(second[rows], minlength=size)).astype(np.float64)
    total = np.cumsum(np.bincount(second[rows], values[rows], size))
    square = np.cumsum(np.bincount(second[rows], values[rows] ** 2, size))
    mean = total / np.maximum(count, 1)
    return count, mean, np.maximum(square / np.maximum(count, 1) - mean**2, 0)


_CONCENTRATION = 100.0


def multinomial(seen: Traffic) -> float | None:
    """The anytime-valid multinomial test of the library savvi 0.3.1, its formula and default prior.

    Lindon and Malek 2022, "Anytime-valid inference for multinomial count data": whose failures
    were, within each stage, against the split; 5% together. It knows failures only.
    """
    failed = np.flatnonzero(seen.columns.measured.error == 1)
    log_e = 0.0
    for percent in np.unique(seen.percent):
        rows = failed[seen.percent[failed] == percent]
        share = percent / 100
        if share >= 1 or len(rows) == 0:
            continue
        candidate = seen.columns.candidate[rows]
        before, ours = np.arange(len(rows)), np.cumsum(candidate) - candidate
        foretold = (_CONCENTRATION * share + ours) / (_CONCENTRATION + before)
        gained = np.where(candidate, foretold / share, (1 - foretold) / (1 - share))
        path = np.cumsum(np.log(gained))
        over = np.flatnonzero((log_e + path > -np.log(0.05)) & (ours > share * before))
        if len(over):
            return float(seen.times[rows[over[0]]])
        log_e += float(path[-1])
    return None


RIVALS: dict[str, Judge] = {
    "naive z": naive_z,
    "5 windows": five_windows,
    "3 in a row": three_consecutive,
    "Kayenta": kayenta,
    "mSPRT": msprt,
    "savvi": multinomial,
}
