"""What the bot's words tell a person to do, taken literally. Pure.

Only what is written there counts: a command in backticks, the merge of a pull request that is
named, a branch to delete, a ruleset to change. What only ends or undoes a recovery is no advice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bot.playbooks.incident.phrases import STATES
from tests.first_minute.words import Words

Deed = Literal[
    "comment", "merge", "bypass", "delete branch", "unlock", "run again", "resolve", "status",
]  # fmt: skip

_COMMAND = re.compile(r"`(/(?:approve|retry|revert|unpause)\b[^`]*)`")
_UNFINISHED = re.compile(r"…|\.\.\.|\b[A-Z]{3,}\b")
_MERGE = re.compile(r"\bmerge[^.`]{0,60}?#(\d+)", re.IGNORECASE)
_BY_HAND = re.compile(r"\bmerge it by hand\b", re.IGNORECASE)
_BYPASS = re.compile(r"bypass", re.IGNORECASE)
_IN_THE_WAY = re.compile(r"\b(?:delete|rename|remove)\b[^.]{0,60}?branch[^.`]{0,20}`([^`]+)`", re.I)
_IN_THE_WAY_TOO = re.compile(r"\b(?:delete|rename|remove)\b[^.`]{0,40}`([^`/]+)`", re.I)
_AGAIN = re.compile(r"\brun (?:`([^`]+)`|the check) again", re.IGNORECASE)
_UNLOCK = re.compile(r"\bunlock\b", re.IGNORECASE)
_MERGED = re.compile(r"\bmerged\b|\bnot merge")
_BACK = re.compile(r"take [^.]{0,60}back|take back", re.IGNORECASE)
_CONFLICT = re.compile(r"\bResolve (?:\d+|the) conflict", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.;])\s+|\n+")


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes:
        deed: what.
        of: the command, the number, the branch or the check.
        where: the issue or pull request where it was read.
        words: the sentence.
        seq: when it was said, in the order of all words.
    """

    deed: Deed
    of: str
    where: int
    words: str
    seq: int = 0


_MENDS = ("bypass", "delete branch", "unlock", "run again", "resolve")


def advices(read: Sequence[Words]) -> Iterator[Advice]:
    """Everything one is told to do, the most urgent first.

    Headlines first, the newest first; then what stands below them. Where the cause is to be mended
    before something is tried again, how to mend it is looked for in all of them first.
    """
    standing = [words for words in read if not words.headline.startswith(STATES)]
    heads = [each for words in standing for each in _in(words.headline, words)]
    whole = [each for words in standing for each in _in(words.text, words)]
    again = [each for each in (*heads, *whole) if each.of.startswith("/retry")]
    yield from (each for each in heads if each not in again)
    if again:
        yield from (each for each in whole if each.deed in _MENDS)
    yield from again
    yield from whole
    if waits(read):
        return
    for words in standing:
        if "`/status`" in words.text and "Commands here:" not in words.text:
            yield Advice("status", "/status", words.number, words.headline, words.seq)


def waits(read: Sequence[Words]) -> bool:
    """Whether the newest headline says that it waits for something, and until when."""
    said = [words for words in read if words.place in ("comment", "issue", "description")]
    heads = [words for words in said if not words.new] or said
    return bool(heads) and "I am waiting for" in heads[0].headline


def _in(text: str, of: Words) -> Iterator[Advice]:
    for sentence in _SENTENCE.split(text):
        if "Commands here" not in sentence and not _BACK.search(sentence):
            for deed, what in _told(sentence):
                yield Advice(deed, what, of.number, sentence, of.seq)


def _told(sentence: str) -> Iterator[tuple[Deed, str]]:
    for command in _COMMAND.findall(sentence):
        if not _UNFINISHED.search(command):
            yield "comment", command
    if _BYPASS.search(sentence):
        yield "bypass", ""
    for branch in (*_IN_THE_WAY.findall(sentence), *_IN_THE_WAY_TOO.findall(sentence)):
        yield "delete branch", branch
    if _UNLOCK.search(sentence):
        yield "unlock", ""
    if found := _AGAIN.search(sentence):
        yield "run again", found[1] or ""
    if "ready for review" in sentence or _CONFLICT.search(sentence):
        yield "resolve", ""
    if _BY_HAND.search(sentence):
        yield "merge", ""
    elif not _MERGED.search(sentence):
        for number in _MERGE.findall(sentence):
            yield "merge", number
