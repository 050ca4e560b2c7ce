"""What a search is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from bot.culprit.rates import RatePriors


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
