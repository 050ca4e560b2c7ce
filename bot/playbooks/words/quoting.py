"""Words of others in titles and commit messages, where Markdown escapes would be seen as such.

A commit message acts: GitHub closes issues it says to close, notifies whom it mentions, and runs
no check for a commit that says `[skip ci]`. Quoting a title must do none of it.
https://docs.github.com/actions/managing-workflow-runs/skipping-workflow-runs
"""

from __future__ import annotations

import re
import unicodedata

_APART = "\u200b"
"""A zero-width space: nobody sees it, no machine reads across it."""

_ACTS = re.compile(
    r"""
    @(?=\w)                                    # notifies
    | \#(?=\d) | \bGH-(?=\d)                   # refers, and closes after "fixes"
    | (?<=[a-z]):(?=//)                        # the same by address
    | \[(?=\s*(?:skip|no|ci|actions)\b)        # [skip ci], [ci skip], [no ci], [skip actions] …
    | \bskip-(?=checks)                        # a trailer
    | \*\*\*(?=NO_CI)                          # another service's
    """,
    re.IGNORECASE | re.VERBOSE,
)


def quoted(raw: str, *, limit: int = 200) -> str:
    """Put someone's words on one line that can be read and does nothing.

    Args:
        raw: the words; line breaks become spaces, invisible characters go.
        limit: cut to this many characters, the last being `…`.
    """
    visible = "".join(
        " " if character.isspace() else character
        for character in raw
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )
    line = " ".join(visible.split())
    if len(line) > limit:
        line = line[: limit - 1].rstrip() + "…"
    return _ACTS.sub(lambda found: found[0] + _APART, line)
