from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from bot.culprit.graph import Ancestry, CommitGraph, GraphError, sampled_descendants
from tests.culprit.histories import ancestors_by_definition, histories, quick


@quick
@given(histories())
def test_parents_come_before_children_and_the_bad_end_is_last(history: CommitGraph) -> None:
    assert all(p < c for c, parents in enumerate(history.parents) for p in parents)
    assert history.bad == len(history) - 1


@quick
@given(histories())
def test_ancestors_are_what_walking_parents_reaches(history: CommitGraph) -> None:
    ancestry = Ancestry(history)
    for commit in range(len(history)):
        expected = ancestors_by_definition(history, commit)
        assert set(np.flatnonzero(ancestry.of(commit))) == expected


@quick
@given(histories())
def test_sums_over_ancestors_equal_the_sums_by_hand(history: CommitGraph) -> None:
    weights = np.arange(1.0, len(history) + 1)[:, None]
    sums = Ancestry(history).sums(weights)[:, 0]
    for commit in range(len(history)):
        expected = sum(a + 1 for a in ancestors_by_definition(history, commit))
        assert sums[commit] == pytest.approx(expected)


@quick
@given(histories())
def test_sampled_culprits_mark_exactly_their_descendants(history: CommitGraph) -> None:
    culprits = np.arange(len(history))
    words = sampled_descendants(history, culprits)
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    for commit in range(len(history)):
        assert set(np.flatnonzero(bits[commit])) == ancestors_by_definition(history, commit)


@quick
@given(histories())
def test_every_commit_was_brought_in_by_one_commit_of_the_first_parent_line(
    history: CommitGraph,
) -> None:
    line = history.first_parent_line
    for commit, owner in enumerate(history.merged_by):
        reach = [top for top in line if commit in ancestors_by_definition(history, top)]
        assert owner == reach[0]


def test_several_roots_and_several_good_ends_bound_the_range() -> None:
    parents = {
        "tip": ["m2", "island"],
        "m2": ["a2", "b2"],
        "island": [],
        "a2": ["a1"],
        "b2": ["b1"],
        "a1": ["root"],
        "b1": ["root"],
        "root": [],
    }
    graph = CommitGraph.build(parents, "tip", ["a1", "b1"])
    assert set(graph.commits) == {"tip", "m2", "island", "a2", "b2"}
    assert graph.goods == ("a1", "b1")
    assert graph.commits[graph.bad] == "tip"


def test_good_equal_to_bad_says_that_nothing_lies_between() -> None:
    with pytest.raises(GraphError, match="Nothing lies between"):
        CommitGraph.build({"a": []}, "a", ["a"])


def test_an_unknown_bad_end_is_refused() -> None:
    with pytest.raises(GraphError, match="bad end is not in the range"):
        CommitGraph.build({"a": []}, "b")


def test_a_cycle_is_refused() -> None:
    with pytest.raises(GraphError, match="cycle"):
        CommitGraph.build({"a": ["b"], "b": ["a"]}, "a")
