"""Who we are to GitHub: the App's own JWT, and installation tokens made with it.

Source: "Generating a JSON Web Token for a GitHub App" and "Generating an installation access
token".
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

import jwt
from cachetools import TLRUCache
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bot.github.errors import (
    BadCredentials,
    Forbidden,
    NotFound,
    NotInstalled,
    Suspended,
    Unprocessable,
)

JWT_BACKDATED_SECONDS = 60
JWT_SECONDS = 9 * 60
"""GitHub takes at most 10 minutes; less, so that clocks may differ."""

REFRESH_SECONDS = 5 * 60
"""How long before its end a token is no longer used."""

Clock = Callable[[], float]


class Credentials(Protocol):
    """Something that can sign a request."""

    async def header(self) -> str:
        """Give the value of the Authorization header."""
        ...

    def discard(self, header: str) -> None:
        """Never use `header` again: GitHub refused it."""
        ...


@lru_cache(maxsize=4)  # the primes are tried: a thirtieth of a second, several times in a start
def _load(pem: bytes) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.strip() + b"\n", password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise BadCredentials(
            f"GITHUB_PRIVATE_KEY is {_kind_of(pem, key)}not an RSA private key in PEM form. "
            "Download one in the App's settings under Private keys."
        )
    return key


def _kind_of(pem: bytes, key: object) -> str:
    if b"ENCRYPTED" in pem:
        return "encrypted, and "
    if b"PUBLIC KEY" in pem or pem.lstrip().startswith(b"ssh-"):
        return "a public key, and "
    return "a key of another kind, and " if key is not None else ""


class AppKey:
    """The App's id and private key; signs the JWTs by which the App itself speaks."""

    def __init__(self, app_id: str | int, private_key: str | bytes, clock: Clock) -> None:
        """Load the key, so that a bad one is found at the start.

        Raises:
            BadCredentials: If `private_key` is not an unencrypted RSA key in PEM form.
        """
        self.app_id = str(app_id)
        self._key = _load(private_key.encode() if isinstance(private_key, str) else private_key)
        self._clock = clock
        self._current = ""
        self._usable_until = 0.0

    def jwt(self) -> str:
        """Give a JWT that is good for several more minutes."""
        now = self._clock()
        if now >= self._usable_until:
            claims = {
                "iat": int(now) - JWT_BACKDATED_SECONDS,
                "exp": int(now) + JWT_SECONDS,
                "iss": self.app_id,
            }
            self._current = jwt.encode(claims, self._key, algorithm="RS256")
            self._usable_until = now + JWT_SECONDS - 2 * 60
        return self._current

    async def header(self) -> str:
        """Give the Authorization header of the App itself."""
        return f"Bearer {self.jwt()}"

    def discard(self, header: str) -> None:
        """Sign a new JWT next time."""
        if header == f"Bearer {self._current}":
            self._usable_until = 0.0


@dataclass(frozen=True)
class Narrowing:
    """What a token is limited to: repository ids and permissions. Empty means everything."""

    repository_ids: tuple[int, ...] = ()
    permissions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def to(
        cls, *, repository_id: int | None = None, permissions: Mapping[str, str] | None = None
    ) -> Narrowing:
        """Narrow to one repository and to `permissions`, such as `{"contents": "read"}`."""
        return cls(
            () if repository_id is None else (repository_id,),
            tuple(sorted((permissions or {}).items())),
        )

    def body(self) -> dict[str, Any]:
        """Give the request body GitHub expects."""
        body: dict[str, Any] = {}
        if self.repository_ids:
            body["repository_ids"] = list(self.repository_ids)
        if self.permissions:
            body["permissions"] = dict(self.permissions)
        return body


@dataclass(frozen=True)
class InstallationToken:
    """A token of one installation. Its value never shows in `repr`."""

    value: str = field(repr=False)
    expires_at: float
    permissions: Mapping[str, str]


PostAsApp = Callable[[str, Mapping[str, Any], dict[str, Any]], Awaitable[Any]]
"""Post a body to a route with its parameters, signed by the App's JWT."""


class InstallationTokens:
    """Installation tokens, kept until five minutes before their end; fetched once at a time."""

    def __init__(self, post: PostAsApp, clock: Clock, size: int = 1024) -> None:
        """Fetch through `post`, keep at most `size` tokens."""
        self._post = post
        self._kept: TLRUCache[tuple[int, Narrowing], InstallationToken] = TLRUCache(
            size, ttu=lambda _key, token, _now: token.expires_at - REFRESH_SECONDS, timer=clock
        )
        self._locks: defaultdict[tuple[int, Narrowing], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(
        self, installation_id: int, narrowing: Narrowing | None = None
    ) -> InstallationToken:
        """Give a token that is good for at least five more minutes.

        Raises:
            NotInstalled: If the App was removed from the account.
            Suspended: If the installation is suspended.
            Forbidden: If the installation does not have the permissions asked for.
        """
        narrowing = narrowing or Narrowing()
        key = (installation_id, narrowing)
        async with self._locks[key]:
            kept = self._kept.get(key)
            if kept is None:
                kept = await self._fetch(installation_id, narrowing)
                self._kept[key] = kept
            return kept

    def discard(self, value: str) -> None:
        """Forget the token with this value: GitHub refused it."""
        for key, token in list(self._kept.items()):
            if token.value == value:
                self._kept.pop(key, None)

    async def _fetch(self, installation_id: int, narrowing: Narrowing) -> InstallationToken:
        route = "/app/installations/{installation_id}/access_tokens"
        try:
            data = await self._post(route, {"installation_id": installation_id}, narrowing.body())
        except NotFound as error:
            raise NotInstalled(
                f"The App is not installed (installation {installation_id}). Install it again on "
                "the account's page for the App.",
                route=error.route,
                status=error.status,
            ) from error
        except Suspended:
            raise
        except (Forbidden, Unprocessable) as error:
            raise Forbidden(
                f"GitHub gives no token with {json.dumps(narrowing.body())}: {error}",
                route=error.route,
                status=error.status,
            ) from error
        return InstallationToken(
            value=data["token"],
            expires_at=datetime.fromisoformat(data["expires_at"]).timestamp(),
            permissions=dict(data.get("permissions") or {}),
        )


class InstallationCredentials:
    """Signs requests as one installation."""

    def __init__(self, tokens: InstallationTokens, installation_id: int) -> None:
        """Take the tokens of `installation_id` from `tokens`."""
        self._tokens = tokens
        self._installation_id = installation_id

    async def header(self) -> str:
        """Give the Authorization header with the current token."""
        return f"token {(await self._tokens.get(self._installation_id)).value}"

    def discard(self, header: str) -> None:
        """Fetch a new token next time, unless that happened already."""
        self._tokens.discard(header.removeprefix("token "))
