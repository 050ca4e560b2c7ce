from __future__ import annotations

from math import exp, lgamma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.culprit.flake_rates import Beta, History, Mixture, RatePriors, rates
from bot.culprit.graph import Ancestry, CommitGraph
from bot.culprit.posterior import Posterior
from tests.culprit.histories import ancestors_by_definition, histories, quick

UNLIMITED = RatePriors(
    Mixture((Beta(0.8, 1, 19), Beta(0.2, 1, 3))), Mixture((Beta(0.8, 1, 19), Beta(0.2, 1, 2)))
)
Run = tuple[int, bool]


def new_posterior(graph: CommitGraph, rates: RatePriors = UNLIMITED) -> Posterior:
    return Posterior(
        Ancestry(graph),
        np.ones(len(graph)),
        rates,
        agreement=0.7,
        no_culprit=0.15,
        before_range=0.05,
        rivals=False,
    )


def beta_binomial(mixture: Mixture, lies: int, truths: int) -> float:
    """Chance of one given sequence, integrated in closed form."""

    def log_beta(a: float, b: float) -> float:
        return lgamma(a) + lgamma(b) - lgamma(a + b)

    return sum(
        p.weight * exp(log_beta(p.a + lies, p.b + truths) - log_beta(p.a, p.b))
        for p in mixture.parts
    )


def by_definition(graph: CommitGraph, runs: list[Run]) -> np.ndarray:
    """Bayes' rule, hypothesis by hypothesis, with closed-form integrals."""
    count = len(graph)
    weights = []
    for hypothesis in range(count + 2):
        lies = [0, 0]
        truths = [0, 0]
        for node, failed in runs:
            bad = hypothesis == count + 1 or (
                node < count and hypothesis in ancestors_by_definition(graph, node)
            )
            (truths if failed == bad else lies)[bad] += 1
        prior = 0.8 / count if hypothesis < count else (0.15, 0.05)[hypothesis - count]
        weights.append(
            prior
            * beta_binomial(UNLIMITED.false_fail, lies[0], truths[0])
            * beta_binomial(UNLIMITED.false_pass, lies[1], truths[1])
        )
    return np.array(weights) / sum(weights)


@st.composite
def tried(draw: st.DrawFn) -> tuple[CommitGraph, list[Run]]:
    graph = draw(histories(8))
    runs = st.tuples(st.integers(0, len(graph)), st.booleans())
    return graph, draw(st.lists(runs, max_size=14))


@quick
@given(tried())
def test_the_posterior_is_bayes_rule_with_both_rates_integrated_out(
    case: tuple[CommitGraph, list[Run]],
) -> None:
    graph, runs = case
    posterior = new_posterior(graph)
    for number, (node, failed) in enumerate(runs):
        posterior.add(node, number, failed=failed)
    expected = by_definition(graph, runs)
    assert posterior.beliefs.probability == pytest.approx(expected, rel=2e-3, abs=1e-7)


@quick
@given(tried(), st.randoms(use_true_random=False))
def test_the_order_of_results_does_not_matter(
    case: tuple[CommitGraph, list[Run]], random: object
) -> None:
    graph, runs = case
    first, second = new_posterior(graph), new_posterior(graph)
    for node, failed in runs:
        first.add(node, "one machine", failed=failed)
    shuffled = list(runs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for node, failed in shuffled:
        second.add(node, "one machine", failed=failed)
    assert first.beliefs.probability == pytest.approx(second.beliefs.probability, rel=1e-6)


@quick
@given(tried())
def test_predictions_are_the_ratio_of_evidence_with_and_without_a_failure(
    case: tuple[CommitGraph, list[Run]],
) -> None:
    graph, runs = case
    posterior = new_posterior(graph)
    for number, (node, failed) in enumerate(runs):
        posterior.add(node, number, failed=failed)
    beliefs = posterior.beliefs
    bad = posterior.makes_bad(graph.bad)
    fails = np.where(bad, beliefs.fails_if_bad, beliefs.fails_if_good)
    after = beliefs.probability * fails
    posterior.add(graph.bad, "next", failed=True)
    assert posterior.beliefs.probability == pytest.approx(after / after.sum(), rel=1e-6)


def test_repeats_in_one_environment_alone_never_convict() -> None:
    graph = CommitGraph.chain(["a", "b", "c", "d"], ["good"])
    posterior = new_posterior(graph)
    for _ in range(200):
        posterior.add(2, "one machine", failed=True)
        posterior.add(1, "one machine", failed=False)
    assert posterior.beliefs.probability[:4].max() < 0.95


def test_repeats_on_fresh_machines_do_convict() -> None:
    graph = CommitGraph.chain(["a", "b", "c", "d"], ["good"])
    posterior = new_posterior(graph)
    for number in range(4):
        posterior.add(2, f"fail {number}", failed=True)
        posterior.add(1, f"pass {number}", failed=False)
    assert posterior.beliefs.probability[2] > 0.99


def test_repeats_that_disagree_show_that_a_machine_is_not_stuck_and_then_count() -> None:
    graph = CommitGraph.chain(["a", "b"], ["good"])
    posterior = new_posterior(graph)
    before = posterior.stuck("m")
    posterior.add(0, "m", failed=True)
    posterior.add(0, "m", failed=False)
    assert posterior.stuck("m") < before
    assert posterior.freshness(0, "m") == 1.0


def test_one_false_pass_never_makes_the_truth_impossible() -> None:
    graph = CommitGraph.chain([f"c{i}" for i in range(64)], ["good"])
    posterior = new_posterior(graph)
    posterior.add(40, "lie", failed=False)
    for number in range(8):
        posterior.add(20, f"fail {number}", failed=True)
        posterior.add(19, f"pass {number}", failed=False)
    assert posterior.beliefs.probability[20] > 0.99


def test_a_persons_word_weighs_heavily_but_can_be_outweighed() -> None:
    graph = CommitGraph.chain(["a", "b"], ["good"])
    posterior = new_posterior(graph)
    posterior.rule(0, good=True)
    assert posterior.beliefs.probability[0] < 0.01
    for number in range(30):
        posterior.add(0, number, failed=True)
        posterior.add(2, number, failed=False)
    assert posterior.beliefs.probability[0] > 0.9


def test_green_history_teaches_false_failures_only() -> None:
    taught = RatePriors().after(History(good_passed=50))
    assert taught.false_pass == RatePriors().false_pass
    mean = float(taught.false_fail.on_grid() @ rates())
    assert mean < float(RatePriors().false_fail.on_grid() @ rates()) / 3


def test_a_long_history_counts_as_fifty_runs() -> None:
    taught = RatePriors().after(History(good_passed=9_000, good_failed=1_000)).false_fail
    assert (taught.hits, taught.misses) == (5.0, 45.0)
    assert float(taught.on_grid() @ rates()) == pytest.approx(0.1, abs=0.02)


def test_the_rates_posterior_bounds_flakes_from_above() -> None:
    graph = CommitGraph.chain(["a", "b"], ["good"])
    posterior = new_posterior(graph)
    for number in range(40):
        posterior.add(2, number, failed=number % 4 == 0)
        posterior.add(1, number, failed=True)
    false_fail, false_pass = posterior.beliefs.upper(0.95)
    assert 0.25 < false_fail < 0.5
    assert false_pass < 0.12
