"""Finds the commands in a comment: only in what was typed as text.

Pure and linear: a word is compared with our few command names only while it is short.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.command_arguments import CommentPlace, NotUnderstood, Typed, shown
from bot.intake.typed_lines import INVISIBLE, TypedLine, typed_lines
from bot.slash_commands import COMMANDS
from bot.triggers import Request

_MAY_COMMAND = re.compile(rf"(?:\A|[\r\n])[ {INVISIBLE}]*/")


def may_command(body: str) -> bool:
    """Whether there may be a command in a comment: most have none, and need not be parsed."""
    return _MAY_COMMAND.search(body) is not None


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
