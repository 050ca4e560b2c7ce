"""Keep secrets out of logs and errors."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

REDACTED = "[redacted]"

_SECRETS = re.compile(
    r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    # Tokens by GitHub's prefixes; installation tokens also come as ghs_APPID_JWT, with dots.
    | gh[opsur]_[A-Za-z0-9_.\-]{16,}
    | github_pat_[A-Za-z0-9_]{16,}
    # Any JWT: the App's own, an OIDC token.
    | eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*
    # Credentials in an address.
    | (?<=://)[^/@\s:]*:[^/@\s]+(?=@)
    # Authorization headers, whatever the scheme.
    | (?<=authorization:\ )[^\r\n]+
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def redact(text: str) -> str:
    """Replace every token, JWT, private key and address password in `text`."""
    return _SECRETS.sub(REDACTED, text)


def redact_event(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Redact every text of a log entry: a structlog processor."""
    for key, value in event.items():
        event[key] = _redacted(value)
    return event


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        return redact(value.decode("utf-8", "replace"))
    if isinstance(value, dict):
        return {key: _redacted(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_redacted(entry) for entry in value)
    if isinstance(value, BaseException):
        return redact(repr(value))
    return value
