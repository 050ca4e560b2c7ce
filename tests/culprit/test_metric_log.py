"""The log of a search for a metric's change, and what a level says of fresh values."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.culprit import metric_log
from bot.culprit.graph import CommitGraph
from bot.culprit.log import LogError, format_of
from bot.culprit.metric import END_RUNS, MISSES, STOPS, MetricSearch, as_verdict
from bot.culprit.search import Search
from bot.culprit.verdict import SearchStatus, VerdictCause
from tests.culprit.histories import histories, quick

Value = Callable[[str], float]


def chain(count: int) -> CommitGraph:
    return CommitGraph.chain([f"c{i}" for i in range(count)], ["good"])


def noisy(culprit: int, good: float, bad: float, seed: int = 1) -> Value:
    rng = np.random.default_rng(seed)

    def value(commit: str) -> float:
        is_bad = commit != "good" and int(commit[1:]) >= culprit
        return float(rng.normal(bad if is_bad else good))

    return value


def finish(search: MetricSearch, value: Value, at_once: int = 1) -> MetricSearch:
    while names := search.next_runs(at_once):
        for name in names:
            search.record(name, value(name))
    return search


numbers = st.one_of(st.floats(-1e6, 1e6), st.just(nan), st.just(inf))


@quick
@given(
    histories(8),
    st.lists(st.tuples(st.sampled_from("aarrrrktts"), numbers, st.integers(0, 99)), max_size=40),
    st.sampled_from([None, "lower", "higher"]),
    st.sampled_from([None, 1, MISSES]),
    st.sampled_from([None, 1, STOPS]),
    st.booleans(),
)
def test_a_log_replays_to_the_same_bytes_and_the_same_verdict(
    graph: CommitGraph,
    steps: list[tuple[str, float, int]],
    worse: metric_log.Worse | None,
    misses: int | None,
    stops: int | None,
    weighed: bool,
) -> None:
    weights = [0.1 * (n + 1) for n in range(len(graph))] if weighed else None
    search = MetricSearch(
        graph, budget=30, weights=weights, worse=worse, metric="p95 µs", misses=misses, stops=stops
    )
    for step, value, pick in steps:
        everybody = [*graph.commits, graph.goods[0]]
        waiting = search.pending or everybody
        if step == "a":
            search.next_runs(1 + pick % 5)
        elif step == "r":
            search.record(waiting[pick % len(waiting)], value)
        elif step == "k" and search.pending:
            search.abandon(waiting[pick % len(waiting)])
        elif step == "t":
            search.stop(waiting[pick % len(waiting)])
        elif step == "s":
            search.skip(everybody[pick % len(everybody)])
    text = search.to_log()
    again = MetricSearch.from_log(text)
    assert again.to_log() == text
    assert again.verdict() == search.verdict()
    assert (again.pending, again.trials, again.rounds) == (
        search.pending, search.trials, search.rounds,
    )  # fmt: skip
    assert (again.sides().level, again.sides().bad_side, again.sides().wrong_side) == (
        search.sides().level, search.sides().bad_side, search.sides().wrong_side,
    )  # fmt: skip
    assert again.probabilities() == search.probabilities()


@pytest.mark.parametrize("since", ["shares_runs", "rivals", "balanced", "steps"])
def test_a_log_of_before_chooses_as_it_did_and_keeps_its_bytes(since: str) -> None:
    head, *events = finish(MetricSearch(chain(16)), noisy(9, 80.0, 76.0)).to_log().splitlines()
    entry = json.loads(head)
    assert entry.pop(since) is True
    old = "\n".join([json.dumps(entry, separators=(",", ":"), sort_keys=True), *events, ""])
    read = MetricSearch.from_log(old)
    assert not getattr(read, since)
    assert since not in read.to_log()
    assert read.to_log().splitlines()[1:] == events


@pytest.mark.parametrize("stops", [1, 7, 12, 17])
def test_a_resumed_search_goes_on_as_if_it_had_never_stopped(stops: int) -> None:
    whole = finish(MetricSearch(chain(64), misses=MISSES), noisy(20, 80.0, 76.0), 3)
    value, stopped, runs = noisy(20, 80.0, 76.0), MetricSearch(chain(64), misses=MISSES), 0
    while names := stopped.next_runs(3):
        for name in names:
            stopped.record(name, value(name))
            runs += 1
            if runs == stops:
                stopped = MetricSearch.from_log(stopped.to_log())
    assert stopped.to_log() == whole.to_log()
    assert stopped.verdict() == whole.verdict()
    assert stopped.verdict().culprit == "c20"


def test_runs_without_an_answer_are_pending_again() -> None:
    search = MetricSearch(chain(10))
    asked = search.next_runs(4)
    search.record(asked[1], 3.0)
    again = MetricSearch.from_log(search.to_log())
    assert again.pending == search.pending == (asked[0], *asked[2:])
    assert again.next_runs(2) == search.next_runs(2)


def test_a_log_cut_off_in_its_last_line_is_read_up_to_there() -> None:
    search = MetricSearch(chain(10))
    search.record(search.next_runs(2)[0], 1.5)
    text = search.to_log()
    assert MetricSearch.from_log(text + '{"commit":"c9","event":"rec').to_log() == text


@pytest.mark.parametrize("text", ["", "{}\n", "[]\n", "not json\n", '{"format":"other"}\n'])
def test_what_is_no_log_is_refused(text: str) -> None:
    with pytest.raises(LogError):
        MetricSearch.from_log(text)


def test_a_header_that_is_deeper_than_any_is_refused() -> None:
    with pytest.raises(LogError, match="Line 1"):
        format_of("[" * 200_000 + "\n")


@pytest.mark.parametrize(
    "change",
    [
        {"metric": 3},
        {"budget": 1.5},
        {"budget": True},
        {"confidence": "high"},
        {"worse": "sideways"},
        {"misses": 0},
        {"stops": 0},
        {"stops": 1.5},
        {"weights": [1.0]},
        {"weights": [1.0, "x", 1.0]},
        {"goods": []},
        {"commits": [["c0"]]},
        {"commits": 1},
        {"commits": [["c0", [], -1], ["c1", [2], 2], ["c2", [1], 1]]},
        {"commits": [["c0", [-1], -1]]},
        {"commits": []},
    ],
)
def test_a_header_with_something_else_in_it_is_named(change: dict[str, object]) -> None:
    head = json.loads(MetricSearch(chain(3)).to_log()) | change
    with pytest.raises(LogError, match="Line 1"):
        MetricSearch.from_log(json.dumps(head) + "\n")


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "[]",
        "{",
        '{"event":"reported"}',
        '{"event":"recorded","commit":"c1"}',
        '{"event":"recorded","commit":"c1","value":"fast"}',
        '{"event":"recorded","commit":"c1","value":true}',
        '{"event":"recorded","commit":"c1","value":NaN}',
        '{"event":"recorded","commit":"c1","value":1e999}',
        '{"event":"recorded","commit":"elsewhere","value":1}',
        '{"event":"recorded","commit":["c1"],"value":1}',
        '{"event":"asked","commits":["c1","elsewhere"]}',
        '{"event":"asked","commits":3}',
        '{"event":"skipped","commit":"elsewhere"}',
        '{"event":"abandoned","commit":"c1"}',
        '{"event":"stopped","commit":"elsewhere"}',
    ],
)
def test_a_strange_event_is_named_by_its_line(line: str) -> None:
    text = MetricSearch(chain(3)).to_log() + '{"commit":"c2","event":"skipped"}\n'
    with pytest.raises(LogError, match="Line 3"):
        MetricSearch.from_log(f"{text}{line}\n")


def test_the_log_of_a_failure_is_told_from_that_of_a_metric() -> None:
    metric, failure = MetricSearch(chain(3)).to_log(), Search(chain(3)).to_log()
    assert metric_log.is_metric_log(metric)
    assert not metric_log.is_metric_log(failure)
    with pytest.raises(LogError, match="culprit-search/1"):
        Search.from_log(metric)
    with pytest.raises(LogError, match="culprit-metric/1"):
        MetricSearch.from_log(failure)


def test_a_run_that_never_answers_is_asked_for_again() -> None:
    search = MetricSearch(chain(10))
    asked = search.next_runs(2 * END_RUNS)
    search.abandon("good")
    assert search.pending.count("good") == END_RUNS - 1
    assert search.next_runs() == ("good",)
    assert search.trials == 0
    search.abandon("c9")
    with pytest.raises(KeyError):
        search.abandon("c3")
    assert len(asked) == 2 * END_RUNS


def test_three_runs_in_a_row_without_a_number_skip_a_commit() -> None:
    search = finish(MetricSearch(chain(32), misses=MISSES), noisy(9, 80.0, 70.0))
    assert search.verdict().culprit == "c9"
    asked: list[str] = []
    value, gone = noisy(9, 80.0, 70.0), {"c8", "c9", "c10"}
    search = MetricSearch(chain(32), misses=MISSES)
    while names := search.next_runs():
        asked += names
        search.record(names[0], nan if names[0] in gone else value(names[0]))
    assert {name: asked.count(name) for name in gone if name in asked} == dict.fromkeys(gone, 3)
    assert search.verdict().status is SearchStatus.CLASS
    assert {each.sha for each in search.verdict().candidates} == {*gone, "c11"}
    assert search.trials == search.verdict().runs + 9


def test_only_runs_in_a_row_skip_a_commit() -> None:
    search = MetricSearch(chain(8), misses=MISSES)
    for value in (nan, nan, 1.0, nan, nan):
        search.record("c7", value)
    assert "c7" in search.next_runs(2 * END_RUNS)
    assert (search.trials, search.verdict().runs) == (5, 1)


@pytest.mark.parametrize(("end", "name"), [("c7", "bad"), ("good", "good")])
def test_an_end_that_gives_no_number_ends_the_search(end: str, name: str) -> None:
    search = MetricSearch(chain(8), misses=MISSES)
    finish(search, lambda commit: nan if commit == end else 1.0)
    verdict = search.verdict()
    assert (verdict.status, verdict.reason) == (
        SearchStatus.INFRA, f"The {name} end gives no number.",
    )  # fmt: skip
    assert verdict.candidates == ()
    assert not as_verdict(verdict, 0.0, search.rounds).may_act


def test_an_end_that_stops_giving_numbers_was_measured() -> None:
    search = MetricSearch(chain(16), misses=MISSES)
    value, runs = noisy(5, 80.0, 70.0), 0
    while names := search.next_runs():
        runs += names[0] == "good"
        fine = names[0] != "good" or runs <= END_RUNS
        search.record(names[0], value(names[0]) if fine else nan)
    assert search.verdict().culprit == "c5"


def test_runs_that_were_stopped_cost_nothing_and_end_it_only_where_they_are_many() -> None:
    search = MetricSearch(chain(8), misses=MISSES, stops=STOPS, budget=30)
    for _ in range(STOPS - 1):
        search.next_runs()
        search.stop("good")
    search.record("good", 1.0)
    assert search.trials == 1
    for _ in range(STOPS):
        assert search.verdict().status is SearchStatus.SEARCHING
        [name] = search.next_runs()
        search.stop(name)
    found = search.verdict()
    assert (found.status, found.cause) == (SearchStatus.INFRA, VerdictCause.OUTAGE)
    assert found.reason == "10 runs in a row were stopped before they gave a number."
    assert not search.next_runs()


def test_a_commit_whose_runs_are_always_stopped_is_left_out_and_an_end_is_not() -> None:
    search = MetricSearch(chain(8), misses=MISSES, stops=STOPS)
    asked: list[str] = []
    while names := search.next_runs():
        asked += names
        for name in names:
            if name == "c3":
                search.stop(name)
            else:
                search.record(name, 1.0 if name != "good" and int(name[1:]) >= 4 else 2.0)
    found = search.verdict()
    assert asked.count("c3") == MISSES
    assert (found.status, {each.sha for each in found.candidates}) == (
        SearchStatus.CLASS, {"c3", "c4"},
    )  # fmt: skip


def test_runs_without_a_number_are_forgotten_where_nobody_said_how_many() -> None:
    search = MetricSearch(chain(8))
    for _ in range(20):
        search.record(search.next_runs()[0], nan)
    assert (search.trials, search.verdict().runs) == (20, 0)
    assert search.verdict().status is SearchStatus.SEARCHING


def test_a_budget_is_spent_by_runs_without_a_number_too() -> None:
    search = MetricSearch(chain(200), budget=20, misses=MISSES)
    value = noisy(9, 80.0, 79.0)
    finish(search, lambda commit: value(commit) if commit in {"good", "c199"} else nan)
    assert (search.trials, search.verdict().status) == (20, SearchStatus.BUDGET)


def test_where_no_commit_can_be_measured_any_more_the_search_is_over() -> None:
    search = MetricSearch(chain(4), misses=MISSES)
    for _ in range(END_RUNS):
        search.record("good", 1.0 + search.trials / 100)
        search.record("c3", 2.0 + search.trials / 100)
    for commit in ("c0", "c1", "c2", "c3"):
        search.skip(commit)
    assert search.next_runs() == ()
    assert search.verdict().final


def test_a_search_needs_a_run_before_it_can_skip() -> None:
    with pytest.raises(ValueError, match="after a run"):
        MetricSearch(chain(3), misses=0)


def test_probabilities_are_those_believed_beforehand_until_the_ends_are_measured() -> None:
    search = MetricSearch(chain(4), weights=[1, 1, 1, 5])
    assert [each.probability for each in search.probabilities()] == [0.125, 0.125, 0.125, 0.625]
    finish(search, noisy(1, 80.0, 70.0))
    likeliest = max(search.probabilities(), key=lambda each: each.probability)
    assert likeliest.sha == "c1"
    assert [each.sha for each in search.probabilities()] == ["c0", "c1", "c2", "c3"]


def of(worse: metric_log.Worse | None, good: list[float], bad: list[float]) -> MetricSearch:
    """Return a search that has measured its ends, and nothing else."""
    search = MetricSearch(chain(1), worse=worse)
    for before, after in zip(good, bad, strict=True):
        search.record("good", before)
        search.record("c0", after)
    return search


def test_the_level_is_halfway_between_the_medians() -> None:
    search = of("higher", [10, 11, 10, 9, 10, 30], [20, 21, 20, 19, 20, 12])
    assert (search.sides().level, search.sides().bad_side) == (15.0, "higher")
    assert [search.sides().is_bad(each) for each in (14.9, 15.0, 15.1)] == [False, False, True]
    lower = of(None, [20, 21, 20, 19, 20, 12], [10, 11, 10, 9, 10, 30])
    assert (lower.sides().level, lower.sides().bad_side) == (15.0, "lower")
    assert [lower.sides().is_bad(each) for each in (14.9, 15.0, 15.1)] == [True, False, False]


def test_values_on_the_wrong_side_bound_false_failures_and_false_passes() -> None:
    one_of_six = of("higher", [10, 11, 10, 9, 10, 30], [20, 21, 20, 19, 20, 22])
    # Wilson's upper ends with z = 1.645, worked out by hand.
    z = 1.645**2
    none = z / (6 + z)
    one = (1 / 6 + z / 12 + (5 / 36 * z / 6 + (z / 12) ** 2) ** 0.5) / (1 + z / 6)
    assert one_of_six.sides().wrong_side == (pytest.approx(one), pytest.approx(none))
    assert (round(one, 3), round(none, 3)) == (0.502, 0.311)


def test_the_level_lies_between_what_was_measured_of_all_commits() -> None:
    search = finish(MetricSearch(chain(64), worse="lower"), noisy(20, 80.0, 74.0))
    level = search.sides().level
    assert level is not None
    assert 76.0 < level < 78.0
    false_fail, false_pass = search.sides().wrong_side
    assert 0.0 < false_fail < 0.3
    assert 0.0 < false_pass < 0.3


@pytest.mark.parametrize(
    "search",
    [
        MetricSearch(chain(3)),
        of("lower", [10, 11, 10, 9], [20, 21, 20, 19]),
        of("lower", [10, 11, 10, 9, 10], [20, 21, 20, 19, 20]),
        of(None, [10, 11, 10, 9, 10], [10, 11, 10, 9, 10]),
    ],
    ids=["nothing measured", "too little measured", "it became better", "it is the same"],
)
def test_without_a_change_for_the_worse_there_is_no_level(search: MetricSearch) -> None:
    sides = search.sides()
    assert (sides.level, sides.bad_side, sides.wrong_side) == (None, None, (1.0, 1.0))
    with pytest.raises(ValueError, match="Nothing parts"):
        sides.is_bad(1.0)
