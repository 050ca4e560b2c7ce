"""When may self-work go on by itself? Pure: paused → half open (one canary) → running.

Only a pause for a threshold lifts itself; what a person or safety holds, a person lifts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from bot.logs import explained
from bot.records.pauses import Pause
from bot.triggers import Value


class PauseFacts(Value):
    """How things are just now.

    Attributes:
        branch: what the checks say of the default branch.
        trouble: why it would not be safe whatever the branch says: an open incident, a used-up
            budget; None where there is no such thing.
        candidates: open self-work pull requests that could be the canary, oldest first.
        canary: what became of the canary.
        canary_merged: its merge commit.
    """

    branch: Literal["green", "red", "waiting"]
    trouble: str | None = None
    candidates: tuple[int, ...] = ()
    canary: Literal["open", "merged", "closed"] | None = None
    canary_merged: str | None = None


class Note(Value):
    """Where the pause stands from now on; `said` tells the audit, empty where nothing turned."""

    action: Literal["note"] = "note"
    state: Literal["paused", "half open"]
    green_since: datetime | None
    canary: int | None = None
    canary_merged: str | None = None
    said: str = ""


class Lift(Value):
    """Everything goes on."""

    action: Literal["lift"] = "lift"
    because: str


Step = Note | Lift | None


@explained
def next_step(pause: Pause, outlook: PauseFacts, resume_after: timedelta, now: datetime) -> Step:
    """Decide how a pause goes on; None where it stays just as it is.

    Args:
        pause: the one in force.
        outlook: how things are.
        resume_after: how long the branch has to be green, before the canary and after it.
        now: the time.
    """
    if not pause.lifts_itself:
        return None
    if outlook.branch == "red" or outlook.trouble:
        return _back(pause, outlook)
    since = pause.green_since or (now if outlook.branch == "green" else None)
    long_enough = since is not None and outlook.branch == "green" and now - since >= resume_after
    if pause.state == "paused":
        if long_enough:
            return _half_open(outlook, said="half open")
        return _changed(pause, Note(state="paused", green_since=since))
    return _while_half_open(pause, outlook, since, long_enough=long_enough)


def _while_half_open(
    pause: Pause, outlook: PauseFacts, since: datetime | None, *, long_enough: bool
) -> Step:
    if pause.canary is None or (outlook.canary == "closed" and pause.canary_merged is None):
        wanted = _half_open(outlook, said="another canary")
        return wanted if wanted.canary != pause.canary else None
    if outlook.canary != "merged":
        return None
    if pause.canary_merged is None:
        # From here on the branch is judged with the canary in it.
        return Note(
            state="half open",
            green_since=None,
            canary=pause.canary,
            canary_merged=outlook.canary_merged or "unknown",
            said="canary merged",
        )
    if long_enough:
        return Lift(because=f"the default branch is green with the canary #{pause.canary}")
    return _changed(
        pause,
        Note(
            state="half open",
            green_since=since,
            canary=pause.canary,
            canary_merged=pause.canary_merged,
        ),
    )


def _half_open(outlook: PauseFacts, said: str) -> Note:
    canary = outlook.candidates[0] if outlook.candidates else None
    return Note(state="half open", green_since=None, canary=canary, said=said)


def _back(pause: Pause, outlook: PauseFacts) -> Step:
    why = outlook.trouble or "the default branch is red"
    said = f"paused again: {why}" if pause.state == "half open" else ""
    return _changed(pause, Note(state="paused", green_since=None, said=said))


def _changed(pause: Pause, note: Note) -> Note | None:
    same = (pause.state, pause.green_since, pause.canary, pause.canary_merged) == (
        note.state,
        note.green_since,
        note.canary,
        note.canary_merged,
    )
    return None if same else note
