"""The commits of a range, what descends from what, and which of them no trial tells apart."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from bot import LazyModule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")


class GraphError(ValueError):
    """The range cannot be searched; the message says why, for people to read."""


@dataclass(frozen=True)
class CommitGraph:
    """The commits reachable from the bad end and from no good end.

    Commits are numbered so that parents come before children; the bad end is the last one.
    A parent outside the range is good by assumption and is left out of `parents`.

    Attributes:
        commits: SHAs by number.
        parents: numbers of each commit's parents inside the range, first parent first.
        first_parents: number of each commit's first parent, or -1 if that is outside the range.
        goods: the SHAs of the good ends, outside the range.
    """

    commits: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    first_parents: tuple[int, ...]
    goods: tuple[str, ...] = ()

    @classmethod
    def build(
        cls, parents: Mapping[str, Sequence[str]], bad: str, goods: Iterable[str] = ()
    ) -> CommitGraph:
        """Make the range `goods..bad` from a commit → parents map.

        The map may hold exactly the range (`git rev-list --parents BAD ^GOOD`) or more; a
        commit that it lacks is outside the range. Several roots and good ends are fine.

        Raises:
            GraphError: bad is unknown, nothing lies between, or the map has a cycle.
        """
        goods = tuple(dict.fromkeys(goods))
        if bad not in parents:
            raise GraphError("The bad end is not in the range: is it an ancestor of the good end?")
        outside = _reach(parents, goods)
        if bad in outside:
            raise GraphError("Nothing lies between: the bad end is part of the good end.")
        inside = _reach(parents, [bad], stop=outside)
        order = _oldest_first(parents, inside)
        number = {sha: i for i, sha in enumerate(order)}
        return cls(
            commits=tuple(order),
            parents=tuple(
                tuple(number[p] for p in dict.fromkeys(parents[sha]) if p in number)
                for sha in order
            ),
            first_parents=tuple(
                number.get(parents[sha][0], -1) if parents[sha] else -1 for sha in order
            ),
            goods=goods,
        )

    @classmethod
    def chain(cls, commits: Sequence[str], goods: Iterable[str] = ()) -> CommitGraph:
        """Make a range without merges from SHAs in order, oldest first.

        Raises:
            GraphError: there is no commit, or it is no graph.
        """
        if not commits:
            raise GraphError("Nothing lies between the good and the bad end.")
        before = tuple(range(-1, len(commits) - 1))
        return cls(
            commits=tuple(commits),
            parents=tuple((i,) if i >= 0 else () for i in before),
            first_parents=before,
            goods=tuple(goods),
        )

    def __len__(self) -> int:
        """Count the commits of the range."""
        return len(self.commits)

    @property
    def bad(self) -> int:
        """The number of the bad end."""
        return len(self.commits) - 1

    @cached_property
    def number(self) -> dict[str, int]:
        """SHA → number; good ends follow the commits of the range."""
        return {sha: i for i, sha in enumerate(self.commits + self.goods)}

    @cached_property
    def is_chain(self) -> bool:
        """Whether each commit's only parent is the one before it."""
        return all(p == ((i - 1,) if i else ()) for i, p in enumerate(self.parents))

    @cached_property
    def first_parent_line(self) -> tuple[int, ...]:
        """The commits from the bad end along first parents, oldest first."""
        line, at = [], self.bad
        while at >= 0:
            line.append(at)
            at = self.first_parents[at]
        return tuple(reversed(line))

    @cached_property
    def merged_by(self) -> tuple[int, ...]:
        """For each commit, the commit of the first-parent line that brought it in.

        A merge and the commits of its branch share one: reverting the merge removes them all.
        """
        owner = [-1] * len(self)
        for top in self.first_parent_line:
            stack = [top]
            while stack:
                at = stack.pop()
                if owner[at] < 0:
                    owner[at] = top
                    stack.extend(self.parents[at])
        return tuple(owner)

    @cached_property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """Parents and children of each commit."""
        around: list[list[int]] = [list(p) for p in self.parents]
        for child, parents in enumerate(self.parents):
            for parent in parents:
                around[parent].append(child)
        return tuple(tuple(a) for a in around)


def _reach(
    parents: Mapping[str, Sequence[str]],
    tips: Iterable[str],
    stop: frozenset[str] = frozenset(),
) -> frozenset[str]:
    """Collect the tips and their ancestors that the map knows, not entering `stop`."""
    seen: set[str] = set()
    stack = [t for t in tips if t not in stop]
    while stack:
        sha = stack.pop()
        if sha not in seen:
            seen.add(sha)
            stack.extend(p for p in parents.get(sha, ()) if p in parents and p not in stop)
    return frozenset(seen)


def _oldest_first(parents: Mapping[str, Sequence[str]], inside: frozenset[str]) -> list[str]:
    """Sort topologically; among free choices the order of the map's keys, reversed, decides.

    Git lists the newest first, so reversing gives a stable order close to time.
    """
    rank = {sha: -i for i, sha in enumerate(parents) if sha in inside}
    waiting = {sha: len({p for p in parents[sha] if p in inside}) for sha in inside}
    children: dict[str, list[str]] = {}
    for sha in inside:
        for parent in {p for p in parents[sha] if p in inside}:
            children.setdefault(parent, []).append(sha)
    ready = [(rank[sha], sha) for sha, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        _, sha = heapq.heappop(ready)
        order.append(sha)
        for child in children.get(sha, ()):
            waiting[child] -= 1
            if waiting[child] == 0:
                heapq.heappush(ready, (rank[child], child))
    if len(order) != len(inside):
        raise GraphError("The commit graph has a cycle, which git never makes.")
    return order


Bools: TypeAlias = "NDArray[np.bool_]"
Floats: TypeAlias = "NDArray[np.float64]"

DENSE_LIMIT = 5_000
"""Up to here the whole ancestor matrix is kept (25 MB); beyond, ancestors are sampled."""
_BLOCK_ROWS = 1_024


class Ancestry:
    """Ancestor sets of a graph. A commit is an ancestor of itself, as a culprit is bad itself."""

    def __init__(self, graph: CommitGraph) -> None:
        """Prepare for `graph`; the work is done when first asked for."""
        self.graph = graph
        self._rows: dict[int, Bools] = {}

    @property
    def exact(self) -> bool:
        """Whether sums over all ancestor sets are affordable."""
        return self.graph.is_chain or len(self.graph) <= DENSE_LIMIT

    def of(self, commit: int) -> Bools:
        """Mark the ancestors of one commit, itself included (length: commits of the range)."""
        row = self._rows.get(commit)
        if row is None:
            row = self._rows[commit] = self._ancestors(commit)
        return row

    def sums(self, weights: Floats) -> Floats:
        """Sum weights over the ancestors of each commit.

        Args:
            weights: one row per commit.

        Returns:
            An array like `weights`: row m holds the sum of the rows of m's ancestors.
        """
        if self.graph.is_chain:
            return np.cumsum(weights, axis=0)
        if len(self.graph) <= _BLOCK_ROWS:
            return self._matrix_as_floats @ weights
        rows = self._matrix
        return np.concatenate(
            [
                rows[i : i + _BLOCK_ROWS].astype(np.float64) @ weights
                for i in range(0, len(rows), _BLOCK_ROWS)
            ]
        )

    @cached_property
    def _matrix(self) -> Bools:
        """Row m marks the ancestors of m."""
        count = len(self.graph)
        width = (count + 7) // 8
        sets: list[int] = []
        for commit, parents in enumerate(self.graph.parents):
            bits = 1 << commit
            for parent in parents:
                bits |= sets[parent]
            sets.append(bits)
        packed = np.frombuffer(b"".join(s.to_bytes(width, "little") for s in sets), np.uint8)
        unpacked = np.unpackbits(packed.reshape(count, width), axis=1, bitorder="little")
        matrix: Bools = unpacked[:, :count].view(np.bool_)
        return matrix

    @cached_property
    def _matrix_as_floats(self) -> Floats:
        return self._matrix.astype(np.float64)

    def _ancestors(self, commit: int) -> Bools:
        count = len(self.graph)
        if self.graph.is_chain:
            return np.arange(count) <= commit
        if count <= DENSE_LIMIT:
            known: Bools = self._matrix[commit]
            return known
        row = np.zeros(count, np.bool_)
        stack = [commit]
        row[commit] = True
        parents = self.graph.parents
        seen = {commit}
        while stack:
            for parent in parents[stack.pop()]:
                if parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
        row[list(seen)] = True
        return row


def sampled_descendants(graph: CommitGraph, culprits: NDArray[np.intp]) -> NDArray[np.uint64]:
    """Say for each commit which of some sampled culprits would make it bad.

    One big integer per commit, OR-ed along parents: the cost is one pass over the graph,
    whatever the number of samples (up to a few thousand).

    Args:
        graph: the range.
        culprits: commit numbers; sample j is bit j.

    Returns:
        One row of 64-bit words per commit, bit j set if sample j is an ancestor of it.
    """
    own: dict[int, int] = {}
    for j, culprit in enumerate(culprits.tolist()):
        own[culprit] = own.get(culprit, 0) | (1 << j)
    sets: list[int] = []
    for commit, parents in enumerate(graph.parents):
        bits = own.get(commit, 0)
        for parent in parents:
            bits |= sets[parent]
        sets.append(bits)
    words = (len(culprits) + 63) // 64
    packed = b"".join(s.to_bytes(words * 8, "little") for s in sets)
    return np.frombuffer(packed, np.dtype("<u8")).reshape(len(graph), words)


Ints: TypeAlias = "NDArray[np.intp]"


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
