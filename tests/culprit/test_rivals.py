from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bot.culprit.evidence import (
    Purpose,
    Ruling,
    Says,
    SearchSettings,
    Trial,
    TrialOutcome,
    TrialReport,
)
from bot.culprit.flake_rates import EVENLY, FurtherChanges, RatePriors, rates
from bot.culprit.graph import CommitGraph
from bot.culprit.metric import MetricSearch
from bot.culprit.posterior import BoundaryKind
from bot.culprit.rivals import earlier_break
from bot.culprit.search import Search
from bot.culprit.verdict import SearchStatus, Verdict, VerdictCause

COUNT = 48


def run(
    fails: Callable[[int, int, np.random.Generator], bool],
    *,
    pauses: bool = False,
    seed: int = 1,
) -> tuple[Verdict, list[Trial], Search]:
    """Search a chain; `fails` knows the commit (the good end is -1), the moment and chance."""
    graph = CommitGraph.chain([f"c{i}" for i in range(COUNT)], ["good"])
    search = Search(graph, SearchSettings(budget=150, pauses=pauses, seed=seed))
    rng = np.random.default_rng(seed)
    moment, asked = 0, []
    while trials := search.next_trials():
        moment += 1 + trials[0].pause
        for trial in trials:
            asked.append(trial)
            node = -1 if trial.commit == "good" else int(trial.commit[1:])
            failed = fails(node, moment, rng)
            outcome = TrialOutcome.FAIL if failed else TrialOutcome.PASS
            search.record(trial, TrialReport(outcome))
    return search.verdict(), asked, search


@pytest.mark.parametrize("pauses", [False, True])
def test_an_outage_is_waited_out_at_the_good_end(pauses: bool) -> None:
    verdict, asked, _ = run(lambda node, moment, _: moment <= 15 or node >= 30, pauses=pauses)
    assert verdict.culprit == "c30"
    controls = [trial for trial in asked if trial.purpose is Purpose.CONTROL]
    assert {trial.commit for trial in controls} == {"good"}
    assert any(trial.pause for trial in controls) == pauses


def test_a_good_end_that_fails_for_long_is_before_the_range_all_the_same() -> None:
    verdict, _, _ = run(lambda *_: True)
    assert verdict.status is SearchStatus.BEFORE_RANGE


def test_a_bad_end_that_passes_after_an_outage_was_an_outage() -> None:
    verdict, _, _ = run(lambda _, moment, __: moment <= 8)
    assert (verdict.status, verdict.cause) == (SearchStatus.NO_CULPRIT, VerdictCause.OUTAGE)


def test_of_two_breaks_the_last_one_is_named_and_every_boundary() -> None:
    verdict, _, _ = run(lambda node, *_: 8 <= node < 20 or node >= 40)
    assert verdict.culprit == "c40"
    assert verdict.boundaries[-1].kind is BoundaryKind.BROKEN
    assert verdict.boundaries[-1].sha == "c40"
    assert [each.kind for each in verdict.boundaries[:-1]] in (
        [],
        [BoundaryKind.BROKEN, BoundaryKind.FIXED],
    )


def test_a_test_that_became_flaky_misleads_nobody() -> None:
    """Half of all runs fail from 16 on, all from 36 on. By seed 1 eleven coins fall alike."""
    for seed in (0, 2, 3):
        verdict, _, _ = run(
            lambda node, _, rng: node >= 36 or (node >= 16 and rng.random() < 0.5), seed=seed
        )
        named = {each.sha for each in verdict.candidates}
        assert not verdict.may_act or "c36" in named


def test_where_it_became_flaky_and_where_it_broke_are_both_found() -> None:
    """Six of ten runs fail from 12 on, all from 30 on: no number of runs says which broke it.

    By seed 1, c12 to c15 pass five times of five, and c16 and later ones fail whenever tried.
    """
    found = 0
    for seed in (0, 2, 3, 4):
        verdict, _, _ = run(
            lambda node, _, rng: node >= 30 or (node >= 12 and rng.random() < 0.6), seed=seed
        )
        named = {each.sha for each in verdict.candidates}
        found += named == {"c12", "c30"} and verdict.cause is VerdictCause.FLAKY_FROM
        assert not verdict.may_act or named & {"c12", "c30"}
    assert found >= 2


def test_the_same_commit_is_not_tried_twice_in_a_row() -> None:
    _, asked, _ = run(lambda node, _, rng: (node >= 30) != (rng.random() < 0.1))
    search = [trial.commit for trial in asked if trial.purpose is Purpose.SEARCH]
    assert all(one != other for one, other in pairwise(search))


def test_a_search_with_controls_replays_to_the_same_verdict() -> None:
    verdict, _, search = run(lambda node, moment, _: moment <= 15 or node >= 30, pauses=True)
    again = Search.from_log(search.to_log())
    assert again.verdict() == verdict
    assert again.to_log() == search.to_log()


def measure(value: Callable[[int, np.random.Generator], float], seed: int = 1) -> MetricSearch:
    graph = CommitGraph.chain([f"c{i}" for i in range(COUNT)], ["good"])
    search, rng = MetricSearch(graph, worse="lower"), np.random.default_rng(seed)
    while names := search.next_runs():
        for name in names:
            search.record(name, value(-1 if name == "good" else int(name[1:]), rng))
    return search


def test_a_metric_that_drifts_has_no_culprit() -> None:
    verdict = measure(lambda node, rng: 100 - 4 * node / COUNT + rng.normal()).verdict()
    assert (verdict.status, verdict.cause) == (SearchStatus.NO_CULPRIT, VerdictCause.DRIFT)


def test_outliers_do_not_move_a_metrics_culprit() -> None:
    verdict = measure(
        lambda node, rng: 100 - 4 * (node >= 20) + rng.normal() + 15 * (rng.random() < 0.05)
    ).verdict()
    assert verdict.culprit == "c20"


def test_a_metric_that_became_better_blames_nobody() -> None:
    verdict = measure(lambda node, rng: 100 + 5 * (node >= 20) + rng.normal()).verdict()
    assert verdict.status is SearchStatus.NO_CULPRIT


def test_commits_that_cannot_be_measured_make_a_class() -> None:
    graph = CommitGraph.chain([f"c{i}" for i in range(COUNT)], ["good"])
    search, rng = MetricSearch(graph), np.random.default_rng(1)
    for name in ("c18", "c19"):
        search.skip(name)
    while names := search.next_runs():
        for name in names:
            bad = name != "good" and int(name[1:]) >= 19
            search.record(name, float(rng.normal(100 - 5 * bad)))
    verdict = search.verdict()
    assert verdict.status is SearchStatus.CLASS
    assert {each.sha for each in verdict.candidates} == {"c18", "c19", "c20"}


def searched(settings: SearchSettings) -> tuple[Search, dict[str, Any], list[str]]:
    """Search a chain where one run in ten lies; give its log, too: the first line, and the rest."""
    graph = CommitGraph.chain([f"c{i}" for i in range(COUNT)], ["good"])
    search, rng = Search(graph, settings), np.random.default_rng(3)
    while trials := search.next_trials():
        node = -1 if trials[0].commit == "good" else int(trials[0].commit[1:])
        failed = (node >= 30) != (rng.random() < 0.1)
        search.record(trials[0], TrialReport(TrialOutcome.FAIL if failed else TrialOutcome.PASS))
    header, *events = search.to_log().splitlines(keepends=True)
    return search, json.loads(header), events


def test_a_log_of_before_the_rivals_is_judged_as_it_was() -> None:
    settings = SearchSettings(rivals=False, rates=RatePriors.without_rivals())
    search, of_then, events = searched(settings)
    for name in ("rivals", "storms", "pauses", "changes"):
        del of_then["settings"][name]
    again = Search.from_log("".join([json.dumps(of_then) + "\n", *events]))
    assert again.verdict() == search.verdict()
    assert not again.settings.rivals
    assert again.settings.changes == FurtherChanges.at_first()


def test_a_log_that_does_not_say_what_rates_become_is_judged_as_it_was() -> None:
    then = FurtherChanges(good=0.2, bad=0.15, good_becomes=EVENLY, bad_becomes=EVENLY)
    search, of_then, events = searched(SearchSettings(changes=then))
    for name in ("good_becomes", "bad_becomes"):
        del of_then["settings"]["changes"][name]
    again = Search.from_log("".join([json.dumps(of_then) + "\n", *events]))
    assert again.settings.changes == then
    assert again.verdict() == search.verdict()


def test_a_signal_that_became_flaky_in_half_of_its_runs_blames_nobody() -> None:
    named = 0
    for seed in range(4):
        verdict, _, _ = run(lambda node, _, rng: node >= 20 and rng.random() < 0.5, seed=seed)
        named += verdict.status is SearchStatus.NO_CULPRIT
        assert not (verdict.may_act and verdict.culprit)
    assert named >= 3


def test_in_a_long_flaky_search_an_earlier_break_is_weighed_as_in_a_short_one() -> None:
    """Products of hundreds of runs' chances are below the least number that there is."""
    fails = np.array([0, 0, 50, 44, 80, 120])
    passes = np.array([18, 16, 50, 44, 2, 2])
    f = np.log(rates())
    p = np.log1p(-rates())
    if_good = fails[:, None] * f + passes[:, None] * p
    if_bad = fails[:, None] * p + passes[:, None] * f
    even = np.ones(len(f)) / len(f)
    sizes = np.full(7, 8.0)
    found = earlier_break(if_good, if_bad, sizes, even, even)
    best = np.maximum(if_good, if_bad).max(axis=1).sum()
    assert np.nanmax(found.windows) < best


def test_a_stretch_that_nobody_can_try_holds_up_no_verdict() -> None:
    graph = CommitGraph.chain([f"c{i}" for i in range(12)], ["good"])
    search = Search(graph)
    search.observe(Ruling("c5", Says.SKIP))
    asked = 0
    while trials := search.next_trials():
        asked += 1
        fails = trials[0].commit != "good" and int(trials[0].commit[1:]) >= 2
        outcome = TrialOutcome.FAIL if fails else TrialOutcome.PASS
        search.record(trials[0], TrialReport(outcome))
    assert search.verdict().culprit == "c2"
    assert asked < 25


def test_where_everything_passes_nothing_became_flaky() -> None:
    verdict, _, _ = run(lambda *_: False)
    assert (verdict.status, verdict.cause) == (SearchStatus.NO_CULPRIT, None)
    assert verdict.boundaries == ()
