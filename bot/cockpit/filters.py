"""Filters as they stand in an address. What is not allowed there is said, not guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from bot.cockpit.visit import PageRefused
from bot.records.dashboard import Filter
from bot.records.lifecycle import OPEN, IncidentStatus
from bot.triggers import Severity

KINDS = ("revert", "bisect", "shadow", "ramp", "rollback", "alert")
OPEN_WORD = "open"
_ID = re.compile(r"[0-9a-z]{26}")
_LONGEST = 200
Word = TypeVar("Word", bound=StrEnum)


def incident_filter(query: Mapping[str, str], *, status: str = "") -> Filter:
    """Read `status`, `severity`, `kind` and `q` from an address.

    Raises:
        Refused: one of them is not allowed; says what is.
    """
    wanted = query.get("status", status)
    kind = query.get("kind", "")
    if kind and kind not in KINDS:
        raise _wrong("kind", KINDS)
    return Filter(
        statuses=_statuses(wanted),
        severity=_word(Severity, "severity", query.get("severity", "")),
        kind=kind or None,
        words=words(query, "q"),
    )


def words(query: Mapping[str, str], name: str) -> str:
    """Read words to search for."""
    given = query.get(name, "").strip()
    if len(given) > _LONGEST:
        raise PageRefused(400, f"The filter {name} is too long: at most {_LONGEST} characters.")
    return given.replace("\x00", "")


def identity(query: Mapping[str, str], name: str) -> str | None:
    """Read an id of ours."""
    given = query.get(name, "")
    if given and not _ID.fullmatch(given):
        raise PageRefused(400, f"The filter {name} is not an id: 26 letters and digits.")
    return given or None


def whole_number(query: Mapping[str, str], name: str) -> int | None:
    """Read a whole number above zero."""
    given = query.get(name, "")
    if given and not (given.isascii() and given.isdecimal() and 0 < len(given) < 16):
        raise PageRefused(400, f"The filter {name} must be a whole number.")
    return int(given) if given else None


def _statuses(given: str) -> tuple[IncidentStatus, ...]:
    if given == OPEN_WORD:
        return tuple(sorted(OPEN))
    found = _word(IncidentStatus, "status", given, also=(OPEN_WORD,))
    return (found,) if found else ()


def _word(kind: type[Word], name: str, given: str, also: Iterable[str] = ()) -> Word | None:
    if not given:
        return None
    try:
        return kind(given)
    except ValueError:
        raise _wrong(name, [*also, *kind]) from None


def _wrong(name: str, allowed: Iterable[str]) -> PageRefused:
    return PageRefused(400, f"The filter {name} must be one of: {', '.join(map(str, allowed))}.")
