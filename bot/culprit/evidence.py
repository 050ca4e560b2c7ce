"""Trials, rulings and free evidence, and the settings of a search.

One search is about one *signal*: one failing check, test or command. A result belongs to a cell
(tree, environment): the same tree tried again in the same environment is a repeat, and repeats
are worth less than a first look, because flakes of one runner tend to agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from bot.culprit.flake_rates import FurtherChanges, RatePriors


class Granularity(StrEnum):
    """How finely to look.

    `STAGED`: along first parents until one merge is likelier than not, then inside it too.
    `FIRST_PARENT`: along first parents only; a merge stands for its branch.
    `COMMIT`: every commit may be tried from the start.
    """

    STAGED = "staged"
    FIRST_PARENT = "first_parent"
    COMMIT = "commit"


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How to search.

    Attributes:
        signal: what is tried: a check's name or a command. For the log only.
        seed: makes every random choice repeatable.
        confidence: probability at which to stop and act.
        report: probability from which a likely culprit is worth reporting at the budget.
        budget: at most so many trials (infra failures do not count); None for no limit.
        environments: names of the machines that trials run on, if they are few and lasting.
            Repeats on one are discounted, so each commit is tried on different ones. Empty: each
            trial gets a fresh machine.
        check_ends: try both ends before anything else. Otherwise they are taken as given, and
            there is a culprit in the range for sure.
        no_culprit: probability beforehand that the bad end is not bad.
        before_range: probability beforehand that the good end is not good.
        agreement: probability beforehand that repeats in one environment agree whatever the
            truth.
        granularity: how finely to look.
        infra_attempts: after so many infra failures a commit is left alone.
        infra_cap: after so many infra failures in a row the search stops.
        rates: beliefs on the signal's flakes; `RatePriors().after(history)` fits them.
        fingerprint: the tests that failed in the incident, if known.
        storms: probability beforehand of outages, or bursts of failures whatever is tried.
        changes: probabilities beforehand that more than one thing changes along the range.
        pauses: whoever runs the trials keeps to `Trial.pause`.
        rivals: weigh changing rates, storms and earlier breaks, and try what tells them apart;
            without, as searches did before they knew of any.
    """

    signal: str = ""
    seed: int = 0
    confidence: float = 0.99
    report: float = 0.95
    budget: int | None = None
    environments: tuple[str, ...] = ()
    check_ends: bool = True
    no_culprit: float = 0.15
    before_range: float = 0.05
    agreement: float = 0.7
    granularity: Granularity = Granularity.STAGED
    infra_attempts: int = 3
    infra_cap: int = 10
    rates: RatePriors = field(default_factory=RatePriors)
    fingerprint: frozenset[str] | None = None
    storms: float = 0.2
    changes: FurtherChanges = field(default_factory=FurtherChanges)
    pauses: bool = False
    rivals: bool = True


class TrialOutcome(StrEnum):
    """How a trial ended. `INFRA` says nothing about the commit; `UNTESTABLE` only about itself."""

    PASS = "pass"  # noqa: S105 (an outcome, not a password)
    FAIL = "fail"
    UNTESTABLE = "untestable"
    INFRA = "infra"


class Says(StrEnum):
    """What a person may say of a commit (`/good`, `/bad`, `/skip`)."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


class Purpose(StrEnum):
    """Why a trial is wanted.

    `END`: to check an end of the range. `SEARCH`: to find the culprit in it. `CONTROL`: to see, at
    a commit known to be good, whether there is an outage.
    """

    END = "end"
    SEARCH = "search"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Trial:
    """A request to build and run one commit once.

    Attributes:
        id: unique within its search, counted from 1.
        commit: the SHA to try.
        environment: where to run it. A name from `SearchSettings.environments`, or `fresh-<id>`
            when every trial gets a new machine.
        purpose: why it is wanted.
        attempt: 1, or more if earlier attempts on this commit ended in `INFRA` (back off).
        pause: let so much time pass first, in lengths of a trial: there may be an outage. Only
            where `SearchSettings.pauses`.
    """

    id: int
    commit: str
    environment: str
    purpose: Purpose = Purpose.SEARCH
    attempt: int = 1
    pause: int = 0


@dataclass(frozen=True, slots=True)
class TrialReport:
    """What came back from a trial.

    Attributes:
        outcome: how it ended.
        fingerprint: the names of the tests that failed, if known. A failure with none of the
            incident's failing tests is another failure and counts as untestable.
        environment: where it really ran, when that is not where it was meant to.
        value: the number that it reported, where a search compares numbers.
    """

    outcome: TrialOutcome
    fingerprint: frozenset[str] | None = None
    environment: str | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class FreeResult:
    """A result that existed before or beside the search, such as a check-run: free evidence.

    Attributes:
        commit: the SHA it ran on. A commit outside the range counts where its tree is known and
            a commit of the range has the same one (a PR's head and its merge, often).
        report: how it ended.
        environment: where it ran; results of one environment on one tree are repeats.
        tree: the tree id of `commit`, when the search does not know it.
        selected: it is the failure that opened the incident. Being the reason that we look at
            all, it is no evidence: only its fingerprint is used.
    """

    commit: str
    report: TrialReport
    environment: str = "ci"
    tree: str | None = None
    selected: bool = False


@dataclass(frozen=True, slots=True)
class Ruling:
    """A person's word on a commit: strong evidence, though people err too."""

    commit: str
    says: Says
    by: str = ""


def same_failure(incident: frozenset[str] | None, seen: frozenset[str] | None) -> bool:
    """Tell whether a failure is the incident's: it shares a failing test with it.

    Where either side names no tests there is nothing to compare, and the failure counts.
    """
    return not incident or not seen or bool(incident & seen)
