from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest

from bot.culprit.graph import CommitGraph
from bot.culprit.metric import END_RUNS, MetricSearch, MetricVerdict
from bot.culprit.verdict import SearchStatus


def chain(count: int) -> CommitGraph:
    return CommitGraph.chain([f"c{i}" for i in range(count)], ["good"])


def drop(
    search: MetricSearch, culprit: int, by: float, seed: int, at_once: int = 1
) -> MetricVerdict:
    rng = np.random.default_rng(seed)
    while names := search.next_runs(at_once):
        for name in names:
            bad = name != "good" and int(name[1:]) >= culprit
            search.record(name, float(rng.normal(80.0 - by * bad)))
    return search.verdict()


def test_the_ends_are_measured_first_and_in_turns() -> None:
    search = MetricSearch(chain(50))
    names = search.next_runs(20)
    # A B B A: what every second run has in common is no end's.
    assert names == ("good", "c49", "c49", "good") * (END_RUNS // 2) + ("good", "c49")


def test_a_large_drop_is_found_with_its_effect_and_interval() -> None:
    verdict = drop(MetricSearch(chain(128)), 70, 4.0, seed=1)
    assert verdict.culprit == "c70"
    assert verdict.interval[0] < verdict.effect < verdict.interval[1]
    assert verdict.interval[0] < -4.0 < verdict.interval[1]
    assert verdict.runs < 30


def test_most_drops_of_two_deviations_are_found() -> None:
    found = [drop(MetricSearch(chain(64)), 20, 2.0, seed=s).culprit == "c20" for s in range(8)]
    assert sum(found) >= 7


def test_several_runs_at_once_find_it_too() -> None:
    assert drop(MetricSearch(chain(128)), 90, 4.0, seed=3, at_once=4).culprit == "c90"


@pytest.mark.thorough
def test_no_drop_at_all_ends_early_without_blame() -> None:
    endings = [drop(MetricSearch(chain(128)), 64, 0.0, seed=s) for s in range(20)]
    assert sum(e.status is SearchStatus.NO_CULPRIT for e in endings) >= 15
    assert sum(e.culprit is not None for e in endings) <= 1


def test_values_without_noise_are_no_trouble() -> None:
    search = MetricSearch(chain(32))
    while names := search.next_runs():
        for name in names:
            search.record(name, 1.0 if name != "good" and int(name[1:]) >= 9 else 2.0)
    assert search.verdict().culprit == "c9"


def test_a_run_without_a_value_is_only_forgotten() -> None:
    search = MetricSearch(chain(8))
    search.record(search.next_runs()[0], float("nan"))
    assert search.verdict().runs == 0
    assert search.next_runs()


def test_a_merge_history_is_searched_too() -> None:
    parents = {"tip": ["m"], "m": ["a", "b2"], "b2": ["b1"], "b1": ["r"], "a": ["r"], "r": ["good"]}
    graph = CommitGraph.build(parents, "tip", ["good"])
    search = MetricSearch(graph)
    rng = np.random.default_rng(5)
    while names := search.next_runs():
        for name in names:
            search.record(
                name, float(rng.normal(0.0 if name in {"r", "a", "b1", "good"} else -5.0))
            )
    assert search.verdict().culprit == "b2"


def test_a_good_end_is_required() -> None:
    with pytest.raises(ValueError, match="good end"):
        MetricSearch(CommitGraph.chain(["a"]))


def test_values_that_lie_mostly_on_one_side_of_a_large_step_are_no_outliers() -> None:
    names = [f"c{i}" for i in range(40)]
    for culprit in (4, 12, 35):
        search = MetricSearch(CommitGraph.chain(names, ["good"]), budget=41, misses=3)
        rng = np.random.default_rng(culprit)
        for number, name in enumerate(["good", *names], -1):
            search.record(name, float(rng.normal(90.0 - 30.0 * (number >= culprit))))
        assert search.verdict().culprit == f"c{culprit}"


def test_a_number_that_only_varies_more_from_a_commit_on_is_seldom_pinned_on_it() -> None:
    named = 0
    for seed in range(12):
        search, rng = MetricSearch(chain(16), misses=3), np.random.default_rng(seed)
        while names := search.next_runs(4):
            for name in names:
                bad = name != "good" and int(name[1:]) >= 8
                search.record(name, 100.0 + float(rng.integers(-3, 4)) * bad)
        named += search.verdict().culprit is not None
        assert search.verdict().culprit is None or search.sides().level is not None
    assert named <= 4


@pytest.mark.parametrize(
    ("why", "seed", "good", "bad"),
    [
        ("unchanged", 2, lambda _: 5.0, lambda _: 5.0),
        ("better", 2, lambda _: 5.0, lambda _: 9.0),
        ("too_small", 2, lambda rng: rng.normal(5.0), lambda rng: rng.normal(5.2)),
        ("varies", 3, lambda _: 100.0, lambda rng: 100.0 + rng.integers(-3, 4)),
    ],
)
def test_why_nobody_made_it_worse_is_said_in_a_word(
    why: str, seed: int, good: Callable[..., float], bad: Callable[..., float]
) -> None:
    search, rng = MetricSearch(chain(16), misses=3, worse="lower"), np.random.default_rng(seed)
    while names := search.next_runs(4):
        for name in names:
            is_bad = name != "good" and int(name[1:]) >= 8
            search.record(name, float((bad if is_bad else good)(rng)))
    found = search.verdict()
    assert (found.status, found.cause) == (SearchStatus.NO_CULPRIT, why)


@pytest.mark.parametrize("spread", [0.0, pytest.param(1.0, marks=pytest.mark.thorough)])
def test_two_commits_that_each_did_a_part_are_both_named(spread: float) -> None:
    search, rng = MetricSearch(chain(20), misses=3, worse="higher"), np.random.default_rng(1)
    while names := search.next_runs(2):
        for name in names:
            number = -1 if name == "good" else int(name[1:])
            search.record(name, 5.0 * (number >= 9) + 5.0 * (number >= 10) + rng.normal() * spread)
    found = search.verdict()
    assert (found.status, found.culprit, found.cause) == (SearchStatus.NO_CULPRIT, None, "steps")
    assert [each.sha for each in found.boundaries] == ["c9", "c10"]
    assert found.runs <= 100


@pytest.mark.sampled("2")
@pytest.mark.parametrize("seed", [1, 2, 6])
def test_commits_that_are_all_alike_do_not_take_all_runs(seed: int) -> None:
    # A score without noise, but some runs give less; by chance three of the good end's first five.
    rng, first = random.Random(seed), [0.405, 0.353, 0.334, 2 / 3, 2 / 3]  # noqa: S311 (a world)
    search = MetricSearch(chain(97), budget=200, worse="lower")
    while names := search.next_runs():
        (name,) = names
        value = 7 / 12 if name != "good" and int(name[1:]) >= 95 else 2 / 3
        if name == "good" and first:
            value = first.pop(0)
        elif rng.random() < 0.15:
            value /= 1 + rng.random()
        search.record(name, value)
    assert search.verdict().culprit == "c95"


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("spread", [0.0, 0.5, 3.0])
def test_a_search_that_asks_for_nothing_more_has_a_verdict(at_once: int, spread: float) -> None:
    for seed in range(6):
        rng = random.Random(seed)  # noqa: S311 (a world)
        search = MetricSearch(chain(12), budget=40)
        while names := search.next_runs(at_once):
            for name in names:
                lost = rng.random() < 0.2
                value = rng.gauss(1.0 if name == "good" or int(name[1:]) < 7 else 2.0, spread)
                search.record(name, math.nan if lost else value)
                if lost and rng.random() < 0.3 and name not in ("good", "c11"):
                    search.skip(name)
        assert search.verdict().final
        assert not search.pending


def outcome(number: Callable[[int, np.random.Generator], float], seed: int) -> str | None:
    """Who is named where this is measured at 64 commits; the good end is -1."""
    search, rng = MetricSearch(chain(64), budget=200), np.random.default_rng([7, seed])
    while names := search.next_runs():
        for name in names:
            search.record(name, number(-1 if name == "good" else int(name[1:]), rng))
    return search.verdict().culprit


@pytest.mark.parametrize(
    ("number", "culprit"),
    [
        (lambda _, rng: float(rng.random() < 0.3), None),
        pytest.param(
            *(lambda _, rng: 10.0 * (rng.random() < 0.3) + rng.normal(), None),
            marks=pytest.mark.thorough,
        ),
        (lambda node, rng: float(rng.random() < (0.9 if node >= 20 else 0.1)), "c20"),
        pytest.param(
            *(lambda node, rng: float(np.round(rng.normal(2.0 * (node >= 20)) / 3) * 3), "c20"),
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_two_modes_are_told_from_a_step(
    number: Callable[[int, np.random.Generator], float], culprit: str | None
) -> None:
    named = [outcome(number, seed) for seed in range(4)]
    assert sum(each not in (None, culprit) for each in named) <= 1
    assert culprit is None or named.count(culprit) >= 3


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_short_range_does_not_spend_the_budget(count: int) -> None:
    search, rng = MetricSearch(chain(count), budget=200), np.random.default_rng(count)
    while names := search.next_runs():
        for name in names:
            bad = name == f"c{count - 1}"
            search.record(name, float(rng.normal(6.0 * bad)))
    verdict = search.verdict()
    assert (verdict.culprit, verdict.runs < 40) == (f"c{count - 1}", True)


@pytest.mark.parametrize(
    ("step", "at_once"),
    [
        (0.0, 1),
        (3.0, 2),
        pytest.param(0.0, 2, marks=pytest.mark.thorough),
        pytest.param(3.0, 1, marks=pytest.mark.thorough),
    ],
)
def test_what_every_second_run_has_in_common_is_no_commits(step: float, at_once: int) -> None:
    """One of two machines is slower, or every second run meets a cold cache."""
    named = []
    for seed in range(2):
        rng, search, turn = np.random.default_rng(seed), MetricSearch(chain(64), budget=200), 0
        while names := search.next_runs(at_once):
            for name in names:
                bad = name != "good" and int(name[1:]) >= 20
                turn += 1
                search.record(name, float(2.0 * (turn % 2) + step * bad + rng.normal(0.0, 0.5)))
        named.append(search.verdict().culprit)
    assert set(named) == ({"c20"} if step else {None})
