"""What the branches of proposals are called, and whose a branch is.

Names are short enough for a phone, so they do not say whose they are: the trailer of the commit
does. Incidents begun before names were short have their whole id in them; both forms are known
again for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

ENDING = 4
"""Characters of the incident's id in a short name."""
SHORT_SHA = 7
MOST_NAMES = 20
"""Names tried before giving up: each is somebody else's."""
_LONGEST_SLUG = 16

_HOTFIX = re.compile(
    r"hotfix[/-]revert-(?:(?P<incident>[0-9a-z]{26})|(?:[0-9]+|[0-9a-f]{7})-(?P<ending>[0-9a-z]{4}))"
    r"(?:-[0-9]+)?"
)
_KEY = re.compile(r"(?P<incident>[0-9a-z]{26})/(?:(?P<attempt>[0-9]+)/)?[0-9a-f]{12}")


@dataclass(frozen=True)
class Naming:
    """One attempt at an incident, by which its branch and its commits are named.

    Attributes:
        kind: the playbook.
        proposal: what its pull request is called.
        incident: the incident's id.
        attempt: which attempt at it this is, counted from 1.
        short: whether its name is short: as it was when its Run began.
    """

    kind: str
    proposal: Literal["hotfix", "fix"]
    incident: str
    attempt: int
    short: bool

    def first(self, about: str) -> str:
        """The name that is tried first; `about`: what a short one names, say `7` or `3f2a9c1`."""
        stem = f"{about}-{self.incident[-ENDING:]}" if self.short else self.incident
        return _numbered(f"{self.proposal}/{self.kind}-{stem}", self.attempt)

    def names(self, first: str) -> Iterator[str]:
        """The names to try one after the other; a long one is nobody else's."""
        yield first
        if self.short:
            stem = first.removesuffix(f"-{self.attempt}") if self.attempt > 1 else first
            for number in range(self.attempt + 1, self.attempt + MOST_NAMES):
                yield _numbered(stem, number)

    def key(self, onto: str) -> str:
        """What the trailer of the commit on the base commit `onto` says."""
        # A short name does not tell attempts apart, so the key has to.
        attempt = f"{self.attempt}/" if self.short else ""
        return f"{self.incident}/{attempt}{onto[:12]}"

    @property
    def beginnings(self) -> tuple[str, str]:
        """How the names of all such proposals begin, in both forms."""
        return f"{self.proposal}/{self.kind}-", f"{self.proposal}-{self.kind}-"

    def may_have(self, name: str) -> bool:
        """Whether a name may be one of this incident's, whichever attempt's."""
        numbered = r"(?:-[0-9]+)?"
        endings = rf"(?:{re.escape(self.incident)}|.+-{re.escape(self.incident[-ENDING:])})"
        return any(
            re.fullmatch(re.escape(beginning) + endings + numbered, name)
            for beginning in self.beginnings
        )

    def attempt_of(self, name: str, keys: Iterable[str]) -> int | None:
        """Which attempt at this incident a branch is of; None where it is somebody else's.

        Args:
            name: the branch.
            keys: what the trailers of its commits say, newest first.
        """
        long = re.fullmatch(
            rf"{self.proposal}[/-]{self.kind}-{re.escape(self.incident)}(?:-([0-9]+))?", name
        )
        if long:
            return int(long[1] or 1)
        newest = next(filter(None, map(_KEY.fullmatch, keys)), None)
        if newest is None or newest["incident"] != self.incident:
            return None
        return int(newest["attempt"] or 1)

    def says_whose(self, name: str) -> bool:
        """Whether a name alone tells that it is this incident's."""
        return self.incident in name


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def about_change(number: int | None, sha: str) -> str:
    """What a short name says of a change: its pull request's number, else 7 of its SHA."""
    return str(number) if number else sha[:SHORT_SHA]


def about_capability(capability: str) -> str:
    """What a short name says of a capability: its letters and digits, at most 16 characters."""
    slug = "-".join(re.findall(r"[a-z0-9]+", capability.lower()))
    return slug[:_LONGEST_SLUG].strip("-") or "capability"


def flat(name: str) -> str:
    """The name without its folder, for where a branch is called as the folder is."""
    return name.replace("/", "-", 1)


def folder_of(name: str) -> str:
    """The folder of a name, such as `hotfix`."""
    return name.partition("/")[0]


def is_hotfix(name: str) -> bool:
    """Whether a branch is called as hotfixes are, in any form."""
    return _HOTFIX.fullmatch(name) is not None


def incident_of_hotfix(name: str, keys: Iterable[str]) -> str | None:
    """The incident that a hotfix was made for.

    Args:
        name: the branch.
        keys: what the trailers of its pull request's commits say, oldest first.

    Returns:
        Its id; None where it is no hotfix of ours.
    """
    found = _HOTFIX.fullmatch(name)
    if found is None:
        return None
    if found["incident"]:
        return found["incident"]
    # Somebody may have put a commit of another incident upon it: its name has to agree.
    owners = (match["incident"] for match in map(_KEY.fullmatch, keys) if match)
    return next((owner for owner in owners if owner.endswith(found["ending"])), None)
