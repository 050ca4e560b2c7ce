"""Words of others inside our Markdown: whatever they contain, they stay words.

GitHub renders titles, reasons, branch names and log lines as Markdown and HTML. Everything that
comes from outside passes through here before it becomes part of a comment, a description or an
ADR: it can then make no heading, link, image, table, mention, reference, comment or HTML.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, unquote, urlsplit

_INLINE = re.compile(r"([\\`*_\[\]|~$!])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_NOTHING = "&#8203;"  # a zero-width space: what it parts is no longer one token to GitHub
_MENTION = re.compile(r"@(?=\w)")
_REFERENCE = re.compile(r"#(?=\d)|(?<=\bGH)-(?=\d)", re.IGNORECASE)
_ADDRESS = re.compile(r"(?<=[a-z])://|\bwww\.", re.IGNORECASE)
_BLOCK_START = re.compile(r"^(?:[-+=#:]|\d{1,9}(?=[.)]))")
_SHA = re.compile(r"\b(?=[0-9a-f]*[0-9])([0-9a-f]{7})(?=[0-9a-f]{0,33}\b)")
_URL_SAFE = "/:?#@!$&'*+,;=%-._~"


def text(raw: str, *, limit: int | None = None) -> str:
    """Write someone's words on one line, to be read and nothing else.

    Args:
        raw: the words; line breaks become spaces, invisible control characters go.
        limit: cut to this many characters, the last being `…`.
    """
    plain = _one_line(raw)
    if limit is not None and len(plain) > limit:
        plain = plain[: limit - 1].rstrip() + "…"
    safe = "".join(_ENTITIES.get(character, character) for character in plain)
    safe = _INLINE.sub(r"\\\1", safe)
    safe = _ADDRESS.sub(lambda match: _parted(match[0]), safe)
    safe = _MENTION.sub(f"@{_NOTHING}", safe)
    safe = _REFERENCE.sub(lambda match: match[0] + _NOTHING, safe)
    safe = _SHA.sub(rf"\1{_NOTHING}", safe)
    return _BLOCK_START.sub(_escaped_start, safe)


def code(raw: str) -> str:
    """Write a name, path, branch or command as inline code, also inside a table."""
    plain = _one_line(raw)
    if plain and not set(plain) & set("`|"):
        return f"`{plain}`"
    return f"<code>{text(raw)}</code>"


def fence(raw: str, *, language: str = "") -> str:
    """Write several lines, say of a log, as a code block that nothing inside can end."""
    lines = "\n".join(_visible(line) for line in raw.splitlines())
    longest = max((len(run) for run in re.findall(r"`+", lines)), default=0)
    bar = "`" * max(3, longest + 1)
    return f"{bar}{re.sub(r'[^a-z0-9]', '', language.lower())}\n{lines}\n{bar}"


def link(label: str, url: str) -> str:
    """Write a link; an address that is neither http(s) nor relative leaves only the label."""
    safe = _safe_url(url)
    return text(label) if safe is None else f"[{text(label)}]({safe})"


def marker(name: str, **values: str) -> str:
    """Write a hidden comment by which we find again what we wrote; see `find_marker`."""
    pairs = "".join(f" {key}={_marker_value(value)}" for key, value in sorted(values.items()))
    return f"<!-- playbooks:{name}{pairs} -->"


def find_marker(body: str, name: str) -> dict[str, str] | None:
    """Read the values of the first hidden marker of this name; None if there is none."""
    found = re.search(rf"<!-- playbooks:{re.escape(name)}((?: [a-z_]+=[^\s>]*)*) -->", body)
    if found is None:
        return None
    pairs = (pair.split("=", 1) for pair in found[1].split())
    return {key: unquote(value) for key, value in pairs}


def with_section(body: str, name: str, content: str) -> str:
    """Put `content` between our hidden markers; everything the author wrote stays untouched.

    A body without the section gets it at its end. Do the same again and nothing changes.
    """
    start, end = marker(f"{name}-start"), marker(f"{name}-end")
    section = f"{start}\n{content.strip()}\n{end}"
    first = body.find(start)
    last = body.find(end, first + len(start))
    if first >= 0 and last >= 0:
        return body[:first] + section + body[last + len(end) :]
    return f"{body.rstrip()}\n\n{section}\n" if body.strip() else f"{section}\n"


def _one_line(raw: str) -> str:
    return " ".join(_visible(raw).split())


def _visible(raw: str) -> str:
    """Drop what a reader cannot see but a parser can: controls, overrides, half surrogates."""
    return "".join(
        " " if character.isspace() else character
        for character in raw
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )


def _parted(found: str) -> str:
    return f":{_NOTHING}//" if found == "://" else f"{found[:3]}{_NOTHING}."


def _escaped_start(match: re.Match[str]) -> str:
    start = match[0]
    return f"{start}{_NOTHING}" if start[0].isdigit() else f"\\{start}"


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
