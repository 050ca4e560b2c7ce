"""What else than one step explains a metric's values: commits that differ, two modes, a walk. Pure.

All of it works on the table of `bot.culprit.metric`: the log-likelihood of what was measured, by
level and spread. Distances are shares of the width between the outermost usual values.

* Each commit may have a level of its own about its side's (a random effect): repeats of one
  commit then say little of where the others lie. Integrated out by a convolution over levels.
* Values may have two modes (a cache that is warm or cold, a test that passes or fails): each lies
  at the one or the other, and at most how often changes at a commit.
* The level may walk from commit to commit without any one step: the forward recursion of a
  hidden Markov model over levels (Rabiner 1989), with Gaussian moves.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, TypeAlias

from bot import LazyModule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")

Floats: TypeAlias = "NDArray[np.float64]"

COMMITS_DIFFER = ((0.0, 0.5), (0.08, 0.25), (0.2, 0.25))
"""By how much the level of one commit lies about that of its side, and how likely that is."""
TWO_MODES = 0.5
"""How likely it is beforehand that values have two modes."""
_SHARES = (0.05, 0.15, 0.35, 0.65, 0.85, 0.95)
"""How often a value lies at the first of two modes."""
_WALKS = (0.3, 0.6, 1.2)
"""Standard deviation of a walk over the whole range."""


def log_mean_exp(logs: Floats, axis: int = -1) -> Floats:
    """Log of the mean of exponentials over an axis."""
    top = logs.max(axis=axis, keepdims=True)
    result: Floats = np.log(np.exp(logs - top).mean(axis=axis)) + np.squeeze(top, axis)
    return result


def with_levels_of_their_own(rows: Floats, levels: Floats) -> Floats:
    """Let each commit have a level about its side's.

    Args:
        rows: nodes by levels by spreads, log-likelihood of what was measured.
        levels: where the levels lie, in widths.

    Returns:
        Nodes by levels by spreads by how much commits differ, how likely each is counted in.
    """
    top = rows.max(axis=1, keepdims=True)
    heights = np.exp(rows - top)
    found = []
    for apart, weight in COMMITS_DIFFER:
        own = rows if apart == 0.0 else _blurred(heights, levels, apart) + top
        found.append(own + log(weight * len(COMMITS_DIFFER)))
    return np.stack(found, axis=-1)


def walk(rows: Floats, places: Floats, levels: Floats) -> float:
    """Log-evidence that the level walks along the range.

    Args:
        rows: nodes in order by levels by spreads.
        places: of each node, from 0 to 1 along the range.
        levels: where the levels lie, in widths.
    """
    top = rows.max(axis=(1, 2))
    heights = np.exp(rows - top[:, None, None])
    found = []
    for far in _WALKS:
        here = heights[0] / len(levels)
        scale = 0.0
        for row, gap in zip(heights[1:], np.diff(places), strict=True):
            here = np.exp(_blurred(here[None], levels, far * float(np.sqrt(gap)))[0]) * row
            highest = float(here.max())
            here, scale = here / max(highest, 1e-300), scale + log(max(highest, 1e-300))
        found.append(log(max(float(here.sum(axis=0).mean()), 1e-300)) + scale)
    return float(log_mean_exp(np.array(found))) + float(top.sum())


def _blurred(heights: Floats, levels: Floats, apart: float) -> Floats:
    """Log of what a Gaussian of this width about each level sees of `heights` (levels: axis 1)."""
    away = (levels[:, None] - levels[None, :]) / max(apart, 1e-9)
    kernel = np.exp(-(away**2) / 2.0)
    kernel /= kernel.sum(axis=1, keepdims=True)
    blurred: Floats = np.log(np.maximum(np.einsum("lk,nks->nls", kernel, heights), 1e-300))
    return blurred


def modes(each: Floats) -> Floats:
    """Log-likelihood of each value under two modes.

    Args:
        each: values by levels by spreads.

    Returns:
        Values by pairs of levels and spreads by how often a value lies at the first of them.
    """
    few = each[:, 1::3, :5:2]
    first, second = np.triu_indices(few.shape[1], 1)
    one, other = few[:, first], few[:, second]
    shares = np.array(_SHARES)
    both = np.logaddexp(one[..., None] + np.log(shares), other[..., None] + np.log1p(-shares))
    by_pair: Floats = both.reshape(len(each), few.shape[2] * len(first), len(shares))
    return by_pair


def two_modes(nodes: Floats, patterns: Floats) -> tuple[Floats, float]:
    """Log-evidence of two modes, how often each is met changing at a commit, or not at all.

    Args:
        nodes: nodes by pairs of modes by shares: sums of `modes`.
        patterns: by pattern and node, 1 where the node is bad.

    Returns:
        Of each pattern, and of no change.
    """
    total = nodes.sum(axis=0)
    bad = np.einsum("pn,nms->pms", patterns, nodes)
    step = log_mean_exp(log_mean_exp(bad) + log_mean_exp(total[None] - bad))
    return step, float(log_mean_exp(total.ravel()))
