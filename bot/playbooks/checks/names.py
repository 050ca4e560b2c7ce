"""Names of checks: as somebody typed them, and those no commit ever had."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from bot.playbooks.checks.results import checked, names_on_pull_requests
from bot.triggers import Value

if TYPE_CHECKING:
    from bot.github.client import RepositoryClient

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


_ALIKE = 0.5
"""From here on one name may be meant by another (difflib's ratio)."""
MOST = 20
"""Names that are looked for."""


class Unheard(Value):
    """A name that nothing reported, and what it may be meant for."""

    name: str
    nearest: str | None = None


def unheard(configured: Iterable[str], seen: Collection[str]) -> tuple[Unheard, ...]:
    """Name what was configured and never reported, each with the nearest that was.

    Args:
        configured: names of checks.
        seen: names that were reported; none at all: nothing can be told.
    """
    if not seen:
        return ()
    lower = {name.lower(): name for name in sorted(seen, reverse=True)}
    found = []
    for name in dict.fromkeys(configured):
        if name not in seen:
            alike = get_close_matches(name.lower(), lower, n=1, cutoff=_ALIKE)
            found.append(Unheard(name=name, nearest=lower[alike[0]] if alike else None))
    return tuple(found)


async def names_seen(
    github: RepositoryClient, head: str, base: str, wanted: Collection[str]
) -> frozenset[str]:
    """Name the checks that commits had: on this one, on a branch's last 100 and on pull requests.

    Args:
        github: the repository.
        head: the commit where the names are configured.
        base: the branch.
        wanted: names in question; once they are seen, no further commit is looked at.

    Raises:
        GitHubError: GitHub could not be read.
    """
    us = (await github.app()).id
    seen = {each.name for each in (await checked(github, await github.git.head(base))).results}
    if not seen >= {*wanted}:
        seen |= {r.name for r in await github.checks.results(head) if r.app_id != us}
    if not seen >= {*wanted}:
        seen |= await names_on_pull_requests(github, (), base, {*wanted} - seen) or frozenset()
    left = sorted({*wanted} - seen)[:MOST]
    line = await github.git.newest(base) if left else ()
    for name in left:
        if await github.known_checks.of(line, name):
            seen.add(name)
    return frozenset(seen)
