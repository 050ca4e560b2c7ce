"""Which commits would be bad if a given commit were the culprit: ancestors, as bit sets."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bot.culprit.graph import CommitGraph

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

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
