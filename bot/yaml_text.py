"""A small part of YAML, read in bounded time: words, numbers, lists, mappings, with their lines.

What makes YAML dangerous or surprising is refused in words: anchors, tags, merge keys, keys that
are there twice, dates, numbers in base 60. The parser's events are read one by one, without
recursion, so that a file costs no more than its size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

DEEPEST = 20
"""Lists and mappings inside each other."""
MOST_VALUES = 10_000
"""Keys, words, lists and mappings of one file."""
LONGEST_NUMBER = 40
LONGEST_KEY = 256
_SHOWN = 60
_LONGEST_NAME = 12
"""Words of a list that one name may have been cut into."""

Path = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNREADABLE = re.compile(
    "[^\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_BREAKS = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

# https://yaml.org/type/: the implicit types of YAML 1.1, which every reader of ours has used.
_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"yes|Yes|YES|true|True|TRUE|on|On|ON")
_FALSE = re.compile(r"no|No|NO|false|False|FALSE|off|Off|OFF")
_INTEGER = re.compile(r"[-+]?(?:0b[0-1_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*)")
_DECIMAL = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?"
)


@dataclass(frozen=True)
class YamlFault:
    """Something that is not allowed; `line` counts from 1, None where no line can be named."""

    line: int | None
    problem: str


class UnreadableYaml(Exception):
    """The text is not what is read here; `faults` says what is wrong, line by line."""

    def __init__(self, faults: list[YamlFault]) -> None:
        """Keep what is wrong, at least one fault."""
        super().__init__("; ".join(fault.problem for fault in faults))
        self.faults = faults


@dataclass
class Document:
    """What was read.

    Attributes:
        data: plain data: dict (text keys), list, str, int, float, bool, None.
        lines: where each value stands, by its path; a key's value stands where its key does.
        doubts: what can be read, but hardly as it was meant.
        controls: words that hold characters nobody can see, by their line.
    """

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    doubts: list[YamlFault] = field(default_factory=list)
    controls: list[YamlFault] = field(default_factory=list)

    def line_of(self, path: Path) -> int | None:
        """The line of a value, or of the innermost thing around it that has one."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None


def read_yaml(text: str, *, most_faults: int) -> Document:
    """Read one YAML document.

    Args:
        text: the file.
        most_faults: reading ends after so many.

    Raises:
        UnreadableYaml: it is not YAML, or uses what is not allowed here.
    """
    text = text.removeprefix("\ufeff")
    if odd := _UNREADABLE.search(text):
        line = len(_BREAKS.findall(text[: odd.start()])) + 1
        raise UnreadableYaml(
            [YamlFault(line, f"the character U+{ord(odd[0]):04X} is not allowed in YAML")]
        )
    reader = _Reader(most_faults)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            reader.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "cannot be read"
        reader.faults.append(
            YamlFault(mark.line + 1 if mark else None, f"not valid YAML: {problem}")
        )
    except RecursionError:
        reader.faults.append(YamlFault(None, "nested too deeply"))
    except _Enough:
        pass
    if reader.faults:
        raise UnreadableYaml(reader.faults)
    return reader.document


class _Enough(Exception):
    """There is no sense in reading on."""


@dataclass
class _Open:
    """A list or mapping that is being read; `items` are the words of a list in brackets."""

    value: dict[str, Any] | list[Any]
    path: Path
    line: int
    in_brackets: bool = False
    key: str | None = None
    items: list[tuple[str, int]] = field(default_factory=list)


class _Reader:
    """Builds the document from the parser's events."""

    def __init__(self, most_faults: int) -> None:
        self.document = Document()
        self.faults: list[YamlFault] = []
        self._most_faults = most_faults
        self._open: list[_Open] = []
        self._values = 0
        self._documents = 0

    def take(self, event: Any) -> None:
        """Heed one event.

        Raises:
            _Enough: reading on makes no sense; `faults` says why.
        """
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._stop(line, "a second document begins; only one is allowed")
        elif isinstance(event, yaml.AliasEvent):
            self._stop(line, "anchors and aliases are not allowed")
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            self._node(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()

    def _node(self, event: Any, line: int) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            self._stop(line, f"more than {MOST_VALUES:,} values")
        if event.anchor is not None:
            self._stop(line, "anchors and aliases are not allowed")
        if event.tag is not None:
            self._say(line, f"tags are not allowed, found {_shown(event.tag)}")
        if isinstance(event, yaml.ScalarEvent):
            return self._word(event, line)
        if self._expects_key:
            self._stop(line, "a key must be a word, not a list or mapping")
        if len(self._open) >= DEEPEST:
            self._stop(line, f"nested too deeply: at most {DEEPEST} levels")
        is_list = isinstance(event, yaml.SequenceStartEvent)
        value: dict[str, Any] | list[Any] = [] if is_list else {}
        path = self._put(value, line)
        self._open.append(_Open(value, path, line, in_brackets=is_list and event.flow_style))
        return None

    def _word(self, event: Any, line: int) -> None:
        plain = not event.style
        written: str = event.value
        if self._expects_key:
            return self._key(written, line, plain=plain)
        if self._open and self._open[-1].in_brackets and plain:
            self._open[-1].items.append((written, line))
        if not plain or event.tag is not None:
            if _CONTROLS.search(written):
                self.document.controls.append(
                    YamlFault(line, f"{_shown(written)} holds a character that nobody can see")
                )
            self._put(written, line)
            return None
        try:
            self._put(_meaning(written), line)
        except ValueError as error:
            self._put(None, line)
            self._say(line, f"{_shown(written)} {error}")
        return None

    def _key(self, written: str, line: int, *, plain: bool) -> None:
        around = self._open[-1]
        around.key = written
        before = self.document.lines.get((*around.path, written))
        if plain and written == "<<":
            self._say(line, "merge keys (<<) are not allowed")
        elif len(written) > LONGEST_KEY:
            self._say(line, f"a key is longer than {LONGEST_KEY} characters")
        elif _CONTROLS.search(written):
            self._say(line, f"the key {_shown(written)} holds a character that nobody can see")
        elif before is not None:
            self._say(line, f"{_shown(written)} is there twice, first in line {before}")
        else:
            self.document.lines[(*around.path, written)] = line

    @property
    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and not self._has_key

    @property
    def _has_key(self) -> bool:
        return self._open[-1].key is not None

    def _put(self, value: Any, line: int) -> Path:
        """Put a value where it belongs, and tell its path."""
        if not self._open:
            self.document.data = value
            return ()
        around = self._open[-1]
        if isinstance(around.value, list):
            path: Path = (*around.path, len(around.value))
            around.value.append(value)
            self.document.lines[path] = line
            return path
        key = around.key or ""
        around.value[key] = value
        around.key = None
        return (*around.path, key)

    def _close(self) -> None:
        closed = self._open.pop()
        self.document.doubts.extend(_split_names(closed.items))

    def _say(self, line: int, problem: str) -> None:
        self.faults.append(YamlFault(line, problem))
        if len(self.faults) >= self._most_faults:
            raise _Enough

    def _stop(self, line: int, problem: str) -> None:
        self.faults.append(YamlFault(line, problem))
        raise _Enough


def _meaning(written: str) -> Any:
    """What a bare word stands for.

    Raises:
        ValueError: it looks like something that is not read here; the message says what to do.
    """
    if _NULL.fullmatch(written):
        return None
    if _TRUE.fullmatch(written):
        return True
    if _FALSE.fullmatch(written):
        return False
    if _DATE.fullmatch(written):
        raise ValueError("reads as a date, which nothing here is: put it in quotes")
    if _NO_NUMBER.fullmatch(written):
        raise ValueError("is no finite number: write one, or put it in quotes")
    if _BASE_60.fullmatch(written):
        raise ValueError("reads as a number in base 60: put it in quotes")
    for pattern, number in ((_INTEGER, _integer), (_DECIMAL, _decimal)):
        if pattern.fullmatch(written):
            if len(written) > LONGEST_NUMBER:
                raise ValueError("is a number of too many digits: put it in quotes if it is none")
            return number(written)
    return written


def _integer(written: str) -> int:
    digits = written.replace("_", "")
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    prefix, base = digits[:2].lower(), 10
    if prefix in ("0b", "0x"):
        digits, base = digits[2:], 2 if prefix == "0b" else 16
    elif len(digits) > 1 and digits.startswith("0"):
        base = 8
    try:
        return sign * int(digits, base)
    except ValueError:
        raise ValueError("reads as a number, but is none: put it in quotes") from None


def _decimal(written: str) -> float:
    number = float(written.replace("_", ""))
    if not math.isfinite(number):
        raise ValueError("is too large a number")
    return number


def _split_names(items: list[tuple[str, int]]) -> Iterator[YamlFault]:
    """Find words of a list in brackets that a comma cut in two, within parentheses."""
    at = 0
    while at < len(items):
        depth = _depth(items[at][0])
        end = at
        while depth > 0 and end + 1 < min(len(items), at + _LONGEST_NAME):
            end += 1
            depth += _depth(items[end][0])
        if end > at and depth <= 0:
            parts = [word for word, _ in items[at : end + 1]]
            meant = ", ".join(parts).replace("\\", "\\\\").replace('"', '\\"')
            named = ", ".join(_shown(part) for part in parts[:5])
            yield YamlFault(
                items[at][1],
                f"{named}: a comma within [ ] begins another one. If one name was meant, "
                f'write it in quotes: "{meant[: _SHOWN * 4]}"',
            )
            at = end
        at += 1


def _depth(word: str) -> int:
    return word.count("(") - word.count(")")


def _shown(written: str) -> str:
    short = written if len(written) <= _SHOWN else written[:_SHOWN] + "…"
    visible = _CONTROLS.sub("\ufffd", short)
    return f"'{visible}'"
