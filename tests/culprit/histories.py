"""Histories for property tests, and slow definitions to compare with."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from bot.culprit.graph import CommitGraph

quick = settings(deadline=None, max_examples=40)
"""Few examples, and no deadline: the machine may be busy."""


@st.composite
def histories(draw: st.DrawFn, most: int = 12) -> CommitGraph:
    """Draw a range with merges and perhaps several roots; every commit leads to the tip."""
    count = draw(st.integers(2, most))
    parents: dict[str, list[str]] = {}
    for i in range(count):
        known = [f"c{j}" for j in range(i)]
        chosen = draw(st.lists(st.sampled_from(known), max_size=2, unique=True)) if known else []
        parents[f"c{i}"] = chosen or (["good"] if draw(st.booleans()) else [])
    leaves = [c for c in parents if not any(c in p for p in parents.values())]
    parents["tip"] = leaves
    return CommitGraph.build(dict(reversed(parents.items())), "tip", ["good"])


def ancestors_by_definition(graph: CommitGraph, commit: int) -> set[int]:
    """Walk parents."""
    found, stack = {commit}, [commit]
    while stack:
        for parent in graph.parents[stack.pop()]:
            if parent not in found:
                found.add(parent)
                stack.append(parent)
    return found
