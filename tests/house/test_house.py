"""The house stays one that the next person wants to live in."""

from __future__ import annotations

import ast

import pytest

from tests.house.count import (
    House,
    bound_twice,
    circles,
    classes_twice,
    gerunds,
    patterns_twice,
    unexplained,
)


@pytest.fixture(scope="session")
def house() -> House:
    return House.read()


def test_a_public_class_has_its_name_for_itself(house: House) -> None:
    assert classes_twice(house) == {}


def test_modules_are_named_by_what_they_are(house: House) -> None:
    assert gerunds(house) == []


def test_no_two_modules_need_each_other(house: House) -> None:
    assert circles(house) == []


def test_whoever_calls_another_room_reads_what_to_give(house: House) -> None:
    assert unexplained(house) == []


def test_a_module_binds_a_name_once(house: House) -> None:
    assert bound_twice(house) == {}


def test_a_pattern_is_written_once(house: House) -> None:
    assert patterns_twice(house) == {}


def test_which_database_it_is_is_asked_for_an_insert_in_one_place(house: House) -> None:
    choosing = {
        module
        for module, tree in house.trees.items()
        for node in ast.walk(tree)
        if module.startswith("bot.") and isinstance(node, ast.Attribute)
        if ast.unparse(node) == "sqlite.insert"
    }
    assert choosing == {"bot.records.database"}


def test_nothing_is_awaited_while_a_model_is_copied(house: House) -> None:
    """What is awaited may change the original, and the copy would undo that."""
    copies = [
        f"{module}:{call.lineno}"
        for module, tree in house.trees.items()
        if module.startswith("bot.")
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "model_copy"
        and any(isinstance(part, ast.Await) for part in ast.walk(call) if part is not call)
    ]
    assert copies == []
