from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.culprit import graph as ancestry_module
from bot.culprit.flake_rates import RatePriors
from bot.culprit.graph import Ancestry, CommitGraph
from bot.culprit.posterior import Posterior
from bot.culprit.selection import TELLING, choose, next_good
from tests.culprit.histories import histories, quick


def new_posterior(graph: CommitGraph) -> Posterior:
    return Posterior(
        Ancestry(graph),
        np.ones(len(graph)),
        RatePriors(),
        agreement=0.7,
        no_culprit=0.1,
        before_range=0.05,
        rivals=False,
    )


def information(posterior: Posterior, nodes: list[int]) -> float:
    """I(hypothesis; results of the nodes) by enumerating every joint result, in bits."""
    beliefs = posterior.beliefs
    fails = [
        np.where(posterior.makes_bad(n), beliefs.fails_if_bad, beliefs.fails_if_good) for n in nodes
    ]
    total = 0.0
    for results in product((True, False), repeat=len(nodes)):
        given_hypothesis = np.ones_like(beliefs.probability)
        for failed, chance in zip(results, fails, strict=True):
            given_hypothesis = given_hypothesis * (chance if failed else 1 - chance)
        joint = beliefs.probability * given_hypothesis
        total += float((joint * np.log2(given_hypothesis / joint.sum())).sum())
    return total


@st.composite
def situations(draw: st.DrawFn) -> Posterior:
    graph = draw(histories(9))
    posterior = new_posterior(graph)
    runs = st.tuples(st.integers(0, len(graph)), st.booleans())
    for number, (node, failed) in enumerate(draw(st.lists(runs, max_size=8))):
        posterior.add(node, number, failed=failed)
    return posterior


@quick
@given(situations())
def test_the_first_choice_has_the_greatest_mutual_information(posterior: Posterior) -> None:
    nodes = posterior.commits + 1
    choice = choose(posterior, np.ones(nodes), [], 1, np.random.default_rng(0))[0]
    each = [information(posterior, [n]) for n in range(nodes)]
    assert choice.score == pytest.approx(max(each), abs=1e-9)
    assert each[choice.node] == pytest.approx(max(each), abs=1e-9)


@quick
@given(situations(), st.integers(0, 9))
def test_trials_under_way_count_as_if_about_to_answer(posterior: Posterior, pick: int) -> None:
    nodes = posterior.commits + 1
    pending = [pick % nodes]
    choice = choose(posterior, np.ones(nodes), pending, 1, np.random.default_rng(0))[0]
    known = information(posterior, pending)
    each = [information(posterior, [*pending, n]) - known for n in range(nodes)]
    # What is being tried now is not tried twice at once, unless nothing else tells a share of it.
    other = max(gain for node, gain in enumerate(each) if node not in pending)
    wanted = other if other >= TELLING * max(each) - 1e-9 else max(each)
    assert choice.score == pytest.approx(wanted, abs=1e-9)


def test_four_at_once_cut_a_chain_into_five() -> None:
    graph = CommitGraph.chain([str(i) for i in range(1000)], ["good"])
    posterior = Posterior(
        Ancestry(graph),
        np.ones(1000),
        RatePriors(),
        agreement=0.7,
        no_culprit=0.0,
        before_range=0.0,
    )
    chosen = choose(posterior, np.ones(1001), [], 4, np.random.default_rng(0))
    places = sorted(c.node for c in chosen)
    gaps = np.diff([0, *places, 1000])
    assert gaps.min() > 100
    assert gaps.max() < 320


def test_worthless_nodes_are_never_chosen() -> None:
    graph = CommitGraph.chain(["a", "b", "c"], ["good"])
    worth = np.array([0.0, 0.0, 1.0, 0.0])
    rng = np.random.default_rng(0)
    assert [c.node for c in choose(new_posterior(graph), worth, [], 2, rng)] == [2, 2]
    assert choose(new_posterior(graph), np.zeros(4), [], 2, rng) == []


def test_cost_and_information_are_traded() -> None:
    graph = CommitGraph.chain([str(i) for i in range(9)], ["good"])
    worth = np.ones(10)
    rng = np.random.default_rng(0)
    middle = choose(new_posterior(graph), worth, [], 1, rng)[0].node
    worth[middle] = 0.2
    assert choose(new_posterior(graph), worth, [], 1, rng)[0].node != middle


def test_a_sample_of_culprits_chooses_almost_as_well_as_exact_sums(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parents = {
        f"c{i}": [f"c{i - 1}"] + ([f"c{i - 7}"] if i % 5 == 0 else []) for i in range(7, 400)
    }
    parents |= {f"c{i}": [f"c{i - 1}"] if i else ["good"] for i in range(7)}
    graph = CommitGraph.build(parents, "c399", ["good"])
    posterior = new_posterior(graph)
    posterior.add(200, "x", failed=True)
    posterior.add(100, "y", failed=False)
    nodes = len(graph) + 1
    monkeypatch.setattr(ancestry_module, "DENSE_LIMIT", 10)
    assert not posterior.ancestry.exact
    chosen = choose(posterior, np.ones(nodes), [], 1, np.random.default_rng(3))[0]
    monkeypatch.setattr(ancestry_module, "DENSE_LIMIT", 5_000)
    best = max(information(posterior, [n]) for n in range(nodes))
    assert information(posterior, [chosen.node]) > 0.98 * best


def test_many_trials_under_way_stay_affordable() -> None:
    graph = CommitGraph.chain([str(i) for i in range(200)], ["good"])
    pending = list(range(0, 200, 10))
    chosen = choose(new_posterior(graph), np.ones(201), pending, 4, np.random.default_rng(0))
    assert len(chosen) == 4


def test_a_good_end_is_sought_among_green_commits_first_and_then_by_doubling() -> None:
    history = [f"h{i}" for i in range(20)]
    assert next_good(history, known_green=["h7", "h3"]) == "h3"
    assert next_good(history, known_green=["h7", "h3"], tried=["h3"]) == "h7"
    assert next_good(history, known_green=["h3"], tried=["h3"]) == "h8"
    assert next_good(history) == "h0"
    assert next_good(history, tried=["h0"]) == "h2"
    assert next_good(history, tried=["h0", "h2"]) == "h6"
    assert next_good(history, tried=["h14"]) == "h19"
    assert next_good(history, tried=["h19"]) is None
    assert next_good([]) is None
