"""The fresh runs that check a suspect: how many, what they say, and what is still open. Pure.

The search chose its runs to reach a verdict, so they cannot also be the check. The culprit and
each of its parents are run again, interleaved so that a change of the machine's mood hits both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, log

FAKED = 0.01
"""Accepted chance that flakes alone imitate the boundary."""
SHOWN = log((1.0 - FAKED) / FAKED)
"""From this log-likelihood ratio on, runs show what they speak for."""
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

    @property
    def expected(self) -> tuple[tuple[str, bool], ...]:
        """Each commit, and whether it is expected to fail."""
        return ((self.culprit, True), *((parent, False) for parent in self.parents))


@dataclass(frozen=True, slots=True)
class FreshRunTally:
    """How the fresh runs of one commit ended; untestable and infra runs are not counted."""

    failed: int = 0
    passed: int = 0

    @property
    def runs(self) -> int:
        """How many ended."""
        return self.failed + self.passed


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
    contrary at 99:1. Anything else is undecided: run what `open_of` names again. However often that
    is looked at, chance alone brings a commit to 99:1 in at most 1% of cases (Wald 1945, sequential
    tests). Where a bad commit may pass as often as a good one, only agreement counts.

    Args:
        check: the plan.
        tallies: results by SHA.
        false_fail: upper bound of the rate of false failures, in (0, 1).
        false_pass: upper bound of the rate of false passes, in (0, 1).
    """
    if any(tallies.get(sha, FreshRunTally()).runs < check.runs for sha, _ in check.expected):
        return VerificationResult.UNDECIDED
    weights = [_in_favour(tallies[sha], bad, false_fail, false_pass) for sha, bad in check.expected]
    if any(w <= -SHOWN for w in weights):
        return VerificationResult.REFUTED
    # Where the planned runs all agree, they confirm by the plan's own bound.
    agree = all(
        (tallies[sha].passed if bad else tallies[sha].failed) == 0 for sha, bad in check.expected
    )
    if agree or all(w >= SHOWN for w in weights):
        return VerificationResult.CONFIRMED
    return VerificationResult.UNDECIDED


def open_of(
    checks: Sequence[FreshRunPlan],
    tallies: Mapping[str, FreshRunTally],
    bounds: tuple[float, float],
) -> set[str]:
    """Name the commits of undecided plans to run again: those not shown to be as expected.

    To run what is shown already would cost, and could only take it back by chance. The culprit
    belongs to every plan, so that further runs of it count in those that were decided, too.

    Args:
        checks: the plans.
        tallies: results by SHA.
        bounds: upper bounds of the rates of false failures and of false passes, in (0, 1).
    """
    found = set()
    for check in checks:
        if judge(check, tallies, *bounds) is not VerificationResult.UNDECIDED:
            continue
        for sha, bad in check.expected:
            tally = tallies.get(sha, FreshRunTally())
            may_tell = sum(bounds) < 1.0 and _in_favour(tally, bad, *bounds) < SHOWN
            if tally.runs < check.runs or may_tell:
                found.add(sha)
    return found


def _in_favour(tally: FreshRunTally, bad: bool, false_fail: float, false_pass: float) -> float:
    """Log-likelihood ratio in favour of what is expected of a commit."""
    weight = _weight(tally, false_fail, false_pass)
    return weight if bad else -weight


def _weight(tally: FreshRunTally, false_fail: float, false_pass: float) -> float:
    """Log-likelihood ratio, bad to good; 0 where a bad commit may pass as often as a good one."""
    if false_fail + false_pass >= 1.0:
        return 0.0
    low, high = 1e-4, 1.0 - 1e-4
    ff, fp = (min(max(rate, low), high) for rate in (false_fail, false_pass))
    return tally.failed * (log(1.0 - fp) - log(ff)) + tally.passed * (log(fp) - log(1.0 - ff))
