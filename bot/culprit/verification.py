"""Checking a suspect with fresh runs, apart from the search that named it.

The search chose its runs to reach a verdict, so they cannot also be the check. The culprit and
each of its parents are run anew, interleaved so that a change of the machine's mood hits both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, log

FAKED = 0.01
"""Accepted chance that flakes alone imitate the boundary."""
MOST_RUNS = 20
"""Never ask for more runs of a commit than this, however flaky the signal."""


class VerificationResult(StrEnum):
    """What the fresh runs say."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class FreshRunPlan:
    """Fresh runs to make, in this order.

    Attributes:
        culprit: the suspect, expected to fail.
        parents: its parents, expected to pass.
        runs: how often each is run.
        order: SHAs, interleaved.
    """

    culprit: str
    parents: tuple[str, ...]
    runs: int
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FreshRunTally:
    """How the fresh runs of one commit ended; untestable and infra runs are not counted."""

    failed: int = 0
    passed: int = 0


def plan(culprit: str, parents: Sequence[str], rate: float) -> FreshRunPlan:
    """Plan the check of a suspect: n = max(2, ⌈log 0.01 / log f̂⌉) runs of each commit.

    Args:
        culprit: the suspect.
        parents: its parents; none for a root commit.
        rate: f̂, the upper 95% bound of the larger flake rate (`Search.flake_bounds`).
    """
    runs = runs_needed(rate)
    turn = (culprit, *parents)
    return FreshRunPlan(culprit, tuple(parents), runs, turn * runs)


def runs_needed(rate: float) -> int:
    """Count the runs after which flakes of this rate imitate agreement in 1% of cases.

    At least 2; at most `MOST_RUNS`, as for a rate near 1 there is no such number.
    """
    if rate <= 0.0:
        return 2
    if rate >= 1.0:
        return MOST_RUNS
    return min(MOST_RUNS, max(2, ceil(log(FAKED) / log(rate))))


def judge(
    check: FreshRunPlan,
    tallies: Mapping[str, FreshRunTally],
    false_fail: float,
    false_pass: float,
) -> VerificationResult:
    """Say whether the fresh runs confirm that the culprit is bad and its parents are good.

    Each commit's runs are weighed as a likelihood ratio between bad and good at the given flake
    rates. Confirmed: every commit is as expected at 99:1 or better. Refuted: one is the
    contrary at 99:1. Anything else is undecided: run the plan once more.

    Args:
        check: the plan.
        tallies: results by SHA.
        false_fail: upper bound of the rate of false failures, in (0, 1).
        false_pass: upper bound of the rate of false passes, in (0, 1).
    """
    expected = [(check.culprit, True), *((p, False) for p in check.parents)]
    for sha, _ in expected:
        tally = tallies.get(sha, FreshRunTally())
        if tally.failed + tally.passed < check.runs:
            return VerificationResult.UNDECIDED
    bound = log((1.0 - FAKED) / FAKED)
    weights = [
        _weight(tallies[sha], false_fail, false_pass) * (1.0 if bad else -1.0)
        for sha, bad in expected
    ]
    if any(w <= -bound for w in weights):
        return VerificationResult.REFUTED
    # Where the planned runs all agree, they confirm by the plan's own bound.
    agree = all((tallies[sha].passed if bad else tallies[sha].failed) == 0 for sha, bad in expected)
    if agree or all(w >= bound for w in weights):
        return VerificationResult.CONFIRMED
    return VerificationResult.UNDECIDED


def _weight(tally: FreshRunTally, false_fail: float, false_pass: float) -> float:
    """Log-likelihood ratio, bad to good."""
    low, high = 1e-4, 1.0 - 1e-4
    ff, fp = (min(max(rate, low), high) for rate in (false_fail, false_pass))
    return tally.failed * (log(1.0 - fp) - log(ff)) + tally.passed * (log(fp) - log(1.0 - ff))
