"""The house stays one that the next person wants to live in."""

from __future__ import annotations

import pytest

from tests.house.count import House, bound_twice, circles, classes_twice, gerunds, unexplained


@pytest.fixture(scope="module")
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
