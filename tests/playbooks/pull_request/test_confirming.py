"""Whether the base branch, after the merge, is what was verified."""

from __future__ import annotations

import pytest

from bot.github.models import CheckKind, CheckResult
from bot.playbooks.checks.green import CheckTally, Counting, tally
from bot.playbooks.pull_request.decide import confirmation


def _result(conclusion: str | None) -> CheckResult:
    return CheckResult(
        name="build",
        kind=CheckKind.CHECK_RUN,
        id=1,
        app_id=1,
        status="completed" if conclusion else "in_progress",
        conclusion=conclusion,
    )


def _said(*conclusions: str | None) -> CheckTally:
    return tally(
        Counting(smoke=("build",), smoke_from="configured", evals=()),
        [_result(each) for each in conclusions],
    )


@pytest.mark.parametrize(
    ("same_tree", "on_base", "on_hotfix", "overdue", "expected"),
    [
        (True, ("failure",), ("success",), False, "cured"),
        (False, ("success",), ("success",), False, "cured"),
        (False, (), ("success",), False, "wait"),
        (False, (), ("success",), True, "unseen"),
        (False, ("failure",), ("success",), False, "not cured"),
        (False, ("failure",), ("failure",), False, "cured"),
        (False, (None,), ("success",), True, "not cured"),
    ],
    ids=[
        "the very files that were verified",
        "green itself",
        "no result yet",
        "no result in time says nothing",
        "red where the hotfix was green",
        "red only as a person approved",
        "still running when time is over",
    ],
)
def test_the_base_after_the_merge(
    same_tree: bool,
    on_base: tuple[str | None, ...],
    on_hotfix: tuple[str | None, ...],
    overdue: bool,
    expected: str,
) -> None:
    assert expected == confirmation(
        same_tree=same_tree,
        on_base=_said(*on_base),
        on_hotfix=_said(*on_hotfix),
        overdue=overdue,
    )
