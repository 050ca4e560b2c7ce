"""What a plain test run leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest

from tests.plugins.thorough import is_left_out, unknown_samples


@dataclass
class _Item:
    """As much of a collected test as is looked at."""

    nodeid: str
    marks: dict[str, pytest.Mark]

    @property
    def callspec(self) -> SimpleNamespace:
        return SimpleNamespace(id=self.nodeid.partition("[")[2].removesuffix("]"))

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return self.marks.get(name)


def _items(*parameters: str, **marks: pytest.MarkDecorator) -> list[pytest.Item]:
    found = {name: decorator.mark for name, decorator in marks.items()}
    return [cast(pytest.Item, _Item(f"test_a.py::test[{each}]", found)) for each in parameters]


def test_only_what_a_mark_names_is_left_out_or_kept() -> None:
    sampled = _items("a", "b-1", "c", sampled=pytest.mark.sampled("b-1"))
    assert [is_left_out(each) for each in sampled] == [True, False, True]
    assert [is_left_out(each) for each in _items("a", thorough=pytest.mark.thorough)] == [True]
    assert [is_left_out(each) for each in _items("a")] == [False]


def test_a_mark_that_names_no_parameter_is_told() -> None:
    items = _items("a", "b", sampled=pytest.mark.sampled("b", "gone"))
    assert unknown_samples(items) == ["test_a.py::test[gone]"]
    assert unknown_samples(_items("a", "b", sampled=pytest.mark.sampled("b"))) == []
