"""About how long checks take yet: by how long they took before, and since when they run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bot.playbooks.checks.green import CheckRow, CheckTally, State
from bot.playbooks.pull_request.messages import how_long

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


def before(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def said(*rows: CheckRow, **took: float) -> str:
    tally = CheckTally(verdict="waiting", rows=rows)
    return " ".join(how_long(tally, {name: 60 * m for name, m in took.items()}, "main", NOW))


def running(name: str, minutes: float) -> CheckRow:
    return CheckRow(name=name, kind="smoke", state=State.RUNNING, since=before(minutes))


def missing(name: str) -> CheckRow:
    return CheckRow(name=name, kind="smoke", state=State.MISSING)


def passed(name: str) -> CheckRow:
    return CheckRow(name=name, kind="smoke", state=State.PASSED)


def test_a_check_that_runs_is_expected_when_it_ended_before() -> None:
    assert said(running("unit", 4), unit=9.5) == (
        "`unit` has been running since 13:56 UTC on 2 March. On `main` it took about 10 minutes, "
        "so I expect it by 14:06 UTC on 2 March."
    )


def test_the_slowest_is_named_whatever_began_first() -> None:
    assert said(running("unit", 20), missing("e2e"), passed("lint"), unit=25, e2e=12) == (
        "`e2e` has not begun yet; on `main` it took about 15 minutes."
    )


def test_one_that_takes_longer_than_before_is_said_to() -> None:
    assert said(running("unit", 31), running("e2e", 1), unit=20, e2e=60) == (
        "`unit` has been running since 13:29 UTC on 2 March, longer than on `main` before: there "
        "it took about 20 minutes."
    )


def test_one_that_nobody_saw_end_is_said_to_be_unknown() -> None:
    assert said(running("unit", 1), missing("new"), unit=5) == (
        "`new` has not begun yet; how long it takes is not known, as I have not seen it end on "
        "`main`."
    )


def test_what_has_ended_is_not_waited_for() -> None:
    assert said(passed("unit"), unit=5) == ""
