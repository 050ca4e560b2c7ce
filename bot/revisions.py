"""Which words can name a branch, tag or commit: by git's rules, not by what is usual.

https://git-scm.com/docs/git-check-ref-format and https://git-scm.com/docs/gitrevisions
"""

from __future__ import annotations

import re

LONGEST = 300
"""GitHub's names of branches and tags end at 255 bytes; a full ref and steps back fit besides."""

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_STEPS = re.compile(r"(?:~[0-9]{0,9}|\^[0-9]{0,9}|\^\{(?:commit|object|tag)?\})*")


def is_ref_name(name: str) -> bool:
    """Tell whether a branch or tag can have this name (`git check-ref-format --branch`)."""
    if not name or name == "@" or name[0] in "-/" or name[-1] in "/." or _FORBIDDEN.search(name):
        return False
    parts = name.split("/")
    return not any(part.startswith(".") or part.endswith(".lock") for part in parts)


def is_revision(words: str) -> bool:
    """Tell whether these can name a commit: a name or SHA, perhaps with steps back (`v1~3`)."""
    name, steps = split_steps(words)
    can_be_named = name == "@" or is_ref_name(name)
    return can_be_named and len(words) <= LONGEST and _STEPS.fullmatch(steps) is not None


def split_steps(revision: str) -> tuple[str, str]:
    """Part a revision into its name and the steps back from there, `~3` or `^2`."""
    at = next((at for at, character in enumerate(revision) if character in "~^"), len(revision))
    return revision[:at], revision[at:]
