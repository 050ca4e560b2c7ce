from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.culprit.evidence import (
    FreeResult,
    Granularity,
    Purpose,
    Ruling,
    Says,
    SearchSettings,
    Trial,
    TrialOutcome,
    TrialReport,
)
from bot.culprit.flake_rates import FurtherChanges
from bot.culprit.graph import CommitGraph
from bot.culprit.log import LogError
from bot.culprit.search import Search
from bot.culprit.verdict import SearchStatus, Verdict
from tests.culprit.histories import ancestors_by_definition, histories, quick


def chain(count: int) -> CommitGraph:
    return CommitGraph.chain([f"c{i}" for i in range(count)], ["good"])


def outcome(search: Search, trial: Trial, culprit: int | None) -> TrialOutcome:
    node = search.graph.number[trial.commit]
    bad = (
        culprit is not None
        and node < len(search.graph)
        and culprit in ancestors_by_definition(search.graph, node)
    )
    return TrialOutcome.FAIL if bad else TrialOutcome.PASS


def finish(search: Search, culprit: int | None, at_once: int = 1) -> Verdict:
    while trials := search.next_trials(at_once):
        for trial in trials:
            search.record(trial, TrialReport(outcome(search, trial, culprit)))
    return search.verdict()


@quick
@given(histories(10), st.integers(0, 9), st.integers(1, 4), st.sampled_from(Granularity))
def test_without_flakes_the_culprit_is_found_in_any_history(
    graph: CommitGraph, pick: int, at_once: int, granularity: Granularity
) -> None:
    culprit = pick % len(graph)
    verdict = finish(Search(graph, SearchSettings(granularity=granularity)), culprit, at_once)
    assert verdict.may_act
    if granularity is Granularity.FIRST_PARENT:
        assert verdict.culprit == graph.commits[graph.merged_by[culprit]]
    else:
        assert verdict.culprit == graph.commits[culprit]


def test_both_ends_are_tried_before_anything_else() -> None:
    search = Search(chain(20))
    trials = search.next_trials(4)
    assert [(t.commit, t.purpose) for t in trials] == [
        ("c19", Purpose.END),
        ("good", Purpose.END),
    ]
    assert search.next_trials(4) == ()
    assert search.verdict().status is SearchStatus.SEARCHING


def test_a_bad_end_that_passes_is_no_culprit() -> None:
    verdict = finish(Search(chain(30)), None)
    assert verdict.status is SearchStatus.NO_CULPRIT
    assert verdict.confidence >= 0.99
    assert verdict.candidates == ()
    assert "bad end passes" in verdict.reason


def test_a_good_end_that_fails_is_before_the_range() -> None:
    search = Search(chain(30))
    while trials := search.next_trials(2):
        for trial in trials:
            search.record(trial, TrialReport(TrialOutcome.FAIL))
    assert search.verdict().status is SearchStatus.BEFORE_RANGE
    assert "good end fails" in search.verdict().reason


def test_one_odd_result_does_not_derail_the_search() -> None:
    search = Search(chain(64), SearchSettings(check_ends=False))
    lied = False
    while trials := search.next_trials():
        truth = outcome(search, trials[0], 40)
        if not lied and truth is TrialOutcome.PASS:
            truth, lied = TrialOutcome.FAIL, True
        search.record(trials[0], TrialReport(truth))
    assert lied
    assert search.verdict().culprit == "c40"


def test_commits_that_cannot_be_tried_form_a_class_with_the_next_that_can() -> None:
    search = Search(chain(12))
    for sha in ("c5", "c6"):
        search.observe(Ruling(sha, Says.SKIP, "ann"))
    verdict = finish(search, 6)
    assert verdict.status is SearchStatus.CLASS
    assert verdict.may_act
    assert {c.sha for c in verdict.candidates} == {"c5", "c6", "c7"}
    assert set(verdict.splitters) == {"c5", "c6"}


def test_a_skipped_commit_is_never_tried_nor_taken_for_failing() -> None:
    search = Search(chain(12))
    search.observe(Ruling("c5", Says.SKIP))
    before = [c.probability for c in search.probabilities()]
    assert before == pytest.approx([before[0]] * 12)
    asked = []
    while trials := search.next_trials():
        asked += [t.commit for t in trials]
        search.record(trials[0], TrialReport(outcome(search, trials[0], 2)))
    assert "c5" not in asked
    assert search.verdict().culprit == "c2"


def test_untestable_stretches_are_left_after_a_few_tries() -> None:
    search = Search(chain(200))
    tried = 0
    while trials := search.next_trials():
        node = search.graph.number[trials[0].commit]
        if 80 <= node < 120:
            tried += 1
            search.record(trials[0], TrialReport(TrialOutcome.UNTESTABLE))
        else:
            search.record(trials[0], TrialReport(outcome(search, trials[0], 100)))
    verdict = search.verdict()
    assert verdict.status is SearchStatus.CLASS
    assert "c100" in {c.sha for c in verdict.candidates}
    assert tried < 20


def test_infra_failures_are_no_evidence_are_retried_and_stop_the_search_in_the_end() -> None:
    search = Search(chain(8), SearchSettings(infra_cap=4))
    before = search.probabilities()
    attempts = []
    while trials := search.next_trials():
        attempts.append(trials[0].attempt)
        search.record(trials[0], TrialReport(TrialOutcome.INFRA))
    assert attempts == [1, 2, 3, 1]
    assert search.probabilities() == before
    assert search.verdict().status is SearchStatus.INFRA
    assert search.verdict().trials == 0


def test_another_failure_is_not_the_incidents_failure() -> None:
    settings = SearchSettings(check_ends=False, fingerprint=frozenset({"test_login"}))
    search = Search(chain(9), settings)
    before = search.probabilities()
    trial = search.next_trials()[0]
    search.record(trial, TrialReport(TrialOutcome.FAIL, frozenset({"test_unrelated"})))
    assert search.probabilities() == before
    assert trial.commit not in {t.commit for t in search.next_trials(3)}


def test_the_first_failure_of_the_bad_end_tells_which_failure_is_meant() -> None:
    search = Search(chain(9))
    for trial in search.next_trials(2):
        failed = trial.commit == "c8"
        report = (
            TrialReport(TrialOutcome.FAIL, frozenset({"test_a"}))
            if failed
            else TrialReport(TrialOutcome.PASS)
        )
        search.record(trial, report)
    assert search.fingerprint == {"test_a"}


def test_the_failure_that_opened_the_incident_is_no_evidence() -> None:
    search = Search(chain(9))
    before = search.probabilities()
    report = TrialReport(TrialOutcome.FAIL, frozenset({"test_a"}))
    assert search.observe(FreeResult("c8", report, selected=True))
    assert search.probabilities() == before
    assert search.fingerprint == {"test_a"}
    assert search.next_trials()[0].commit == "c8"


def test_a_failure_known_from_elsewhere_is_still_reproduced_first() -> None:
    search = Search(chain(9))
    search.observe(FreeResult("c8", TrialReport(TrialOutcome.FAIL)))
    search.observe(FreeResult("good", TrialReport(TrialOutcome.PASS)))
    assert [t.commit for t in search.next_trials(2)] == ["c8", "good"]


def test_results_that_exist_already_spare_trials() -> None:
    paid = finish(Search(chain(256)), 100).trials
    search = Search(chain(256))
    for node in (97, 98, 99):
        search.observe(FreeResult(f"c{node}", TrialReport(TrialOutcome.PASS), f"ci {node}"))
    for node in (100, 101, 102):
        search.observe(FreeResult(f"c{node}", TrialReport(TrialOutcome.FAIL), f"ci {node}"))
    verdict = finish(search, 100)
    assert verdict.culprit == "c100"
    assert verdict.trials < paid - 4


def test_a_pull_requests_run_counts_only_where_the_tree_is_the_same() -> None:
    search = Search(chain(4), trees={f"c{i}": f"tree{i}" for i in range(4)})
    before = search.probabilities()
    fail = TrialReport(TrialOutcome.FAIL)
    assert not search.observe(FreeResult("head", fail, tree="another"))
    assert search.probabilities() == before
    assert search.observe(FreeResult("head", fail, tree="tree1"))
    assert search.probabilities()[3].probability < before[3].probability


def test_a_commit_that_changed_nothing_is_never_the_culprit() -> None:
    trees = {"c0": "x", "c1": "y", "c2": "y", "c3": "z"}
    search = Search(chain(4), trees=trees)
    assert search.probabilities()[2].probability < 1e-5


def test_peoples_words_on_commits_end_a_search_without_a_trial() -> None:
    search = Search(chain(50), SearchSettings(check_ends=False))
    search.observe(Ruling("c20", Says.GOOD, "ann"))
    search.observe(Ruling("c21", Says.BAD, "ben"))
    search.observe(Ruling("c20", Says.GOOD, "ben"))
    search.observe(Ruling("c21", Says.BAD, "ann"))
    assert search.verdict().culprit == "c21"
    assert search.next_trials() == ()


def test_the_budget_ends_a_search_with_its_credible_set() -> None:
    verdict = finish(Search(chain(500), SearchSettings(budget=6)), 300)
    assert verdict.status is SearchStatus.BUDGET
    assert verdict.trials == 6
    assert not verdict.may_act
    assert "c300" in {c.sha for c in verdict.candidates}
    assert sum(c.probability for c in verdict.candidates) >= 0.9


def test_the_budget_counts_pending_trials() -> None:
    search = Search(chain(500), SearchSettings(budget=3, check_ends=False))
    assert len(search.next_trials(8)) == 3
    assert search.next_trials(8) == ()


def test_the_search_looks_along_first_parents_first_and_then_inside_the_merge() -> None:
    parents = {f"m{i}": [f"m{i - 1}"] for i in range(12, 0, -1)}
    parents |= {"m0": ["good"], "m6": ["m5", "b3"], "b3": ["b2"], "b2": ["b1"], "b1": ["m2"]}
    graph = CommitGraph.build(parents, "m12", ["good"])
    search = Search(graph, SearchSettings(check_ends=False))
    culprit = graph.number["b2"]
    asked = []
    while trials := search.next_trials():
        asked.append(trials[0].commit)
        search.record(trials[0], TrialReport(outcome(search, trials[0], culprit)))
    assert search.verdict().culprit == "b2"
    first_inside = next(i for i, sha in enumerate(asked) if sha.startswith("b"))
    assert {"m5", "m6"} & set(asked[:first_inside])
    assert "b2" in asked[first_inside:]


def test_named_machines_take_turns_on_a_commit() -> None:
    settings = SearchSettings(check_ends=False, environments=("r1", "r2", "r3"))
    search = Search(chain(3), settings)
    used: dict[str, list[str]] = {}
    for _ in range(9):
        for trial in search.next_trials():
            used.setdefault(trial.commit, []).append(trial.environment)
            search.record(trial, TrialReport(outcome(search, trial, 1)))
    for names in used.values():
        assert len(set(names[:3])) == len(names[:3])


def test_a_named_suspect_is_tried_early_and_an_even_share_remains() -> None:
    weights = [1.0] * 1024
    weights[700] = 1024.0
    search = Search(chain(1024), SearchSettings(check_ends=False), weights=weights)
    assert {t.commit for t in search.next_trials(2)} <= {"c699", "c700", "c701"}
    assert finish(Search(chain(1024), weights=weights), 30).culprit == "c30"


@quick
@given(histories(8), st.integers(0, 7), st.randoms(use_true_random=False))
def test_a_log_replays_to_the_same_bytes_and_the_same_verdict(
    graph: CommitGraph, pick: int, random: object
) -> None:
    search = Search(graph, SearchSettings(seed=7, environments=("r1", "r2"), budget=30))
    search.observe(Ruling(graph.commits[0], Says.SKIP, "ann"))
    search.observe(
        FreeResult(graph.commits[-1], TrialReport(TrialOutcome.FAIL, frozenset({"t"})), "ci")
    )
    while trials := search.next_trials(3):
        for trial in trials:
            lies = random.random() < 0.1  # type: ignore[attr-defined]
            truth = outcome(search, trial, pick % len(graph))
            search.record(trial, TrialReport(TrialOutcome.INFRA if lies else truth))
    again = Search.from_log(search.to_log())
    assert again.to_log() == search.to_log()
    assert again.verdict() == search.verdict()


def test_a_resumed_search_chooses_as_if_it_had_never_stopped() -> None:
    search = Search(chain(300), SearchSettings(seed=3))
    for trial in search.next_trials(2):
        search.record(trial, TrialReport(outcome(search, trial, 77)))
    trials = search.next_trials(4)
    search.record(trials[2], TrialReport(outcome(search, trials[2], 77)))
    resumed = Search.from_log(search.to_log())
    assert resumed.pending == search.pending
    assert resumed.next_trials(2) == search.next_trials(2)
    for trial in list(resumed.pending):
        resumed.abandon(trial)
    assert finish(resumed, 77, 4).culprit == "c77"


def test_a_log_cut_off_in_its_last_line_is_read_up_to_there() -> None:
    search = Search(chain(10))
    search.next_trials(2)
    text = search.to_log()
    assert Search.from_log(text + '{"event":"repor').to_log() == text


@pytest.mark.parametrize("text", ["", "{}\n", "[]\n", "not json\n", '{"format":"other"}\n'])
def test_what_is_no_log_is_refused(text: str) -> None:
    with pytest.raises(LogError):
        Search.from_log(text)


def test_a_strange_event_is_named_by_its_line() -> None:
    text = Search(chain(3)).to_log() + '{"event":"reported"}\n'
    with pytest.raises(LogError, match="Line 2"):
        Search.from_log(text)


def test_claims_of_99_percent_hold_for_a_flaky_signal() -> None:
    claims = right = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        culprit = int(rng.integers(64))
        search = Search(chain(64), SearchSettings(check_ends=False, budget=150))
        while trials := search.next_trials():
            truth = outcome_of_chain(trials[0].commit, culprit)
            lies = rng.random() < 0.1
            search.record(
                trials[0], TrialReport(TrialOutcome.FAIL if truth != lies else TrialOutcome.PASS)
            )
        verdict = search.verdict()
        claims += verdict.may_act
        right += verdict.may_act and verdict.culprit == f"c{culprit}"
    assert claims >= 76
    assert right >= claims - 2


def outcome_of_chain(sha: str, culprit: int) -> bool:
    return sha != "good" and int(sha[1:]) >= culprit


@pytest.mark.thorough
def test_a_chance_failure_of_a_commit_that_cannot_be_tried_is_unlearnt() -> None:
    wrong = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        search = Search(chain(200), SearchSettings(seed=seed))
        culprit = int(rng.integers(60, 140))
        # A stretch before the culprit exits 125, but 15% of all runs fail by chance before that.
        hopeless = range(culprit - 40, culprit - 4)
        while trials := search.next_trials(1):
            for trial in trials:
                node = search.graph.number[trial.commit]
                if rng.random() < 0.15:
                    said = TrialOutcome.FAIL
                elif node in hopeless:
                    said = TrialOutcome.UNTESTABLE
                else:
                    said = (
                        TrialOutcome.FAIL if node >= culprit and node < 200 else TrialOutcome.PASS
                    )
                search.record(trial, TrialReport(said))
        verdict = search.verdict()
        named = {candidate.sha for candidate in verdict.candidates}
        wrong += verdict.may_act and f"c{culprit}" not in named
    assert wrong == 0, wrong


def surveyed(failing: str | None = None, passing: str | None = None) -> Search:
    """A search whose commits 40 to 60 are known not to be testable, all but one of them."""
    search = Search(chain(100), SearchSettings(check_ends=False))
    for node in range(40, 61):
        if f"c{node}" not in {failing, passing}:
            search.observe(FreeResult(f"c{node}", TrialReport(TrialOutcome.UNTESTABLE), "fresh"))
    for sha, said in ((failing, TrialOutcome.FAIL), (passing, TrialOutcome.PASS)):
        if sha:
            search.observe(FreeResult(sha, TrialReport(said), "fresh"))
    return search


def mass(search: Search, upto: int) -> float:
    return sum(c.probability for c in search.probabilities()[: upto + 1])


def test_a_lone_failure_amid_commits_that_cannot_be_tried_says_less_than_one_far_from_them() -> (
    None
):
    assert mass(surveyed(failing="c50"), 50) < 0.8
    assert mass(surveyed(failing="c90"), 50) / mass(surveyed(failing="c90"), 90) < 0.6
    assert mass(surveyed(failing="c90"), 90) > 0.98


def test_a_pass_amid_commits_that_cannot_be_tried_proves_that_one_could() -> None:
    search = surveyed(passing="c50")
    assert mass(search, 50) < 0.15
    search.observe(FreeResult("c50", TrialReport(TrialOutcome.UNTESTABLE), "later"))
    assert mass(search, 50) < 0.15


def test_honest_results_at_the_edge_of_an_untestable_stretch_are_kept() -> None:
    runs = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        settings = SearchSettings(seed=seed, changes=FurtherChanges.at_first())
        search = Search(chain(200), settings)
        culprit = int(rng.integers(60, 140))
        while trials := search.next_trials(1):
            node = search.graph.number[trials[0].commit]
            said = TrialOutcome.FAIL if culprit <= node < 200 else TrialOutcome.PASS
            if culprit - 40 <= node < culprit - 4:
                said = TrialOutcome.UNTESTABLE
            search.record(trials[0], TrialReport(said))
        assert search.verdict().culprit == f"c{culprit}"
        runs += search.trials
    assert runs <= 43 * 10  # taking honest results back cost 22 runs each


def test_along_first_parents_no_commit_of_a_branch_is_tried_where_its_merge_is_the_oldest() -> None:
    # Without its first parent, which is the good end, the merge looks like one more of a chain.
    parents = {"bad": ("merge",), "merge": ("good", "inside"), "inside": ("older",)}
    graph = CommitGraph.build(parents, "bad", ("good",))
    search = Search(graph, SearchSettings(granularity=Granularity.FIRST_PARENT))
    while trials := search.next_trials(1):
        [trial] = trials
        assert trial.commit != "inside"
        outcome = TrialOutcome.PASS if trial.commit == "good" else TrialOutcome.FAIL
        search.record(trial, TrialReport(outcome))
    assert search.verdict().culprit == "merge"
