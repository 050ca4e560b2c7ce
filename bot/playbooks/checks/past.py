"""What one check did on the commits of a line: the runs that tell something of the code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bot.github.calls.known_checks import KnownCheck
from bot.github.client import RepositoryClient
from bot.playbooks.checks.streak import CommitRuns

WINDOW = 50
"""Commits of the branch that are looked at."""
_TRIALS = ("workflow_dispatch", "repository_dispatch")
"""Runs on these events may try another commit than the one they are listed on."""


async def runs_with_a_verdict(
    check: str, line: Sequence[str], github: RepositoryClient
) -> tuple[KnownCheck, ...]:
    """Read the runs of a check on these commits that passed or failed, ours and trials left out."""
    ours = (await github.app()).id
    return tuple(
        each
        for each in await github.known_checks.of(line, check)
        if each.conclusion in ("success", "failure")
        and each.event not in _TRIALS
        and each.app_id != ours
    )


def by_commit(line: Sequence[str], known: Sequence[KnownCheck]) -> list[CommitRuns]:
    """Count the runs on each commit, in the order of the line."""
    return [_runs(sha, known) for sha in line]


def _runs(sha: str, known: Sequence[KnownCheck]) -> CommitRuns:
    counted = Counter(each.conclusion for each in known if each.sha == sha)
    return CommitRuns(sha=sha, fails=counted["failure"], passes=counted["success"])
