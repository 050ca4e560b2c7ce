"""How long checks take, as seen of those that went to their end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.github.models import CheckKind, CheckResult
from bot.playbooks.checks.green import durations

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


def result(name: str, conclusion: str, minutes: float) -> CheckResult:
    return CheckResult(
        name=name,
        kind=CheckKind.CHECK_RUN,
        id=1,
        status="completed",
        conclusion=conclusion,
        started_at=NOW - timedelta(minutes=minutes),
        completed_at=NOW,
    )


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([result("unit", "success", 3), result("unit", "failure", 5)], {"unit": 300.0}),
        # What was broken off says nothing of how long it takes.
        ([result("unit", "cancelled", 90), result("unit", "timed_out", 360)], {}),
    ],
)
def test_the_longest_run_that_went_to_its_end_counts(
    results: list[CheckResult], expected: dict[str, float]
) -> None:
    assert durations(results) == expected
