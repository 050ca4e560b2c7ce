"""Texts that GitHub stores for us: hidden markers, and cutting to GitHub's limits.

A marker is an HTML comment that readers do not see and by which the bot finds again what it
wrote (docs/decisions/0013). Cutting never loses one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

BODY_LIMIT = 65_536
"""Characters in the body of an issue, a pull request or a comment."""

TITLE_LIMIT = 256
"""Characters in the title of an issue or a pull request."""

CHECK_TEXT_LIMIT = 65_535
"""Size of a check-run's summary and of its text; counted in bytes here, to be on the safe side."""

CUT_NOTICE = "\n\n… *The rest was cut: GitHub allows no more text here.*"

_MARKER_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#-]*")
# No `<` either: a text of nothing but beginnings would be read to its end from each of them.
_HIDDEN = re.compile(r"<!-- playbooks:[^<>]*? -->")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)


def marker(key: str) -> str:
    """Make the hidden marker for `key`, such as `status:01j…`.

    Raises:
        ValueError: If `key` could close the HTML comment or is not plain ASCII.
    """
    if not _MARKER_KEY.fullmatch(key) or "--" in key:
        raise ValueError(f"Not usable in a hidden marker: {key!r}")
    return f"<!-- playbooks:{key} -->"


def marked(body: str, key: str, limit: int = BODY_LIMIT) -> str:
    """Put `key`'s marker at the end of `body` and cut the whole to `limit`.

    Args:
        body: Markdown; where it carries the marker already, it is only cut.
        key: what the bot finds the text by later, such as `status:01j…`.
        limit: characters of the result, with its marker.

    Raises:
        ValueError: `key` cannot stand in a marker, see `marker`.
    """
    hidden = marker(key)
    if is_marked(body, key):
        return cut(body, limit)
    return cut(body, limit - len(hidden) - 2).rstrip("\n") + f"\n\n{hidden}"


def is_marked(body: str | None, key: str) -> bool:
    """Tell whether `body` carries `key`'s marker, alone on its line.

    Quoted text of others that contains one (a title, a reason) does not make it ours.
    """
    return body is not None and marker(key) in body.splitlines()


def cut_title(title: str, limit: int = TITLE_LIMIT) -> str:
    """Make `title` one line of at most `limit` characters."""
    line = " ".join(title.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def cut(body: str, limit: int = BODY_LIMIT, size: Callable[[str], int] = len) -> str:
    """Cut `body` to `limit`, keeping every hidden marker and closing an open code block.

    `size` measures: `len` counts characters, `byte_size` UTF-8 bytes. What was cut is said.
    """
    if size(body) <= limit:
        return body
    hidden = "\n".join(_HIDDEN.findall(body))
    # A marker may stand in the part that stays, and then is not repeated: room for all of them
    # is more than enough.
    room = limit - size(hidden) - size(CUT_NOTICE) - size("\n```````\n</details>\n\n")
    kept = _longest_prefix(body, max(room, 0), size)
    kept = _outside_of_hidden(body, kept)
    missing = [entry for entry in _HIDDEN.findall(body) if entry not in kept]
    return kept + _closing(kept) + CUT_NOTICE + "".join(f"\n{entry}" for entry in missing)


def edit(*, title: str | None, body: str | None, **more: str | None) -> dict[str, str]:
    """The fields to set on an issue or pull request: those given, the texts cut to GitHub's limits.

    Args:
        title: the new title.
        body: the new description, Markdown.
        more: further fields, by GitHub's names.
    """
    texts = {
        "title": None if title is None else cut_title(title),
        "body": None if body is None else cut(body),
    }
    return {name: value for name, value in (texts | more).items() if value is not None}


def byte_size(text: str) -> int:
    """Measure `text` in UTF-8 bytes."""
    return len(text.encode("utf-8", "surrogatepass"))


def _longest_prefix(text: str, room: int, size: Callable[[str], int]) -> str:
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if size(text[:middle]) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def _outside_of_hidden(body: str, kept: str) -> str:
    for found in _HIDDEN.finditer(body):
        if found.start() < len(kept) < found.end():
            return kept[: found.start()]
    return kept


def _closing(kept: str) -> str:
    fence: str | None = None
    for found in _FENCE.finditer(kept):
        this = found.group(1)
        if fence is None:
            fence = this
        elif this[0] == fence[0] and len(this) >= len(fence):
            fence = None
    closing = f"\n{fence[:7]}" if fence else ""
    if kept.count("<details") > kept.count("</details"):
        closing += "\n</details>\n"
    return closing
