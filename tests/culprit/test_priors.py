from __future__ import annotations

import pytest

from bot.culprit.graph import Ancestry, CommitGraph
from bot.culprit.priors import UNIFORM_SHARE, Features, impossible, suspects, weigh


def test_a_share_of_the_prior_is_always_even() -> None:
    strong = Features(path_distance=0, in_stack_trace=9, changed_lines=10_000, age=0.0)
    weights = weigh([strong, Features(), Features(), Features(documentation_only=True)])
    assert sum(weights) == pytest.approx(1.0)
    assert min(weights) >= UNIFORM_SHARE / 4


def test_documentation_is_unlikely_but_never_impossible() -> None:
    plain, documentation = weigh([Features(), Features(documentation_only=True)])
    assert 0.05 < documentation < plain / 4


def test_closeness_stack_traces_size_and_recency_raise_suspicion() -> None:
    near, traced, large, recent, plain = weigh(
        [
            Features(path_distance=0),
            Features(in_stack_trace=1),
            Features(changed_lines=400),
            Features(age=0.0),
            Features(),
        ]
    )
    assert plain < min(near, traced, large, recent)


def test_named_suspects_share_their_trust_and_the_rest_stays_possible() -> None:
    weights = suspects(100, [3, 5], 0.5)
    assert sum(weights) == pytest.approx(1.0)
    assert weights[3] == weights[5] == pytest.approx(0.255)
    assert sum(suspects(100, [3], 1.0)) == pytest.approx(1.0)
    assert min(suspects(100, [3], 1.0)) >= UNIFORM_SHARE / 101


def test_a_change_and_its_revert_cannot_be_the_culprit() -> None:
    graph = CommitGraph.chain(["a", "change", "revert", "b"], ["good"])
    trees = {"good": "0", "a": "1", "change": "2", "revert": "1", "b": "3"}
    factor = impossible(Ancestry(graph), trees)
    assert factor[0] == factor[3] == 1.0
    assert factor[1] < 1e-3 > factor[2]
