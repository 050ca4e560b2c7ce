"""Markdown as people see it: what GitHub's users write, made into harmless HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup

_TAGS = """a b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i ins kbd li
    ol p pre s span strong sub summary sup table tbody td th thead tr ul"""
_ATTRIBUTES = {
    "a": {"href", "title"}, "details": {"open"}, "td": {"align"}, "th": {"align"},
    "ol": {"start"},
}  # fmt: skip
_REFERENCE = re.compile(
    r"(?<![\w/#@])(?:#(?P<number>\d{1,9})|@(?P<login>[A-Za-z0-9][A-Za-z0-9-]{0,38}))\b"
)
_TASKS = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}


class Renderer:
    """Renders the Markdown of one repository: `#12` and `@login` become links."""

    def __init__(self, repository_page: str, site: str) -> None:
        """`repository_page` and `site` are addresses without a slash at the end."""
        self._page, self._site = repository_page, site
        # Raw HTML is let through here and cleaned after: people use <details>, bots <!-- -->.
        self._markdown = MarkdownIt("commonmark", {"html": True, "breaks": True})
        self._markdown.enable(["table", "strikethrough"])
        self._markdown.core.ruler.push("references", self._link_references)

    def html(self, text: str | None) -> Markup:
        """The text as HTML that can do nothing but be read."""
        raw = self._markdown.render(text or "")
        cleaned = nh3.clean(
            raw, tags=set(_TAGS.split()), attributes=_ATTRIBUTES, link_rel="nofollow noopener",
            url_schemes={"http", "https", "mailto"},
        )  # fmt: skip
        return Markup(cleaned)  # noqa: S704 - nh3 just cleaned it

    def _link_references(self, state: StateCore) -> None:
        for block in state.tokens:
            if block.type == "inline" and block.children:
                block.children = self._linked(block.children)

    def _linked(self, tokens: Sequence[Token]) -> list[Token]:
        made: list[Token] = []
        depth = 0
        for position, token in enumerate(tokens):
            depth += (token.type == "link_open") - (token.type == "link_close")
            if token.type != "text" or depth:
                made.append(token)
                continue
            if position == 0 and token.content[:4] in _TASKS:
                token.content = _TASKS[token.content[:4]] + token.content[4:]
            made += self._split(token.content)
        return made

    def _split(self, content: str) -> list[Token]:
        made: list[Token] = []
        at = 0
        for match in _REFERENCE.finditer(content):
            number, login = match["number"], match["login"]
            where = f"{self._page}/issues/{number}" if number else f"{self._site}/{login}"
            made += [
                _text(content[at : match.start()]),
                Token("link_open", "a", 1, attrs={"href": where}),
                _text(match[0]),
                Token("link_close", "a", -1),
            ]
            at = match.end()
        return [*made, _text(content[at:])]


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)
