"""Texts fit GitHub's limits and keep their hidden markers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.github.markers import (
    BODY_LIMIT,
    CHECK_TEXT_LIMIT,
    byte_size,
    cut,
    cut_title,
    is_marked,
    marked,
    marker,
)

WORDS = st.text(st.characters(exclude_characters="<>`~", exclude_categories=["Cs"]))


def test_a_marker_cannot_close_its_own_comment() -> None:
    assert marker("status:01j") == "<!-- playbooks:status:01j -->"
    for key in ("a-->b", "a--b", "", "a b", "a\nb", "ä", "-a"):
        with pytest.raises(ValueError, match="marker"):
            marker(key)


def test_a_body_is_found_again_by_its_marker_only() -> None:
    body = marked("Hello", "status:1")
    assert body == "Hello\n\n<!-- playbooks:status:1 -->"
    assert is_marked(body, "status:1")
    assert not is_marked(body, "status:11")
    assert not is_marked("status:1", "status:1")
    assert not is_marked(None, "status:1")
    assert not is_marked("The title said: <!-- playbooks:status:1 -->", "status:1")
    assert marked(body, "status:1") == body


@given(WORDS.map(lambda text: text * 3))
def test_a_short_body_is_left_alone(body: str) -> None:
    assert cut(body, 10_000) == body


@given(st.lists(st.one_of(WORDS, st.integers(0, 9)), max_size=40), st.integers(700, 1500))
def test_a_cut_body_fits_and_has_every_marker_exactly_once(
    parts: list[str | int], limit: int
) -> None:
    numbers = list(dict.fromkeys(part for part in parts if isinstance(part, int)))
    texts = [part * 20 for part in parts if isinstance(part, str)]
    body = "x".join([*texts, *(marker(f"n:{number}") for number in numbers)])
    for size in (len, byte_size):
        short = cut(body, limit, size)
        assert size(short) <= limit
        for number in numbers:
            assert short.count(marker(f"n:{number}")) == 1


def test_a_marker_is_never_cut_in_two() -> None:
    hidden = marker("begin:summary")
    for before in range(500, 620):
        short = cut("a" * before + hidden + "b" * 2000, 700)
        assert short.count(hidden) == 1
        assert short.count("<!--") == 1
        assert "cut" in short


def test_an_open_code_block_is_closed_so_that_the_rest_stays_readable() -> None:
    short = marked("Log:\n```text\n" + "line\n" * 20_000, "log:1")
    assert len(short) <= BODY_LIMIT
    assert re.search(r"line\n?\w*\n```\n", short)
    assert short.endswith(marker("log:1"))
    assert "</details>" in cut("<details>\n" + "x" * 2000, 500)


def test_check_texts_are_measured_in_bytes() -> None:
    assert byte_size(cut("ä" * 50_000, CHECK_TEXT_LIMIT, byte_size)) <= CHECK_TEXT_LIMIT


def test_titles_become_one_line_of_at_most_256_characters() -> None:
    assert cut_title("Revert\n  “x”\t#1") == "Revert “x” #1"
    title = cut_title("word " * 100)
    assert len(title) <= 256
    assert title.endswith("…")
