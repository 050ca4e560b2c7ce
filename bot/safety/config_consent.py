"""To what a Founder says yes: exactly the sections they were shown, and none they wrote. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from bot.config import PROTECTED
from bot.safety.config_in_force import Sections, part_of
from bot.safety.founders import Objection, objection_to
from bot.triggers import Value

SHOWN = 12
"""Characters of a digest that people are shown."""
FEWEST = 7
"""Characters of a digest that name it."""

_SAID = re.compile(rf"/approve ([0-9a-f]{{{SHOWN}}})\b")


class ShownConfig(Value):
    """What somebody could have seen when they said yes.

    Attributes:
        digests: of all versions that the checks of this pull request had shown by then.
        said: the digest that our last comment before it named, in short; empty where none did.
        is_settled: whether what they mean had been merged by then, and stands so.
    """

    digests: tuple[str, ...] = ()
    said: str = ""
    is_settled: bool = False


def digest_said(comment: str) -> str:
    """The digest that a comment of ours asks to approve, in short; empty where there is none."""
    found = _SAID.findall(comment)
    return found[-1] if found else ""


def may_name(word: str) -> bool:
    """Whether a word can be a digest, or the beginning of one."""
    return re.fullmatch(rf"[0-9a-f]{{{FEWEST},64}}", word) is not None


def is_meant(wanted: str, named: str | None, seen: ShownConfig) -> bool:
    """Whether a yes is to this version and no other.

    Args:
        wanted: the digest of what would be approved now.
        named: the digest that was typed, perhaps in short; None where none was.
        seen: what the yes can have been to where none was typed.
    """
    if named is not None:
        return may_name(named) and wanted.startswith(named)
    if seen.said:
        return wanted.startswith(seen.said)
    if not seen.digests:
        return seen.is_settled
    # Where another version was shown before, a bare yes may be to that one.
    return set(seen.digests) == {wanted}


def objection_to_consent(
    login: str, founders: Sequence[str], writers: Collection[str]
) -> Objection | None:
    """Say why this person's yes to what `writers` wrote does not count; None if it does."""
    own = next((each for each in writers if each.lower() == login.lower()), "")
    return objection_to(login, founders, asked_by=own)


def changed_sections(wanted: Sections, counting: Sections) -> tuple[str, ...]:
    """Name the protected keys that differ from what counts."""
    return tuple(key for key in PROTECTED if part_of(wanted, key) != part_of(counting, key))
