"""Which reported check is meant by what somebody typed: as GitHub shows it, copied or by heart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

_EVENT = re.compile(r" \([a-z_]+\)$")


def meant(typed: str, reported: Iterable[str]) -> list[str]:
    """Return the reported names that `typed` stands for: one, or several that read alike.

    The name itself comes first. Else white space, letter case and what cannot be seen do not count;
    nor does what GitHub's pages write around a check's name, `Workflow / NAME (push)`.

    Args:
        typed: the words.
        reported: the names of checks, as they were reported.
    """
    names = sorted(set(reported))
    if typed in names:
        return [typed]
    for reading in _READINGS:
        if found := [name for name in names if _plain(name) in reading(_plain(typed))]:
            return found
    return []


def _plain(name: str) -> str:
    seen = unicodedata.normalize("NFKC", name)
    kept = (c for c in seen if c.isspace() or not _is_unseen(c))
    return " ".join("".join(kept).casefold().split())


def _is_unseen(character: str) -> bool:
    # Variation selectors choose how the sign before them is drawn.
    return unicodedata.category(character) in ("Cc", "Cf") or "\ufe00" <= character <= "\ufe0f"


def _as_it_is(plain: str) -> set[str]:
    return {plain}


def _without_stop(plain: str) -> set[str]:
    return {plain.rstrip(".,;:")}


def _as_on_a_page(plain: str) -> set[str]:
    named = {plain, _EVENT.sub("", plain)}
    return named | {each.partition(" / ")[2] for each in named if " / " in each}


_READINGS: tuple[Callable[[str], set[str]], ...] = (_as_it_is, _without_stop, _as_on_a_page)
