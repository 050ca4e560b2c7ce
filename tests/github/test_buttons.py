"""Buttons of check-runs are within what GitHub shows, so that no word is cut."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import bot
from bot.github.calls.checks import Button


def every_button() -> list[Button]:
    """The buttons that any module of the bot defines, alone or several together."""
    found: list[Button] = []
    for each in pkgutil.walk_packages(bot.__path__, "bot."):
        if any(part in each.name for part in ("demo", "migrations", "__main__")):
            continue
        for value in vars(importlib.import_module(each.name)).values():
            found += [one for one in (value if isinstance(value, tuple) else (value,))
                      if isinstance(one, Button)]  # fmt: skip
    return found


def test_every_button_is_within_githubs_limits() -> None:
    buttons = every_button()
    assert len(buttons) >= 10
    for each in buttons:
        assert 0 < len(each.label) <= 20
        assert 0 < len(each.description) <= 40
        assert 0 < len(each.identifier) <= 20
        assert each.body()["description"] == each.description


def test_a_button_that_would_be_cut_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="42 characters"):
        Button("Approve", "Revert it, and merge when green (/approve)", "approve")
