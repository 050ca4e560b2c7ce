"""Keep secrets out of logs and errors."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, MutableMapping
from functools import lru_cache
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
_SHORT = 60
_URL_SAFE = str.maketrans("+/", "-_")
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
    _redact_short.cache_clear()


def _forms(value: str) -> Iterator[str]:
    """A secret as it may be printed: as it is, in JSON, in Python's or an address's quoting.

    And as whoever wants it past this would print it: in base64 or hex.
    """
    yield value
    yield from _encoded(value.encode("utf-8", "replace"))
    if "\n" in value:
        return
    yield from (json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe=""))
    try:
        password = urlsplit(value).password
    except ValueError:
        password = None
    if password:
        yield from (password, unquote(password))


def _encoded(secret: bytes) -> Iterator[str]:
    if len(secret) < _SHORTEST:
        return
    yield from (secret.hex(), secret.hex().upper())
    for before in range(3):
        # Within a longer text it may begin at any of three places of four letters.
        padded = b"\0" * before + secret
        begin, end = -(-before * 8 // 6), len(padded) * 8 // 6
        whole = base64.b64encode(padded).decode()[begin:end]
        yield from (whole, whole.translate(_URL_SAFE))
        if not before:
            # Programs break it into lines of such lengths.
            lines = [whole[at : at + n] for n in (64, 76) for at in range(0, len(whole), n)]
            yield from (line for line in lines if len(line) >= _SHORTEST_LINE)


def redact(text: str) -> str:
    """Replace every token, JWT, private key, address password and known secret in `text`."""
    return _redact_short(text) if len(text) <= _SHORT else _redact(text)


def _redact(text: str) -> str:
    without = _SECRETS.sub(REDACTED, text)
    return without if _known_pattern is None else _known_pattern.sub(REDACTED, without)


# The words of a log are mostly the same few.
_redact_short = lru_cache(2_000)(_redact)


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
