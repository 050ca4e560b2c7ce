"""Since when does a check fail, how sure is it that one change broke it, may it be chance? Pure.

The same runs have three explanations, weighed by Bayes' rule. The code is healthy and the check
flakes: how often is unknown, learnt from this check's own past. Or the suspect broke it. Or an
earlier change had broken it already, and the check passed by luck until now: then the suspect is
innocent. Runs are Bernoulli trials whose rates are integrated out, so that every weight has a
closed form (beta-binomial; Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.4).

A person is woken at `LIKELY`, below the `CERTAIN` at which a change is reverted: to be woken in
vain costs less than a revert, and each further run costs minutes in which the branch is broken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile

from pydantic import Field

from bot.triggers import Value

CERTAIN = 0.999
"""From here on a change is reverted: at most one revert in a thousand is unjust."""
LIKELY = 0.9
"""From here on it is a suspect: its revert is prepared and verified, and a person merges it."""
MOST = 6
"""Times that runs are asked for again before what is known has to do."""

BROKEN_BEFOREHAND = 0.05
"""The share of merges that break something, before anything is seen."""
FLAKE = (1.0, 19.0)
"""Failing and passing runs a check with no past is thought to have had: it flakes 1 in 20."""
ALWAYS_FAILS = 0.8
"""The share of breakages on which the check fails every time."""
UNSTEADY = (4.0, 1.0)
"""Failing and passing runs that the other breakages are thought to have had."""


class CheckRecord(Value):
    """What a check did on commits known to be healthy: how often it flaked, how often it passed."""

    flakes: int = Field(default=0, ge=0)
    passes: int = Field(default=0, ge=0)


class Certainty(Value):
    """Probabilities, of 1.

    Attributes:
        broken: the code is broken, and the check did not just flake.
        begun: the suspect broke it, and nothing before it.
    """

    broken: float
    begun: float


def weigh(fails: int, passes: int, before: Sequence[int], record: CheckRecord) -> Certainty:
    """Weigh what the runs of a check say about a suspect.

    Args:
        fails: failing runs on commits that hold the suspect.
        passes: passing runs on them.
        before: how often it passed on each commit before the suspect, the nearest first, as far
            back as it did nothing but pass.
        record: what the check did further back on healthy commits.
    """
    flake = (FLAKE[0] + record.flakes, FLAKE[1] + record.passes)
    total = sum(before)
    flaked = (1 - BROKEN_BEFOREHAND) * _weight(fails, passes + total, *flake)
    began = BROKEN_BEFOREHAND * _broken(fails, passes) * _weight(0, total, *flake)
    earlier, lucky = 0.0, 0
    for passed in before:
        lucky += passed
        healthy = _weight(0, total - lucky, *flake)
        earlier += BROKEN_BEFOREHAND * _broken(fails, passes + lucky) * healthy
    everything = flaked + began + earlier
    return Certainty(broken=(began + earlier) / everything, begun=began / everything)


def _broken(fails: int, passes: int) -> float:
    """The chance of just these runs on broken code."""
    always = 0.0 if passes else 1.0
    return ALWAYS_FAILS * always + (1 - ALWAYS_FAILS) * _weight(fails, passes, *UNSTEADY)


def _weight(fails: int, passes: int, a: float, b: float) -> float:
    """The chance of just these runs, over all rates of failing that a Beta(a, b) allows."""
    return math.exp(_log_beta(a + fails, b + passes) - _log_beta(a, b))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


_NEAR = 10
"""Commits before the suspect that might be the guilty ones instead; further back is history."""


class CommitRuns(Value):
    """What one check did on one commit of the branch.

    Runs that ended without a verdict (cancelled, timed out, no runner) are not counted.
    """

    sha: str
    fails: int = 0
    passes: int = 0
    is_record: bool = False
    """It only writes files of ours, such as records: it breaks nothing, and is rarely checked."""

    @property
    def is_good(self) -> bool:
        """Whether it passed and never failed; a missing run is not a pass."""
        return self.passes > 0 and self.fails == 0

    @property
    def is_bad(self) -> bool:
        """Whether it failed and never passed."""
        return self.fails > 0 and self.passes == 0


class Streak(Value):
    """A check that fails at the end of a branch.

    Attributes:
        good: the last commit on which it passed and never failed; None: too far back to see.
        suspects: the changes that may have begun it, oldest first.
        bad: the first commit on which it fails for sure (else the newest that failed).
        fails: failing runs on `bad`. What fails after it may have a cause of its own.
        passes: passing runs there.
        before: how often it passed on `good` and on each commit before it, the nearest first, as
            far back as it did nothing but pass.
        record: what the check did further back.
    """

    good: str | None
    suspects: tuple[str, ...]
    bad: str
    fails: int
    passes: int
    before: tuple[int, ...] = ()
    record: CheckRecord = CheckRecord()

    @property
    def suspect(self) -> str | None:
        """The only change that may have begun it, if there is just one."""
        return self.suspects[0] if self.good is not None and len(self.suspects) == 1 else None


def find_streak(line: Sequence[CommitRuns]) -> Streak | None:
    """Find the failing end of a branch; None where it passes at its end, or never failed.

    A commit with failing and passing runs proves nothing either way: it does not end the search
    for the last good one, and stays among the suspects.

    Args:
        line: the branch's first-parent line, newest first.
    """
    seen = [commit for commit in line if commit.fails or commit.passes]
    if not seen or not seen[0].fails:
        return None
    places = {commit.sha: place for place, commit in enumerate(line)}
    good = next((places[commit.sha] for commit in seen if commit.is_good), None)
    after = list(line[:good])
    failed = [commit for commit in after if commit.fails]
    # Oldest first from here on.
    bad = next((c for c in reversed(failed) if c.is_bad), failed[0])
    upto = after[places[bad.sha] :]
    past = past_of([] if good is None else line[good:])
    return Streak(
        good=None if good is None else line[good].sha,
        suspects=tuple(commit.sha for commit in reversed(upto) if not commit.is_record),
        bad=bad.sha,
        fails=bad.fails,
        passes=bad.passes,
        before=past.before,
        record=past.record,
    )


class CheckPast(Value):
    """What a check did before; see `Streak`."""

    before: tuple[int, ...]
    record: CheckRecord


def past_of(line: Sequence[CommitRuns]) -> CheckPast:
    """Tell the steady end of a line, newest first, from what lies further back."""
    seen = [commit for commit in line if commit.fails or commit.passes]
    steady = list(takewhile(lambda commit: commit.is_good, seen))[:_NEAR]
    return CheckPast(
        before=tuple(commit.passes for commit in steady),
        record=_record(seen[len(steady) :]),
    )


def _record(healthy: Sequence[CommitRuns]) -> CheckRecord:
    """Count runs on commits that passed at least once: their failures were flakes."""
    passed = [commit for commit in healthy if commit.passes]
    return CheckRecord(flakes=sum(c.fails for c in passed), passes=sum(c.passes for c in passed))


class Chance(Value):
    """A check that is red on a proposal and that GitHub may be able to run again.

    Attributes:
        name: of the check.
        broken: how sure it is that it did not just flake; a probability, of 1.
    """

    name: str
    broken: float

    def is_worth_another_run(self, rounds: int) -> bool:
        """Tell whether to run it again before a person is woken, after so many times."""
        return self.broken < LIKELY and rounds < MOST


def chance(name: str, here: CommitRuns, past: Sequence[CommitRuns]) -> Chance:
    """Weigh the runs of a check on a proposal against its own past.

    Args:
        name: of the check.
        here: its runs on the proposal.
        past: its runs on the branch before what is undone, the newest commit first. Runs that
            failed since it last passed there count with those here: it may have been broken then.

    Returns:
        Certain (1.0) where no run failed here: what is red is another thing than a failure.
    """
    if not here.fails:
        return Chance(name=name, broken=1.0)
    passed = next((place for place, each in enumerate(past) if each.passes), len(past))
    before = past_of(past[passed:])
    fails = here.fails + sum(each.fails for each in past[:passed])
    known = weigh(fails, here.passes, before.before, before.record)
    return Chance(name=name, broken=known.broken)
