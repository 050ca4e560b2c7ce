"""Counts what makes a house easy or hard to live in: `python -m tests.house.count [COMMIT]`.

Files, lines, names that stand for two things, modules named by what they do instead of what they
are, circles, functions between rooms whose arguments nobody explains; and with `--enter PLAY` the
files that one request enters, from its delivery to the end, and those of everything beside it.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import gc
import io
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

from structlog.contextvars import get_contextvars

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("bot", "demo", "fakegithub")
SMALL = 80
"""Lines below which a file needs a reason."""
NOUNS = {
    "finding": "what was found: the noun, as of an audit or a search",
    "tracing": "following a request through its parts: OpenTelemetry's own word",
    "wiring": "the room where parts are put together: the noun of dependency injection",
}
"""Words that end like a gerund and are nouns of the field, each with its reason."""


@cache
def parsed(path: Path) -> ast.Module:
    """What stands in a file; read once, whoever asks."""
    return ast.parse(path.read_text("utf-8"))


@dataclass(frozen=True)
class House:
    """The modules of a tree, by their dotted names."""

    root: Path
    modules: Mapping[str, Path]
    trees: Mapping[str, ast.Module]

    @classmethod
    def read(cls, root: Path = ROOT) -> House:
        """Read every module of the packages below `root`."""
        modules = {
            ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
            for package in PACKAGES
            for path in sorted((root / package).rglob("*.py"))
        }
        # Millions of nodes, none of them garbage: to look for some takes twice as long as to parse.
        gc.disable()
        trees = {name: parsed(path) for name, path in modules.items()}
        gc.freeze()
        gc.enable()
        return cls(root, modules, trees)

    def lines(self, package: str) -> dict[str, int]:
        """How many lines each file of a package has."""
        return {
            str(path.relative_to(self.root)): path.read_text("utf-8").count("\n")
            for name, path in self.modules.items()
            if name.split(".")[0] == package
        }


def classes_twice(house: House) -> dict[str, list[str]]:
    """Public classes whose name is defined in more than one module."""
    where = defaultdict(list)
    for module, tree in house.trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(module)
    return {name: modules for name, modules in where.items() if len(modules) > 1}


def gerunds(house: House) -> list[str]:
    """Modules named by what is done there, except the field's nouns."""
    return [
        module
        for module in house.modules
        if (leaf := module.rpartition(".")[2]).endswith("ing") and leaf not in NOUNS
    ]


def circles(house: House) -> list[list[str]]:
    """Modules that import each other when they are loaded (Tarjan's strongly connected ones)."""
    graph = {module: set(_imported(house, module)) - {module} for module in house.modules}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            circle = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(circle) > 1:
                found.append(circle)

    sys.setrecursionlimit(10_000)
    for module in graph:
        if module not in index:
            visit(module)
    return found


def _imported(house: House, module: str) -> Iterator[str]:
    for node in house.trees[module].body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if (name if name in house.modules else node.module) in house.modules:
                    yield name if name in house.modules else node.module


def bound_twice(house: House) -> dict[str, list[str]]:
    """Names that a module binds twice at its top: the second one is meant by both."""
    found = {}
    for module, tree in house.trees.items():
        names = Counter(name for node in tree.body for name in _bound(node) if name != "_")
        if twice := sorted(name for name, times in names.items() if times > 1):
            found[module] = twice
    return found


def _bound(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (each.id for each in targets if isinstance(each, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def patterns_twice(house: House) -> dict[str, list[str]]:
    """Regular expressions that two modules of the bot write down, and where."""
    found: dict[str, list[str]] = defaultdict(list)
    for module, tree in house.trees.items():
        for node in tree.body:
            match node:
                case ast.Assign(value=ast.Call(func=ast.Attribute(attr="compile")) as written):
                    found[ast.unparse(written)].append(module)
    return {
        pattern: modules
        for pattern, modules in found.items()
        if len([each for each in modules if each.startswith("bot.")]) > 1
    }


def unexplained(house: House) -> list[str]:
    """Functions with three or more parameters that another room imports, without `Args:`."""
    asked = {
        (node.module, alias.name)
        for module, tree in house.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if _room(node.module) != _room(module)
    }
    return [
        f"{module}.{node.name}"
        for module, tree in house.trees.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (module, node.name) in asked
        and _parameters(node) >= 3
        and "Args:" not in (ast.get_docstring(node) or "")
    ]


def _room(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:3] if parts[:2] == ["bot", "playbooks"] else parts[:2])


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])


def table(house: House) -> str:
    """All of it, a line each."""
    lines = house.lines("bot")
    rooms = {path: n for path, n in lines.items() if "__init__" not in path}
    kept = {path: n for path, n in rooms.items() if "/migrations/" not in path}
    small = [path for path, n in kept.items() if n < SMALL]
    return "\n".join(
        (
            f"files of bot: {len(lines)} ({len(kept)} without __init__ and migrations)",
            f"lines of bot: {sum(lines.values())}",
            f"files under {SMALL} lines: {len(small)} ({len(small) / len(kept):.1%})",
            f"median file: {median(kept.values()):.0f} lines; largest: {max(kept.values())}",
            f"public class names defined twice: {len(classes_twice(house))}",
            f"modules named by a gerund: {len(gerunds(house))}",
            f"circles between modules: {len(circles(house))}",
            f"functions between rooms with arguments unexplained: {len(unexplained(house))}",
        )
    )


# --- what one request enters ---


_A_DELIVERYS = "a delivery's"
_NOBODYS = (None, _A_DELIVERYS)


class Entered:
    """Notes every file of the bot in which a function is called, by the request it is done for.

    What is done for whom stands in the log's context: a delivery, and the Trigger it became.
    """

    def __init__(self) -> None:
        """Prepare."""
        self.functions: dict[str | None, set[tuple[str, str]]] = defaultdict(set)

    def __enter__(self) -> Entered:
        """Begin, in this thread and in those that begin from now on."""
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            name = frame.f_code.co_filename
            if "/bot/" in name and "site-packages" not in name:
                about = get_contextvars()
                whose = about.get("trigger", _A_DELIVERYS if "delivery" in about else None)
                self.functions[whose].add((name, frame.f_code.co_qualname))

    def of_one_request(self) -> set[tuple[str, str]]:
        """Functions that reading deliveries enters, and the Trigger that enters the most."""
        of_triggers = [self.functions[whose] for whose in self.functions if whose not in _NOBODYS]
        return self.functions[_A_DELIVERYS] | max(of_triggers, key=len)

    def of_all(self) -> set[tuple[str, str]]:
        """Everything that was entered: gate, heartbeats and what others asked for with it."""
        return set().union(*self.functions.values())


async def enter(play: str) -> Entered:
    """Play a story of the demo, and note what is entered once the bot has started."""
    from demo.play import STORIES
    from demo.stage import Stage

    entered = Entered()
    async with Stage(port=0, seed=20) as stage:
        with entered:
            await STORIES[play](stage, lambda _: None)
    return entered


def main() -> None:
    """Print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("commit", nargs="?", help="count this commit instead of the work tree")
    parser.add_argument("--enter", metavar="PLAY", help="a play of the demo")
    options = parser.parse_args()
    if options.enter:
        entered = asyncio.run(enter(options.enter))
        for what, functions in (
            ("one request", entered.of_one_request()),
            ("the whole story", entered.of_all()),
        ):
            files = {file for file, _ in functions}
            print(f"{options.enter}, {what}: {len(files)} files, {len(functions)} functions")  # noqa: T201
        return
    with tempfile.TemporaryDirectory() as folder:
        house = House.read(_checkout(options.commit, Path(folder)) if options.commit else ROOT)
        print(table(house))  # noqa: T201


def _checkout(commit: str, into: Path) -> Path:
    order = ["git", "archive", "--format=tar", commit]
    made = subprocess.run(order, cwd=ROOT, capture_output=True, check=True)  # noqa: S603 - our own words
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as files:
        files.extractall(into, filter="data")
    return into


if __name__ == "__main__":
    main()
