"""What results that exist already say about the commits of a range. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bot.culprit.evidence import FreeResult, TrialOutcome, TrialReport
from bot.github.calls.known_checks import KnownCheck

_OUTCOMES = {"success": TrialOutcome.PASS, "failure": TrialOutcome.FAIL}
"""Everything else (cancelled, timed out, skipped, error …) says nothing about the commit."""


def counted(known: Sequence[KnownCheck], *, ours: int) -> tuple[KnownCheck, ...]:
    """Leave out what says nothing about the commit it is listed on.

    Those are our own check-runs, dispatched runs (what they try stands in their inputs), and
    conclusions that are neither a pass nor a failure.

    Args:
        known: what GitHub lists.
        ours: our App's id.
    """
    return tuple(
        each
        for each in known
        if each.conclusion in _OUTCOMES
        and each.app_id != ours
        and each.event not in ("workflow_dispatch", "repository_dispatch", "schedule")
    )


def green(known: Sequence[KnownCheck]) -> frozenset[str]:
    """Name the commits whose results all passed."""
    passed = {each.sha for each in known if each.conclusion == "success"}
    return frozenset(passed - {each.sha for each in known if each.conclusion == "failure"})


def evidence(known: Sequence[KnownCheck], *, bad: str) -> tuple[FreeResult, ...]:
    """Turn results into evidence.

    A failure seen on the bad end alone is why anybody looks, so it is selected and proves
    nothing; once another commit fails too, it is evidence like any other.
    """
    elsewhere = any(each.conclusion == "failure" and each.sha != bad for each in known)
    return tuple(
        FreeResult(
            each.sha,
            TrialReport(_OUTCOMES[each.conclusion]),
            environment=each.where,
            selected=each.sha == bad and each.conclusion == "failure" and not elsewhere,
        )
        for each in known
    )
