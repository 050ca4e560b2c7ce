"""How long a check takes, by how long it took before: what is awaited, and until when. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from bot.github.models import CheckResult
from bot.triggers import Value

_TELLING = ("success", "failure")
"""Conclusions of runs that went to their end: what broke off says nothing of how long it takes."""


class Awaited(Value):
    """A check that has not ended; `since` is when it began, None where it has not."""

    name: str
    since: datetime | None


class TimeLeft(Value):
    """About how long one check takes yet.

    Attributes:
        name: the check.
        how: running or about to begin in time, running longer than before, or nobody knows.
        since: when it began; None where it has not.
        took: how long it took before; None where it was not seen.
    """

    name: str
    how: Literal["in time", "longer", "unknown"]
    since: datetime | None
    took: timedelta | None = None

    @property
    def end(self) -> datetime | None:
        """When it is expected to end; None where it has not begun, or nobody knows."""
        return self.since + self.took if self.since is not None and self.took is not None else None


def durations(results: Iterable[CheckResult]) -> dict[str, float]:
    """Seconds that each check took, by its longest run among these that went to its end."""
    found: dict[str, float] = {}
    for each in results:
        if each.conclusion not in _TELLING or not each.started_at or not each.completed_at:
            continue
        seconds = (each.completed_at - each.started_at).total_seconds()
        if seconds >= 0:
            found[each.name] = max(seconds, found.get(each.name, 0.0))
    return found


def slowest(
    awaited: Sequence[Awaited], took: Mapping[str, float], now: datetime
) -> TimeLeft | None:
    """Say about how long it takes until all have ended: by the one that ends last.

    Args:
        awaited: the checks that have not ended.
        took: seconds that they took before, by name.
        now: the time.

    Returns:
        None where nothing is awaited. One of which nothing is known comes first: it may be the
        last to end.
    """
    found = [_one(each, took.get(each.name), now) for each in awaited]
    for how in ("unknown", "longer"):
        if those := [each for each in found if each.how == how]:
            return min(those, key=lambda each: (each.since or now, each.name))
    return max(found, key=lambda each: (_left(each, now), each.name), default=None)


def _one(each: Awaited, took: float | None, now: datetime) -> TimeLeft:
    if took is None:
        return TimeLeft(name=each.name, how="unknown", since=each.since)
    length = timedelta(seconds=took)
    is_late = each.since is not None and each.since + length < now
    how: Literal["in time", "longer"] = "longer" if is_late else "in time"
    return TimeLeft(name=each.name, how=how, since=each.since, took=length)


def _left(each: TimeLeft, now: datetime) -> timedelta:
    took = each.took or timedelta()
    return took if each.since is None else each.since + took - now
