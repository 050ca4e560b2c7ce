from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.canary.baseline import ArmSummary, FrozenBaseline
from bot.canary.observations import Columns, measurements
from bot.canary.ramp_evidence import ENOUGH, RampEvidence, RampState
from tests.canary.traffic import answers, frozen, only, policy, ramp_columns

FROZEN = frozen()
WITHOUT_REVENUE = FROZEN.model_copy(update={"roas": None})


def in_pieces(columns: Columns, cuts: list[int]) -> list[Columns]:
    ends = [0, *sorted(cuts), len(columns)]
    return [columns.at(np.arange(a, b)) for a, b in itertools.pairwise(ends)]


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 1500), max_size=4), st.booleans())
def test_batches_and_restarts_change_no_digit(seed: int, cuts: list[int], late: bool) -> None:
    learned = WITHOUT_REVENUE if late else FROZEN
    columns = ramp_columns(1500, np.random.default_rng(seed), errors=0.04, slower=1.1)
    at_once, resumed = RampEvidence(policy(), learned), RampEvidence(policy(), learned)
    at_once.add(columns)
    for piece in in_pieces(columns, cuts):
        resumed.add(piece)
        written = resumed.save().model_dump_json()
        resumed = RampEvidence(policy(), learned)
        resumed.restore(RampState.model_validate_json(written))
    assert resumed.save() == at_once.save()


def test_one_by_one_gives_the_same_digits_as_a_batch() -> None:
    columns = ramp_columns(200, np.random.default_rng(1), slower=1.3)
    at_once, single = RampEvidence(policy(), FROZEN), RampEvidence(policy(), FROZEN)
    at_once.add(columns)
    for piece in in_pieces(columns, list(range(1, 200))):
        single.add(piece)
    assert single.save() == at_once.save()


def test_a_row_may_stand_for_many_observations() -> None:
    """Counters report so: the sums are those of the single observations."""
    columns = ramp_columns(100, np.random.default_rng(2), errors=0.1)
    counts = np.random.default_rng(3).integers(1, 4, 100)
    counted, repeated = RampEvidence(policy(), FROZEN), RampEvidence(policy(), FROZEN)
    counted.add(Columns(columns.candidate, columns.pi, columns.measured, counts))
    repeated.add(columns.at(np.repeat(np.arange(100), counts)))
    for name, metric in repeated.metrics.items():
        assert counted.metrics[name].worse.log_e == metric.worse.log_e
        assert counted.metrics[name].seen.counts == metric.seen.counts
    assert counted.arms.save() == repeated.arms.save()


def test_counts_are_one_look_whatever_order_they_are_listed_in() -> None:
    """First all of the baseline's, then all of the candidate's: nobody saw that in between."""
    counts = np.array([400, 400])
    evenly = np.full(2, 0.5)
    measured = measurements(2, error=np.zeros(2))
    for candidate in (np.array([False, True]), np.array([True, False])):
        evidence = RampEvidence(policy(), FROZEN)
        evidence.add(Columns(candidate, evenly, measured, counts))
        assert not evidence.sample_ratio.crossed
        assert evidence.sample_ratio.n == 800


WORSE = {
    "error": {"errors": 0.2},
    "latency": {"slower": 1.5},
    "cost": {"dearer": 1.5},
    "roas": {"returns": 0.1},
}


@pytest.mark.parametrize(("metric", "effect"), WORSE.items(), ids=WORSE)
def test_a_candidate_that_is_worse_is_found_by_its_metric(
    metric: str, effect: dict[str, float]
) -> None:
    evidence = RampEvidence(policy(), FROZEN)
    crossed = evidence.add(ramp_columns(6000, np.random.default_rng(4), **effect))
    assert metric in crossed
    assert evidence.metrics[metric].worse.crossing is not None


def test_slow_tails_are_found_by_their_quantile() -> None:
    columns = ramp_columns(6000, np.random.default_rng(5))
    slow = columns.candidate & (np.arange(6000) % 10 == 0)
    columns.measured.latency[slow] *= 10
    assert "latency_p95" in RampEvidence(policy(), FROZEN).add(columns)


def test_the_row_told_is_the_first_at_which_the_limit_was_reached() -> None:
    columns = ramp_columns(3000, np.random.default_rng(6), errors=0.2)
    row = RampEvidence(policy(), FROZEN).add(columns)["error"]
    assert "error" not in RampEvidence(policy(), FROZEN).add(columns.at(np.arange(row)))
    assert "error" in RampEvidence(policy(), FROZEN).add(columns.at(np.arange(row + 1)))


def test_a_candidate_as_good_as_the_baseline_raises_few_alarms() -> None:
    alarms = 0
    for seed in range(100):
        evidence = RampEvidence(policy(), FROZEN, only_breaches=True)
        alarms += bool(evidence.add(ramp_columns(2000, np.random.default_rng(seed))))
    assert alarms <= 5


def test_a_split_that_is_not_the_configured_one_is_found() -> None:
    columns = ramp_columns(5000, np.random.default_rng(7), percent=10)
    told = Columns(columns.candidate, np.full(5000, 0.05), columns.measured)
    assert "sample_ratio" in RampEvidence(policy(), FROZEN).add(told)


def test_every_stage_starts_copies_so_that_late_trouble_is_found() -> None:
    rng = np.random.default_rng(11)
    good, bad = ramp_columns(30_000, rng), ramp_columns(4000, rng, errors=0.05)
    ramped, stuck = RampEvidence(policy(), FROZEN), RampEvidence(policy(), FROZEN)
    for evidence in (ramped, stuck):
        evidence.add(good)
    ramped.next_phase()
    assert "error" in ramped.add(bad)
    assert "error" not in stuck.add(bad)
    assert ramped.here.counts == bad.tally().counts


def test_failures_beyond_the_limit_are_found_without_a_baseline() -> None:
    columns = ramp_columns(3000, np.random.default_rng(8), percent=100, errors=0.08)
    evidence = RampEvidence(policy(metrics={"error": {"slo_max": 0.02}}), FROZEN)
    assert list(evidence.add(columns)) == ["error_slo"]
    assert evidence.limits["error_slo"].burn_rate == pytest.approx(4, rel=0.2)


def test_revenue_that_the_shadow_did_not_see_is_learned_and_then_judged() -> None:
    columns = ramp_columns(8000, np.random.default_rng(9), returns=0.1)
    evidence = RampEvidence(policy(), WITHOUT_REVENUE)
    assert evidence.awaits_revenue
    assert evidence.add(columns)["roas"] > ENOUGH
    assert not evidence.awaits_revenue


def test_evidence_of_another_policy_or_shadow_is_refused() -> None:
    saved = RampEvidence(policy(), FROZEN).save()
    with pytest.raises(ValueError, match="another policy"):
        RampEvidence(policy(max_silence="1h"), FROZEN).restore(saved)
    with pytest.raises(ValueError, match="another shadow"):
        RampEvidence(policy(), frozen(1)).restore(saved)


def test_a_shadow_that_saw_nothing_cannot_begin_a_ramp() -> None:
    with pytest.raises(ValueError, match="none of the policy's metrics"):
        RampEvidence(policy(metrics=only("cost")), FrozenBaseline(n=0))


def test_one_call_that_is_observed_again_and_again_is_noticed_and_rolls_nothing_back() -> None:
    crossed = told = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        columns = ramp_columns(5000, rng)
        evidence = RampEvidence(policy(), FROZEN, only_breaches=True)
        found = evidence.add(columns.at(np.repeat(np.arange(5000), rng.integers(1, 4, 5000))))
        crossed += bool(found)
        told += evidence.repeats
    assert crossed <= 1
    assert told == 10


def test_calls_tried_four_times_are_no_wrong_split_before_that_could_be_learnt() -> None:
    crossed = 0
    for seed in range(60):
        columns = ramp_columns(200, np.random.default_rng(seed), percent=5)
        evidence = RampEvidence(policy(), FROZEN, only_breaches=True)
        crossed += "sample_ratio" in evidence.add(columns.at(np.repeat(np.arange(200), 4)))
    assert crossed == 0


def test_rare_large_costs_are_found_however_large_the_usual_ones_are() -> None:
    rng = np.random.default_rng(12)
    columns = ramp_columns(12_000, rng, percent=25)
    rare = columns.candidate & (rng.random(12_000) < 1 / 200)
    columns.measured.cost[rare] *= 400
    evidence = RampEvidence(policy(metrics=only("cost")), FROZEN)
    assert "cost" in evidence.add(columns)
    assert (evidence.budget.times or 0) > 2


def test_where_nearly_everything_is_free_a_few_costs_break_no_budget() -> None:
    columns = ramp_columns(12_000, np.random.default_rng(14), percent=5)
    paid = np.random.default_rng(15).permutation(12_000) < np.where(columns.candidate, 250, 120)
    columns.measured.cost[~paid] = 0.0
    evidence = RampEvidence(policy(metrics=only("cost")), FROZEN)
    evidence.add(columns)
    assert evidence.budget.candidate.paid > 5
    assert evidence.budget.times is None


def test_a_single_giant_cost_breaks_no_budget() -> None:
    columns = ramp_columns(6000, np.random.default_rng(13))
    columns.measured.cost[np.flatnonzero(columns.candidate)[:2]] = 1e4
    evidence = RampEvidence(policy(metrics=only("cost")), FROZEN)
    evidence.add(columns)
    assert 0.8 < (evidence.budget.times or 0) < 1.2


def test_a_shadow_of_another_hour_is_renewed_by_the_ramps_own_baseline() -> None:
    slow = ArmSummary()
    slow.add(answers(2000, np.random.default_rng(0), slower=10))
    evidence = RampEvidence(policy(metrics=only("latency")), slow.freeze())
    assert "latency" in evidence.add(ramp_columns(9000, np.random.default_rng(14), slower=1.3))


@pytest.mark.parametrize(("before", "after"), [(0.2, 0.26), (0.9, 0.95)])
def test_more_failures_are_found_also_where_many_requests_fail(before: float, after: float) -> None:
    usual = ArmSummary()
    usual.add(answers(2000, np.random.default_rng(0), errors=before))
    evidence = RampEvidence(policy(metrics=only("error")), usual.freeze())
    rng = np.random.default_rng(15)
    columns = ramp_columns(8000, rng)
    rate = np.where(columns.candidate, after, before)
    columns.measured.error[:] = rng.random(8000) < rate
    assert "error" in evidence.add(columns)


@pytest.mark.parametrize(
    ("worse", "limit"), [("slower", "latency_p95_slo"), ("dearer", "cost_slo")]
)
def test_alone_the_candidate_is_held_to_what_the_stages_before_showed(
    worse: str, limit: str
) -> None:
    evidence = RampEvidence(policy(), FROZEN)
    evidence.add(ramp_columns(8000, np.random.default_rng(16)))
    while not evidence.last:
        evidence.next_phase()
    alone = ramp_columns(3000, np.random.default_rng(17), percent=100)
    assert not evidence.add(alone)
    resumed = RampEvidence(policy(), FROZEN)
    resumed.restore(RampState.model_validate_json(evidence.save().model_dump_json()))
    bad = ramp_columns(3000, np.random.default_rng(18), percent=100, **{worse: 3.0})
    assert limit in resumed.add(bad)


def test_what_an_earlier_release_saved_of_costs_goes_on() -> None:
    evidence = RampEvidence(policy(), FROZEN)
    evidence.add(ramp_columns(2000, np.random.default_rng(19)))
    saved = evidence.save()
    cost = saved.metrics["cost"]
    older = tuple(row[:7] for row in cost.worse.sums)
    worse = cost.worse.model_copy(update={"sums": older})
    within = cost.within.model_copy(update={"sums": tuple(row[:7] for row in cost.within.sums)})
    metrics = saved.metrics | {"cost": cost.model_copy(update={"worse": worse, "within": within})}
    resumed = RampEvidence(policy(), FROZEN)
    resumed.restore(saved.model_copy(update={"metrics": metrics}))
    assert resumed.metrics["cost"].worse.log_e < evidence.metrics["cost"].worse.log_e + 1
