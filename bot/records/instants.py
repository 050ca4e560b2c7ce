"""Moments in time as records keep them: UTC, RFC 3339, always the same length."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

_LENGTH = len("2026-01-01T00:00:00.000000Z")
_MARKS = ((4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"), (19, "."), (26, "Z"))


def in_utc(moment: datetime) -> datetime:
    """Return the same moment in UTC.

    Raises:
        ValueError: `moment` has no time zone, so nobody knows which moment it is.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return moment.astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""A pydantic field type: an aware datetime, converted to UTC so that equal moments look equal."""


def rfc3339(moment: datetime) -> str:
    """Write a moment with microseconds and `Z`; such texts sort in the order of time."""
    # `strftime` writes years before 1000 with fewer digits, and Go's zero time is in the year 1.
    return in_utc(moment).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> datetime:
    """Read what `rfc3339` wrote, and nothing else.

    Raises:
        ValueError: the text has another shape.
    """
    # An earlier release wrote the year 1 as `1`.
    text = text.zfill(_LENGTH)
    # `strptime` takes ten times as long, and pages read hundreds of moments.
    if len(text) != _LENGTH or any(text[at] != mark for at, mark in _MARKS):
        raise ValueError(f"no moment as we write them: {text[:40]!r}")
    return datetime.fromisoformat(text)
