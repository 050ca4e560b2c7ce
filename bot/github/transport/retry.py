"""What to do about GitHub's answer: a pure decision, carried out by `channel.py`.

Sources: "Rate limits for the REST API" and "Best practices for using the REST API" (what to wait
for), "Troubleshooting the REST API" (what each status means).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot.github.errors import (
    BadCredentials,
    Conflict,
    Forbidden,
    GitHubError,
    NotFound,
    NotMergeable,
    NotOffered,
    RateLimited,
    StillRunning,
    Suspended,
    Unavailable,
    Uncertain,
    Unprocessable,
)
from bot.github.transport.redaction import redact

MAX_ATTEMPTS = 5
"""How often a request is sent while GitHub is broken; waits between: 1, 2, 4 and 8 seconds."""

MAX_LIMITED_ATTEMPTS = 8
"""How often a request is sent while GitHub says it comes too fast."""

_NO_REASON = "no reason given"
_PLAN = "upgrade to github"
"""How GitHub says that a private repository's plan lacks something: "Upgrade to GitHub Pro or make
this repository public to enable this feature."
"""

LIMITED_SECONDS = 60.0
"""The first wait after a limit that names no time; doubles with each further attempt."""


@dataclass(frozen=True)
class SentRequest:
    """What was asked, as far as the decision needs it.

    `repeatable` says that doing it twice is the same as doing it once: reading, or setting a
    state. Creating something is not repeatable.
    """

    method: str
    route: str
    repeatable: bool

    @property
    def name(self) -> str:
        """Method and route template, for messages and metrics."""
        return f"{self.method} {self.route}"


@dataclass(frozen=True)
class HttpAnswer:
    """What came back. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Lost:
    """No whole answer came back. `sent` is False if the request surely never reached GitHub."""

    reason: str
    sent: bool = True


@dataclass(frozen=True)
class Ok:
    """Take the answer: `data` is the decoded body, None where there is none."""

    data: Any


@dataclass(frozen=True)
class Unchanged:
    """304: what we kept under this ETag still holds."""


@dataclass(frozen=True)
class Retry:
    """Send it again after `after` seconds; raise `error` instead if that is too long."""

    after: float
    error: GitHubError


@dataclass(frozen=True)
class Refresh:
    """The token was refused: get a new one and send it again, once; else raise `error`."""

    error: GitHubError


@dataclass(frozen=True)
class FollowTo:
    """Send the same request to `location`."""

    location: str
    error: GitHubError


@dataclass(frozen=True)
class GiveUp:
    """Raise `error`."""

    error: GitHubError


Decision = Ok | Unchanged | Retry | Refresh | FollowTo | GiveUp


def decide(request: SentRequest, answer: HttpAnswer | Lost, attempt: int, now: float) -> Decision:
    """Decide what to do about `answer` to the `attempt`-th try (counted from 1) of `request`.

    `now` is the time in seconds since 1970, against which a limit's reset is measured.
    """
    if isinstance(answer, Lost):
        return _without_answer(request, answer, attempt)
    status, headers = answer.status, answer.headers
    data, readable = _decoded(answer)
    if status == 304:
        return Unchanged()
    if 200 <= status < 300:
        if not readable:
            return _without_answer(request, Lost("the answer was cut short"), attempt)
        if _graphql_error_types(data) & {"RATE_LIMITED", "RATE_LIMIT"}:
            return _limited(request, headers, {}, attempt, now, status)
        return Ok(data)
    facts: dict[str, Any] = {
        "route": request.name,
        "status": status,
        "request_id": headers.get("x-github-request-id"),
    }
    said = _said(data)
    facts["said"] = said if said != _NO_REASON else ""
    if status in {301, 302, 307, 308} and headers.get("location"):
        error = NotFound(f"GitHub sends {request.name} elsewhere, which we do not follow.", **facts)
        return FollowTo(headers["location"], error)
    if _is_limit(status, headers, said) or _is_too_quick(status, data):
        return _limited(request, headers, facts, attempt, now, status)
    if status >= 500:
        return _broken(request, f"GitHub answered {status}", attempt, facts)
    if status == 401:
        return Refresh(
            BadCredentials(
                f"GitHub does not accept the App's credentials ({said}). Check GITHUB_APP_ID, "
                "GITHUB_PRIVATE_KEY and this machine's clock.",
                **facts,
            )
        )
    return GiveUp(_refusal(request, status, headers, data, said, facts))


def _without_answer(request: SentRequest, lost: Lost, attempt: int) -> Decision:
    safe = request.repeatable or not lost.sent
    return _broken(request, lost.reason, attempt, {"route": request.name}, safe=safe)


def _broken(
    request: SentRequest,
    what: str,
    attempt: int,
    facts: dict[str, Any],
    *,
    safe: bool | None = None,
) -> Decision:
    if not (request.repeatable if safe is None else safe):
        return GiveUp(
            Uncertain(
                f"{request.name}: {what}. It may have been done nevertheless: look first.", **facts
            )
        )
    error = Unavailable(
        f"{request.name}: {what}, {attempt} times. GitHub may be down: see githubstatus.com. "
        "It will be tried again.",
        **facts,
    )
    if attempt >= MAX_ATTEMPTS:
        return GiveUp(error)
    return Retry(float(2 ** (attempt - 1)), error)


def _is_limit(status: int, headers: Mapping[str, str], said: str) -> bool:
    if status == 429:
        return True
    if status != 403 or "not accessible" in said.lower():
        return False
    return (
        "retry-after" in headers
        or headers.get("x-ratelimit-remaining") == "0"
        or "rate limit" in said.lower()
        or "abuse" in said.lower()
    )


def _is_too_quick(status: int, data: Any) -> bool:
    """Whether GitHub refuses what was made too soon after others of its kind; it says no time.

    Source: https://github.com/whatwg/spec-factory/issues/55
    """
    if status != 422:
        return False
    return any("submitted too quickly" in said.lower() for said in _fields(data).values())


def _limited(
    request: SentRequest,
    headers: Mapping[str, str],
    facts: dict[str, Any],
    attempt: int,
    now: float,
    status: int,
) -> Decision:
    after = _seconds_to_wait(headers, attempt, now)
    until = datetime.fromtimestamp(now + after, UTC)
    error = RateLimited(
        f"GitHub's request limit is used up until {until:%H:%M:%S} UTC ({request.name}). "
        "It goes on by itself then.",
        until=until,
        **{**facts, "route": request.name, "status": status},
    )
    return GiveUp(error) if attempt >= MAX_LIMITED_ATTEMPTS else Retry(after, error)


def _seconds_to_wait(headers: Mapping[str, str], attempt: int, now: float) -> float:
    """Obey `retry-after`, else the reset of a used-up limit, else one minute, doubling."""
    retry_after = _number(headers.get("retry-after"))
    if retry_after is not None:
        return max(retry_after, 1.0)
    reset = _number(headers.get("x-ratelimit-reset"))
    if headers.get("x-ratelimit-remaining") == "0" and reset is not None:
        return max(reset - now + 1.0, 1.0)
    return LIMITED_SECONDS * float(2 ** (attempt - 1))


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text and len(text) < 20 and text.strip().isdigit() else None
    except ValueError:
        return None


def _refusal(
    request: SentRequest,
    status: int,
    headers: Mapping[str, str],
    data: Any,
    said: str,
    facts: dict[str, Any],
) -> GitHubError:
    name = request.name
    if status == 403 and "suspended" in said.lower():
        return Suspended(
            "The App's installation is suspended. An owner can lift it in the account's "
            "settings under GitHub Apps.",
            **facts,
        )
    if status in {403, 451}:
        return _forbidden(name, headers, said, facts)
    if status in {404, 410}:
        hint = "It does not exist, or the App may not see it."
        return NotFound(f"{name}: {said}. {hint}", **facts)
    if status == 405:
        return NotMergeable(f"GitHub refuses to merge now: {said}", **facts)
    if status in {409, 412}:
        return Conflict(f"{name}: {said}", **facts)
    fields = _fields(data)
    detail = "; ".join(f"{field}: {complaint}" for field, complaint in fields.items())
    return Unprocessable(
        f"{name}: {said}" + (f" ({detail})" if detail else ""), fields=fields, **facts
    )


def _forbidden(
    name: str, headers: Mapping[str, str], said: str, facts: dict[str, Any]
) -> Forbidden:
    needed = headers.get("x-accepted-github-permissions")
    if "not accessible" in said.lower():
        missing = needed or "a permission GitHub does not name"
        message = (
            f"The App may not do {name}: it lacks {missing}. Grant it in the App's settings, "
            "then an owner must accept the change."
        )
        return Forbidden(message, permission=needed, **facts)
    if _PLAN in said.lower():
        return NotOffered(f"GitHub's plan does not offer {name} here: {said}", **facts)
    if "already running" in said.lower():
        return StillRunning(f"GitHub does not do {name} yet: {said}", **facts)
    return Forbidden(f"GitHub forbids {name}: {said}", **facts)


def _decoded(answer: HttpAnswer) -> tuple[Any, bool]:
    """Decode a JSON body; the second value is False where it should have been JSON and is not."""
    if not answer.body:
        announced = answer.headers.get("content-length", "0")
        return None, answer.status in {202, 204, 205, 304} or announced == "0"
    if "json" not in answer.headers.get("content-type", "json"):
        return answer.body, True
    try:
        return json.loads(answer.body), True
    except ValueError:
        return None, False


def _said(data: Any) -> str:
    if isinstance(data, Mapping) and isinstance(data.get("message"), str):
        return redact(data["message"])[:500].rstrip(".")
    return _NO_REASON


def _fields(data: Any) -> dict[str, str]:
    errors = data.get("errors") if isinstance(data, Mapping) else None
    if isinstance(errors, str):
        return {"": redact(errors)[:500]}
    fields: dict[str, str] = {}
    for number, entry in enumerate(errors if isinstance(errors, list) else []):
        if isinstance(entry, Mapping):
            field = str(entry.get("field") or entry.get("resource") or number)
            complaint = str(entry.get("message") or entry.get("code") or "invalid")
        else:
            field, complaint = str(number), str(entry)
        fields[field] = redact(complaint)[:500]
    return fields


def _graphql_error_types(data: Any) -> set[str]:
    errors = data.get("errors") if isinstance(data, Mapping) else None
    if not isinstance(errors, list) or not isinstance(data, Mapping) or "message" in data:
        return set()
    return {str(entry.get("type")) for entry in errors if isinstance(entry, Mapping)}
