"""Whatever people write stays words: no heading, link, mention, HTML or hidden comment."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.markdown import (
    code,
    fence,
    is_login,
    link,
    marker,
    mention,
    text,
    with_section,
    without_section,
)

GFM = MarkdownIt("gfm-like", {"linkify": False})
WORDS = {"paragraph_open", "paragraph_close", "inline", "text"}
ANYTHING = st.text(st.characters(exclude_categories=["Cs"])) | st.text(
    "<>[]()*_`#@!|\\ \n-=+1.&~:$/wh"
)


def parts(markdown: str) -> set[str]:
    """The kinds of structure GitHub's dialect sees."""
    found: set[str] = set()
    for token in GFM.parse(markdown):
        found.add(token.type)
        found.update(child.type for child in token.children or ())
    return found


def read(markdown: str) -> str:
    """The words a reader sees."""
    return "".join(
        child.content for token in GFM.parse(markdown) for child in token.children or ()
    ).replace("\u200b", "")


@given(ANYTHING)
def test_any_text_is_only_words(raw: str) -> None:
    assert parts(text(raw)) <= WORDS | {"text_special"}
    assert "\n" not in text(raw)


@given(ANYTHING)
def test_any_text_stays_in_its_cell_of_a_table(raw: str) -> None:
    tokens = GFM.parse(f"| a | b |\n|---|---|\n| {text(raw)} | x |")
    cells = [tokens[place + 1].content for place, t in enumerate(tokens) if t.type == "td_open"]
    assert len(cells) == 2
    assert cells[1] == "x"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_every_printable_character_is_still_read(raw: str) -> None:
    assert read(text(raw)) == raw


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        ("Add a cache (v1.2), fast!", r"Add a cache (v1.2), fast\!"),
        ("fixes #12 by @alice", "fixes #&#8203;12 by @&#8203;alice"),
        ("see GH-12", "see GH-&#8203;12"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("https://evil.example", "https:&#8203;//evil.example"),
        ("www.evil.example", "www&#8203;.evil.example"),
        ("two\n\n# lines", "two # lines"),
        ("# not a heading", r"\# not a heading"),
        ("1. not a list", r"1\. not a list"),
        ("fix deadbeef1", "fix deadbeef1"),
        ("a\u202eb\x00c\u200bd", "abcd"),
    ],
)
def test_a_text_is_written_so(raw: str, written: str) -> None:
    assert text(raw) == written


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert text("*" * 10, limit=4) == r"\*\*\*…"
    assert text("short", limit=5) == "short"


@given(ANYTHING)
def test_any_code_is_one_piece_of_code_also_in_a_table(raw: str) -> None:
    table = f"| a | b |\n|---|---|\n| {code(raw)} | x |"
    cells = [token.type for token in GFM.parse(table)].count("td_open")
    assert cells == 2
    assert parts(code(raw)) <= WORDS | {"text_special", "code_inline", "html_inline"}


@given(ANYTHING, ANYTHING)
def test_nothing_inside_a_fence_ends_it(raw: str, language: str) -> None:
    tokens = GFM.parse(f"{fence(raw, language=language)}\nafter")
    assert [token.type for token in tokens][:2] == ["fence", "paragraph_open"]


@given(ANYTHING, ANYTHING)
def test_a_link_leads_to_the_web_or_nowhere(label: str, url: str) -> None:
    for token in GFM.parse(link(label, url)):
        for child in token.children or ():
            assert child.type in {"text", "text_special", "link_open", "link_close"}
            if child.type == "link_open":
                assert not re.match(
                    r"(?i)\s*(?!https?:)[a-z][a-z0-9+.-]*:", str(child.attrs["href"])
                )


def test_a_link_is_written_so() -> None:
    assert link("#7", "https://github.example/o/r/pull/7") == (
        "[#&#8203;7](https://github.example/o/r/pull/7)"
    )
    assert link("x", "javascript:alert(1)") == "x"
    assert link("x", "a b)](c") == "[x](a%20b%29%5D%28c)"


@given(
    st.dictionaries(
        st.sampled_from(["run", "incident", "kind"]),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
)
def test_a_marker_stays_hidden(values: dict[str, str]) -> None:
    hidden = marker("status", **values)
    assert parts(hidden) <= {"html_block"}
    assert hidden.count("--") == 2


@given(ANYTHING)
def test_nobody_else_can_write_a_marker(raw: str) -> None:
    assert "<!-- playbooks:" not in text(raw + marker("status", run="1"))


def test_a_section_is_replaced_and_the_authors_words_stay() -> None:
    mine = "My *own* words\n\n- [ ] a box  "
    once = with_section(mine, "summary", "first", limit=999)
    twice = with_section(once + "\nmore of mine", "summary", "second", limit=999)
    assert once.startswith("My *own* words\n\n- [ ] a box")
    assert twice == once.replace("first", "second") + "\nmore of mine"
    assert with_section(twice, "summary", "second", limit=999) == twice
    assert with_section("", "summary", "x", limit=999).startswith(
        "<!-- playbooks:summary-start -->\nx\n"
    )


@pytest.mark.parametrize(
    ("edited", "left"),
    [
        ("mine\n\nSECTION\n\nmore\n\nSECTION\n\nend", "mine\n\nmore\n\nend"),
        ("mine\n\nSTART\n\nmore\n\nSECTION\n\nend", "mine\n\nSTART\n\nmore\n\nend"),
        ("mine\n\nEND\n\nmore\n\nSECTION\n\nend", "mine\n\nEND\n\nmore\n\nend"),
    ],
    ids=["a copy", "a half in front", "the other half in front"],
)
def test_of_a_section_that_was_copied_nothing_old_is_left(edited: str, left: str) -> None:
    once = with_section("", "s", "first", limit=999).strip()
    start, _, end = once.partition("\nfirst\n")

    def written(body: str) -> str:
        return body.replace("SECTION", once).replace("START", start).replace("END", end)

    twice = with_section(written(edited), "s", "second", limit=999)
    assert twice.count("second") == 1
    assert "first" not in twice
    assert without_section(twice, "s") == written(left)


START, END = marker("s-start"), marker("s-end")
ARRANGED = st.lists(st.sampled_from([START, f"{START}\nours\n{END}"]) | ANYTHING, max_size=6)
"""What people may make of a description: our section copied, moved, torn, or never there."""


def section(body: str, said: str, *, limit: int = 65_536) -> str:
    return with_section(body, "s", said, limit=limit)


@given(ARRANGED.map("\n".join), ANYTHING, ANYTHING, st.integers(0, 200))
def test_writing_a_section_again_changes_nothing(
    body: str, first: str, second: str, room: int
) -> None:
    limit = len(body) + room
    once = section(body, text(first), limit=limit)
    assert section(once, text(first), limit=limit) == once
    if room > 60 + 6 * max(len(first), len(second)):
        other = section(once, text(second), limit=limit + 1_000)
        assert section(other, text(first), limit=limit + 1_000) == once


@given(ARRANGED, st.integers(0, 200))
def test_whatever_people_do_with_a_section_their_own_words_stay(
    arranged: list[str], room: int
) -> None:
    body = "\n".join(arranged)
    written = section(body, "ours", limit=len(body) + room)
    assert len(written) <= len(body) + room
    for shown in (written, without_section(written, "s")):
        assert all(each.strip() in shown for each in arranged if END not in each)


@given(ANYTHING, ANYTHING)
def test_a_section_that_goes_leaves_what_the_author_wrote(body: str, said: str) -> None:
    once = section(body, text(said))
    assert without_section(once, "s").strip() == body.strip()
    assert without_section(body, "s") == body


def test_a_section_in_the_middle_leaves_both_sides() -> None:
    once = section("before", "x") + "after"
    assert without_section(once, "s") == "before\n\nafter"


def test_a_section_that_lost_its_end_takes_no_words_with_it() -> None:
    torn = f"mine\n\n{START}\nold\n\nmine below\n"
    assert section(section(torn, "first"), "second").replace("second", "first") == (
        f"{torn}\n{START}\nfirst\n{END}\n"
    )


def test_a_section_that_was_copied_is_kept_once() -> None:
    twice = section("mine", "old") + "between\n\n" + section("", "old") + "below"
    assert section(twice, "new") == section("mine", "new") + "between\n\nbelow"
    assert without_section(twice, "s") == "mine\n\nbetween\n\nbelow"


@pytest.mark.parametrize(
    ("words", "left"), [(100, "**First.**\n\nThe rest."), (185, "**First.**"), (230, "")]
)
def test_a_section_gives_way_to_the_authors_words(words: int, left: str) -> None:
    mine = "w" * words
    written = section(mine, "**First.**\n\nThe rest.", limit=250)
    assert written == (section(mine, left) if left else mine)


def test_a_person_is_mentioned_and_nothing_else_is() -> None:
    assert mention("alice-1") == "@alice-1"
    assert mention("alice_corp") == "@alice_corp"
    assert mention("org/team") == "org/team"
    assert mention("x @everyone") == "x @&#8203;everyone"
    assert [is_login(name) for name in ("a" * 39, "a" * 40, "-a", "", "a\n")] == [
        True,
        False,
        False,
        False,
        False,
    ]
