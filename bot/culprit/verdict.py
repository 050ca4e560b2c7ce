"""What a search concludes, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SearchStatus(StrEnum):
    """Where a search stands.

    `CULPRIT`: one commit. `CLASS`: several that no testable commit separates, or that are
    reverted together. `NO_CULPRIT`: the bad end is not bad (a flake, or the environment).
    `BEFORE_RANGE`: the good end is not good. `BUDGET`: no more trials allowed, or none that
    would tell more, and no class is likely enough. `INFRA`: too many trials could not run.
    """

    SEARCHING = "searching"
    CULPRIT = "culprit"
    CLASS = "class"
    NO_CULPRIT = "no_culprit"
    BEFORE_RANGE = "before_range"
    BUDGET = "budget"
    INFRA = "infra"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A commit and the probability that it is the culprit."""

    sha: str
    probability: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conclusion of a search, or its state so far (`status` is `SEARCHING`).

    Attributes:
        status: what was found.
        culprit: the commit, only if `status` is `CULPRIT`.
        candidates: the class found, or the 95% credible set; likeliest first.
        confidence: the probability of what `status` says; of the likeliest class if it says
            nothing yet.
        may_act: sure enough to propose a revert (the search's `confidence` was reached).
        may_report: sure enough to tell people.
        reason: one plain sentence: why it ended so.
        splitters: commits that would split the candidates if they could be tried.
        trials: trials that ended in pass, fail or untestable. Free evidence is not counted.
        rounds: how often trials were asked for.
        p_no_culprit: probability that the bad end is good.
        p_before_range: probability that the good end is bad.
    """

    status: SearchStatus
    culprit: str | None
    candidates: tuple[Candidate, ...]
    confidence: float
    may_act: bool
    may_report: bool
    reason: str
    splitters: tuple[str, ...]
    trials: int
    rounds: int
    p_no_culprit: float
    p_before_range: float

    @property
    def final(self) -> bool:
        """Whether the search is over."""
        return self.status is not SearchStatus.SEARCHING
