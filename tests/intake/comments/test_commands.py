"""The table of commands, and the help made from it."""

from __future__ import annotations

from typing import Any

from bot.intake.slash_commands import DEFINITIONS, help_text, not_yet_text
from bot.safety.admission import NEEDS


def test_help_lists_every_command(snapshot: Any) -> None:
    assert help_text() == snapshot
    for definition in DEFINITIONS:
        assert f"`/{definition.name}" in help_text()


def test_a_command_that_comes_later_is_answered_honestly(snapshot: Any) -> None:
    assert not_yet_text("shadow") == snapshot


def test_help_names_the_roles_that_admission_asks_for() -> None:
    available = {each.name: each.who for each in DEFINITIONS if each.available}
    assert available == {name: NEEDS[name] for name in available}
