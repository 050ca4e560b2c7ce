"""Words of others inside our Markdown: whatever they contain, they stay words.

GitHub renders titles, reasons, branch names and log lines as Markdown and HTML. Everything that
comes from outside passes through here before it becomes part of a comment, a description or an
ADR: it can then make no heading, link, image, table, mention, reference, comment or HTML.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, urlsplit

_INLINE = re.compile(r"([\\`*_\[\]|~$!])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\u200b": "&#8203;"})
_BLOCK_START = re.compile(r"^([-+=#:]|\d{1,9}(?=[.)]))")
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}")  # `_` is in the logins of managed users
_URL_SAFE = "/:?#@!$&'*+,;=%-._~"

# Where GitHub would see a mention, a reference or an address, a zero-width space parts what it
# looks for. Nobody else can write one here: invisible characters are dropped first. A SHA stays
# whole: GitHub's link to a commit tells nobody anything, and people copy it into commands.
_PARTED = re.compile(
    r"""
    @(?=\w)                             # @alice
    | \#(?=\d)                          # #12
    | \bGH-(?=\d)                       # GH-12
    | (?<=[a-z]):(?=//)                 # https://…
    | \bwww(?=\.)                       # www.…
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ADDRESS = re.compile(r"(?<=[a-z]):(?=//)|\bwww(?=\.)", re.IGNORECASE)


def text(raw: str, *, limit: int | None = None) -> str:
    """Write someone's words on one line, to be read and nothing else.

    Args:
        raw: the words; line breaks become spaces, invisible control characters go.
        limit: cut to this many characters, the last being `…`.
    """
    words = _words(raw, limit)
    # A heading, a list and the line under a heading are made by the first characters only.
    return _BLOCK_START.sub(lambda at: f"{at[1]}\\" if at[1].isdigit() else f"\\{at[1]}", words)


def code(raw: str) -> str:
    """Write a name, path, branch or command as inline code, also inside a table."""
    plain = _one_line(raw)
    if plain and not set(plain) & set("`|"):
        return f"`{plain}`"
    # GitHub looks for no mention or reference in code, but its Markdown makes links of addresses.
    apart = _ADDRESS.sub("\\g<0>\u200b", plain)
    return f"<code>{_escaped(apart)}</code>"


def fence(raw: str, *, language: str = "") -> str:
    """Write several lines, say of a log, as a code block that nothing inside can end."""
    lines = "\n".join(_visible(line) for line in raw.splitlines())
    longest = max((len(run) for run in re.findall(r"`+", lines)), default=0)
    bar = "`" * max(3, longest + 1)
    return f"{bar}{re.sub(r'[^a-z0-9]', '', language.lower())}\n{lines}\n{bar}"


def link(label: str, url: str) -> str:
    """Write a link; an address that is neither http(s) nor relative leaves only the label."""
    safe = _safe_url(url)
    return text(label) if safe is None else f"[{_words(label)}]({safe})"


def image(description: str, url: str) -> str:
    """Show a picture from an http(s) address, with words for who cannot see it."""
    safe = _safe_url(url)
    return text(description) if safe is None else f"![{_words(description)}]({safe})"


def is_login(name: str) -> bool:
    """Tell whether this can be the login of a person on GitHub."""
    return _LOGIN.fullmatch(name) is not None


def mention(login: str) -> str:
    """Address a person so that GitHub notifies them; any other caller's name stays words."""
    return f"@{login}" if is_login(login) else text(login)


def marker(name: str, **values: str) -> str:
    """Write a hidden comment by which what we wrote is found again."""
    pairs = "".join(f" {key}={_marker_value(value)}" for key, value in sorted(values.items()))
    return f"<!-- playbooks:{name}{pairs} -->"


def for_file(written: str) -> str:
    """The same for a committed file: nobody is notified from there, so nothing invisible parts it.

    Args:
        written: Markdown or JSON with words that passed through here or through `quoting`.
    """
    apart = written.replace(":&#8203;//", "&#58;//").replace("www&#8203;.", "www&#46;")
    apart = apart.replace("@&#8203;", "&#64;")
    return apart.replace("&#8203;", "").replace("\u200b", "")


def with_section(body: str, name: str, content: str, *, limit: int) -> str:
    """Put `content` between our hidden markers; everything the author wrote stays untouched.

    A body without the section gets it at its end; of one that was copied the first is kept. Do the
    same again and nothing changes. Where the author's words leave no room for it, it is its first
    paragraph; where not even for that, there is none.

    Args:
        body: what is there, by its author and by us.
        name: which of our sections.
        content: Markdown.
        limit: characters of the whole.
    """
    spans = _spans_of(body, name)
    before, after = f"{body.rstrip()}\n\n" if body.strip() else "", "\n"
    if spans:
        start, end = spans[0]
        before, after = body[:start], without_section(body[end:], name)
    for shown in (content.strip(), content.strip().partition("\n\n")[0]):
        section = f"{marker(f'{name}-start')}\n{shown}\n{marker(f'{name}-end')}"
        if len(before) + len(section) + len(after) <= limit:
            return before + section + after
    return without_section(body, name)


def without_section(body: str, name: str) -> str:
    """Take our section out again; a body without it stays as it is."""
    spans = _spans_of(body, name)
    if not spans:
        return body
    kept = body[: spans[0][0]]
    ends = [start for start, _ in spans[1:]] + [len(body)]
    for (_, start), end in zip(spans, ends, strict=True):
        before, after = kept.rstrip(), body[start:end].lstrip("\r\n")
        kept = f"{before}\n\n{after}" if before and after else before or after
    return kept


def _spans_of(body: str, name: str) -> list[tuple[int, int]]:
    """Where our section stands, as often as somebody copied it.

    An end belongs to the nearest start before it: after a start that lost its end come the
    author's words.
    """
    start, end = marker(f"{name}-start"), marker(f"{name}-end")
    found: list[tuple[int, int]] = []
    at = 0
    while (last := body.find(end, at)) >= 0:
        first = body.rfind(start, at, last)
        at = last + len(end)
        if first >= 0:
            found.append((first, at))
    return found


def _words(raw: str, limit: int | None = None) -> str:
    plain = _one_line(raw)
    if limit is not None and len(plain) > limit:
        plain = plain[: limit - 1].rstrip() + "…"
    parted = _PARTED.sub("\\g<0>\u200b", plain)
    return _escaped(parted)


def _escaped(plain: str) -> str:
    return _INLINE.sub(r"\\\1", plain).translate(_ENTITIES)


def _one_line(raw: str) -> str:
    return " ".join(_visible(raw).split())


def _visible(raw: str) -> str:
    """Drop what a reader cannot see but a parser can: controls, overrides, half surrogates."""
    return "".join(
        " " if character.isspace() else character
        for character in raw
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )


def _safe_url(url: str) -> str | None:
    try:
        scheme = urlsplit(url.strip()).scheme
    except ValueError:
        return None
    if scheme not in ("", "http", "https"):
        return None
    return quote(_one_line(url).replace(" ", "%20"), safe=_URL_SAFE) or None


def _marker_value(value: str) -> str:
    return quote(value, safe="/:@+,").replace("--", "%2D%2D")
