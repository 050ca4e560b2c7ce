"""Everything that README and docs/ name, one by one: `python -m tests.house.manual_items` counts.

Fenced blocks and the commands in them, links with their anchors, and what stands between
backticks: commands, options, routes, settings, keys, metrics, paths, tests, names of the code.
`tests/house/manual_check.py` holds each to what is there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]

_BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r'\]\(([^)\s]+)\)|src="([^"]+)"')
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_NOT_IN_A_SLUG = re.compile(r"[^\w\- ]")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*=\S*")


@dataclass(frozen=True)
class Item:
    """One thing that a document names.

    Attributes:
        where: the document and the line, `docs/data.md:12`.
        kind: `sh`, `yaml`, … of a block; `command` of a line in one; `link`, or `span`.
        text: as it is written.
    """

    where: str
    kind: str
    text: str


def documents() -> list[Path]:
    """The Markdown files for people: of the root, and of docs/."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def items(path: Path) -> Iterator[Item]:
    """Whatever one document names, in no order."""
    text = path.read_text("utf-8")
    shown = path.relative_to(ROOT).as_posix()

    def at(position: int) -> str:
        return f"{shown}:{text.count(chr(10), 0, position) + 1}"

    for block in _BLOCK.finditer(text):
        where = at(block.start())
        written = dedent(block[3])
        yield Item(where, block[2] or "text", written)
        if block[2] == "sh":
            yield from (Item(where, "command", each) for each in commands(written))
    bare = _BLOCK.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    for link in _LINK.finditer(bare):
        yield Item(at(link.start()), "link", link[1] or link[2])
    for span in _SPAN.finditer(bare):
        yield Item(at(span.start()), "span", span[1].replace(r"\|", "|"))


def commands(script: str) -> list[str]:
    """The commands of a shell script, one each, without comments and variables before them."""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and _VARIABLE.fullmatch(words[0]):
            words.pop(0)
        if words:
            found.append(shlex.join(words))
    return found


def anchors(document: str) -> set[str]:
    """The anchors that GitHub gives the headings of a Markdown document."""
    headings = re.findall(r"^#+ +(.+)$", _BLOCK.sub("", document), re.MULTILINE)
    return {_NOT_IN_A_SLUG.sub("", each.lower()).strip().replace(" ", "-") for each in headings}
