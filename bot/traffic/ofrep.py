"""Answers of the OpenFeature Remote Evaluation Protocol (OFREP 0.2), from who serves what.

The protocol: https://openfeature.dev/docs/reference/other-technologies/ofrep/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from bot.traffic.flagd import Allocation, flag_metadata, is_candidate

LONGEST_KEY = 4096
"""Characters of a targeting key."""


class BadContext(Exception):
    """The evaluation context cannot be used; `code` is OFREP's name for why."""

    def __init__(self, code: str, details: str) -> None:
        """Name the code, and say what is allowed."""
        super().__init__(details)
        self.code = code


@dataclass(frozen=True, slots=True)
class OfrepAnswer:
    """Status, body, and a tag that changes when the body does."""

    status: HTTPStatus
    body: dict[str, Any]

    @property
    def etag(self) -> str:
        """A strong entity tag (RFC 9110, section 8.8.3)."""
        written = json.dumps(self.body, sort_keys=True, ensure_ascii=False)
        return f'"{hashlib.sha256(written.encode()).hexdigest()[:32]}"'


def targeting_key(body: bytes) -> str | None:
    """Read the targeting key from a request's body: `{"context": {"targetingKey": "…"}}`.

    Raises:
        BadContext: the body is no such object.
    """
    if not body.strip():
        return None
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        raise BadContext("PARSE_ERROR", "the body must be one JSON object") from None
    context = request.get("context", {}) if isinstance(request, Mapping) else None
    if not isinstance(context, Mapping):
        raise BadContext("INVALID_CONTEXT", "context must be an object")
    key = context.get("targetingKey")
    if key is not None and not (isinstance(key, str) and len(key) <= LONGEST_KEY):
        allowed = f"text of at most {LONGEST_KEY} characters"
        raise BadContext("INVALID_CONTEXT", f"context.targetingKey must be {allowed}")
    if key is not None and not _is_unicode(key):
        raise BadContext("INVALID_CONTEXT", "context.targetingKey must be Unicode text")
    return key


def evaluate(servings: Sequence[Allocation], capability: str, key: str | None) -> OfrepAnswer:
    """Answer for one flag: who serves this request; 404 where nothing was ever decided.

    Args:
        servings: who serves each capability of the repository now.
        capability: the one that the flag is about; the flag has the same name.
        key: the targeting key, which decides who is served by whom; None: the baseline serves.
    """
    for serving in servings:
        if serving.capability == capability:
            return OfrepAnswer(HTTPStatus.OK, _evaluated(serving, key))
    details = "no shadow or ramp was ever started for it, so nothing was decided: use the default"
    return failed(HTTPStatus.NOT_FOUND, "FLAG_NOT_FOUND", details, capability)


def evaluate_all(
    servings: Sequence[Allocation], key: str | None, besides: Sequence[dict[str, Any]] = ()
) -> OfrepAnswer:
    """Answer for every flag.

    Args:
        servings: who serves each capability of the repository now.
        key: the targeting key, which decides who is served by whom; None: the baseline serves.
        besides: flags that are no capability's, evaluated already; they come last.
    """
    evaluated = [_evaluated(each, key) for each in servings]
    return OfrepAnswer(HTTPStatus.OK, {"flags": [*evaluated, *besides]})


def failed(
    status: HTTPStatus, code: str, details: str, capability: str | None = None
) -> OfrepAnswer:
    """Answer that there is no value; the client takes its default.

    Args:
        status: of the HTTP answer.
        code: OFREP's name for what is wrong, such as `FLAG_NOT_FOUND`.
        details: the same in words for people.
        capability: the flag that was asked for; None where all were.
    """
    body = {"errorCode": code, "errorDetails": details}
    return OfrepAnswer(status, body if capability is None else {"key": capability} | body)


def _evaluated(serving: Allocation, key: str | None) -> dict[str, Any]:
    split = serving.split
    candidate = bool(key) and is_candidate(serving.capability, split, key or "")
    by_split = "SPLIT" if key else "DEFAULT"
    return {
        "key": serving.capability,
        "value": split.candidate if candidate else split.baseline,
        "variant": "candidate" if candidate else "baseline",
        "reason": by_split if split.percent else "STATIC",
        "metadata": flag_metadata(serving),
    }


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
