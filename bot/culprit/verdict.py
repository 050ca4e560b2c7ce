"""What a search concludes, and where it stands until then. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from bot import LazyModule
from bot.culprit.evidence import Granularity, SearchSettings
from bot.culprit.graph import (
    Ancestry,
    along_first_parents,
    credible,
    indistinguishable,
    masses,
    splitters,
)
from bot.culprit.posterior import BoundaryKind, Posterior

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")


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


class VerdictCause(StrEnum):
    """Why nobody, or not one commit alone, is guilty; all but the first two are of metrics only."""

    FLAKY_FROM = "flaky_from"
    OUTAGE = "outage"
    DRIFT = "drift"
    STEPS = "steps"
    UNCHANGED = "unchanged"
    TOO_SMALL = "too_small"
    BETTER = "better"
    VARIES = "varies"


@dataclass(frozen=True, slots=True)
class Boundary:
    """A commit from which on the signal behaves otherwise than before."""

    sha: str
    kind: BoundaryKind


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
        cause: why nobody, or not one commit alone, is guilty; None where that is all.
        boundaries: every commit where the signal changed, oldest first, as far as was found.
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
    cause: VerdictCause | None = None
    boundaries: tuple[Boundary, ...] = ()

    @property
    def final(self) -> bool:
        """Whether the search is over."""
        return self.status is not SearchStatus.SEARCHING


Floats: TypeAlias = "NDArray[np.float64]"
Ints: TypeAlias = "NDArray[np.intp]"

CAUTION = 1.25
CAUTION_WITHOUT_RIVALS = 1.75
"""The odds of every conclusion are divided by this, as the priors on flakes may not fit: by less
where rival explanations are weighed beside.

Measured (benchmarks/culprit.py): without it a claim of 99% was right 97.7% of the time for a
signal that lies in one run of five either way, where the priors think one in twenty likely.
"""


@dataclass(frozen=True, slots=True)
class SearchState:
    """Where a search stands.

    Attributes:
        ancestry: of the range.
        probability: of each commit, then of no culprit, then of before range.
        settings: of the search.
        untestable: nodes that could not be tried, or must not be.
        presumed: commits taken for untestable because of their neighbours.
        exhausted: no trial would tell more.
        spent: the budget is.
        infra: too many trials in a row could not run.
        waiting: an end of the range has not answered yet.
        trials: trials so far.
        rounds: rounds so far.
        posterior: what else is known of the boundaries; None: nothing.
    """

    ancestry: Ancestry
    probability: Floats
    settings: SearchSettings
    untestable: frozenset[int]
    presumed: frozenset[int]
    exhausted: bool
    spent: bool
    infra: bool
    waiting: bool
    trials: int
    rounds: int
    posterior: Posterior | None = None


def conclude(standing: SearchState) -> Verdict:
    """Stop for one of these reasons, in this order, or go on.

    Sure enough to act; the budget spent, nothing more to learn, or no trial able to run: then
    the best that can be said, down to the 95% credible set.
    """
    sure = standing.settings.confidence
    over = standing.spent or standing.exhausted or standing.infra
    found = None
    if not standing.waiting or over:
        found = _outcome(standing, sure)
    if found is None and over:
        found = _outcome(standing, min(sure, standing.settings.report))
    if found is not None:
        return found
    labels = _labels(standing, standing.untestable | standing.presumed)
    mass = masses(labels, standing.probability[: len(labels)])
    members = np.isin(labels, credible(mass))
    likeliest = cautious(float(mass.max()), rivals=standing.settings.rivals)
    if not over:
        return _verdict(standing, SearchStatus.SEARCHING, members, likeliest, "Still searching.")
    if standing.infra:
        return _verdict(
            standing,
            SearchStatus.INFRA,
            members,
            likeliest,
            "Too many trials in a row could not run at all; nothing can be said of the commits.",
        )
    why = "The budget is spent" if standing.spent else "No trial that can be made would tell more"
    return _verdict(
        standing,
        SearchStatus.BUDGET,
        members,
        likeliest,
        f"{why}, and no commit is likely enough. If one is guilty, it is among these with 95% "
        "probability.",
    )


def cautious(probability: float, *, rivals: bool = True) -> float:
    """Lower a probability by dividing its odds."""
    caution = CAUTION if rivals else CAUTION_WITHOUT_RIVALS
    return probability / (probability + caution * (1.0 - probability))


def _outcome(standing: SearchState, sure: float) -> Verdict | None:
    """Give the conclusion that has at least the probability `sure`, if one has."""
    commits = len(standing.ancestry.graph)
    p_none, p_before = (float(p) for p in standing.probability[commits:])
    nobody = np.zeros(commits, np.bool_)
    if cautious(p_none, rivals=standing.settings.rivals) >= sure:
        return _nobody(standing, nobody, cautious(p_none, rivals=standing.settings.rivals))
    if cautious(p_before, rivals=standing.settings.rivals) >= sure:
        return _verdict(
            standing,
            SearchStatus.BEFORE_RANGE,
            nobody,
            cautious(p_before, rivals=standing.settings.rivals),
            "The good end fails too: the culprit is older than the range.",
        )
    labels = _labels(standing, standing.untestable)
    found = _class(standing, labels, sure)
    if found is None and standing.presumed:
        labels = _labels(standing, standing.untestable | standing.presumed)
        found = _class(standing, labels, sure)
    if found is None:
        found = _flaky(standing, sure)
    if found is None and standing.exhausted | standing.spent:
        # Reverting a merge removes its whole branch: sure of the merge is sure enough.
        owner = np.array(standing.ancestry.graph.merged_by, np.intp)
        found = _class(standing, owner, sure)
    return found


def _nobody(standing: SearchState, nobody: NDArray[np.bool_], confidence: float) -> Verdict:
    """Say that no commit is guilty, and what it was instead."""
    named = _further(standing, len(standing.ancestry.graph))
    cause, why = None, "The bad end passes: the failure was a flake or came from its environment."
    if named:
        cause = VerdictCause.FLAKY_FROM
        why = f"No commit broke it for good: it became flaky at {named[0].sha[:12]}."
    elif standing.posterior is not None and standing.posterior.was_stormy:
        cause, why = (
            VerdictCause.OUTAGE,
            "The bad end passes: what failed was an outage, which is over.",
        )
    found = _verdict(standing, SearchStatus.NO_CULPRIT, nobody, confidence, why)
    return replace(found, cause=cause, boundaries=named)


UNDECIDED_RUNS = 40
"""Runs from a commit on after which it is left open whether that broke it or made it flaky."""

BLAMELESS = 0.1
"""Nobody is blamed for a flaky signal as long as that is this likely, compared with a culprit."""


def _flaky(standing: SearchState, sure: float) -> Verdict | None:
    """Say from which commit on it is flaky, where it stays open whether that broke it.

    A signal that fails in half of all runs may be broken or flaky: no number of runs tells. Sure of
    that commit, and that it, a later one or nobody broke it, is as sure as one can be.
    """
    if standing.posterior is None:
        return None
    commits = len(standing.ancestry.graph)
    probability = np.delete(standing.probability, commits + 1)
    pair = [int(c) for c in np.argsort(-probability, kind="stable")[:2]]
    together = cautious(float(probability[pair].sum()), rivals=standing.settings.rivals)
    if together < sure:
        return None
    first, second = min(pair), max(pair)
    changes = {at for c in pair for at, _ in standing.posterior.boundaries(c)}
    if first not in changes or standing.posterior.runs_from(first) < UNDECIDED_RUNS:
        return None
    graph = standing.ancestry.graph
    flaky = Boundary(graph.commits[first], BoundaryKind.FLAKY_FROM)
    if second == commits and probability[commits] >= BLAMELESS * probability[first]:
        nobody = np.zeros(commits, np.bool_)
        why = f"No commit surely broke it: it became flaky at {flaky.sha[:12]}."
        found = _verdict(standing, SearchStatus.NO_CULPRIT, nobody, together, why)
        return replace(found, cause=VerdictCause.FLAKY_FROM, boundaries=(flaky,))
    members = np.isin(np.arange(commits), pair)
    why = "It is flaky from this commit on; whether it is broken, runs do not tell."
    named: tuple[Boundary, ...] = (flaky,)
    if second < commits:
        why = "It fails more from the first of these commits on, and more again from the second."
        named = (flaky, Boundary(graph.commits[second], BoundaryKind.BROKEN))
    found = _verdict(standing, SearchStatus.CLASS, members, together, why)
    # Alone it is not to be reverted: it may be that nobody is guilty.
    sure_enough = second < commits
    return replace(
        found,
        cause=VerdictCause.FLAKY_FROM,
        boundaries=named,
        may_act=found.may_act and sure_enough,
        may_report=found.may_report and sure_enough,
    )


def _further(standing: SearchState, hypothesis: int) -> tuple[Boundary, ...]:
    """Name the boundaries beside what was found."""
    if standing.posterior is None:
        return ()
    graph = standing.ancestry.graph
    return tuple(
        Boundary(graph.commits[at], kind) for at, kind in standing.posterior.boundaries(hypothesis)
    )


def _class(standing: SearchState, labels: Ints, sure: float) -> Verdict | None:
    mass = masses(labels, standing.probability[: len(labels)])
    best = int(mass.argmax())
    confidence = cautious(float(mass[best]), rivals=standing.settings.rivals)
    if confidence < sure:
        return None
    members = labels == best
    merge = (
        standing.settings.granularity is Granularity.FIRST_PARENT
        and best not in standing.untestable
        and len({standing.ancestry.graph.merged_by[int(c)] for c in np.flatnonzero(members)}) == 1
    )
    if merge or members.sum() == 1:
        found = _verdict(
            standing, SearchStatus.CULPRIT, members, confidence, "One commit is guilty.", best
        )
        own = Boundary(found.culprit or "", BoundaryKind.BROKEN)
        place = standing.ancestry.graph.number
        named = sorted((*_further(standing, best), own), key=lambda each: place[each.sha])
        return replace(found, boundaries=tuple(named))
    return _verdict(
        standing,
        SearchStatus.CLASS,
        members,
        confidence,
        "One of these commits is guilty; no commit that can be tried tells them apart.",
    )


def _labels(standing: SearchState, untestable: frozenset[int]) -> Ints:
    """Group commits that cannot be told apart by the commits that may be tried."""
    graph = standing.ancestry.graph
    untestable = frozenset(c for c in untestable if c < len(graph))
    only_line = standing.settings.granularity is Granularity.FIRST_PARENT
    if only_line and len(graph.first_parent_line) < len(graph):
        return along_first_parents(graph, untestable)
    return indistinguishable(standing.ancestry, untestable)


def _verdict(
    standing: SearchState,
    status: SearchStatus,
    members: NDArray[np.bool_],
    confidence: float,
    reason: str,
    culprit: int | None = None,
) -> Verdict:
    graph = standing.ancestry.graph
    suspects = [int(c) for c in np.flatnonzero(members)]
    if culprit is not None and len(suspects) > 1:
        suspects, shown = [culprit], {culprit: confidence}
    else:
        shown = {c: float(standing.probability[c]) for c in suspects}
    ordered = sorted(suspects, key=lambda c: (-shown[c], c))
    missing = (
        standing.untestable | standing.presumed if status is not SearchStatus.SEARCHING else ()
    )
    over = status not in {SearchStatus.SEARCHING, SearchStatus.BUDGET, SearchStatus.INFRA}
    return Verdict(
        status=status,
        culprit=None if culprit is None else graph.commits[culprit],
        candidates=tuple(Candidate(graph.commits[c], shown[c]) for c in ordered),
        confidence=confidence,
        may_act=over and confidence >= standing.settings.confidence,
        may_report=over
        and confidence >= min(standing.settings.report, standing.settings.confidence),
        reason=reason,
        splitters=tuple(
            graph.commits[c]
            for c in splitters(standing.ancestry, suspects, (u for u in missing if u < len(graph)))
        )
        if len(suspects) > 1
        else (),
        trials=standing.trials,
        rounds=standing.rounds,
        p_no_culprit=float(standing.probability[len(graph)]),
        p_before_range=float(standing.probability[len(graph) + 1]),
    )
