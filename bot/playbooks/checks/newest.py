"""Which of several runs of one check speaks for it: the newest, unless they ran side by side.

GitHub lists the latest run of each name in each *suite*, and a commit may have many suites of one
App: one for each workflow run of Actions, so also for a push beside a pull request.
https://docs.github.com/en/rest/checks/runs#list-check-runs-for-a-git-reference
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.github.models import CheckResult

_VERDICTS = frozenset({"success", "failure", "neutral", "skipped", "action_required"})
"""What says something of the code; the rest (cancelled, timed out, …) only of its run."""


def newest(results: Sequence[CheckResult]) -> tuple[CheckResult, ...]:
    """Leave out what a newer run of the same check, by the same reporter, has settled.

    A run without a verdict is settled by any newer one; one with a verdict by one that began after
    it ended. Runs that overlap are no repeats of each other (two workflows may name a job alike),
    so each of them speaks: none hides the other's failure.

    Args:
        results: of one commit, in any order.

    Returns:
        those that speak, in the order given; at least one of each name, kind and App.
    """
    return tuple(each for each in results if not any(_settles(newer, each) for newer in results))


def _settles(newer: CheckResult, older: CheckResult) -> bool:
    of_one = (newer.name, newer.kind, newer.app_id) == (older.name, older.kind, older.app_id)
    if not of_one or not older.is_completed or not _is_newer(newer, older):
        return False
    if older.conclusion not in _VERDICTS:
        return True
    began, ended = newer.started_at, older.completed_at
    return began is None or ended is None or began >= ended


def _is_newer(one: CheckResult, other: CheckResult) -> bool:
    """Tell by when they began, else ended; GitHub's ids grow, and decide between equals."""
    for its, others in (
        (one.started_at, other.started_at),
        (one.completed_at, other.completed_at),
    ):
        if its is not None and others is not None and its != others:
            return its > others
    return one.id > other.id
