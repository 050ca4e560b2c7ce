"""Spoiling of what is well-formed: one document in, many hostile neighbours out, by a seed."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

NASTY_TEXT = (
    "", " ", "\x00", "a\x00b", "\ufeff/revert", "\u202e/revert", "\ud800", "ﬀ", "İ", "e\u0301" * 50,
    "null", "-1", "1e309", "0x10", "١٢٣", "2001-13-45", "9" * 400, "a" * 5000, "../../etc/passwd",
    "{{7*7}}", "$(id)", "%s%n", "<script>", "`|@all\n\n# x", "[x](javascript:x)", "--help",
    "\r\n\r\n",    "bot[bot]", "refs/heads/main", "0" * 40, "f" * 40, "::", "/" * 900,
)  # fmt: skip
NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, 0.1, -0.0, 1e308,
    float("nan"), float("inf"), [], {}, [[]], [None] * 300, {"": ""}, {"login": {}}, *NASTY_TEXT,
)  # fmt: skip
_LINES = (
    "/revert",
    "/approve #1",
    "```",
    "> /revert",
    "<!--",
    "-->",
    "    /revert",
    "because",
    "\t",
)
_DEEP = 4000


def spoiled(document: Any, rng: random.Random) -> Any:
    """Change up to four places of a JSON document; the document itself stays as it is."""
    changed = json.loads(json.dumps(document))
    for _ in range(rng.randint(1, 4)):
        changed = _spoil(changed, rng)
    return changed


def _spoil(document: Any, rng: random.Random) -> Any:
    places = list(_places(document))
    if not places or rng.random() < 0.02:
        return _nasty(rng)
    holder, key = rng.choice(places)
    match rng.randrange(6):
        case 0 if isinstance(holder, dict):
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(NASTY_TEXT)] = _nasty(rng)
        case 2:
            holder[key] = [holder[key]] * rng.choice((1, 2, 8))
        case 3:
            holder[key] = {str(key): holder[key]}
        case 4 if isinstance(holder[key], str):
            holder[key] = spoiled_text(holder[key], rng)
        case _:
            holder[key] = _nasty(rng)
    return document


def _nasty(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(NASTY))


def _places(document: Any) -> Any:
    """Every place that something stands in: its holder and its key."""
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        if not isinstance(holder, dict | list):
            continue
        for key in holder if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])


def spoiled_text(text: str, rng: random.Random) -> str:
    """Change a text in one place: cut, double, insert, or put lines in another order."""
    at = rng.randint(0, len(text))
    match rng.randrange(6):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + rng.choice(NASTY_TEXT) + text[at:]
        case 2:
            return text + "\n" + rng.choice(_LINES) + "\n" + text[at:]
        case 3:
            lines = text.split("\n")
            rng.shuffle(lines)
            return "\n".join(lines)
        case 4:
            return text[:at] + text[at : at + 9] * rng.choice((2, 200)) + text[at:]
        case _:
            return (
                text[:at] + chr(rng.choice((0, 9, 10, 13, 34, 58, 92, 0x2028, 0x1F600))) + text[at:]
            )


def as_bytes(document: Any, rng: random.Random) -> bytes:
    """Write a document as JSON; now and then so that no JSON reader takes it, or only just."""
    # `surrogatepass` keeps what no UTF-8 may hold: readers have to refuse it.
    written = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    chance = rng.random()
    if chance < 0.92:
        return written
    if chance < 0.94:
        return b"[" * _DEEP + written + b"]" * _DEEP
    if chance < 0.95:
        return b'{"a":' * _DEEP + b"1" + b"}" * _DEEP
    return spoiled_bytes(written, rng)


def spoiled_bytes(content: bytes, rng: random.Random) -> bytes:
    """Change bytes in one place."""
    at = rng.randint(0, len(content))
    match rng.randrange(4):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + rng.randbytes(rng.choice((1, 4, 64))) + content[at:]
        case 2:
            return b"\xff\xfe" + content
        case _:
            return content[:at] + content[at + 1 :]
