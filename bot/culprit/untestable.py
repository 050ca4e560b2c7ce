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


DOUBTFUL = 0.5
"""From this share of its neighbours' votes on, one result of a commit may be chance."""


class Testability:
    """What is known of which commits can be tried."""

    __test__ = False  # its name is not that of a test class

    def __init__(self, graph: CommitGraph) -> None:
        """Start with every commit testable."""
        self._graph = graph
        self.untestable: set[int] = set()
        self._testable: set[int] = set()
        self._fed: set[int] = set()
        self._against = np.zeros(len(graph))
        self._in_favour = np.zeros(len(graph))
        self._surprises = 0
        self._seeded = False

    def learn(self, commit: int, *, testable: bool) -> None:
        """Learn that a commit could be tried, or not."""
        if testable:
            if self.untestable and self.probability()[commit] > 0.5:
                self._surprises += 1
            self._testable.add(commit)
        else:
            self.untestable.add(commit)

    def probability(self) -> Floats:
        """Give the probability of being untestable for each commit."""
        count = len(self._graph)
        if not self.untestable:
            return np.zeros(count)
        if not self._seeded:
            # Both ends were tried by whoever found the failure: they vote from the start.
            self._seeded = True
            self._in_favour += 1.0 / np.maximum(self._distances([self._graph.bad]), 0.5) ** 2
            roots = [c for c, parents in enumerate(self._graph.parents) if not parents]
            self._in_favour += 1.0 / (self._distances(roots) + 1.0) ** 2
        for commit in (self.untestable | self._testable) - self._fed:
            self._fed.add(commit)
            votes = self._against if commit in self.untestable else self._in_favour
            votes += 1.0 / np.maximum(self._distances([commit]), 0.5) ** 2
        # How far a stretch may be trusted to be one: by the rule of succession.
        together = (len(self.untestable) + 1.0) / (len(self.untestable) + self._surprises + 1.5)
        result = together * self._against / (self._against + self._in_favour)
        result[list(self._testable)] = 0.0
        result[list(self.untestable)] = 1.0
        return result

    def doubtful(self, commit: int) -> bool:
        """Tell whether a commit that gave one result would be thought untestable but for it."""
        self.probability()
        against = self._against[commit]
        if commit not in self._testable or not against:
            return False
        own = 1.0 / 0.5**2
        return bool(against / (against + max(self._in_favour[commit] - own, 0.0)) >= DOUBTFUL)

    def forget(self, commit: int) -> None:
        """Unlearn that a commit could be tried."""
        self._testable.discard(commit)
        self._fed.discard(commit)
        self._in_favour -= 1.0 / np.maximum(self._distances([commit]), 0.5) ** 2

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
