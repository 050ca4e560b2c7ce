from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.culprit.fresh_runs import (
    FreshRunTally,
    VerificationResult,
    judge,
    open_of,
    plan,
    runs_needed,
)


@pytest.mark.parametrize(
    ("rate", "runs"), [(0.0, 2), (0.05, 2), (0.1, 2), (0.2, 3), (0.5, 7), (0.99, 20), (1.0, 20)]
)
def test_as_many_runs_are_made_as_flakes_would_need_to_fake_them(rate: float, runs: int) -> None:
    assert runs_needed(rate) == runs


def test_the_culprit_and_all_its_parents_take_turns() -> None:
    check = plan("c", ["p1", "p2"], 0.2)
    assert check.order == ("c", "p1", "p2") * 3


def test_runs_that_all_agree_confirm() -> None:
    check = plan("c", ["p"], 0.1)
    tallies = {"c": FreshRunTally(failed=2), "p": FreshRunTally(passed=2)}
    assert judge(check, tallies, 0.1, 0.1) is VerificationResult.CONFIRMED


def test_a_parent_that_fails_too_refutes() -> None:
    check = plan("c", ["p"], 0.1)
    tallies = {"c": FreshRunTally(failed=3), "p": FreshRunTally(failed=3)}
    assert judge(check, tallies, 0.1, 0.1) is VerificationResult.REFUTED


def test_a_suspect_that_passes_is_refuted() -> None:
    check = plan("c", ["p"], 0.1)
    tallies = {"c": FreshRunTally(passed=3), "p": FreshRunTally(passed=3)}
    assert judge(check, tallies, 0.1, 0.1) is VerificationResult.REFUTED


def test_one_odd_run_among_few_leaves_it_undecided_and_more_runs_decide() -> None:
    check = plan("c", ["p"], 0.1)
    odd = {"c": FreshRunTally(failed=1, passed=1), "p": FreshRunTally(passed=2)}
    assert judge(check, odd, 0.1, 0.1) is VerificationResult.UNDECIDED
    more = {"c": FreshRunTally(failed=5, passed=1), "p": FreshRunTally(passed=6)}
    assert judge(check, more, 0.1, 0.1) is VerificationResult.CONFIRMED


def test_only_what_is_not_shown_yet_is_run_again() -> None:
    check = plan("c", ["p", "q"], 0.2)
    tallies = {
        "c": FreshRunTally(failed=4),
        "p": FreshRunTally(passed=3, failed=1),
        "q": FreshRunTally(passed=4),
    }
    assert judge(check, tallies, 0.2, 0.2) is VerificationResult.UNDECIDED
    assert open_of([check], tallies, (0.2, 0.2)) == {"p"}
    tallies["q"] = FreshRunTally(passed=2)
    assert open_of([check], tallies, (0.2, 0.2)) == {"p", "q"}


@pytest.mark.parametrize(
    "tallies",
    [
        {"c": FreshRunTally(failed=3), "p": FreshRunTally(passed=3)},
        {"c": FreshRunTally(passed=4), "p": FreshRunTally(passed=4)},
    ],
)
def test_of_a_plan_that_is_decided_nothing_is_run_again(tallies: dict[str, FreshRunTally]) -> None:
    assert open_of([plan("c", ["p"], 0.2)], tallies, (0.2, 0.2)) == set()


def test_where_a_bad_commit_may_pass_as_often_as_a_good_one_only_agreement_counts() -> None:
    check = plan("c", ["p"], 0.6)
    agreed = {"c": FreshRunTally(failed=20), "p": FreshRunTally(passed=20)}
    assert judge(check, agreed, 0.6, 0.6) is VerificationResult.CONFIRMED
    odd = {"c": FreshRunTally(failed=40), "p": FreshRunTally(passed=39, failed=1)}
    assert judge(check, odd, 0.6, 0.6) is VerificationResult.UNDECIDED
    assert open_of([check], odd, (0.6, 0.6)) == set()


@given(
    runs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=3),
    rates=st.tuples(st.floats(0.001, 0.49), st.floats(0.001, 0.49)),
)
def test_whatever_is_undecided_has_something_to_run_again(
    runs: list[tuple[int, int]], rates: tuple[float, float]
) -> None:
    check = plan("c", ["p", "q"], max(rates))
    tallies = {sha: FreshRunTally(*each) for sha, each in zip("cpq", runs, strict=True)}
    undecided = judge(check, tallies, *rates) is VerificationResult.UNDECIDED
    assert bool(open_of([check], tallies, rates)) is undecided


def test_missing_runs_leave_it_undecided() -> None:
    check = plan("c", ["p"], 0.1)
    assert judge(check, {"c": FreshRunTally(failed=2)}, 0.1, 0.1) is VerificationResult.UNDECIDED


def test_a_root_commit_has_no_parent_to_compare_with() -> None:
    check = plan("c", [], 0.1)
    assert judge(check, {"c": FreshRunTally(failed=2)}, 0.1, 0.1) is VerificationResult.CONFIRMED
