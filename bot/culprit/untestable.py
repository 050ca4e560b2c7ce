"""Which commits probably cannot be tried: those near commits that could not.

What breaks a build stays until it is mended, so untestable commits come in stretches. Known
commits vote for their neighbours by inverse squared distance in the graph.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bot.culprit.graph import CommitGraph

Floats = NDArray[np.float64]

PRESUMED = 0.75
"""From this probability on a commit is taken for untestable and not tried."""


class Testability:
    """What is known of which commits can be tried."""

    __test__ = False  # its name is not that of a test class

    def __init__(self, graph: CommitGraph) -> None:
        """Start with every commit testable."""
        self._graph = graph
        self.untestable: set[int] = set()
        self._testable: set[int] = set()
        self._counted: dict[int, bool] = {}
        self._against = np.zeros(len(graph))
        self._in_favour = np.zeros(len(graph))
        self._surprises = 0
        self._seeded = False

    def learn(self, commit: int, *, testable: bool) -> None:
        """Learn that a commit could be tried, or not; the last word counts."""
        if testable:
            if self.untestable and self.probability()[commit] > 0.5:
                self._surprises += 1
            self._testable.add(commit)
            self.untestable.discard(commit)
        else:
            self.untestable.add(commit)
            self._testable.discard(commit)

    def probability(self) -> Floats:
        """Give the probability of being untestable for each commit."""
        if not self.untestable:
            return np.zeros(len(self._graph))
        self._count_votes()
        result = self._together * self._against / (self._against + self._in_favour)
        result[list(self._testable)] = 0.0
        result[list(self.untestable)] = 1.0
        return result

    def by_neighbours(self, commit: int) -> float:
        """Give the probability of being untestable that a commit's neighbours alone suggest."""
        if not self.untestable:
            return 0.0
        self._count_votes()
        against, in_favour = self._against[commit], self._in_favour[commit]
        if commit in self._testable:
            in_favour = max(in_favour - _vote(np.zeros(1))[0], 0.0)
        return float(self._together * against / (against + in_favour))

    @property
    def _together(self) -> float:
        """How far a stretch may be trusted to be one: by the rule of succession."""
        known = len(self.untestable)
        return (known + 1.0) / (known + self._surprises + 1.5)

    def _count_votes(self) -> None:
        """Bring the votes up to date. Not before they matter: distances cost a walk each."""
        if not self._seeded:
            # Both ends were tried by whoever found the failure: they vote from the start.
            self._seeded = True
            self._in_favour += _vote(self._distances([self._graph.bad]))
            roots = [c for c, parents in enumerate(self._graph.parents) if not parents]
            self._in_favour += _vote(self._distances(roots) + 1.0)
        for commit in self.untestable | self._testable:
            testable = commit in self._testable
            if self._counted.get(commit) == testable:
                continue
            vote = _vote(self._distances([commit]))
            if commit in self._counted:
                (self._against if testable else self._in_favour)[:] -= vote
            (self._in_favour if testable else self._against)[:] += vote
            self._counted[commit] = testable

    def _distances(self, sources: Sequence[int]) -> Floats:
        """Steps from the nearest of some commits to every other, along parents and children."""
        count = len(self._graph)
        if self._graph.is_chain:
            return np.abs(np.arange(count) - sources[0]).astype(np.float64)
        steps = np.full(count, float(count))
        steps[list(sources)] = 0.0
        queue = deque(sources)
        around = self._graph.neighbours
        while queue:
            at = queue.popleft()
            for near in around[at]:
                if steps[near] == count:
                    steps[near] = steps[at] + 1
                    queue.append(near)
        return steps


def _vote(distance: Floats) -> Floats:
    """What a commit's being testable or not says of others at a distance."""
    vote: Floats = 1.0 / np.maximum(distance, 0.5) ** 2
    return vote
