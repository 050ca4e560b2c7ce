"""What is said of how long checks take yet (Markdown out)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from bot import markdown
from bot.playbooks.checks.duration import Awaited, TimeLeft, slowest
from bot.playbooks.checks.green import CheckTally, State
from bot.playbooks.words.outlook import about, moment

_MINUTE = timedelta(minutes=1)


def how_long(
    tally: CheckTally, took: Mapping[str, float], base: str, now: datetime
) -> tuple[str, ...]:
    """One sentence on how long it takes until the checks that count have ended; or none.

    Args:
        tally: what they say by now.
        took: seconds that each took before, on the base branch.
        base: the base branch.
        now: the time.
    """
    awaited = [
        Awaited(name=row.name, since=row.since)
        for row in tally.rows
        if row.state in (State.MISSING, State.RUNNING)
    ]
    found = slowest(awaited, took, now)
    return () if found is None else (_said(found, markdown.code(base)),)


def _said(found: TimeLeft, base: str) -> str:
    name = markdown.code(found.name)
    if found.took is None:
        since = f"{name} has been running since {moment(found.since)}" if found.since else ""
        unknown = f"how long it takes is not known, as I have not seen it end on {base}"
        if since:
            return f"{since}; {unknown}."
        return f"{name} has not begun yet; {unknown}."
    took = about(found.took)
    if found.since is None:
        return f"{name} has not begun yet; on {base} it took {took}."
    running = f"{name} has been running since {moment(found.since)}"
    if found.how == "longer":
        return f"{running}, longer than on {base} before: there it took {took}."
    return f"{running}. On {base} it took {took}, so I expect it by {moment(_up(found))}."


def _up(found: TimeLeft) -> datetime:
    """The expected end, up to the next whole minute."""
    end = found.end
    if end is None:
        raise ValueError("it has not begun, so there is no end to name")
    whole = end.replace(second=0, microsecond=0)
    return whole if whole == end else whole + _MINUTE
