"""Finds the lines of a comment that a reader of it sees as plain text from their start.

Quotes (with the lines that GitHub takes into them), fenced and indented code, code spans and
addresses of links that run over a line's start, HTML comments, and what stands in `<pre>`,
`<details>`, `<blockquote>` and the like are left out. The blocks are those of markdown-it, by
CommonMark 0.31: https://spec.commonmark.org/0.31.2/

Linear in the comment's length, whatever it holds. Of what stands within a line only the start of
the next one is asked for, so the rules for it are our own: markdown-it looks for the end of each
HTML comment again, and does not tell where a line began.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from bot import LazyModule

if TYPE_CHECKING:
    import markdown_it
    from markdown_it.rules_inline import StateInline
else:
    markdown_it = LazyModule("markdown_it")

_BLOCKS = (
    "blockquote", "code", "fence", "heading", "hr", "html_block", "lheading", "list", "reference",
)  # fmt: skip
_LINE_END = re.compile(r"\r\n|\r|\n")
_UNSHOWN = re.compile(r"\s*<(?:[!?]|(?:pre|script|style|textarea)\b)", re.IGNORECASE)
"""How a block of HTML begins in which nothing is text."""
_TAG = re.compile(r"<(/?)([a-z][a-z0-9-]*)(?:[\s/][^<>]*)?>", re.IGNORECASE)
_SETS_APART = frozenset({"blockquote", "code", "details", "kbd", "pre", "samp", "tt"})
"""Elements of HTML whose text is quoted, code or folded away."""
INVISIBLE = "\ufeff\u200b\u200e\u200f\u061c"
"""Marks an editor for right-to-left scripts, or a paste, leaves before the first letter."""


@dataclass(frozen=True)
class TypedLine:
    """One line typed as text; `number` counts the lines of the comment from 1."""

    number: int
    text: str


@dataclass
class _Seen:
    """What is found in a run of text.

    Attributes:
        marks: where a line begins (None) or an element does or ends, in their order.
        comments: from where to where one goes.
        endless: what has no end from here on, so that nobody looks again.
    """

    marks: list[tuple[int, re.Match[str] | None]] = field(default_factory=lambda: [(0, None)])
    comments: list[tuple[int, int]] = field(default_factory=list)
    endless: set[str] = field(default_factory=set)


def typed_lines(body: str) -> list[TypedLine]:
    """Return the lines of `body` that are plain text where they start, in their order.

    HTML comments inside such a line are blanked; leading blanks and invisible marks are removed.
    """
    lines = _LINE_END.split(body)
    apart: Counter[str] = Counter()
    found: list[TypedLine] = []
    quotes = 0
    for token in _markdown().parse("\n".join(lines)):
        quotes += {"blockquote_open": 1, "blockquote_close": -1}.get(token.type, 0)
        is_html = token.type == "html_block" and not _UNSHOWN.match(token.content)
        if token.map is None or quotes or not (is_html or token.type == "inline"):
            continue
        reader = _html() if is_html else _markdown()
        for line, text in _begun(reader, token.content, apart):
            number = token.map[0] + line
            typed, whole = (each.lstrip(" " + INVISIBLE) for each in (text, lines[number]))
            # Behind the mark of a list or a heading it does not start the line.
            if whole[:1] == typed[:1]:
                found.append(TypedLine(number + 1, typed))
    return found


def _begun(
    reader: markdown_it.MarkdownIt, text: str, apart: Counter[str]
) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that do not start inside anything that is not text.

    Args:
        reader: has the rules.
        text: the lines.
        apart: the elements of HTML that are open before it, and in the end after it.
    """
    seen = _Seen()
    reader.inline.parse(text, reader, {"seen": seen}, [])
    reached = 0
    parts: list[str] = []
    for start, end in seen.comments:
        parts += text[reached:start], re.sub(r"[^\n]", " ", text[start:end])
        reached = end
    shown = "".join(parts) + text[reached:]
    number = reached = 0
    for at, tag in seen.marks:
        if tag is None:
            number += text.count("\n", reached, at)
            reached = at
            if not any(apart.values()):
                end = text.find("\n", at)
                yield number, shown[at : len(text) if end < 0 else end]
        elif (name := tag[2].lower()) in _SETS_APART:
            apart[name] = max(apart[name] + (-1 if tag[1] else 1), 0)


@cache
def _markdown() -> markdown_it.MarkdownIt:
    reader = _reader().enable([*_BLOCKS, "backticks"])
    reader.inline.ruler.push("escape", _escape)
    reader.inline.ruler.push("address", _address)
    return reader


@cache
def _html() -> markdown_it.MarkdownIt:
    """Within a block of HTML nothing is Markdown."""
    return _reader()


def _reader() -> markdown_it.MarkdownIt:
    reader = markdown_it.MarkdownIt("zero", {"html": True})
    reader.core.ruler.enableOnly(["block"])
    reader.inline.ruler2.enableOnly([])
    reader.inline.ruler.push("line", _line)
    reader.inline.ruler.push("tag", _tag)
    return reader


def _line(state: StateInline, _: bool) -> bool:
    if state.src[state.pos] != "\n":
        return False
    state.pos += 1
    _seen(state).marks.append((state.pos, None))
    return True


def _escape(state: StateInline, _: bool) -> bool:
    if state.src[state.pos] != "\\":
        return False
    # A line's end is none that could be escaped: the next one begins there.
    state.pos += 2 if state.src[state.pos + 1 : state.pos + 2].strip() else 1
    return True


def _address(state: StateInline, _: bool) -> bool:
    return state.src.startswith("](", state.pos) and _skip(state, state.pos + 1, ")")


def _tag(state: StateInline, _: bool) -> bool:
    start = state.pos
    if state.src.startswith("<!--", start):
        if _skip(state, start + 2, "-->"):
            _seen(state).comments.append((start, state.pos))
        return state.pos > start
    tag = _TAG.match(state.src, start)
    if tag is None:
        return False
    _seen(state).marks.append((start, tag))
    state.pos = tag.end()
    return True


def _skip(state: StateInline, after: int, ending: str) -> bool:
    """Go on behind what ends there or further on, if it does."""
    endless = _seen(state).endless
    end = -1 if ending in endless else state.src.find(ending, after)
    if end < 0:
        endless.add(ending)
        return False
    state.pos = end + len(ending)
    return True


def _seen(state: StateInline) -> _Seen:
    seen: _Seen = state.env["seen"]
    return seen
