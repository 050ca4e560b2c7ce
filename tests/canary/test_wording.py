"""Evidence as it is said to people."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.canary.messages import CLAIMS, NAMES, against, chance, promise, share, unproven
from bot.canary.policy import Metrics, QuantileMetric


@given(log_e=st.floats(-1e6, 1e6), limit=st.floats(0.5, 20))
def test_only_the_limit_itself_is_a_hundred_percent(log_e: float, limit: float) -> None:
    said = int(share(log_e, limit).removesuffix("%"))
    assert 0 <= said <= 100
    assert (said == 100) == (log_e >= limit)
    over = against(log_e, limit, crossed=False) == "over its limit"
    assert over == (log_e >= limit)


@given(st.floats(0, 13))
def test_how_often_chance_does_the_same_is_the_bound_itself(log_e: float) -> None:
    times = chance(log_e).removeprefix("once in ").removesuffix(" tries")
    assert int(times.replace(",", "")) == pytest.approx(exp(log_e), abs=0.5)


def test_evidence_for_the_candidate_says_nothing_against_it() -> None:
    assert chance(-5) == "once in 1 tries"
    assert against(-5, 4, crossed=False) == "no sign"
    assert against(-5, 4, crossed=True) == "over its limit"
    assert chance(1e6) == "once in more than 400,000 tries"


def test_every_metric_has_its_words() -> None:
    metrics = Metrics(latency_p50=QuantileMetric(alpha=0.001), cost=None).model_copy(
        update={"cost": Metrics().cost}
    )
    said = {name: promise(name, metric) for name, metric in metrics.chosen()}
    assert set(said) == set(CLAIMS) == set(Metrics.model_fields) <= set(NAMES)
    assert said == {
        "error": "it fails less than 2 times as often as the baseline",
        "latency": "it is less than 20% slower than the baseline",
        "latency_p50": "its median answer is less than 15% slower than the baseline's",
        "latency_p95": "its slowest answers (p95) are less than 20% slower than the baseline's",
        "latency_p99": "its slowest answers (p99) are less than 50% slower than the baseline's",
        "cost": "it costs less than 15% more than the baseline",
        "roas": "it returns less than 5% less revenue per spend than the baseline",
    }


def test_what_is_unproven_is_said_with_how_far_it_is() -> None:
    cost = Metrics().cost
    assert cost is not None
    assert unproven("cost", cost, log(10) / 2, log(10)) == (
        "Not yet sure that it costs less than 15% more than the baseline: 50% of the proof needed."
    )
