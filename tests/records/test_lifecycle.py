"""The life cycle is a table; these are its rules in words."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from bot.records.lifecycle import (
    FINISHED,
    INCIDENT_MOVES,
    OPEN,
    REOPEN_WINDOW,
    RUN_MOVES,
    IncidentStatus,
    RunState,
    why_incident_cannot_move,
    why_run_cannot_move,
)
from bot.records.tables.recovery import OPEN_STATUSES
from tests.records.examples import NOON


def refusal(now: str, to: str, *, after: timedelta = timedelta()) -> str | None:
    return why_incident_cannot_move(
        IncidentStatus(now), IncidentStatus(to), at=NOON + after, resolved_at=NOON
    )


def test_an_incident_goes_from_triage_to_closed_step_by_step() -> None:
    way = ["triage", "active", "mitigated", "resolved", "closed"]
    assert [refusal(now, to) for now, to in pairwise(way)] == [None] * 4


def test_an_incident_may_be_declined_or_a_duplicate_until_it_is_mitigated() -> None:
    exits = [(now, to) for now in ("triage", "active") for to in ("declined", "duplicate")]
    assert all(refusal(now, to) is None for now, to in exits)
    assert (
        refusal("mitigated", "declined")
        == "mitigated cannot become declined, only active, resolved"
    )


def test_what_is_mitigated_may_break_again() -> None:
    assert refusal("mitigated", "active") is None


def test_a_resolved_incident_reopens_only_inside_the_window() -> None:
    assert refusal("resolved", "active", after=REOPEN_WINDOW) is None
    late = refusal("resolved", "active", after=REOPEN_WINDOW + timedelta(seconds=1))
    assert late is not None
    assert "open a new one as its recurrence" in late


def test_an_incident_is_never_resolved_without_being_mitigated() -> None:
    assert refusal("active", "resolved") is not None


@pytest.mark.parametrize("final", ["closed", "declined", "duplicate"])
def test_a_final_status_is_never_left(final: str) -> None:
    for to in set(IncidentStatus) - {final}:
        assert refusal(final, to) == f"{final} is final and cannot become {to}"


def test_every_status_and_state_is_in_its_table_and_can_be_reached() -> None:
    assert set(INCIDENT_MOVES) == set(IncidentStatus)
    assert set(RUN_MOVES) == set(RunState)
    assert frozenset().union(*INCIDENT_MOVES.values()) == set(IncidentStatus) - {"triage"}
    assert frozenset().union(*RUN_MOVES.values()) == set(RunState) - {"queued"}


def test_the_database_and_the_code_agree_on_what_is_open() -> None:
    assert set(OPEN_STATUSES) == OPEN


def test_a_run_succeeds_only_after_verifying() -> None:
    before = {state for state, moves in RUN_MOVES.items() if RunState.SUCCEEDED in moves}
    assert before == {RunState.VERIFYING}


def test_a_run_that_is_undone_ends_rolled_back_or_says_that_it_could_not() -> None:
    # Or it finds that it was merged a moment before, and goes on with that.
    assert RUN_MOVES[RunState.COMPENSATING] == {"rolled back", "rollback failed", "verifying"}


def test_a_finished_run_stays_finished() -> None:
    ends = ["succeeded", "failed", "timed out", "cancelled", "rolled back", "rollback failed"]
    assert set(ends) == FINISHED
    assert why_run_cannot_move(RunState.FAILED, RunState.RUNNING) == (
        "failed is final and cannot become running"
    )
