"""Sums of costs: what counters added, and why chance alone cannot make a breach of it."""

from __future__ import annotations

from itertools import product
from math import exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.canary.counters import KIND, Counted, CounterFault, CounterSource, counted, read_series
from bot.canary.eprocess import BETS, TICK
from bot.canary.judge import Breach, judge_ramp
from bot.canary.metrics import SpentBetween, TotalCosts, spent_of
from bot.canary.policy import RatioMetric
from bot.canary.ramp_evidence import RampEvidence, RampState
from bot.canary.report import ReportSubject, WatchedSpan, ramp_report
from bot.canary.units import ArmTally
from bot.playbooks.rollout.evidence import metric_table
from tests.canary.traffic import frozen, only, policy
from tests.traffic.trials import START, after

PERCENTS = {7: 50, 8: 100}
RULES = policy(metrics=only("cost"))
SOURCE = CounterSource(successes="answers", failures="failures", cost="usd_total")


def usd(value: float, **labels: str) -> dict[str, object]:
    found = {"__name__": "usd_total", "arm": "baseline", "generation": "7", KIND: "cost"} | labels
    return {"metric": found, "value": [1000.0, repr(value)]}


def new(result: list[dict[str, object]], before: Counted | None = None) -> Counted:
    return counted(read_series(result), before, PERCENTS, {}, read_at=1000.0)


def told(found: Counted) -> list[tuple[str, int, float]]:
    return [(each.arm, each.generation, each.amount) for each in found.totals]


def test_what_was_spent_since_the_last_reading_counts() -> None:
    first = new([usd(1.5), usd(0.25, arm="candidate"), usd(9, generation="6")])
    assert told(first) == [("baseline", 7, 1.5), ("candidate", 7, 0.25)]
    assert first.counts == ()
    assert told(new([usd(1.5), usd(0.75, arm="candidate")], first)) == [("candidate", 7, 0.5)]
    assert new([usd(1.5)], first).is_empty


def test_a_reading_in_which_a_counter_began_again_is_no_bet_and_the_next_one_is() -> None:
    first = new([usd(8, pod="a"), usd(8, pod="b"), usd(1, arm="candidate", pod="a")])
    fallen = new([usd(10, pod="a"), usd(0.5, pod="b"), usd(2, arm="candidate", pod="a")], first)
    assert fallen.is_empty
    third = new([usd(11, pod="a"), usd(1.5, pod="b"), usd(5, arm="candidate", pod="a")], fallen)
    assert told(third) == [("baseline", 7, 2.0), ("candidate", 7, 3.0)]


def test_a_counter_that_was_away_goes_on_from_where_it_was() -> None:
    away = new([], new([usd(8)]))
    assert told(new([usd(9)], away)) == [("baseline", 7, 1.0)]


def test_costs_are_a_counter_and_asked_for_with_the_others() -> None:
    with pytest.raises(CounterFault, match="cost must be a counter of USD"):
        new([usd(1, le="0.5")])
    assert SOURCE.query.endswith('or label_replace(usd_total, "__kind", "cost", "", "")')
    assert SOURCE.frozen(frozen()).cost == "total"
    assert CounterSource(successes="a", failures="b").frozen(frozen()).cost is None


@settings(max_examples=60)
@given(
    costs=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=7),
    pi=st.sampled_from([0.05, 0.25, 0.5, 0.95]),
    cheaper=st.floats(0.1, 1.0),
)
def test_over_all_draws_no_bet_wins_where_the_candidate_costs_no_more(
    costs: list[float], pi: float, cheaper: float
) -> None:
    """Every way the split can fall is gone through: the mean of each bet is 1 at most.

    The candidate costs as much as is tolerated, or less; for the gate as much as the margin.
    """
    worse, within = np.zeros(len(BETS)), np.zeros(len(BETS))
    metric = TotalCosts("cost", RatioMetric())
    for draws in product((False, True), repeat=len(costs)):
        chance = float(np.prod([pi if candidate else 1 - pi for candidate in draws]))
        theirs = sum(cost for cost, ours in zip(costs, draws, strict=True) if not ours)
        ours = sum(cost for cost, ours in zip(costs, draws, strict=True) if ours)

        def bet(factor: float, theirs: float = theirs, ours: float = ours) -> SpentBetween:
            return SpentBetween(np.array([pi]), np.array([theirs]), np.array([ours * factor]))

        worse += chance * np.exp(metric.worse_of(bet(1.05 * cheaper))[0] * TICK)
        within += chance * np.exp(metric.within_of(bet(1.15 / cheaper))[0] * TICK)
    assert (worse <= 1 + 1e-9).all()
    assert (within <= 1 + 1e-9).all()


def test_where_nothing_was_drawn_or_spent_there_is_nothing_to_bet_on() -> None:
    metric = TotalCosts("cost", RatioMetric())
    everything = SpentBetween(np.array([1.0]), np.array([0.0]), np.array([5.0]))
    nothing = SpentBetween(np.array([0.5]), np.array([0.0]), np.array([0.0]))
    for spent in (everything, nothing):
        assert len(metric.worse_of(spent)) == len(metric.within_of(spent)) == 0


def ramped(readings: int, *, candidate: float) -> RampEvidence:
    evidence = RampEvidence(RULES, SOURCE.frozen(frozen()))
    spent = spent_of(new([usd(1.0), usd(candidate, arm="candidate")]).totals, PERCENTS)
    for _ in range(readings):
        evidence.add_spent(spent, ArmTally(1000, 1000))
        resumed = RampEvidence(RULES, SOURCE.frozen(frozen()))
        resumed.restore(RampState.model_validate_json(evidence.save().model_dump_json()))
        assert resumed.save() == evidence.save()
        evidence = resumed
    return evidence


def test_a_candidate_that_costs_twice_as_much_is_a_breach_with_its_report() -> None:
    evidence = ramped(60, candidate=2.0)
    verdict = judge_ramp(evidence, entered=START, last_seen=START, now=after(60))
    assert isinstance(verdict, Breach)
    assert verdict.metric == "cost"
    assert verdict.evidence.startswith("The candidate costs more than tolerated. By chance alone")
    assert verdict.evidence.endswith(" readings.")
    window = WatchedSpan(start=START, end=after(60))
    subject = ReportSubject("01j", "llm", "provider-b", window, "0" * 64)
    report = ramp_report(subject, evidence, verdict, shadow=None, salt="1", stages=(), curve=())
    cost = report.metrics["cost"]
    assert (cost.baseline, cost.candidate, cost.comparison) == (0.001, 0.002, None)
    assert cost.n == (60_000, 60_000)
    assert "| 2.00 (only sums are known) | **yes**" in metric_table(report.metrics)


def test_one_that_costs_the_same_is_shown_to_be_within_its_margin() -> None:
    evidence = ramped(200, candidate=1.0)
    metric = evidence.metrics["cost"]
    assert not metric.worse.crossed
    assert metric.within.log_e >= metric.within.limit
    assert exp(metric.worse.log_e) < 1
