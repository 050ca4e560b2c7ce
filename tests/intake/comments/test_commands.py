"""The table of commands, and the help made from it."""

from __future__ import annotations

from typing import Any

from bot.safety.admission import NEEDS
from bot.slash_commands import ENTRIES, help_text


def test_help_lists_every_command(snapshot: Any) -> None:
    assert help_text() == snapshot
    for definition in ENTRIES:
        assert f"`/{definition.name}" in help_text()


def test_help_names_the_roles_that_admission_asks_for() -> None:
    assert {each.name: each.who for each in ENTRIES}.items() <= NEEDS.items()
