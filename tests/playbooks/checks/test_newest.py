"""Several runs of one check on one commit: which of them speak."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.github.calls.checks import newest
from bot.github.models import CheckKind, CheckResult
from bot.playbooks.checks.green import Counting, State, failing, tally

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
UNIT = Counting(smoke=("unit",), smoke_from="configured", evals=())


def run(
    conclusion: str | None,
    began: int | None = None,
    ended: int | None = None,
    *,
    number: int = 1,
    app: int | None = 1,
    kind: CheckKind = CheckKind.CHECK_RUN,
) -> CheckResult:
    """One run of `unit`, by the minutes when it began and ended."""
    return CheckResult(
        name="unit",
        kind=kind,
        id=number,
        app_id=app,
        status="completed" if conclusion else "in_progress",
        conclusion=conclusion,
        started_at=None if began is None else NOON + timedelta(minutes=began),
        completed_at=None if ended is None else NOON + timedelta(minutes=ended),
    )


TABLE: dict[str, tuple[list[CheckResult], State]] = {
    "cancelled, then passed": (
        [run("cancelled", 0, 1), run("success", 2, 5, number=2)], State.PASSED,
    ),
    "cancelled by the newer one while that was queued": (
        [run("cancelled", 0, 3), run("success", 1, 5, number=2)], State.PASSED,
    ),
    "timed out, then failed": (
        [run("timed_out", 0, 1), run("failure", 2, 5, number=2)], State.FAILED,
    ),
    "stale, and runs again": ([run("stale", 0, 1), run(None, 2, number=2)], State.RUNNING),
    "passed, then cancelled": ([run("success", 0, 1), run("cancelled", 2, 3)], State.INFRA),
    "passed, then failed": ([run("success", 0, 1), run("failure", 2, 3, number=2)], State.FAILED),
    "failed, then passed": ([run("failure", 0, 1), run("success", 2, 3, number=2)], State.PASSED),
    "failed, and runs again": ([run("failure", 0, 1), run(None, 2, number=2)], State.RUNNING),
    "the newest may be listed first": (
        [run("success", 2, 3, number=2), run("failure", 0, 1)], State.PASSED,
    ),
    "failed beside one that passed": (
        [run("failure", 0, 5), run("success", 1, 3, number=2)], State.FAILED,
    ),
    "passed beside one that failed": (
        [run("success", 0, 5), run("failure", 1, 3, number=2)], State.FAILED,
    ),
    "within the same moment the later id is the newer": (
        [run("failure", 0, 0, number=8), run("success", 0, 0, number=9)], State.PASSED,
    ),
    "without times the later id is the newer": (
        [run("success", number=9), run("cancelled", number=8)], State.PASSED,
    ),
    "another App's newer one settles nothing": (
        [run("cancelled", 0, 1), run("success", 2, 5, number=2, app=2)], State.INFRA,
    ),
    "a newer status settles no check-run": (
        [run("cancelled", 0, 1), run("success", 2, 5, kind=CheckKind.STATUS, app=None)],
        State.INFRA,
    ),
    "a newer status settles an older one": (
        [
            run("failure", 0, 1, kind=CheckKind.STATUS, app=None),
            run("success", 2, 5, number=2, kind=CheckKind.STATUS, app=None),
        ],
        State.PASSED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_what_several_runs_of_one_check_come_to(case: tuple[list[CheckResult], State]) -> None:
    results, state = case
    assert tally(UNIT, results).named(state) == ("unit",)
    assert tally(UNIT, results[::-1]).named(state) == ("unit",)
    assert (failing(results) == ("unit",)) == (state is State.FAILED)


def test_something_always_speaks() -> None:
    for results, _ in TABLE.values():
        assert newest(results)
    same = [run("cancelled", 0, 1), run("cancelled", 0, 1)]
    assert newest(same) == tuple(same)
    assert newest([]) == ()
