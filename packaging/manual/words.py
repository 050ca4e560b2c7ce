"""Every text that a person can meet, read from the code: by where it is met, and who says it.

What is only known when it is said stands in braces, as the code names it. Docstrings, patterns,
markup, SQL and names are no texts; what stands in a template is.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Text:
    """One text: the file and the line, the function that says it, and its words."""

    path: str
    line: int
    by: str
    words: str


ROOMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("On issues and pull requests", ("bot/playbooks", "bot/canary/messages.py", "bot/pictures",
                                     "bot/records/documents", "bot/safety", "bot/spec_reports.py")),
    ("Answers to slash commands", ("bot/commands", "bot/command_arguments.py",
                                   "bot/slash_commands.py", "bot/intake/comment_parser.py")),
    ("The cockpit and Setup", ("bot/cockpit", "bot/setup")),
    ("Answers of the HTTP API", ("bot/intake/http", "bot/intake/api", "bot/intake/alerts",
                                 "bot/traffic")),
    ("The command line", ("bot/cli.py", "bot/local", "bot/doctor.py", "bot/listen.py",
                          "bot/transfer.py", "bot/records/audit", "bot/retention.py")),
    ("Faults of settings, configuration, git and GitHub",
     ("bot/settings.py", "bot/config.py", "bot/limits.py", "bot/yaml_text.py", "bot/canary",
      "bot/git", "bot/github", "bot/notify.py", "bot/errors.py", "bot/trials", "bot/wiring")),
    ("The demo", ("demo",)),
)  # fmt: skip
"""Where texts are met, and the code that says them; a file belongs to the first that names it."""

UNSAID = (ROOT / "bot/playbooks/stored_steps.py", ROOT / "bot/cockpit/manual")
"""What only tells a journal's steps by the words of earlier releases; and the manual, once it is
built: its page of every text would hold itself.
"""

_LOGS = {"debug", "info", "warning", "error", "exception", "critical"}
_PATTERNS = {"compile", "sub", "search", "match", "fullmatch", "findall", "text", "execute"}
_AS_THEY_ARE = {"str", "len", "quoted", "names", "listed", "shown", "repr", "sorted"}
"""What shows what it is given."""

_WORD = re.compile(r"[A-Za-z][a-z']+")
_NO_TEXT = re.compile(
    r"^(?:SELECT|PRAGMA|INSERT|DELETE|UPDATE|BEGIN|CREATE|font:|body\{|query |mutation )"
    r"|^<\w*[ >]|\(\?|\\[wdbsS]|^[\w./-]+$|:root|\$\w+: \w+!|-src '|'self'|charset=|max-age="
    r"|\{ font: |^--\w|^\s*\w+ \w+$"
)


_SHOWN = 90
"""Letters of a text on the page that says where each stands."""


def texts() -> dict[str, list[Text]]:
    """Each text by where it is met, in the order of the code."""
    seen: set[Path] = set()
    found: dict[str, list[Text]] = {}
    for title, rooms in ROOMS:
        found[title] = []
        for room in rooms:
            place = ROOT / room
            for path in [place] if place.is_file() else sorted(place.rglob("*")):
                if (
                    path not in seen
                    and not any(path.is_relative_to(each) for each in UNSAID)
                    and path.suffix in (".py", ".html")
                    and path.is_file()
                ):
                    seen.add(path)
                    found[title] += _of_template(path) if path.suffix == ".html" else _of(path)
    return found


def page() -> str:
    """The page of the manual."""
    lines = [
        "# Every text",
        "",
        "What people can meet, read from the code, so that it can be read aloud in one go. In "
        "braces: what is only known when it is said.",
        "",
    ]
    for title, found in texts().items():
        lines += [f"## {title}", ""]
        before = ""
        for each in found:
            if each.path != before:
                lines += [f"### `{each.path}`", ""]
                before = each.path
            words = html.escape(each.words, quote=False).replace("\n", "<br>").replace("|", "\\|")
            lines += [f"- {words}"]
        lines += [""]
    return "\n".join(lines)


def places() -> str:
    """The page that says in which file each text stands, by the first words of two of them."""
    lines = [
        "# Where each text stands",
        "",
        "Written by `tests/house/test_words.py` from the code; `PLAYBOOKS_TEXTS=write` writes it",
        "again. Of each file the longest text and another, as far as they begin; the manual has",
        "them whole, under *Every text*.",
    ]
    for title, found in texts().items():
        lines += ["", f"## {title}", "", "| file | says, for instance |", "|---|---|"]
        for path in dict.fromkeys(each.path for each in found):
            said = [each.words for each in found if each.path == path]
            shown = dict.fromkeys([max(said, key=len), said[0]])
            lines.append(f"| `{path}` | {'<br>'.join(map(_beginning, shown))} |")
    return "\n".join(lines) + "\n"


def _beginning(words: str) -> str:
    line = " ".join(words.split())
    cut = line if len(line) <= _SHOWN else f"{line[:_SHOWN].rpartition(' ')[0]} …"
    plain = re.sub(r"[`*\\]", "", cut).replace("|", "/")
    return html.escape(plain, quote=False).replace("[", "&#91;")


def _of(path: Path) -> Iterator[Text]:
    """The texts of a file of Python."""
    shown = path.relative_to(ROOT).as_posix()
    tree = ast.parse(path.read_text("utf-8"))
    silent = {id(each) for node in ast.walk(tree) for each in _silent(node)}

    def walk(node: ast.AST, by: str) -> Iterator[Text]:
        if id(node) in silent:
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            by = node.name
        words = _words(node)
        if words is not None:
            if _is_text(words):
                yield Text(shown, getattr(node, "lineno", 0), by, words)
            if not isinstance(node, ast.JoinedStr | ast.BinOp):
                return
        # What stands inside braces may hold texts of its own.
        inside = _inner(node) if words is not None else ast.iter_child_nodes(node)
        for child in inside:
            yield from walk(child, by)

    yield from walk(tree, "")


def _inner(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FormattedValue):
            yield child.value
        elif isinstance(child, ast.JoinedStr | ast.BinOp):
            yield from _inner(child)
        elif not isinstance(child, ast.Constant):
            yield child


def _silent(node: ast.AST) -> Iterator[ast.AST]:
    """What is said to nobody: docstrings, log lines, patterns, annotations."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        of = node.func.value if isinstance(node.func, ast.Attribute) else None
        is_log = isinstance(of, ast.Name) and of.id == "log" and name in _LOGS
        is_pattern = name in _PATTERNS and isinstance(of, ast.Name) and of.id in ("re", "sa")
        if is_log or is_pattern or name in ("Literal", "TypeVar", "NewType"):
            yield node
    if isinstance(node, ast.Assert):
        yield node
    if isinstance(node, ast.AnnAssign):
        yield node.annotation


def _words(node: ast.AST) -> str | None:
    """The text that an expression makes, what is put in in braces; None where it makes none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(
            f"{{{_short(each.value)}}}"
            if isinstance(each, ast.FormattedValue)
            else str(ast.literal_eval(each))
            for each in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _words(node.left), _words(node.right)
        if left is None and right is None:
            return None
        left = f"{{{_short(node.left)}}}" if left is None else left
        return left + (f"{{{_short(node.right)}}}" if right is None else right)
    return None


def _short(node: ast.expr) -> str:
    """What is put in, as the code names it: the last name of it, or the choices between words."""
    if isinstance(node, ast.IfExp):
        body, other = _words(node.body), _words(node.orelse)
        left = _short(node.body) if body is None else body
        return f"{left} / {_short(node.orelse) if other is None else other}"
    if isinstance(node, ast.Call):
        by = node.func.id if isinstance(node.func, ast.Name) else ""
        if by and by not in _AS_THEY_ARE:
            return by.strip("_").replace("_", " ")
        inner = node.args[0] if node.args else node.func
        return str(inner.value) if isinstance(inner, ast.Constant) else _short(inner)
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.BoolOp):
        return _short(node.values[0])
    if isinstance(node, ast.Subscript):
        return _short(node.value)
    words = _words(node)
    return "…" if words is None else words


def _is_text(words: str) -> bool:
    filled = re.sub(r"\{[^{}]*\}|`[^`]*`", " xx ", words)
    own = len(_WORD.findall(filled)) - filled.count(" xx ")
    return (
        own >= 1
        and own + filled.count(" xx ") >= 2
        and " " in words.strip()
        and not _NO_TEXT.search(words)
    )


def _of_template(path: Path) -> Iterator[Text]:
    """The texts of a page, between its tags."""
    shown = path.relative_to(ROOT).as_posix()
    source = path.read_text("utf-8")
    bare = re.sub(r"\{#.*?#\}|\{%.*?%\}|<style.*?</style>|<script.*?</script>", _blank, source,
                  flags=re.DOTALL)  # fmt: skip
    bare = re.sub(r"\{\{(.*?)\}\}", lambda found: f"{{{found[1].strip()}}}", bare)
    for found in re.finditer(r">([^<>]+)<|(?:title|aria-label|placeholder)=\"([^\"]+)\"", bare):
        words = " ".join((found[1] or found[2]).split())
        if _is_text(words):
            yield Text(shown, bare.count("\n", 0, found.start()) + 1, path.stem, words)


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])
