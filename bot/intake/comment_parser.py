"""Finds the commands in a comment: only in what was typed as text.

A command counts only where a reader of the rendered comment sees plain text at the start of a
line. Quotes (with the lines that GitHub takes into them), fenced and indented code, code spans and
addresses of links that run over a line's start, HTML comments and what stands in `<pre>`,
`<details>`, `<blockquote>` and the like are left out, by the block rules of CommonMark 0.31 as far
as they matter here: https://spec.commonmark.org/0.31.2/

Every character is looked at a constant number of times: each pattern below is anchored or walks
its input once, and a code span finds its end through an index instead of searching for it.

Pure and linear: the body is split once, each line is read once, and a word is compared with our
few command names only while it is short.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bot.command_arguments import CommentPlace, NotUnderstood, Typed, shown
from bot.slash_commands import COMMANDS
from bot.triggers import Request

_LINE_END = re.compile(r"\r\n|\r|\n")
_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r" {0,3}(?:[-+*]|([0-9]{1,9})[.)])(?:( +)|$)")
_MOST_INSIDE = 20
"""Quotes and list items in each other; what is deeper is not told apart."""
_CODE_INDENT = 4
_RULE = re.compile(r" {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$")
_HEADING = re.compile(r" {0,3}#{1,6}(?: |$)")
_UNDERLINE = re.compile(r" {0,3}=+ *$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)", re.DOTALL)
_UNSHOWN: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (re.compile(rf" {{0,3}}<{start}", re.IGNORECASE), re.compile(end, re.IGNORECASE))
    for start, end in (
        (r"(?:pre|script|style|textarea)(?:[\s>]|$)", "</(?:pre|script|style|textarea)>"),
        ("!--", "-->"),
        (r"\?", r"\?>"),
        (r"!\[CDATA\[", r"\]\]>"),
        ("![a-z]", ">"),
    )
)
"""HTML in which nothing is text: how it begins, and what ends it."""
_BLOCK_TAG = re.compile(
    r" {0,3}</?(?:address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|"
    r"dd|details|dialog|dir|div|dl|dt|fieldset|figcaption|figure|footer|form|frame|frameset|"
    r"h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|menuitem|nav|noframes|ol|"
    r"optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|track|"
    r"ul)(?:\s|/?>|$)",
    re.IGNORECASE,
)
_LONE_TAG = re.compile(r" {0,3}</?[a-z][a-z0-9-]*(?:[\s/][^<>]*)?>\s*$", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-z][a-z0-9-]*)(?:[\s/][^<>]*)?>", re.IGNORECASE)
_SETS_APART = frozenset({"blockquote", "code", "details", "kbd", "pre", "samp", "tt"})
"""Elements of HTML whose text is quoted, code or folded away."""
_DEFINITION = re.compile(r" {0,3}\[[^\[\]]+\]:\s*")
"""Of a link, whose address is on the next line: neither is shown."""
_INLINE = re.compile(r"`+|<!--|-->|\]\(|\)")
_ENDS = {"<!--": "-->", "](": ")"}
"""What ends a comment, and the address of a link; code ends as it began."""
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


_Said = Literal["no text", "begins", "goes on"]
"""Of a line: whether it is text, and whether it goes on with the paragraph before it."""


class _Blocks:
    """The blocks that are open at a line's end, by the algorithm of CommonMark's appendix.

    `inside` are the quotes (0) and list items (the column of their text) it is in.
    """

    def __init__(self) -> None:
        """Before the first line."""
        self.inside: list[int] = []
        self.fence: str | None = None
        self.ends_block: re.Pattern[str] | None = None
        self.in_html = False
        self.in_paragraph = False

    def read(self, line: str) -> _Said:
        """Take the next line."""
        rest, kept = self._within(line.expandtabs(_CODE_INDENT))
        if kept == len(self.inside) and (self.fence or self.ends_block or self.in_html):
            return self._verbatim(rest)
        opened, rest = self._opened(rest, after_it=kept < len(self.inside))
        is_lazy = self.in_paragraph and not opened and kept < len(self.inside)
        if is_lazy and not self._begins_block(rest):
            return "no text" if 0 in self.inside else "goes on"
        went_on = self.in_paragraph and not opened and kept == len(self.inside)
        self.fence = self.ends_block = None
        self.in_html, self.in_paragraph = False, went_on
        self.inside[kept:] = opened
        if self._begins_block(rest):
            self.in_paragraph = False
            return self._leaf(rest)
        if rest.startswith(" " * _CODE_INDENT):
            return "no text"
        if went_on and _UNDERLINE.match(rest):
            self.in_paragraph = False
            return "no text"
        self.in_html = not went_on and _LONE_TAG.match(rest) is not None
        self.in_paragraph = not self.in_html
        return self._text(goes_on=went_on)

    def _text(self, *, goes_on: bool) -> _Said:
        if 0 in self.inside:
            return "no text"
        return "goes on" if goes_on else "begins"

    def _within(self, line: str) -> tuple[str, int]:
        """What a line says inside the open quotes and list items, and how many it stays in."""
        for kept, column in enumerate(self.inside):
            if column == 0:
                quoted = _QUOTE.match(line)
                if quoted is None:
                    return line, kept
                line = line[quoted.end() :]
            elif line.startswith(" " * column):
                line = line[column:]
            elif line.strip():
                return line, kept
        return line, len(self.inside)

    def _opened(self, rest: str, *, after_it: bool) -> tuple[list[int], str]:
        """The quotes and list items that begin here, and what stands in them.

        In the middle of a paragraph a list begins only with a number 1, and never empty.
        """
        opened: list[int] = []
        while len(self.inside) + len(opened) < _MOST_INSIDE:
            if quoted := _QUOTE.match(rest):
                opened.append(0)
                rest = rest[quoted.end() :]
                continue
            item = None if _RULE.match(rest) else _ITEM.match(rest)
            if item is None:
                break
            number, blanks = item.groups()
            is_empty = not rest[item.end() :]
            odd = is_empty or (number and int(number) != 1)
            if odd and self.in_paragraph and not opened and not after_it:
                break
            column = item.end()
            if is_empty or len(blanks) > _CODE_INDENT:
                column = item.end() - len(blanks or "") + 1
            opened.append(column)
            rest = rest[column:]
        return opened, rest

    @staticmethod
    def _begins_block(rest: str) -> bool:
        """Whether a line begins something that ends a paragraph."""
        return (
            not rest.strip()
            or _opened_fence(rest) is not None
            or any(start.match(rest) for start, _ in _UNSHOWN)
            or any(each.match(rest) for each in (_RULE, _HEADING, _BLOCK_TAG))
        )

    def _leaf(self, rest: str) -> _Said:
        """Begin it."""
        self.fence = _opened_fence(rest)
        end = next((end for start, end in _UNSHOWN if start.match(rest)), None)
        self.ends_block = end if end and not end.search(rest) else None
        self.in_html = end is None and _BLOCK_TAG.match(rest) is not None
        return self._text(goes_on=False) if self.in_html else "no text"

    def _verbatim(self, rest: str) -> _Said:
        """Go on with code, or with HTML, which a blank line may end."""
        if self.fence:
            bare = "" if rest.startswith(" " * _CODE_INDENT) else rest.strip(" ")
            if bare.startswith(self.fence) and not bare.strip(self.fence[0]):
                self.fence = None
        elif self.ends_block:
            self.ends_block = None if self.ends_block.search(rest) else self.ends_block
        else:
            self.in_html = bool(rest.strip())
            return self._text(goes_on=True) if self.in_html else "no text"
        return "no text"


def typed_lines(body: str) -> list[TypedLine]:
    """Return the lines of `body` that are plain text where they start, in their order.

    HTML comments inside such a line are blanked; leading blanks and invisible marks are removed.
    """
    apart: Counter[str] = Counter()
    return [
        TypedLine(number, text.lstrip(" " + _INVISIBLE))
        for paragraph in _paragraphs(_LINE_END.split(body))
        for number, text in _outside_spans(paragraph, apart)
    ]


def _paragraphs(lines: list[str]) -> Iterator[list[TypedLine]]:
    """Group the lines that are text into runs which a code span cannot leave."""
    blocks = _Blocks()
    paragraph: list[TypedLine] = []
    for number, line in enumerate(lines, start=1):
        said = blocks.read(line)
        if paragraph and said != "goes on":
            yield paragraph
            paragraph = []
        if said != "no text":
            paragraph.append(TypedLine(number, line))
    if paragraph:
        yield paragraph


def _opened_fence(line: str) -> str | None:
    """The backticks or tildes that this line begins code with."""
    found = _FENCE.match(line)
    if found is None or (found[1][0] == "`" and "`" in found[2]):
        return None
    return found[1]


def _outside_spans(paragraph: list[TypedLine], apart: Counter[str]) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that do not start inside anything that is not text.

    Args:
        paragraph: the lines.
        apart: the elements of HTML that are open before it, and in the end after it.
    """
    text = "\n".join(line.text for line in paragraph)
    spans = list(_spans(text))
    starts = [start for start, _, _ in spans]
    shown, bare = list(text), list(text)
    for start, end, mark in spans:
        blank = ["\n" if char == "\n" else " " for char in text[start:end]]
        bare[start:end] = blank
        if mark == "<!--":
            shown[start:end] = blank
    tags = deque(_TAG.finditer("".join(bare)))
    position, defined = 0, False
    for line in paragraph:
        while tags and tags[0].end() <= position:
            _count(apart, tags.popleft())
        before = bisect_right(starts, position) - 1
        inside = before >= 0 and spans[before][0] < position < spans[before][1]
        in_tag = bool(tags) and tags[0].start() < position
        if not (inside or in_tag or defined or +apart):
            yield line.number, "".join(shown[position : position + len(line.text)])
        defined = _DEFINITION.fullmatch(line.text) is not None
        position += len(line.text) + 1
    for tag in tags:
        _count(apart, tag)


def _count(apart: Counter[str], tag: re.Match[str]) -> None:
    name = tag[2].lower()
    if name in _SETS_APART:
        apart[name] = max(apart[name] + (-1 if tag[1] else 1), 0)


def _spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and first mark of each code span, HTML comment and address of a link."""
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
        if start < reached or not mark or mark in _ENDS.values() or start in escaped:
            continue
        ending = _ENDS.get(mark, mark)
        ends = where[ending]
        while ends and ends[0] <= start:
            ends.popleft()
        if ends:
            reached = ends[0] + len(ending)
            yield start, reached, mark


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
