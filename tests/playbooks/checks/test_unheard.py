"""Configured names that nothing reported, and what they may be meant for."""

from __future__ import annotations

import pytest

from bot.playbooks.checks.results import Unheard, unheard

SEEN = ("unit", "test (ubuntu-latest, 3.11)", "Deploy / production", "lint")
TABLE: dict[str, tuple[tuple[str, ...], tuple[Unheard, ...]]] = {
    "a name that is reported": (("unit", "lint"), ()),
    "a typo": (("unti",), (Unheard(name="unti", nearest="unit"),)),
    "another case": (("Unit",), (Unheard(name="Unit", nearest="unit"),)),
    "part of a name": (
        ("test (ubuntu-latest)",),
        (Unheard(name="test (ubuntu-latest)", nearest="test (ubuntu-latest, 3.11)"),),
    ),
    "nothing alike": (("zebra",), (Unheard(name="zebra"),)),
    "one name twice": (("zebra", "zebra"), (Unheard(name="zebra"),)),
}


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_a_name_that_nothing_reported_is_named_with_the_nearest(
    case: tuple[tuple[str, ...], tuple[Unheard, ...]],
) -> None:
    configured, expected = case
    assert unheard(configured, SEEN) == expected


def test_where_nothing_reported_at_all_nothing_is_said() -> None:
    assert unheard(("unit",), ()) == ()
