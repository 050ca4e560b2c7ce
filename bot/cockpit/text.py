"""Words of others on our pages: whatever they contain, they stay words, and fit.

Escaping is done by the templates. Here invisible characters go, lengths are cut, and Markdown we
wrote ourselves becomes HTML.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, lru_cache

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

_REFERENCE = re.compile(
    r"\\.|`[^`]*`|<code>[^<]*</code>|\[(?:[^\[\]\\]|\\.)*+\]\([^()\s]*\)"
    r"|(?<![\w&/])#(?P<number>\d{1,10})\b",
    re.DOTALL,
)
NONE = "\N{EN DASH}"
"""Where there is nothing to say."""
_A_MOMENT = timedelta(seconds=5)
LONGEST = 300
"""Characters shown of somebody's words where the page does not say otherwise."""
_TAGS = {"a", "br", "code", "em", "li", "ol", "p", "pre", "strong", "table", "tbody", "td", "th",
         "thead", "tr", "ul", "hr", "h3", "h4"}  # fmt: skip


def plain(raw: object, limit: int = LONGEST) -> str:
    """Write on one line, without what a reader cannot see (controls, direction marks), cut."""
    # Cut first: the longest title must not cost more than what is shown of it.
    whole = str(raw)
    text = whole[: 4 * limit]
    # Most words are plain letters, and a page has hundreds of them.
    words = " ".join(text.split() if _is_harmless(text) else _visible(text).split())
    is_cut = len(words) > limit or len(whole) > 4 * limit
    return words[: limit - 1].rstrip() + "…" if is_cut else words


def _is_harmless(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _visible(text: str) -> str:
    return _without_towers(
        "".join(
            " " if each.isspace() else each
            for each in text
            if each.isspace() or unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Co", "Cn")
        )
    )


def _without_towers(text: str) -> str:
    """Keep at most two marks on a letter: more of them climb over the lines around."""
    if text.isascii():
        return text
    kept, marks = [], 0
    for each in text:
        marks = marks + 1 if unicodedata.category(each) in ("Mn", "Me") else 0
        if marks <= 2:
            kept.append(each)
    return "".join(kept)


def say(raw: object, limit: int = LONGEST) -> Markup:
    """Show somebody's words, isolated: their direction does not turn ours around."""
    return Markup(f"<bdi>{escape(plain(raw, limit))}</bdi>")  # noqa: S704 - escaped just now


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")


def html_of(markdown: str, limit: int = 20_000) -> Markup:
    """Render our own Markdown, in which others' words are escaped already."""
    rendered = _markdown().render(_without_towers(markdown[:limit]))
    clean = nh3.clean(
        rendered,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noreferrer",
    )
    return Markup(clean)  # noqa: S704 - cleaned just now, and made from escaped words


def with_references(markdown: str, address: Callable[[int], str]) -> str:
    """Link what GitHub links by itself: `#12` in our own Markdown, outside of code and links.

    The words of others hold no such thing: `bot.markdown` parts it.
    """

    def linked(found: re.Match[str]) -> str:
        if found["number"] is None:
            return found[0]
        return f"[#{found['number']}]({address(int(found['number']))})"

    return _REFERENCE.sub(linked, markdown)


@lru_cache(maxsize=1_000)
def inline_of(markdown: str, limit: int = 4_000) -> Markup:
    """Render one line of our own Markdown, to stand inside a sentence."""
    rendered = _markdown().renderInline(_without_towers(" ".join(markdown[:limit].split())))
    clean = nh3.clean(
        rendered,
        tags={"a", "code", "em", "strong"},
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noreferrer",
    )
    return Markup(f"<bdi>{clean}</bdi>")  # noqa: S704 - cleaned just now, made from escaped words


def duration(span: timedelta | None) -> str:
    """A length of time in at most two units: `2 h 5 min`."""
    if span is None:
        return NONE
    seconds = max(0, round(span.total_seconds()))
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    for place, (size, name) in enumerate(units):
        if seconds >= size or size == 1:
            count, rest = divmod(seconds, size)
            smaller = units[place + 1] if place + 1 < len(units) else None
            if smaller and rest >= smaller[0] and count < 10:
                return f"{count} {name} {rest // smaller[0]} {smaller[1]}"
            return f"{count} {name}"
    return "0 s"


def moment(when: datetime | None, now: datetime) -> Markup:
    """A time as people say it (`5 min ago`), exact for whoever wants it."""
    if when is None:
        return escape(NONE)
    exact = when.strftime("%Y-%m-%d %H:%M:%S UTC")
    span = now - when
    if abs(span) < _A_MOMENT:
        said = "just now"
    else:
        said = f"{_coarse(span)} ago" if span > timedelta(0) else f"in {_coarse(-span)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(when.isoformat(), exact, said)


def exactly(when: datetime | None, now: datetime) -> Markup:
    """A time as people say it, and beside it the clock's, with its zone."""
    if when is None:
        return escape(NONE)
    clock = f"{when:%H:%M}" if when.date() == now.date() else f"{when:%Y-%m-%d %H:%M}"
    return Markup('{} <span class="clock">({} UTC)</span>').format(moment(when, now), clock)


def clock(when: datetime) -> str:
    """A time of day, with its date, in UTC."""
    return f"{when:%Y-%m-%d %H:%M}"


def _coarse(span: timedelta) -> str:
    """The larger of the two units is enough for how long ago something was."""
    return " ".join(duration(span).split()[:2])


def percent(share: float) -> str:
    """A share as people read it; what is not certain is never written as certain."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{share:.1%}"


def number(count: int | float) -> str:
    """A count with its thousands parted."""
    return str(escape(f"{count:,}"))
