"""Where Runs can wait, read in the code of a tree: whoever adds a wait has to add its story."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.upgrading.stories import REACHES, STORIES
from tests.chaos.upgrading.trees import Tree

_PASSES_ON = ("signals.py", "run.py")


def waits_in(tree: Tree) -> dict[str, set[str]]:
    """Each place in a tree's playbooks where a Run waits, `module:function`, with its `WaitPoint`s.

    Code before 2026-11-29 names none.
    """
    playbooks = tree.path / "bot" / "playbooks"
    return {
        f"{path.relative_to(playbooks).with_suffix('')}:{function}": names
        for path in playbooks.rglob("*.py")
        if path.relative_to(playbooks).as_posix() not in _PASSES_ON
        for function, names in _waiting(path)
    }


def _waiting(path: Path) -> Iterator[tuple[str, set[str]]]:
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.AsyncFunctionDef):
            calls = [node for node in ast.walk(function) if _waits(node)]
            if calls:
                yield function.name, {name for call in calls for name in _wait_points(call)}


def _wait_points(call: ast.AST) -> Iterator[str]:
    for node in ast.walk(call):
        match node:
            case ast.Attribute(value=ast.Name(id="WaitPoint"), attr=name):
                yield name.lower().replace("_", "-")


def _waits(node: ast.AST) -> bool:
    if not isinstance(node, ast.Await) or not isinstance(node.value, ast.Call):
        return False
    match node.value.func:
        case ast.Name(id="heard"):
            return True
        case ast.Attribute(attr="wait", value=ast.Attribute(attr="run" | "_run") | ast.Name("run")):
            return True
    return False


def not_covered(tree: Tree) -> list[str]:
    """What the stories leave out of a tree's waits, or name in vain; empty where all is well."""
    named = waits_in(tree)
    found, told = named.keys(), {(story.place, story.playbook) for story in STORIES}
    said = [f"{place}: no playbook is said to reach this wait" for place in found - REACHES.keys()]
    said += [f"{place}: this wait is not in the code" for place in REACHES.keys() - found]
    said += [
        f"{place}: no story brings a Run of {playbook} to this wait"
        for place, playbooks in REACHES.items()
        for playbook in playbooks
        if (place, playbook) not in told
    ]
    reached = {(p, name) for place, p in told for name in named.get(place, ())}
    said += [
        f"{wait}: no story brings a Run of {playbook} to this wait"
        for playbook, wait in table_of(tree) - reached
    ]
    return sorted(said)


def unforeseen(places: set[tuple[str, str, bool]]) -> list[str]:
    """Where Runs waited that are not said to reach those waits."""
    return sorted(
        f"{place}: {playbook} waited here, and is not said to reach it"
        for playbook, place, _ in places
        if playbook not in REACHES.get(place, ())
    )


def never_reached(tree: Tree, ids: set[tuple[str, str]]) -> list[str]:
    """Which waits of the tree's own table no Run came to."""
    return sorted(
        f"{wait}: no Run of {playbook} came to this wait" for playbook, wait in table_of(tree) - ids
    )


def table_of(tree: Tree) -> set[tuple[str, str]]:
    """The waits that the tree says each playbook can reach; empty where it has no such table."""
    asked = subprocess.run(  # noqa: S603 - our own words
        [tree.python, "-c", _READ_TABLE],
        env=os.environ | {"PYTHONPATH": str(tree.path)},
        cwd=tree.path,
        capture_output=True,
        text=True,
        check=True,
    )
    return {(playbook, wait) for playbook, waits in json.loads(asked.stdout) for wait in waits}


_READ_TABLE = """
import importlib.util, json
waits = {}
if importlib.util.find_spec("bot.playbooks.steps"):
    from bot.playbooks.steps import WAITS as waits
print(json.dumps([(playbook, list(names)) for playbook, names in waits.items()]))
"""
