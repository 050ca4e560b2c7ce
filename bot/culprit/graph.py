"""The range of commits in question, as a graph."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property


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
