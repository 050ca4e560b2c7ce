from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.culprit.graph import (
    Ancestry,
    CommitGraph,
    along_first_parents,
    credible,
    indistinguishable,
)
from bot.culprit.selection import Testability
from tests.culprit.histories import ancestors_by_definition, histories, quick


@quick
@given(histories(10), st.sets(st.integers(0, 9)))
def test_two_commits_share_a_class_exactly_if_no_testable_commit_separates_them(
    graph: CommitGraph, marked: set[int]
) -> None:
    untestable = {c for c in marked if c < len(graph)}
    labels = indistinguishable(Ancestry(graph), untestable)
    seen_by = [
        frozenset(
            m
            for m in range(len(graph))
            if m not in untestable and c in ancestors_by_definition(graph, m)
        )
        for c in range(len(graph))
    ]
    for one in range(len(graph)):
        for other in range(len(graph)):
            assert (labels[one] == labels[other]) == (seen_by[one] == seen_by[other])


def test_the_credible_set_is_the_smallest_that_reaches_its_level() -> None:
    assert credible(np.array([0.02, 0.5, 0.03, 0.45]), 0.95) == [1, 3]
    assert credible(np.array([0.02, 0.5, 0.03, 0.45]), 0.96) == [1, 3, 2]


def test_neighbours_of_untestable_commits_are_suspected_less_with_distance() -> None:
    testability = Testability(CommitGraph.chain([str(i) for i in range(100)]))
    assert testability.probability().max() == 0.0
    testability.learn(50, testable=False)
    chance = testability.probability()
    assert chance[50] == 1.0
    assert chance[51] > chance[60] > chance[80] > chance[99] == pytest.approx(0.0, abs=0.01)


def test_a_testable_neighbour_speaks_for_its_surroundings() -> None:
    testability = Testability(CommitGraph.chain([str(i) for i in range(100)]))
    testability.learn(50, testable=False)
    before = testability.probability()[56]
    testability.learn(57, testable=True)
    assert testability.probability()[57] == 0.0
    assert testability.probability()[56] < before / 2


def test_distance_counts_steps_along_merges() -> None:
    parents = {"tip": ["a", "b"], "a": ["root"], "b": ["root"], "root": ["good"]}
    graph = CommitGraph.build(parents, "tip", ["good"])
    testability = Testability(graph)
    testability.learn(graph.number["a"], testable=False)
    chance = testability.probability()
    assert 0.0 < chance[graph.number["b"]] < 0.5


def test_a_commit_reached_through_another_adds_nothing_to_tell_culprits_apart() -> None:
    parents = {"tip": ["t", "u"], "t": ["u"], "u": ["good"]}
    graph = CommitGraph.build(parents, "tip", ["good"])
    labels = indistinguishable(Ancestry(graph), {graph.number["u"]})
    assert labels[graph.number["u"]] == labels[graph.number["t"]]
    assert labels[graph.number["tip"]] != labels[graph.number["t"]]


@quick
@given(histories(10), st.sets(st.integers(0, 9)))
def test_along_first_parents_a_branch_belongs_to_its_merge(
    graph: CommitGraph, marked: set[int]
) -> None:
    line = set(graph.first_parent_line)
    untestable = {c for c in marked if c in line and c != graph.bad}
    off_line = set(range(len(graph))) - line
    expected = indistinguishable(Ancestry(graph), untestable | off_line)
    assert list(along_first_parents(graph, untestable)) == list(expected)
