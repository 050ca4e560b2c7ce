"""First which pull request, then which of its commits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bot.culprit.graph import CommitGraph
from bot.culprit.settings import Granularity

Floats = NDArray[np.float64]

INSIDE = 0.5
"""From this probability of a merge on, the commits of its branch are tried too."""


def open_commits(graph: CommitGraph, granularity: Granularity, probability: Floats) -> Floats:
    """Mark with 1 the commits that may be tried at this stage, with 0 the others.

    Commits of a branch often do not build on their own, so they are left out until their merge
    is the likely culprit, or for good if only first parents are wanted.

    Args:
        graph: the range.
        granularity: how finely to look.
        probability: of each commit.
    """
    if granularity is Granularity.COMMIT or graph.is_chain:
        return np.ones(len(graph))
    allowed = np.zeros(len(graph))
    allowed[list(graph.first_parent_line)] = 1.0
    if granularity is Granularity.STAGED:
        owner = np.array(graph.merged_by)
        mass = np.bincount(owner, probability, len(graph))
        allowed[mass[owner] >= INSIDE] = 1.0
    return allowed
