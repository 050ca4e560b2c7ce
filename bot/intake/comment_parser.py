"""Finds the commands in a comment: only in what was typed as text.

A command counts only where a reader of the rendered comment sees plain text at the start of a
line. Quotes, fenced and indented code, code spans that run over a line's start, HTML comments and
raw HTML blocks (`<pre>` and the like) are left out, by the block rules of CommonMark 0.31 as far
as they matter here: https://spec.commonmark.org/0.31.2/

Every character is looked at a constant number of times: each pattern below is anchored or walks
its input once, and a code span finds its end through an index instead of searching for it.

Pure and linear: the body is split once, each line is read once, and a word is compared with our
few command names only while it is short.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from bot.command_arguments import CommentPlace, NotUnderstood, Typed, shown
from bot.slash_commands import COMMANDS
from bot.triggers import Request

_LINE_END = re.compile(r"\r\n|\r|\n")
_QUOTE = re.compile(r" {0,3}>")
_INDENTED = re.compile(r"(?: {4}| {0,3}\t)")
_NEW_BLOCK = re.compile(r" {0,3}(?:[-+*]|[0-9]{1,9}[.)]|#{1,6})[ \t]")
_FENCE = re.compile(r"( {0,3}(?:(?:[-+*]|[0-9]{1,9}[.)]) {1,4})?)(`{3,}|~{3,})(.*)", re.DOTALL)
_FENCE_END_INDENT = 3
"""Spaces that the end of a fence may stand further in than its beginning."""
_COMMENT_BLOCK = re.compile(r" {0,3}<!--")
_RAW_HTML = re.compile(r" {0,3}<(pre|script|style|textarea)(?:[\s>]|$)", re.IGNORECASE)
_RAW_HTML_END = re.compile(r"</(?:pre|script|style|textarea)>", re.IGNORECASE)
_INLINE = re.compile(r"`+|<!--|-->")
_BACKSLASHES = re.compile(r"(?<!\\)\\++(?=[`<])")

# Marks an editor for right-to-left scripts, or a paste, leaves before the first letter.
_INVISIBLE = "\ufeff\u200b\u200e\u200f\u061c"
_MAY_COMMAND = re.compile(rf"(?:\A|[\r\n])[ {_INVISIBLE}]*(?:/|<!--)")


def may_command(body: str) -> bool:
    """Whether there may be a command in a comment: most have none, and need not be parsed.

    A line of text with a command begins with a slash, or with an HTML comment that is blanked.
    """
    return _MAY_COMMAND.search(body) is not None


@dataclass(frozen=True)
class TypedLine:
    """One line typed as text; `number` counts the lines of the comment from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class _Fence:
    """An open code fence, how far in it begins, and its lines where it stands in a list item."""

    mark: str
    indent: int
    offset: int

    def closed_by(self, line: str) -> bool:
        """Tell whether this line is the closing fence: the same mark, as long, and alone."""
        bare = line.strip(" \t")
        if line.startswith(" " * (self.indent + _FENCE_END_INDENT + 1)):
            return False
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
    return _Fence(mark, len(before), len(before) if before.strip() else 0)


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
    escaped = {
        found.end() for found in _BACKSLASHES.finditer(text) if (found.end() - found.start()) % 2
    }
    where: defaultdict[str, deque[int]] = defaultdict(deque)
    for start, mark in marks:
        where[mark].append(start)
    reached = 0
    for at, run in marks:
        # What a backslash stands before begins nothing; but it ends what is open: within code a
        # backslash is one.
        start, mark = (at + 1, run[1:]) if at in escaped and run[0] == "`" else (at, run)
        if start < reached or not mark or mark == "-->" or start in escaped:
            continue
        ending = "-->" if mark == "<!--" else mark
        ends = where[ending]
        while ends and ends[0] <= start:
            ends.popleft()
        if ends:
            reached = ends[0] + len(ending)
            yield start, reached, mark == "<!--"


MOST_COMMANDS = 10
MOST_REASON = 2_000

_PREFIX = "playbooks"
_WORD = re.compile(r"\S+")
_NAMES_NEAR_LENGTH = {
    length: tuple(name for name in COMMANDS if abs(len(name) - length) <= 1)
    for length in range(max(map(len, COMMANDS)) + 2)
}

# Right-to-left and isolate marks can make a line read otherwise than it runs ("Trojan Source").
_DIRECTION_MARKS = re.compile("[\u200b\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff]")
# What copying brings along: without width, and without a say in what is read.
_WITHOUT_WIDTH = re.compile("&#8203;|[\u00ad\u180e\u200b-\u200d\u2060-\u2064\ufeff]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# Words that mean something to another bot, or start a path: never guessed at.
_OTHER_BOTS = frozenset(
    {
        "area", "assign", "azp", "backport", "benchmark", "build", "cc", "check", "cherry-pick",
        "ci", "close", "deploy", "dequeue", "fix", "format", "hold", "kind", "label", "lgtm",
        "lint", "lock", "merge", "milestone", "ok-to-test", "override", "priority", "queue",
        "rebase", "reopen", "rerun", "retest", "retitle", "review", "run", "ship", "shipit", "sig",
        "squash", "stale", "test", "title", "triage", "unassign", "unhold", "unlabel", "unlock",
        "update", "verify",
    }
)  # fmt: skip
_PATHS = frozenset(
    {
        "api", "app", "bin", "boot", "data", "dev", "etc", "health", "healthz", "home", "lib",
        "lib64", "media", "metrics", "mnt", "opt", "proc", "readyz", "root", "run", "sbin", "src",
        "srv", "sys", "tmp", "usr", "var",
    }
)  # fmt: skip
_MEANT_ELSEWHERE = _OTHER_BOTS | _PATHS


@dataclass(frozen=True)
class Command:
    """A command that can be carried out. `index` is its place among those of the comment."""

    name: str
    request: Request
    index: int
    line: int
    addressed: bool = False
    """Whether it was written as `/playbooks …`."""


@dataclass(frozen=True)
class Mistake:
    """A line that was surely meant for us and cannot be carried out, in words for its author.

    `name` is the command it is about, where there is such a one.
    """

    message: str
    index: int
    line: int
    did_you_mean: str | None = None
    name: str | None = None
    addressed: bool = False


def parse(body: str, here: CommentPlace) -> list[Command | Mistake]:
    """Return the commands and mistakes of a comment, in their order.

    Args:
        body: The comment as GitHub delivers it: Markdown of up to 65,536 characters.
        here: The repository the comment stands in; a target elsewhere is a mistake.
    """
    found: list[Command | Mistake] = []
    # Half a character, which JSON can hold, is none that could be stored or shown.
    body = body.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    for line in typed_lines(body) if may_command(body) else ():
        if not line.text.startswith("/"):
            continue
        read = _read(line, here, len(found))
        if read is None:
            continue
        if len(found) == MOST_COMMANDS:
            found.append(
                Mistake(
                    f"One comment may hold {MOST_COMMANDS} commands; those from line {line.number} "
                    "on were left out. Write them in another comment.",
                    index=len(found),
                    line=line.number,
                )
            )
            break
        found.append(read)
    return found


def _read(line: TypedLine, here: CommentPlace, index: int) -> Command | Mistake | None:
    words = (found.group() for found in _WORD.finditer(line.text))
    name = _command_name(next(words)[1:])
    addressed = name == _PREFIX
    if addressed:
        name = _command_name(next(words, "help").removeprefix("/"))
    entry = COMMANDS.get(name)
    if entry is None:
        return _unknown(name, line, index, addressed)
    raw, reason = _split_reason(words)
    rest = [bare for word in raw if (bare := word.strip("`<>,"))]
    # A check's name is only compared with what was reported, however it reads.
    risky = raw[:2] if name == "bisect" else raw
    if _DIRECTION_MARKS.search(" ".join(risky)):
        return Mistake(
            f"`/{name}` holds invisible characters that can make it read otherwise than it runs. "
            "Type it again by hand.",
            index=index,
            line=line.number,
            name=name,
            addressed=addressed,
        )
    try:
        request = entry.read(Typed(name, tuple(rest), reason, here, tuple(raw)))
    except NotUnderstood as error:
        return Mistake(str(error), index=index, line=line.number, name=name, addressed=addressed)
    return Command(name, request, index=index, line=line.number, addressed=addressed)


def _command_name(word: str) -> str:
    """Lower-case an ASCII word; others stay, so that no look-alike letter becomes a command."""
    return word.lower() if word.isascii() else word


def _split_reason(words: Iterator[str]) -> tuple[list[str], str]:
    """Split the words at the first `because`; the reason is what follows, as one clean line."""
    rest: list[str] = []
    for word in words:
        if word.lower().rstrip(":,") == "because":
            return rest, _clean(" ".join(words))
        if copied := _copied(word):
            rest.append(copied)
    return rest, ""


def _copied(word: str) -> str:
    """Drop what has no width; of names in other scripts only what joins no letters there."""
    plain = _WITHOUT_WIDTH.sub("", word)
    return plain if plain.isascii() else re.sub("&#8203;|[\u200b\u2060\ufeff]", "", word)


def _clean(reason: str) -> str:
    plain = " ".join(_DIRECTION_MARKS.sub("", _CONTROLS.sub(" ", reason)).split())
    return plain if len(plain) <= MOST_REASON else plain[: MOST_REASON - 1] + "…"


def _unknown(name: str, line: TypedLine, index: int, addressed: bool) -> Mistake | None:
    near = _nearest(name)
    if addressed:
        message = f"`/playbooks` knows no command {shown(name)}. `/help` lists them."
    elif near is not None:
        message = f"There is no command {shown('/' + name)}. Nothing was started."
    else:
        return None
    return Mistake(
        message,
        index=index,
        line=line.number,
        did_you_mean=near and f"/{near}",
        addressed=addressed,
    )


def _nearest(word: str) -> str | None:
    """Return our command one slip away from `word`, unless the word has a meaning elsewhere."""
    if "/" in word or word in _MEANT_ELSEWHERE:
        return None
    alike = _NAMES_NEAR_LENGTH.get(len(word), ())
    return next((name for name in alike if _one_slip(word, name)), None)


def _one_slip(left: str, right: str) -> bool:
    """Tell whether one insertion, deletion, replacement or swap of neighbours makes them equal."""
    shorter, longer = sorted((left, right), key=len)
    same = 0
    while same < len(shorter) and shorter[same] == longer[same]:
        same += 1
    if len(shorter) != len(longer):
        return shorter[same:] == longer[same + 1 :]
    swapped = shorter[same + 1 : same + 2] + shorter[same : same + 1]
    return (
        shorter[same + 1 :] == longer[same + 1 :] or swapped + shorter[same + 2 :] == longer[same:]
    )
