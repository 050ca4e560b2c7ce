"""How often a red check is run again on a hotfix, by its own past."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bot.playbooks.checks.streak import MOST, CommitRuns, chance


def _line(*runs: str) -> list[CommitRuns]:
    """Newest first: `F` failed, `P` passed, `-` no run."""
    return [
        CommitRuns(sha=f"{place:040x}", fails=each.count("F"), passes=each.count("P"))
        for place, each in enumerate(runs)
    ]


STEADY = ["P"] * 50
FLAKY = ["P", "FP", "P", "FP", "FP"] * 10
RERUNS: dict[str, tuple[Sequence[str], int]] = {
    "a check that never failed": (STEADY, 1),
    "one without a past": ([], 1),
    "one that did not run there": (["-"] * 20, 1),
    "one that flakes often": (FLAKY, 4),
    "one that was red before": (["F", "F", *STEADY], 0),
    "one that flakes and was red on the last commit": (["F", *FLAKY], 3),
}


@pytest.mark.parametrize("case", RERUNS.values(), ids=RERUNS.keys())
def test_it_is_run_again_as_often_as_its_past_makes_necessary(
    case: tuple[Sequence[str], int],
) -> None:
    past, expected = case
    rounds = 0
    while rounds <= MOST:
        here = CommitRuns(sha="f" * 40, fails=1 + rounds)
        if not chance("unit", here, _line(*past)).is_worth_another_run(rounds):
            break
        rounds += 1
    assert rounds == expected


def test_it_ends_however_much_it_flakes() -> None:
    wild = _line(*["FFFP"] * 50)
    here = CommitRuns(sha="f" * 40, fails=1, passes=0)
    assert chance("unit", here, wild).is_worth_another_run(MOST - 1)
    assert not chance("unit", here, wild).is_worth_another_run(MOST)


def test_one_that_passed_here_as_well_is_more_likely_a_flake() -> None:
    failed, both = (
        chance("unit", CommitRuns(sha="f" * 40, fails=2, passes=p), _line(*STEADY)) for p in (0, 1)
    )
    assert both.broken < failed.broken


def test_what_did_not_fail_is_never_run_again() -> None:
    here = CommitRuns(sha="f" * 40)
    assert not chance("unit", here, _line(*STEADY)).is_worth_another_run(0)
