"""Sending deliveries the way GitHub does: signed, over HTTP, with its headers."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from dataclasses import dataclass
from typing import Any

import aiohttp

SECRET = "a-webhook-secret"  # noqa: S105 - a test's own
_ids = itertools.count(1)


def signature(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any


@dataclass(frozen=True)
class Sender:
    """A GitHub that knows one webhook address."""

    session: aiohttp.ClientSession
    url: str

    async def send(
        self, event: str, payload: Any, *, delivery: str | None = None, secret: str = SECRET
    ) -> Answer:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return await self.post(body, headers(event, body, delivery=delivery, secret=secret))

    async def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        skip = None if "Content-Type" in headers else {"Content-Type"}
        async with self.session.post(
            self.url, data=body, headers=headers, skip_auto_headers=skip
        ) as response:
            return Answer(response.status, await response.json())


def headers(
    event: str, body: bytes, *, delivery: str | None = None, secret: str = SECRET
) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery or f"00000000-0000-4000-8000-{next(_ids):012d}",
        "X-Hub-Signature-256": signature(body, secret),
    }


def repository() -> dict[str, Any]:
    return {
        "id": 11,
        "name": "app",
        "full_name": "acme/app",
        "owner": {"login": "acme", "type": "Organization"},
        "html_url": "https://github.com/acme/app",
    }


def comment(
    body: str, *, id_: int = 501, login: str = "mona", action: str = "created", **changed: Any
) -> dict[str, Any]:
    """An `issue_comment` payload on pull request #7 of acme/app."""
    user = {"login": login, "type": "User"}
    return {
        "action": action,
        "issue": {"number": 7, "pull_request": {"url": "https://api.github.com/…"}},
        "comment": {
            "id": id_,
            "body": body,
            "user": user,
            "html_url": f"https://github.com/acme/app/pull/7#issuecomment-{id_}",
        },
        "repository": repository(),
        "installation": {"id": 22},
        "sender": user,
    } | changed
