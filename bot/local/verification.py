"""Checks a culprit with fresh runs of it and its parents; keeps in the log how far that got."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from bot.culprit.evidence import FreeResult, TrialOutcome, TrialReport, same_failure
from bot.culprit.fresh_runs import (
    MOST_RUNS,
    FreshRunPlan,
    FreshRunTally,
    VerificationResult,
    judge,
    open_of,
    plan,
)
from bot.culprit.search import Search

MOST_PASSES = 4
"""How often runs are made before an undecided check is left at that: from the second time on, only
of what is left open."""

MOST_CHECKS = 16
"""How many rounds of fresh runs one bisect makes at most; a signal so mad is left undecided."""


Fingerprint = Annotated[
    frozenset[str] | None,
    PlainSerializer(lambda names: None if names is None else sorted(names), when_used="json"),
]
"""Names of failing tests, written in order so that the same log has the same bytes."""

Ending = Literal["confirmed", "refuted", "undecided", "no budget"]


class CheckLogLine(BaseModel):
    """A line of the log about checks."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckPlanned(CheckLogLine):
    """These fresh runs were planned, to check `checking`: of all, or of the commits in `only`."""

    checking: str
    parents: tuple[str, ...]
    runs: Annotated[int, Field(ge=1, le=MOST_RUNS)]
    only: Annotated[tuple[str, ...], Field(exclude_if=operator.not_)] = ()

    @property
    def order(self) -> tuple[str, ...]:
        """The runs to make, interleaved."""
        return (self.only or (self.checking, *self.parents)) * self.runs


class FreshRun(CheckLogLine):
    """How one fresh run ended."""

    check: str
    outcome: TrialOutcome
    fingerprint: Fingerprint = None


class CheckEnded(CheckLogLine):
    """How the check ended."""

    checked: Ending


@dataclass
class LocalChecks:
    """All checks of one bisect: what was planned, what ran, and how the last one ended."""

    planned: CheckPlanned | None = None
    order: tuple[str, ...] = ()
    runs: list[FreshRun] = field(default_factory=list)
    passes: int = 0
    ending: Ending | None = None
    rounds: int = 0
    trials: int = 0

    def take(self, line: CheckPlanned | FreshRun | CheckEnded) -> None:
        """Follow one line of the log."""
        if isinstance(line, CheckPlanned):
            if self.ending is not None or self.planned is None:
                self.order, self.runs, self.passes = (), [], 0
            self.planned, self.ending = line, None
            self.order += line.order
            self.passes += 1
            self.rounds += 1
        elif isinstance(line, FreshRun):
            self.runs.append(line)
            self.trials += line.outcome is not TrialOutcome.INFRA
        else:
            self.ending = line.checked

    def left(self) -> tuple[str, ...]:
        """Return which of the planned runs have not been made, in order."""
        return self.order[len(self.runs) :]

    def hopeless(self) -> bool:
        """Tell whether a commit of the plan cannot be run, so that more runs would not help."""
        if self.planned is None or self.rounds > MOST_CHECKS:
            return True
        usable = {
            run.check for run in self.runs if run.outcome in (TrialOutcome.PASS, TrialOutcome.FAIL)
        }
        return not {self.planned.checking, *self.planned.parents} <= usable

    def judged(self, search: Search) -> VerificationResult:
        """Say what the fresh runs confirm, by the flake rates the search found."""
        if self.planned is None:
            return VerificationResult.UNDECIDED
        return judge(_wanted(self.planned), self._tallies(search), *search.flake_bounds())

    def again(self, search: Search) -> CheckPlanned | None:
        """Plan what an undecided check runs again; None where it is left at that."""
        if self.planned is None or self.hopeless():
            return None
        if self.passes >= MOST_PASSES or self.rounds >= MOST_CHECKS:
            return None
        left = open_of([_wanted(self.planned)], self._tallies(search), search.flake_bounds())
        if not left:
            return None
        turn = (self.planned.checking, *self.planned.parents)
        return self.planned.model_copy(update={"only": tuple(s for s in turn if s in left)})

    def _tallies(self, search: Search) -> dict[str, FreshRunTally]:
        tallies: dict[str, FreshRunTally] = {}
        for run in self.runs:
            tally = tallies.get(run.check, FreshRunTally())
            other = not same_failure(search.fingerprint, run.fingerprint)
            if run.outcome is TrialOutcome.PASS:
                tallies[run.check] = FreshRunTally(tally.failed, tally.passed + 1)
            elif run.outcome is TrialOutcome.FAIL and not other:
                tallies[run.check] = FreshRunTally(tally.failed + 1, tally.passed)
        return tallies

    def evidence(self) -> list[FreeResult]:
        """Return the fresh runs as evidence, each in a fresh environment."""
        return [
            FreeResult(
                run.check,
                TrialReport(run.outcome, run.fingerprint),
                f"check-{self.rounds}-{number}",
            )
            for number, run in enumerate(self.runs, 1)
        ]


def _wanted(planned: CheckPlanned) -> FreshRunPlan:
    return FreshRunPlan(planned.checking, planned.parents, planned.runs, planned.order)


def plan_checks(search: Search, culprit: str, parents: tuple[str, ...]) -> CheckPlanned:
    """Plan fresh runs of `culprit` and `parents`, more of them the more the signal may flake."""
    wanted = plan(culprit, parents, max(search.flake_bounds()))
    return CheckPlanned(checking=culprit, parents=parents, runs=wanted.runs)
