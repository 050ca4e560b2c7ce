"""What we print can be copied back: a command reads the same from our own words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.command_arguments import CommentPlace
from bot.intake.comment_parser import Command, Mistake, parse
from bot.markdown import code, for_file, link, text
from bot.names import is_ref_name
from bot.slash_commands import COMMANDS

GFM = MarkdownIt("gfm-like", {"linkify": False})
HERE = CommentPlace("acme/shop", "https://github.example/acme/shop", 7)
HEX = "0123456789abcdef"
SHAS = st.text(HEX, min_size=7, max_size=40)
REFS = st.text("abz09é`@#<>,'\"|()&;%$!{}=+/.-_", min_size=1, max_size=12).filter(is_ref_name)
WORDS = st.text("abcxyz019_./-|()[]*@#~$!&", min_size=1, max_size=12).filter(
    lambda word: not any(word.startswith(each) or word.endswith(each) for each in "`<>,\"'")
)
REQUESTS = st.one_of(
    st.builds("/good {}".format, SHAS),
    st.builds("/bad {}".format, SHAS),
    st.builds("/skip {}".format, SHAS),
    st.builds("/revert {}".format, SHAS),
    st.builds("/revert #{}".format, st.integers(1, 10**6)),
    st.builds("/bisect {}..{}".format, SHAS, REFS),
    st.builds("/bisect {}..{} check {} {}".format, REFS, SHAS, WORDS, WORDS),
    st.builds("/bisect {}..{} numeric {}:higher".format, SHAS, REFS, WORDS),
    st.builds('/bisect {}..{} numeric "{} {}" check {}'.format, SHAS, SHAS, WORDS, WORDS, WORDS),
    st.builds("/rollback {}".format, st.text("abc.x", min_size=1).map(lambda name: f"a{name}")),
    st.builds("/approve {}".format, st.text("0123456789ABCDEF", min_size=8, max_size=26)),
    st.sampled_from(["/retry", "/cancel", "/approve", "/status", "/unpause self-work"]),
)


def seen(markdown: str) -> str:
    """What somebody who selects the words on the page copies."""
    return "".join(
        child.content for token in GFM.parse(markdown) for child in token.children or ()
        if child.type != "html_inline"
    )  # fmt: skip


def understood(words: str) -> list[tuple[str, object]]:
    return [
        (each.name, each.request) if isinstance(each, Command) else ("mistake", each.message)
        for each in parse(words, HERE)
    ]


@given(REQUESTS)
def test_a_command_in_backticks_reads_the_same_when_it_is_copied(command: str) -> None:
    [meant] = parse(command, HERE)
    copied = seen(f"Comment {code(command)} to go on.")
    copied = copied.removeprefix("Comment ").removesuffix(" to go on.")
    assert understood(copied) == understood(command)
    assert meant.name


@given(SHAS)
def test_a_sha_is_printed_as_it_is(sha: str) -> None:
    for written in (text(f"fix {sha}"), code(sha), link(sha, "https://github.example/c")):
        assert sha in seen(written)
        assert "#8203" not in written  # a zero-width space, by its number
        assert "\u200b" not in written


@given(SHAS, st.sampled_from("\u200b\u200c\u200d\u2060\ufeff\u00ad"), st.data())
def test_what_has_no_width_is_dropped_from_what_is_read(
    sha: str, invisible: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(1, len(sha) - 1))
    for between in (invisible, "&#8203;"):
        assert understood(f"/good {sha[:place]}{between}{sha[place:]}") == understood(
            f"/good {sha}"
        )


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u200f"])
def test_what_turns_the_reading_round_is_still_refused(mark: str) -> None:
    [mistake] = parse(f"/good abc{mark}1234567", HERE)
    assert isinstance(mistake, Mistake)
    assert "invisible" in mistake.message


@given(st.text("ab1@#:/w. \u200bhtps", max_size=60))
def test_a_committed_file_has_nothing_invisible_and_no_link_of_a_stranger(raw: str) -> None:
    written = for_file(text(f"{raw} https://evil.example www.evil.example @alice #12"))
    assert "\u200b" not in written
    assert "8203" not in written
    linkified = MarkdownIt("gfm-like", {"linkify": False})
    kinds = {c.type for token in linkified.parse(written) for c in token.children or ()}
    assert "link_open" not in kinds
    assert "https://" not in written


PRINTED = re.compile(r"`(/[a-z][a-z-]*(?: [^`\n]*)?)`")
TO_BE_FILLED_IN = re.compile(r"…|\b[A-Z]{3,}\b|\||\\n|['{}]")
TEXTS = sorted(Path(__file__).parents[2].joinpath("playbooks").rglob("*.ambr"))


def test_every_command_in_what_playbooks_say_is_one() -> None:
    printed = {
        command
        for file in TEXTS
        for command in PRINTED.findall(file.read_text())
        if command.split()[0].removeprefix("/") in COMMANDS and not TO_BE_FILLED_IN.search(command)
    }
    assert len(printed) > 15
    # Some stand for themselves in a sentence about what may follow.
    bare = {"/bisect", "/ramp", "/rollback", "/shadow", "/severity", "/good", "/bad", "/skip"}
    assert {c: understood(c) for c in printed - bare if understood(c)[0][0] == "mistake"} == {}
