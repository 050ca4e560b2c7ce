"""Words of others in titles and commit messages are read, and do nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.playbooks.incident.phrases import quoted


@pytest.mark.parametrize(
    "hostile",
    [
        "Fixes #3",
        "closes GH-3",
        "resolves acme/shop#3",
        "fixes https://github.com/acme/shop/issues/3",
        "cc @alice",
        "Docs [skip ci]",
        "Docs [ci skip]",
        "Docs [no ci]",
        "Docs [skip actions]",
        "Docs [actions skip]",
        "***NO_CI***",
        "skip-checks: true",
    ],
)
def test_what_acts_is_taken_apart(hostile: str) -> None:
    said = quoted(hostile)
    assert said != hostile
    assert said.replace("\u200b", "") == hostile


def test_plain_words_stay_as_they_are() -> None:
    words = "Make totals 10% faster (again): C# & F*, a/b [draft] issue 3"
    assert quoted(words) == words


@given(st.text(), st.integers(min_value=1, max_value=80))
def test_it_is_always_one_visible_line_that_refers_to_nothing(raw: str, limit: int) -> None:
    said = quoted(raw, limit=limit)
    assert len(said.replace("\u200b", "")) <= limit
    assert said.splitlines() in ([], [said])
    assert not re.search(r"@\w|#\d|\[skip ci\]|\[ci skip\]", said)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x1f]", said)
