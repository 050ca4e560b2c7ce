"""Which lines of a comment did its author type as text? Pure, and linear in the comment's size.

A command counts only where a reader of the rendered comment sees plain text at the start of a
line. Quotes, fenced and indented code, code spans that run over a line's start, HTML comments and
raw HTML blocks (`<pre>` and the like) are left out, by the block rules of CommonMark 0.31 as far
as they matter here: https://spec.commonmark.org/0.31.2/

Every character is looked at a constant number of times: each pattern below is anchored or walks
its input once, and a code span finds its end through an index instead of searching for it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\r|\n")
_QUOTE = re.compile(r" {0,3}>")
_INDENTED = re.compile(r"(?: {4}| {0,3}\t)")
_NEW_BLOCK = re.compile(r" {0,3}(?:[-+*]|[0-9]{1,9}[.)]|#{1,6})[ \t]")
_FENCE = re.compile(r"( {0,3}(?:(?:[-+*]|[0-9]{1,9}[.)]) {1,4})?)(`{3,}|~{3,})(.*)", re.DOTALL)
_COMMENT_BLOCK = re.compile(r" {0,3}<!--")
_RAW_HTML = re.compile(r" {0,3}<(pre|script|style|textarea)(?:[\s>]|$)", re.IGNORECASE)
_RAW_HTML_END = re.compile(r"</(?:pre|script|style|textarea)>", re.IGNORECASE)
_INLINE = re.compile(r"`+|<!--|-->")

# Marks an editor for right-to-left scripts, or a paste, leaves before the first letter.
_INVISIBLE = "\ufeff\u200b\u200e\u200f\u061c"


@dataclass(frozen=True)
class TypedLine:
    """One line typed as text; `number` counts the lines of the comment from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class _Fence:
    """An open code fence, and how far its lines are indented when it stands in a list item."""

    mark: str
    offset: int

    def closed_by(self, line: str) -> bool:
        """Tell whether this line is the closing fence: the same mark, as long, and alone."""
        bare = line.strip(" \t")
        return len(bare) >= len(self.mark) and not bare.strip(self.mark[0])

    def left_by(self, line: str) -> bool:
        """Tell whether this line is outside the list item the fence stands in."""
        return bool(line.strip()) and len(line) - len(line.lstrip(" ")) < self.offset


def typed_lines(body: str) -> list[TypedLine]:
    """Return the lines of `body` that are plain text where they start, in their order.

    HTML comments inside such a line are blanked; leading blanks and invisible marks are removed.
    """
    return [
        TypedLine(number, text.lstrip(" " + _INVISIBLE))
        for paragraph in _paragraphs(_LINE_END.split(body))
        for number, text in _outside_spans(paragraph)
    ]


def _paragraphs(lines: list[str]) -> Iterator[list[TypedLine]]:
    """Group the lines that are text into runs which a code span cannot leave."""
    paragraph: list[TypedLine] = []
    fence: _Fence | None = None
    ends_block: re.Pattern[str] | None = None
    for number, line in enumerate(lines, start=1):
        if fence is not None and not fence.left_by(line):
            if fence.closed_by(line):
                fence = None
            continue
        fence = None
        if ends_block is not None:
            if ends_block.search(line):
                ends_block = None
            continue
        fence = _opened_fence(line)
        ends_block = None if fence else _opened_html(line)
        is_text = not (
            fence
            or ends_block
            or _COMMENT_BLOCK.match(line)
            or _RAW_HTML.match(line)
            or not line.strip()
            or _QUOTE.match(line)
            or _INDENTED.match(line)
        )
        if paragraph and (not is_text or _NEW_BLOCK.match(line)):
            yield paragraph
            paragraph = []
        if is_text:
            paragraph.append(TypedLine(number, line))
    if paragraph:
        yield paragraph


def _opened_fence(line: str) -> _Fence | None:
    found = _FENCE.match(line)
    if found is None:
        return None
    before, mark, info = found.groups()
    if mark[0] == "`" and "`" in info:
        return None
    return _Fence(mark, len(before) if before.strip() else 0)


def _opened_html(line: str) -> re.Pattern[str] | None:
    """Return what ends the HTML block that this line opens and does not close itself."""
    if _COMMENT_BLOCK.match(line):
        return None if "-->" in line else re.compile("-->")
    if _RAW_HTML.match(line):
        return None if _RAW_HTML_END.search(line) else _RAW_HTML_END
    return None


def _outside_spans(paragraph: list[TypedLine]) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that do not start inside a code span or a comment."""
    text = "\n".join(line.text for line in paragraph)
    spans = list(_spans(text))
    starts = [start for start, _, _ in spans]
    shown = list(text)
    for start, end, is_comment in spans:
        if is_comment:
            shown[start:end] = ["\n" if char == "\n" else " " for char in text[start:end]]
    position = 0
    for line in paragraph:
        before = bisect_right(starts, position) - 1
        inside = before >= 0 and spans[before][0] < position < spans[before][1]
        if not inside:
            yield line.number, "".join(shown[position : position + len(line.text)])
        position += len(line.text) + 1


def _spans(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield start, end and whether it is a comment, of each code span and HTML comment."""
    marks = [(found.start(), found.group()) for found in _INLINE.finditer(text)]
    where: defaultdict[str, deque[int]] = defaultdict(deque)
    for start, mark in marks:
        where[mark].append(start)
    reached = 0
    for start, mark in marks:
        if start < reached or mark == "-->":
            continue
        ending = "-->" if mark == "<!--" else mark
        ends = where[ending]
        while ends and ends[0] <= start:
            ends.popleft()
        if ends:
            reached = ends[0] + len(ending)
            yield start, reached, mark == "<!--"
