"""Reads the commands that documents tell people to type, by the parsers that will read them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from functools import cache

import click

from bot.cli import main as command_line
from bot.command_arguments import CommentPlace
from bot.intake.comment_parser import Command, parse
from bot.slash_commands import COMMANDS
from tests.house.manual_items import ROOT

HOST = re.compile(r"https://(?:YOUR-HOST|playbooks\.example)")


class Wrong(Exception):
    """An item does not hold; the message says why."""


class Untried(Exception):
    """An item cannot be tried here; the message says why."""


FOREIGN = {
    **dict.fromkeys(("cp", "mkdir", "rm", "umask"), "is run by tests/test_transfer.py"),
    "amtool": "needs an Alertmanager",
    "createdb": "needs a PostgreSQL",
    "createuser": "needs a PostgreSQL",
    "curl": "needs a server; its address and its body are checked",
    "docker": "needs Docker",
    "gh": "needs GitHub",
    "git": "needs a repository with records",
    "kubectl": "needs a cluster",
    "pg_dump": "needs a PostgreSQL",
    "pip": "asks a package index",
    "sqlite3": "needs a database",
    "systemctl": "needs systemd",
    "systemd-analyze": "is run by tests/deploy",
}
"""Programs of others that a document tells people to run."""


def read_command(
    text: str, setting: Callable[[str], None], route: Callable[[str, str], None]
) -> None:
    """Read a command as its own parser would.

    Args:
        text: the command, with the variables before it.
        setting: raises where there is no such variable.
        route: raises where the server has no such method and path.

    Raises:
        Wrong: it would not be understood, or names what is not there.
        Untried: its program is somebody else's.
    """
    words = shlex.split(text.replace("…", "x"))
    while words and re.fullmatch(r"[A-Z_][A-Z0-9_]*=.*", words[0]):
        setting(words.pop(0).partition("=")[0])
    program, *rest = words
    match program.rpartition("/")[2]:
        case "playbooks":
            _cli(command_line, "playbooks", rest)
        case "make":
            _make(rest)
        case "python" | "pytest":
            for each in rest:
                if "/" in each:
                    is_file(each)
        case "export":
            for each in rest:
                setting(each.partition("=")[0])
        case "curl":
            for found in re.findall(HOST.pattern + r"(/[^\s'\"]*)", text):
                route("POST", found)
            if "-d" in rest:
                json.loads(rest[rest.index("-d") + 1])
            raise Untried(FOREIGN["curl"])
        case other if other in FOREIGN:
            raise Untried(FOREIGN[other])
        case other:
            raise Wrong(f"nobody knows the program {other}")


def _cli(group: click.Command, name: str, rest: list[str]) -> None:
    """Parse as click would, without running anything and without asking for files to exist."""
    while isinstance(group, click.Group):
        if not rest:
            return
        found = group.get_command(click.Context(group), rest[0])
        if found is None:
            raise Wrong(f"{name} has no command {rest[0]}")
        group, name, rest = found, f"{name} {rest[0]}", rest[1:]
    if not rest:
        return  # named, not written out
    try:
        group.make_parser(click.Context(group, info_name=name)).parse_args(list(rest))
    except click.UsageError as error:
        raise Wrong(f"{name}: {error.message}") from error


@cache
def targets() -> frozenset[str]:
    """The Makefile's."""
    return frozenset(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _make(rest: list[str]) -> None:
    for each in rest:
        name, equals, value = each.partition("=")
        if not equals and name not in targets():
            raise Wrong(f"the Makefile has no target {name}")
        for path in value.split():
            if "/" in path:
                is_file(path)


@cache
def options() -> frozenset[str]:
    """Every option of every command."""
    found: set[str] = set()

    def walk(group: click.Command) -> None:
        found.update(each for one in group.params for each in (*one.opts, *one.secondary_opts))
        if isinstance(group, click.Group):
            for name in group.list_commands(click.Context(group)):
                if (below := group.get_command(click.Context(group), name)) is not None:
                    walk(below)

    walk(command_line)
    return frozenset(found)


def option(text: str) -> None:
    """Look for it among the options of all commands."""
    words = text.split()
    if words[0] == "--":
        return  # what follows is the reader's own command
    for each in words:
        if each.startswith("--") and each not in options() | OPTIONS_OF_OTHERS:
            raise Wrong(f"no command has {each}")


OPTIONS_OF_OTHERS = {"--snapshot-update", "--full", "--fault", "--thorough"}
"""Of pytest's plugins, and of benchmarks."""

_PLACEHOLDERS = {
    "GOOD..BAD": "v1..main",
    "CAPABILITY": "llm.summarize",
    "CANDIDATE": "acme/model-2",
    "STAGE": "25",
    "SHA": "3f2a9c1",
    "DIGEST": "0c1d2e3f4a5b",
    "ID": "7k2m",
    "LEVEL": "high",
    "NAME": "unit",
    "#PR": "#12",
    "…": "it is broken",
    "low|medium|high|critical": "high",
}


def slash(text: str) -> None:
    """Read it as a comment is read."""
    name = text[1:].split()[0].removeprefix("playbooks ")
    if text in {f"/{name}", COMMANDS[name].usage if name in COMMANDS else ""}:
        if name not in {*COMMANDS, "playbooks"}:
            raise Wrong("no such slash command")
        return
    written = re.sub(r"\[([^\[\]|]*)\|[^\[\]]*\]", r"\1", text).replace("[", "").replace("]", "")
    written = re.sub(r"\{[^}]*\}", "llm.summarize" if "capab" in written else "3f2a9c1", written)
    for mark, example in _PLACEHOLDERS.items():
        written = re.sub(rf"(?<!\w){re.escape(mark)}(?!\w)", example, written)
    found = parse(written, CommentPlace("acme/shop", "https://github.com/acme/shop", 1))
    if len(found) != 1 or not isinstance(found[0], Command):
        raise Wrong(f"a comment with {written!r} is not understood")


def path_exists(text: str) -> bool:
    """Whether a path is there as written: from the root, in `bot`, a playbook's room, or docs/."""
    rooms = [ROOT, *(ROOT / each for each in ("bot", "docs", "deploy", "deploy/kubernetes"))]
    rooms += (ROOT / "bot/playbooks").iterdir()
    return any((room / text).exists() for room in rooms)


def is_file(text: str) -> None:
    name, _, test = text.partition("::")
    if not path_exists(name):
        raise Wrong("no such file")
    if test and f"def {test}(" not in (ROOT / name).read_text("utf-8"):
        raise Wrong("no such test")
