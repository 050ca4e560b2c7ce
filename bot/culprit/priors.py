"""Which commits deserve suspicion before anything is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log1p
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

from bot import LazyModule
from bot.culprit.graph import DENSE_LIMIT, Ancestry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")

Floats: TypeAlias = "NDArray[np.float64]"

UNIFORM_SHARE = 0.2
"""At least this share of the prior is spread evenly: no hint is ever trusted wholly."""
CONTRADICTED = 1e-6
"""Weight left to a culprit that would make one tree both good and bad."""


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of a commit before any trial.

    Attributes:
        path_distance: steps in the folder tree from the nearest changed file to the failing
            test, if both are known.
        in_stack_trace: how many files of the stack trace it changes.
        changed_lines: lines added and removed.
        documentation_only: it changes nothing that runs (documentation, comments).
        age: its place in the range, 0 newest to 1 oldest.
    """

    path_distance: int | None = None
    in_stack_trace: int = 0
    changed_lines: int = 0
    documentation_only: bool = False
    age: float = 0.5


@dataclass(frozen=True, slots=True)
class FeatureWeights:
    """How much each feature adds to the logarithm of a commit's prior weight."""

    near: float = -0.4
    in_stack_trace: float = 1.5
    size: float = 0.2
    documentation_only: float = -4.0
    recent: float = 0.3


def weigh(commits: Sequence[Features], weights: FeatureWeights | None = None) -> tuple[float, ...]:
    """Turn features into prior weights, by number, summing to 1.

    P(c) ∝ exp(w·features), mixed with `UNIFORM_SHARE` spread evenly.
    """
    weights = weights or FeatureWeights()
    raw = [
        exp(
            weights.near * min(c.path_distance if c.path_distance is not None else 4, 8)
            + weights.in_stack_trace * min(c.in_stack_trace, 2)
            + weights.size * min(log1p(c.changed_lines), 6.0)
            + weights.documentation_only * c.documentation_only
            + weights.recent * (1.0 - c.age)
        )
        for c in commits
    ]
    total = sum(raw)
    return tuple((1 - UNIFORM_SHARE) * r / total + UNIFORM_SHARE / len(raw) for r in raw)


Change = tuple[str, int]
"""A path that a commit changes, and lines added and removed there; 0 where they are not known."""

DOCUMENTATION = (".md", ".rst", ".adoc")
DOCUMENTATION_NAMES = ("LICENSE", "COPYING", "AUTHORS", "CHANGES", "CHANGELOG", "NEWS")


def is_documentation(path: str) -> bool:
    """Tell whether nothing runs what is in this file, by its name."""
    return path.endswith(DOCUMENTATION) or PurePosixPath(path).stem in DOCUMENTATION_NAMES


def by_changes(
    commits: Sequence[str],
    changes: Mapping[str, Sequence[Change]],
    is_idle: Callable[[str], bool] = is_documentation,
) -> tuple[float, ...]:
    """Weigh each commit by what it changes: documentation rarely breaks a check.

    Args:
        commits: of the range, newest first.
        changes: what each changes, as far as that is known.
        is_idle: whether nothing runs what is in a file of this path.
    """
    oldest = max(1, len(commits) - 1)
    return weigh(
        [
            Features(
                changed_lines=sum(lines for _, lines in changed),
                documentation_only=bool(changed) and all(is_idle(path) for path, _ in changed),
                age=1.0 - number / oldest,
            )
            for number, sha in enumerate(commits)
            for changed in [changes.get(sha, ())]
        ]
    )


def suspects(count: int, named: Sequence[int], trust: float) -> tuple[float, ...]:
    """Make a prior from suspects that somebody named.

    Args:
        count: commits in the range.
        named: numbers of the suspects.
        trust: probability that the culprit is among them; capped so that `UNIFORM_SHARE`
            stays even.
    """
    trust = min(trust, 1.0 - UNIFORM_SHARE) if named else 0.0
    weights = [(1.0 - trust) / count] * count
    for commit in named:
        weights[commit] += trust / len(named)
    return tuple(weights)


def impossible(ancestry: Ancestry, trees: Mapping[str, str]) -> Floats:
    """Discount culprits that equal trees rule out.

    If two commits have one tree, then no culprit can make one of them bad and leave the other
    good: a merge that changed nothing, or all of a change and its revert.

    Returns:
        For each commit 1, or `CONTRADICTED`.
    """
    graph = ancestry.graph
    factor = np.ones(len(graph))
    if not trees:
        return factor
    if len(graph) > DENSE_LIMIT:
        # Too many to compare all: a commit that equals one of its parents changed nothing.
        for commit, parents in enumerate(graph.parents):
            tree = trees.get(graph.commits[commit])
            if tree is not None and any(trees.get(graph.commits[p]) == tree for p in parents):
                factor[commit] = CONTRADICTED
        return factor
    first: dict[str, int] = {}
    nobody = np.zeros(len(graph), np.bool_)
    for good in graph.goods:
        if good in trees:
            first[trees[good]] = -1
    for commit, sha in enumerate(graph.commits):
        tree = trees.get(sha)
        if tree is None:
            continue
        if tree in first:
            other = nobody if first[tree] < 0 else ancestry.of(first[tree])
            factor[ancestry.of(commit) != other] = CONTRADICTED
        else:
            first[tree] = commit
    return factor
