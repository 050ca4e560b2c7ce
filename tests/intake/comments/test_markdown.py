"""Only what a reader sees as plain text at the start of a line may become a command."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from bot.intake.typed_lines import typed_lines

LEFT_OUT = {
    "a quote": "> /x",
    "a quote indented by three": "   > /x",
    "indented code": "    /x",
    "a tab": "\t/x",
    "blanks and a tab": "  \t/x",
    "a fence": "```\n/x\n```",
    "a fence with a language": "```sh\n/x\n```",
    "a tilde fence": "~~~\n/x\n~~~",
    "a fence closed by a longer one": "```\n/x\n`````",
    "a fence that a shorter one does not close": "`````\n```\n/x\n`````",
    "a fence that the other mark does not close": "```\n~~~\n/x\n```",
    "a fence nobody closed": "```\n/x\n\n/x",
    "a fence in a list": "- ```\n  /x\n  ```",
    "a fence in a numbered list": "1. ```\n   /x\n   ```",
    "a fence in a list, with an empty line": "- ```\n\n  /x\n  ```",
    "inline code": "`/x`",
    "inline code over a line's start": "see `this\n/x\nthat`",
    "inline code of two marks": "see ``this ` one\n/x\nthat``",
    "a comment": "<!-- /x -->",
    "a comment of several lines": "<!--\n/x\n\n/x\n-->",
    "a comment nobody closed": "<!--\n/x",
    "a comment in a sentence": "before <!-- that\n/x\n--> after",
    "behind a comment's end": "<!--\n--> /x",
    "a pre block": "<pre>\n/x\n</pre>",
    "a pre block with a language": "<PRE lang=sh>\n/x\n\n/x\n</PRE>",
    "a list item": "- /x",
    "a line that goes on with a quote": "> hello\n/x",
    "a line further down that goes on with a quote": "> hello\nmore\n/x",
    "a line that goes on with a quote in a list": "- > hello\n/x",
    "a quote of HTML": "<blockquote>\n/x\n</blockquote>",
    "a quote of HTML with Markdown in it": "<blockquote>\n\n/x\n\n</blockquote>",
    "what is folded away": "<details><summary>Log</summary>\n\n/x\n</details>",
    "folded away, with something folded in it": "<details>\n<details>\n</details>\n/x",
    "code of HTML": "see <code>this\n/x\nthat</code>",
    "a tag of several lines": 'see <a title="\n/x\n">that</a>',
    "the address of a link": "see [that](\n/x)",
    "the address of a link further down": "[that]:\n/x",
    "an instruction": "<?php\n/x\n?>",
    "a declaration": "<!DOCTYPE\n/x\n>",
    "a section of characters": "<![CDATA[\n/x\n]]>",
    "a fence that nobody can close within HTML": "<div>\n```\n\n```\n/x\n```",
    "the middle of a line": "please /x",
}

TYPED = {
    "a bare line": "/x",
    "a line indented by three": "   /x",
    "a line after others": "hello\n/x",
    "a Windows line end": "hello\r\n/x\r\n",
    "an old Macintosh line end": "hello\r/x",
    "after a quote": "> hello\n\n/x",
    "after a quote that ends with code": "> ```\n> code\n> ```\n/x",
    "after a quote that ends with an empty line": "> hello\n>\n/x",
    "after what is folded away": "<details>\n/x </details>\n/x",
    "after a picture": '<img width="1" src="a.png">\n/x',
    "after a tag in code": "`<details>`\n/x",
    "after brackets": "see [1] (or 2)\n/x",
    "after a fence": "```\ncode\n```\n/x",
    "after a fence in a list that the list's end closes": "- ```\n/x",
    "after a comment": "<!-- a\nb -->\n/x",
    "after a pre block": "<pre>a</pre>\n/x",
    "after a lone backtick": "don`t\n/x",
    "after unequal backticks": "`` one ` two\n/x",
    "between backticks of two paragraphs": "a ` b\n\n/x\n\nc ` d",
    "between backticks of two list items": "- a `\n- b\n/x\n- c `",
    "after an unclosed comment in a sentence": "a <!-- b\n/x",
    "after three backticks in a sentence": "```not a fence``` but code\n/x",
    "behind a byte order mark": "\ufeff/x",
    "behind a right-to-left mark": "\u200f/x",
}


@pytest.mark.parametrize("body", LEFT_OUT.values(), ids=LEFT_OUT)
def test_is_left_out(body: str) -> None:
    assert not [line for line in typed_lines(body) if line.text.startswith("/x")]


@pytest.mark.parametrize("body", TYPED.values(), ids=TYPED)
def test_is_typed_text(body: str) -> None:
    assert [line.text for line in typed_lines(body) if line.text.startswith("/x")] == ["/x"]


def test_lines_are_counted_as_the_author_sees_them() -> None:
    lines = typed_lines("one\r\n\r\n> two\n```\ncode\n```\nseven")
    assert [(line.number, line.text) for line in lines] == [(1, "one"), (7, "seven")]


def test_a_comment_inside_a_line_is_blanked_and_its_code_stays() -> None:
    (line,) = typed_lines("/x <!-- #12 --> `#13`")
    assert line.text.split() == ["/x", "`#13`"]


LINES = (
    "", "a", "> a", ">", "- a", "-", "1. a", "2. a", "  a", "    a", "```", "> ```", "- ```",
    "~~~~", "- > a", "> - a", "> > a", "  > a", "# a", "---", "===", "> # a", ">     a", "<!--",
    "-->", "<div>", "</div>", "<br>", "`", "> `", "> <div>", "  ```", "> ===", "1. > a", "> - ```",
    ">- > a", "<?", "   a", "> <!--", "10) a", "-     a",
)  # fmt: skip


def _shown_by_markdown_it(body: str, line: int) -> bool:
    """Whether what stands in a line is text outside of any quote."""
    quotes = 0
    for token in MarkdownIt("commonmark").parse(body):
        quotes += {"blockquote_open": 1, "blockquote_close": -1}.get(token.type, 0)
        if token.map is None or not token.map[0] <= line < token.map[1] or quotes:
            continue
        if token.type == "inline":
            return any(
                each.type == "text" and "/x" in each.content for each in token.children or ()
            )
        if token.type == "html_block":
            return not token.content.lstrip().startswith(("<!", "<?"))
    return False


@pytest.mark.parametrize("before", LINES)
def test_whatever_stands_above_a_command_it_runs_where_it_is_shown_as_text(before: str) -> None:
    for then in LINES:
        body = f"{before}\n{then}\n/x"
        read = (3, "/x") in [(each.number, each.text) for each in typed_lines(body)]
        assert read is _shown_by_markdown_it(body, 2), body
