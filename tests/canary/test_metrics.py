from __future__ import annotations

import numpy as np
import pytest

from bot.canary.eprocess import TICK
from bot.canary.metrics import Comparison, Gain, comparisons
from bot.canary.observations import Columns, Measurements, PairColumns, measurements
from tests.canary.traffic import answers, frozen, only, policy

FROZEN = frozen()
NAMES = ("error", "latency", "latency_p95", "latency_p99", "cost", "roas")
COUNT = 3000


def comparison(name: str, **fields: float) -> Comparison:
    """One metric; by default nothing is tolerated."""
    section = only(name, **({"tolerance": 0} | fields))
    return comparisons(policy(metrics=section), FROZEN)[name]


def multiplied(gain: Gain) -> np.ndarray:
    """By what each row multiplies the evidence; rows that say nothing leave it."""
    factors = np.ones((COUNT, gain.increments.shape[1]))
    factors[gain.rows] = np.exp(gain.increments * TICK)
    return factors


def served_by(candidate: bool, measured: Measurements, pi: float) -> Columns:
    return Columns(np.full(COUNT, candidate), np.full(COUNT, pi), measured)


@pytest.mark.parametrize("pi", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("name", NAMES)
def test_whoever_the_draw_gives_a_request_to_the_expected_evidence_does_not_rise(
    name: str, pi: float
) -> None:
    measured = answers(COUNT, np.random.default_rng(1))
    compared = comparison(name)
    theirs = multiplied(compared.worse(served_by(False, measured, pi)))
    ours = multiplied(compared.worse(served_by(True, measured, pi)))
    assert ((1 - pi) * theirs + pi * ours <= 1 + 1e-12).all()
    assert (ours != theirs).any()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "roas"])
def test_a_pair_whose_sides_might_be_swapped_does_not_raise_the_expected_evidence(
    name: str,
) -> None:
    rng = np.random.default_rng(2)
    one, other = answers(COUNT, rng), answers(COUNT, rng)
    compared = comparison(name)
    this_way = multiplied(compared.worse_pairs(PairColumns(one, other)))
    that_way = multiplied(compared.worse_pairs(PairColumns(other, one)))
    assert ((this_way + that_way) / 2 <= 1 + 1e-12).all()
    assert (this_way != that_way).any()


def scaled(measured: Measurements, factor: float) -> Measurements:
    return Measurements(
        measured.error,
        measured.latency * factor,
        measured.cost * factor,
        measured.revenue,
        measured.spend / factor,
    )


@pytest.mark.parametrize("name", ["latency", "latency_p95", "latency_p99", "cost"])
def test_a_candidate_exactly_as_much_worse_as_tolerated_looks_like_the_baseline(name: str) -> None:
    measured = answers(COUNT, np.random.default_rng(3))
    tolerant, strict = comparison(name, tolerance=0.25, margin=0.5), comparison(name)
    worse = tolerant.worse(served_by(True, scaled(measured, 1.25), 0.5))
    same = strict.worse(served_by(True, measured, 0.5))
    assert multiplied(worse) == pytest.approx(multiplied(same), abs=1e-9)


@pytest.mark.parametrize("name", ["latency", "latency_p95", "latency_p99", "cost"])
def test_evidence_for_promotion_is_measured_from_the_margin(name: str) -> None:
    measured = answers(COUNT, np.random.default_rng(4))
    compared = comparison(name, margin=0.25)
    pairs = PairColumns(measured, scaled(measured, 1.25))
    at_the_margin = compared.within_pairs(pairs)
    assert at_the_margin.increments.sum() == pytest.approx(0, abs=1e5)
    better = compared.within_pairs(PairColumns(measured, measured))
    assert better.increments.sum() > 0


@pytest.mark.parametrize("usually_fails", [False, True])
def test_what_usually_happens_counts_for_less_where_requests_repeat(usually_fails: bool) -> None:
    shadow = FROZEN.model_copy(update={"error_rate": 0.9 if usually_fails else 0.1})
    compared = comparisons(policy(metrics=only("error", tolerance=0)), shadow)["error"]
    measured = measurements(2, error=np.array([0.0, 1.0]))
    columns = Columns(np.array([True, True]), np.full(2, 0.5), measured)
    once = compared.worse(columns).increments * TICK
    thrice = compared.worse(columns, np.full(2, 3.0)).increments * TICK
    usual = int(usually_fails)
    assert thrice[usual] == pytest.approx(once[usual] / 3)
    assert thrice[1 - usual] == pytest.approx(once[1 - usual])


def test_roas_tolerates_so_much_less_revenue() -> None:
    spend, revenue = np.full(COUNT, 1.0), np.full(COUNT, FROZEN.roas.ratio * 0.9)  # type: ignore[union-attr]
    measured = measurements(COUNT, revenue=revenue, spend=spend)
    gains = comparison("roas", tolerance=0.1, margin=0.2).worse(served_by(True, measured, 0.5))
    assert gains.increments == pytest.approx(0, abs=10)
    strict = comparison("roas").worse(served_by(True, measured, 0.5))
    assert (strict.increments > 0).all()


def test_a_quick_failure_is_not_speed() -> None:
    measured = answers(COUNT, np.random.default_rng(5), errors=1.0)
    for name in ("latency", "latency_p95"):
        assert len(comparison(name).worse(served_by(True, measured, 0.5)).rows) == 0
    assert len(comparison("error").worse(served_by(True, measured, 0.5)).rows) == COUNT


def test_what_the_shadow_did_not_see_is_not_compared() -> None:
    learned = FROZEN.model_copy(update={"cost": None, "latency": None, "thresholds": {}})
    assert list(comparisons(policy(), learned)) == ["error", "roas"]


def test_ties_with_the_baseline_rank_in_the_middle() -> None:
    learned = FROZEN.model_copy(update={"latency": (1.0, 2.0, 2.0, 3.0)})
    assert learned.rank(np.array([0.5, 1.0, 2.0, 9.0])).tolist() == [0, 0.125, 0.5, 1]


def test_one_huge_cost_counts_as_the_highest_that_is_told_apart() -> None:
    measured = answers(COUNT, np.random.default_rng(6))
    measured.cost[:] = 300 * FROZEN.cost.cap  # type: ignore[union-attr]
    capped = comparison("cost").worse(served_by(True, measured, 0.5)).increments
    measured.cost[:] = 1e6
    huge = comparison("cost").worse(served_by(True, measured, 0.5)).increments
    assert (capped == huge).all()
