"""Counters of both arms: what was new, and how it is judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.canary.counters import (
    KIND,
    MOST_SERIES,
    Counted,
    CounterFault,
    CounterSource,
    columns_of_counts,
    counted,
    read_series,
)
from bot.canary.ramp_evidence import RampEvidence
from tests.canary.traffic import frozen, only, policy

PERCENTS = {7: 50, 8: 100}
SOURCE = CounterSource(
    successes="answers_bucket", failures="failures", thresholds={"latency_p95": 0.5}
)
RULES = policy(metrics=only("latency_p95") | {"error": {}})


def series(value: float, *, failed: bool = False, **labels: str) -> dict[str, Any]:
    found = {"__name__": "x", "arm": "baseline", "generation": "7"} | labels
    return {
        "metric": found | {KIND: "failure" if failed else "success"},
        "value": [1000.0, str(value)],
    }


def buckets(counts: dict[str, float], **labels: str) -> list[dict[str, Any]]:
    return [series(value, le=le, **labels) for le, value in counts.items()]


def new(
    result: list[dict[str, Any]],
    before: Counted | None = None,
    edges: dict[str, tuple[float, float]] | None = None,
) -> Counted:
    return counted(read_series(result), before, PERCENTS, edges or {}, read_at=1000.0)


def told(found: Counted) -> list[tuple[str, bool, float | None, int]]:
    return [(each.arm, each.failed, each.latency, each.count) for each in found.counts]


@pytest.mark.parametrize("name", ["roas", "revenue", "spend"])
def test_returns_are_refused_with_why_and_what_is_possible(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        CounterSource.model_validate({"successes": "a", "failures": "b", name: "llm_total"})
    assert f"{name} cannot be judged by Prometheus" in str(refused.value)
    assert "often in parts, and a counter does not tell to which request" in str(refused.value)
    assert "Allowed are successes, failures, cost, every and thresholds" in str(refused.value)


def test_what_is_new_since_the_last_reading_counts() -> None:
    first = new([series(10), series(2, failed=True), series(5, arm="candidate")])
    assert told(first) == [
        ("baseline", True, None, 2),
        ("baseline", False, None, 10),
        ("candidate", False, None, 5),
    ]
    second = new([series(10), series(3, failed=True), series(9, arm="candidate")], first)
    assert told(second) == [("baseline", True, None, 1), ("candidate", False, None, 4)]


def test_a_counter_that_fell_began_again() -> None:
    first = new([series(10)])
    assert told(new([series(4)], first)) == [("baseline", False, None, 4)]


def test_a_counter_that_was_away_goes_on_from_where_it_was() -> None:
    away = new([], new([series(10)]))
    assert told(away) == []
    assert told(new([series(12)], away)) == [("baseline", False, None, 2)]


def test_instances_are_counted_each_for_itself() -> None:
    first = new([series(10, pod="a"), series(10, pod="b")])
    second = new([series(15, pod="a"), series(1, pod="b")], first)
    assert sum(each.count for each in second.counts) == 6


def test_buckets_become_latencies_inside_them() -> None:
    found = new(buckets({"0.5": 80, "0.525": 90, "1": 95, "+Inf": 100}))
    assert told(found) == [
        ("baseline", False, 0.25, 80),
        ("baseline", False, 0.5125, 10),
        ("baseline", False, 0.7625, 5),
        ("baseline", False, 2.0, 5),
    ]


def test_a_histogram_that_began_again_is_taken_as_a_whole() -> None:
    first = new(buckets({"0.5": 80, "+Inf": 100}))
    assert told(new(buckets({"0.5": 90, "+Inf": 95}), first)) == [
        ("baseline", False, 0.25, 90),
        ("baseline", False, 1.0, 5),
    ]


def test_other_generations_and_arms_that_get_nothing_are_left_out() -> None:
    assert told(new([series(5, generation="6"), series(5, generation="8")])) == []
    assert told(new([series(5, generation="8", arm="candidate")])) == [
        ("candidate", False, None, 5)
    ]


def test_a_threshold_must_be_an_edge_with_what_is_tolerated_beyond_it() -> None:
    edges = SOURCE.edges(RULES)
    assert edges == {"latency_p95": (0.5, 0.525)}
    assert new(buckets({"0.5": 1, "0.525": 1, "+Inf": 1}), edges=edges).counts
    with pytest.raises(CounterFault, match=r"latency_p95: 0\.525 s must be an edge"):
        new(buckets({"0.5": 1, "1": 1, "+Inf": 1}), edges=edges)
    with pytest.raises(CounterFault, match="successes must be buckets"):
        new([series(5)], edges=edges)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"metric": {}, "value": [0, "1"]}, "label arm"),
        ({"metric": {"arm": "baseline"}, "value": [0, "1"]}, "label generation"),
        ({"metric": {"arm": "baseline", "generation": "-1"}, "value": [0, "1"]}, "generation"),
        ({"metric": {"arm": "x", "generation": "7"}, "value": [0, "1"]}, "label arm"),
        (series(float("nan")), "finite"),
        (series(-1), "finite"),
        (series(1e300), "finite"),
        (series(float("inf")), "finite"),
        (series(1, le="x"), "le must be a number"),
        (series(1, le="0"), "above 0"),
        ({"metric": 1, "value": [0, "1"]}, "instant vector"),
        ({"metric": {}, "values": []}, "instant vector"),
        ("nothing", "instant vector"),
    ],
)
def test_what_cannot_be_used_is_refused(wrong: Any, said: str) -> None:
    with pytest.raises(CounterFault, match=said):
        read_series([wrong])


def test_too_many_series_are_refused() -> None:
    with pytest.raises(CounterFault, match="at most"):
        read_series([{}] * (MOST_SERIES + 1))


def test_both_queries_are_asked_as_one() -> None:
    assert SOURCE.query == (
        'label_replace(answers_bucket, "__kind", "success", "", "") or '
        'label_replace(failures, "__kind", "failure", "", "")'
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), min_size=1, max_size=20
    )
)
def test_however_often_it_is_read_the_same_is_counted(steps: list[tuple[int, int, bool]]) -> None:
    """Readings may be skipped: only the sum matters, as long as no counter begins again."""
    good = bad = 0
    before, total = None, 0
    for more_good, more_bad, read in [*steps, (0, 0, True)]:
        good, bad = good + more_good, bad + more_bad
        if read:
            before = new([series(good), series(bad, failed=True)], before)
            total += sum(each.count for each in before.counts)
    assert total == good + bad


def test_counts_are_judged_as_the_same_observations_would_be() -> None:
    baseline = SOURCE.frozen(frozen())
    rows = [
        *buckets({"0.5": 900, "0.525": 930, "+Inf": 980}),
        series(20, failed=True),
        *buckets({"0.5": 700, "0.525": 750, "+Inf": 900}, arm="candidate"),
        series(100, failed=True, arm="candidate"),
    ]
    counts = new(rows, edges=SOURCE.edges(RULES)).counts
    at_once, one_by_one = (RampEvidence(RULES, baseline) for _ in range(2))
    columns = columns_of_counts(counts, PERCENTS)
    at_once.add(columns)
    repeated = np.repeat(np.arange(len(columns)), columns.counts)
    single = columns.at(repeated)
    single.counts[:] = 1  # type: ignore[index]
    one_by_one.add(single)
    assert at_once.assigned.counts == one_by_one.assigned.counts == (1000, 1000)
    for name in ("error", "latency_p95"):
        assert at_once.metrics[name].worse.log_e == one_by_one.metrics[name].worse.log_e
    assert at_once.metrics["error"].worse.crossed
    exceeding = [count.count for count in counts if (count.latency or 0) > 0.525]
    assert exceeding == [50, 150]
