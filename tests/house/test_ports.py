"""What a playbook does to the world is read from the Protocols in the `ports.py` of its room.

That nothing beyond them is called, and that the real clients satisfy them, is mypy's to check; here
it is seen that there is no way around them, and that they state no call that is not made.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.count import parsed

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = ROOT / "bot" / "playbooks"
FILES = sorted(PLAYBOOKS.rglob("*.py"))
PORTS = [path for path in FILES if path.name == "ports.py"]
ROOMS = ("alerts", "autorevert", "bisect", "ramp", "revert", "rollback", "shadow")
BELOW = ("bot.git", "bot.records", "bot.traffic", "bot.trials")
READ_BY_THE_MIRROR = ("bot.git.",)
"""What these rooms do, they do with the `Git` that `Mirror.read` lends."""


@pytest.mark.parametrize("room", ROOMS)
def test_each_playbook_states_what_it_acts_through_in_one_place(room: str) -> None:
    stated = [each for each in _classes(PLAYBOOKS / room / "ports.py") if _is_protocol(each)]
    assert any(each.name.endswith("Resources") for each in stated)


@pytest.mark.parametrize("path", [path for path in FILES if path not in PORTS], ids=str)
def test_whatever_acts_reaches_a_playbook_through_its_ports(path: Path) -> None:
    assert [name for name, acts in _imported(path) if acts] == []


@pytest.mark.parametrize("path", PORTS, ids=str)
def test_ports_hand_out_records_only_as_the_protocols_say(path: Path) -> None:
    """A module of the records is bound once, to a Protocol; nobody gets at it otherwise."""
    tree = parsed(path)
    modules = {name for name, acts in _imported(path) if acts}
    used = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id in modules]
    protocols = {each.name for each in _classes(path) if _is_protocol(each)}
    bound = [
        line.value.id
        for line in tree.body
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.annotation, ast.Name)
        and line.annotation.id in protocols
        and isinstance(line.value, ast.Name)
    ]
    assert sorted(used) == sorted(bound) == sorted(modules)


@pytest.mark.parametrize("path", PORTS, ids=str)
def test_a_port_states_no_call_that_is_not_made(path: Path) -> None:
    # What stands in a shared room is called by whoever builds on it.
    files = sorted(path.parent.glob("*.py")) if path.parent.name in ROOMS else FILES
    called = {
        node.attr
        for each in files
        if each.name != "ports.py"
        for node in ast.walk(parsed(each))
        if isinstance(node, ast.Attribute)
    }
    stated = {
        part.name
        for each in _classes(path)
        if _is_protocol(each)
        for part in each.body
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not part.name.startswith("__")
        and not part.decorator_list
    }
    assert stated - called == set()


def _classes(path: Path) -> list[ast.ClassDef]:
    return [n for n in parsed(path).body if isinstance(n, ast.ClassDef)]


def _is_protocol(each: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in each.bases)


def _imported(path: Path) -> Iterator[tuple[str, bool]]:
    """Each name that a file has from the rooms below, and whether it acts: on its own, or called.

    A module acts that has async functions, a class that has async methods.
    """
    for node in ast.walk(parsed(path)):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        if not node.module.startswith(BELOW):
            continue
        for name in node.names:
            yield name.asname or name.name, _acts(node.module, name.name)


def _acts(module: str, name: str) -> bool:
    if module.startswith(READ_BY_THE_MIRROR):
        return module == "bot.git.mirror"
    whole = ROOT / f"{module.replace('.', '/')}/{name}.py"
    if whole.exists():
        return any(isinstance(n, ast.AsyncFunctionDef) for n in parsed(whole).body)
    source = ROOT / f"{module.replace('.', '/')}.py"
    if not source.exists():
        return False
    found = next((n for n in parsed(source).body if _named(n) == name), None)
    if isinstance(found, ast.ClassDef):
        return any(isinstance(part, ast.AsyncFunctionDef) for part in found.body)
    return isinstance(found, ast.AsyncFunctionDef)


def _named(node: ast.stmt) -> str | None:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return node.name
    return None
