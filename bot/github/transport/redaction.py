"""Keep secrets out of logs and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

REDACTED = "[redacted]"

_SECRETS = re.compile(
    r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    # Tokens by GitHub's prefixes; installation tokens also come as ghs_APPID_JWT, with dots.
    | gh[opsur]_[A-Za-z0-9_.\-]{16,}
    | github_pat_[A-Za-z0-9_]{16,}
    # Any JWT: the App's own, an OIDC token. Tried once for each run of its letters, whatever
    # stands before it there: `eyJ` over and over would else be read to the end from each.
    | (?<![A-Za-z0-9_\-])(?>[A-Za-z0-9_\-]*?eyJ)[A-Za-z0-9_\-]{8,}+
      \.[A-Za-z0-9_\-]{8,}+\.[A-Za-z0-9_\-]*
    # Credentials in an address.
    | (?<=://)[^/@\s:]*:[^/@\s]+(?=@)
    # Authorization headers, whatever the scheme.
    | (?<=authorization:\ )[^\r\n]+
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


_SHORTEST = 8
"""Characters; a shorter secret would blot out words of everyday texts."""
_SHORTEST_LINE = 16
_known: set[str] = set()
_known_pattern: re.Pattern[str] | None = None


def keep_secret(values: Iterable[str]) -> None:
    """Have `redact` replace these values too, for as long as this process lives.

    Of what has several lines, such as a key in PEM, each line counts: it may be printed indented,
    or with its line ends escaped. Of an address, its password counts by itself.
    """
    global _known_pattern
    for value in (form for each in values for form in _forms(each)):
        lines = [line.strip() for line in re.split(r"[\r\n]+|\\n", value)]
        if len(lines) > 1:
            _known.update(
                line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("---")
            )
        elif len(lines[0]) >= _SHORTEST:
            _known.add(lines[0])
    if _known:
        # The longest first, so that no part of one is replaced and the rest left.
        longest = sorted(_known, key=lambda each: (-len(each), each))
        _known_pattern = re.compile("|".join(map(re.escape, longest)))


def _forms(value: str) -> Iterator[str]:
    """A secret as it may be printed: as it is, in JSON, in Python's or an address's quoting."""
    yield value
    if "\n" in value:
        return
    yield from (json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe=""))
    try:
        password = urlsplit(value).password
    except ValueError:
        password = None
    if password:
        yield from (password, unquote(password))


def redact(text: str) -> str:
    """Replace every token, JWT, private key, address password and known secret in `text`."""
    without = _SECRETS.sub(REDACTED, text)
    return without if _known_pattern is None else _known_pattern.sub(REDACTED, without)


def redact_event(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Redact every text of a log entry: a structlog processor.

    Args:
        _logger: not looked at: structlog hands it to every processor.
        _method: the same.
        event: the entry by its keys; it is changed in place, and given back.
    """
    for key, value in event.items():
        event[key] = _redacted(value)
    return event


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        return redact(value.decode("utf-8", "replace"))
    if isinstance(value, dict):
        return {redact(str(key)): _redacted(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(entry) for entry in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    # Whatever it is, it would be printed by its `repr`.
    return redact(repr(value))
