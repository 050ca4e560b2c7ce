"""Commits that cannot be told apart, and the smallest set that likely holds the culprit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bot.culprit.ancestry import Ancestry
from bot.culprit.graph import CommitGraph

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def indistinguishable(ancestry: Ancestry, untestable: Iterable[int]) -> Ints:
    """Group the commits that no testable commit separates.

    Two culprits are separated by a testable commit that descends from one and not the other. A
    testable commit separates itself from all others but those whose testable descendants are
    exactly its own: untestable ones leading to it alone.

    Returns:
        For each commit the number of its class, which is the highest commit number in it.
    """
    graph = ancestry.graph
    untestable = set(untestable)
    label = np.arange(len(graph))
    if not untestable:
        return label
    children: dict[int, list[int]] = {}
    for child, parents in enumerate(graph.parents):
        for parent in parents:
            if parent in untestable:
                children.setdefault(parent, []).append(child)
    first_testable: dict[int, frozenset[int]] = {}
    name: dict[frozenset[int], int] = {}
    for commit in sorted(untestable, reverse=True):
        heads: set[int] = set()
        for child in children.get(commit, ()):
            heads |= first_testable.get(child, {child})
        lowest = frozenset(h for h in heads if not any(o != h and ancestry.of(h)[o] for o in heads))
        first_testable[commit] = lowest
        alone = next(iter(lowest)) if len(lowest) == 1 else name.setdefault(lowest, commit)
        label[commit] = alone
    return label


def along_first_parents(graph: CommitGraph, untestable: Iterable[int]) -> Ints:
    """Group the commits that no testable commit of the first-parent line separates.

    Every commit belongs to the first testable commit of the line at or after the one that
    brought it in. The result is numbered as that of `indistinguishable`.
    """
    untestable = set(untestable)
    leads_to = np.arange(len(graph))
    following = graph.bad
    for commit in reversed(graph.first_parent_line):
        if commit not in untestable:
            following = commit
        leads_to[commit] = following
    return leads_to[np.array(graph.merged_by, np.intp)]


def masses(labels: Ints, probability: Floats) -> Floats:
    """Sum the commits' probabilities by class number."""
    sums: Floats = np.bincount(labels, probability, len(labels)).astype(np.float64)
    return sums


def credible(masses_by_class: Floats, level: float = 0.95) -> list[int]:
    """Give the fewest classes that together hold at least `level` of the mass, likeliest first."""
    order = np.argsort(-masses_by_class, kind="stable")
    total = masses_by_class.sum()
    enough = int(np.searchsorted(np.cumsum(masses_by_class[order]), level * total)) + 1
    return [int(c) for c in order[:enough]]


def splitters(ancestry: Ancestry, suspects: Sequence[int], untestable: Iterable[int]) -> list[int]:
    """List untestable commits that would separate some of the suspects if they could be tried."""
    wanted = np.array(sorted(suspects), np.intp)
    found = []
    for commit in sorted(untestable):
        inside = ancestry.of(commit)[wanted]
        if inside.any() and not inside.all():
            found.append(commit)
    return found
