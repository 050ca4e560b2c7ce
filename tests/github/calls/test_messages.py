"""Commits are found again by the trailer in their message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.github.calls.git_data import steps_of, with_step

MESSAGES = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"))


@given(MESSAGES)
def test_the_step_is_found_in_any_message_it_was_added_to(message: str) -> None:
    assert "revert:01j:commit" in steps_of(with_step("Subject\n\n" + message, "revert:01j:commit"))


def test_the_trailer_joins_the_trailers_that_are_there() -> None:
    assert with_step("Revert x", "k") == "Revert x\n\nPlaybooks-Step: k\n"
    assert with_step("Revert x\n\nRefs: #1", "k") == "Revert x\n\nRefs: #1\nPlaybooks-Step: k\n"
    assert with_step("Fix: x", "k") == "Fix: x\n\nPlaybooks-Step: k\n"


def test_a_quoted_trailer_in_the_middle_is_not_one() -> None:
    assert steps_of("Revert x\n\nPlaybooks-Step: old\n\nThis undoes it.") == set()


def test_a_key_is_one_word() -> None:
    for key in ("", "a b", "a\nPlaybooks-Step: b"):
        with pytest.raises(ValueError, match="key"):
            with_step("x", key)
