"""What a step says to the runner in its output: messages that become annotations of its job.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import re
from typing import Any

_COMMAND = re.compile(r"\s*::(notice|warning|error)(?: ([^\n]*?))?::(.*)")
_LEVELS = {"notice": "notice", "warning": "warning", "error": "failure"}
_MOST_OF_A_LEVEL = 10
"""In one step: further ones are in the log only."""
_LONGEST_TITLE = 255
_LONGEST_MESSAGE = 64 << 10


def annotations_in(output: str) -> list[dict[str, Any]]:
    """Return the annotations that one step made, as the REST API takes them.

    One that names no file stands, as on GitHub, at the folder `.github`.
    """
    found: list[dict[str, Any]] = []
    for line in output.splitlines():
        command = _COMMAND.fullmatch(line)
        if command is None:
            continue
        level = _LEVELS[command[1]]
        if sum(each["annotation_level"] == level for each in found) < _MOST_OF_A_LEVEL:
            found.append({"annotation_level": level, **_annotation(command[2] or "", command[3])})
    return found


def _annotation(properties: str, message: str) -> dict[str, Any]:
    given = dict(each.strip().partition("=")[::2] for each in properties.split(","))
    own = {name: _plain(value, ":,") for name, value in given.items() if value}
    start = _whole(own.get("line"), 1)
    title = own.get("title")
    return {
        "path": own.get("file", ".github"),
        "start_line": start,
        "end_line": _whole(own.get("endLine"), start),
        "message": _plain(message, "")[:_LONGEST_MESSAGE],
        **({} if title is None else {"title": title[:_LONGEST_TITLE]}),
    }


def _whole(written: str | None, otherwise: int) -> int:
    return int(written) if written and written.isdecimal() else otherwise


def _plain(written: str, more: str) -> str:
    """Take back how a value is written; `%` itself comes last."""
    for character in ("\r", "\n", *more, "%"):
        written = written.replace(f"%{ord(character):02X}", character)
    return written
