"""Since when does a check fail on a branch, and which changes may have begun it? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from bot.playbooks.checks.certainty import CheckRecord
from bot.triggers import Value

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
