"""Which state may follow which, and what is refused."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum


class RecordError(Exception):
    """A record could not be changed; the message says why in words a person can act on."""


class UnknownRecord(RecordError):
    """No record has this id."""


class IllegalMove(RecordError):
    """The life cycle has no such move."""


class StaleVersion(RecordError):
    """Someone else changed the record since it was read."""


class AlreadyOpen(RecordError):
    """Another incident about the same thing is open, so this one cannot become open again."""


class IncidentStatus(StrEnum):
    """Where an Incident stands: triage → active → mitigated → resolved → closed, or a side exit."""

    TRIAGE = "triage"
    ACTIVE = "active"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    CLOSED = "closed"
    DECLINED = "declined"
    DUPLICATE = "duplicate"


class RunState(StrEnum):
    """Where a Run stands."""

    QUEUED = "queued"
    PREFLIGHT = "preflight"
    AWAITING_APPROVAL = "awaiting approval"
    RUNNING = "running"
    VERIFYING = "verifying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"
    COMPENSATING = "compensating"
    ROLLED_BACK = "rolled back"
    ROLLBACK_FAILED = "rollback failed"


REOPEN_WINDOW = timedelta(hours=24)
"""How long a resolved Incident may still become active again, unless configured otherwise."""

_I = IncidentStatus
INCIDENT_MOVES: dict[IncidentStatus, frozenset[IncidentStatus]] = {
    _I.TRIAGE: frozenset({_I.ACTIVE, _I.DECLINED, _I.DUPLICATE}),
    _I.ACTIVE: frozenset({_I.MITIGATED, _I.DECLINED, _I.DUPLICATE}),
    _I.MITIGATED: frozenset({_I.ACTIVE, _I.RESOLVED}),
    _I.RESOLVED: frozenset({_I.ACTIVE, _I.CLOSED}),
    _I.CLOSED: frozenset(),
    _I.DECLINED: frozenset(),
    _I.DUPLICATE: frozenset(),
}

_R = RunState
_STOPS = frozenset({_R.FAILED, _R.TIMED_OUT, _R.CANCELLED})
RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    _R.QUEUED: frozenset({_R.PREFLIGHT}) | _STOPS,
    _R.PREFLIGHT: frozenset({_R.AWAITING_APPROVAL, _R.RUNNING}) | _STOPS,
    _R.AWAITING_APPROVAL: frozenset({_R.RUNNING, _R.COMPENSATING}) | _STOPS,
    _R.RUNNING: frozenset({_R.VERIFYING, _R.AWAITING_APPROVAL, _R.COMPENSATING}) | _STOPS,
    # A base that moved is computed again; a red that is not ours may be approved by a person.
    _R.VERIFYING: frozenset({_R.SUCCEEDED, _R.RUNNING, _R.AWAITING_APPROVAL, _R.COMPENSATING})
    | _STOPS,
    # What was to be undone had been merged a moment before: then that is what happened.
    _R.COMPENSATING: frozenset({_R.ROLLED_BACK, _R.ROLLBACK_FAILED, _R.VERIFYING}),
    _R.SUCCEEDED: frozenset(),
    _R.FAILED: frozenset(),
    _R.TIMED_OUT: frozenset(),
    _R.CANCELLED: frozenset(),
    _R.ROLLED_BACK: frozenset(),
    _R.ROLLBACK_FAILED: frozenset(),
}

UNDONE = frozenset({_R.ROLLED_BACK, _R.ROLLBACK_FAILED})
"""Run states after undoing what was done, wholly or in part."""

OPEN = frozenset({_I.TRIAGE, _I.ACTIVE, _I.MITIGATED})
"""Statuses in which a second Trigger about the same thing joins the Incident."""

FINISHED = frozenset(state for state, moves in RUN_MOVES.items() if not moves)
"""Run states that nothing leaves. Trying again is a new Run."""

LEFT_TO_PEOPLE = frozenset({_R.AWAITING_APPROVAL}) | (FINISHED - {_R.SUCCEEDED})
"""Run states in which an Incident that is still open goes no further without a person."""


def why_incident_cannot_move(
    status: IncidentStatus,
    to: IncidentStatus,
    *,
    at: datetime,
    resolved_at: datetime | None,
    reopen_window: timedelta = REOPEN_WINDOW,
) -> str | None:
    """Say why an Incident may not go from `status` to `to` at the moment `at`; None if it may."""
    if to not in INCIDENT_MOVES[status]:
        return _refusal(status, to, INCIDENT_MOVES[status])
    if status is _I.RESOLVED and to is _I.ACTIVE:
        if resolved_at is None:
            return "it is not known when the incident was resolved, so it cannot be reopened"
        if at - resolved_at > reopen_window:
            return (
                f"the incident was resolved more than {reopen_window} ago: "
                "open a new one as its recurrence"
            )
    return None


def why_run_cannot_move(state: RunState, to: RunState) -> str | None:
    """Say why a Run may not go from `state` to `to`; None if it may."""
    return None if to in RUN_MOVES[state] else _refusal(state, to, RUN_MOVES[state])


def _refusal(now: StrEnum, to: StrEnum, allowed: frozenset[StrEnum]) -> str:
    if not allowed:
        return f"{now} is final and cannot become {to}"
    return f"{now} cannot become {to}, only {', '.join(sorted(allowed))}"
