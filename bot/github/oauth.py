"""Who is this? GitHub tells, by the App's web flow with PKCE.

https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import structlog
from pydantic import SecretStr

from bot.errors import Passing
from bot.github.errors import BadCredentials, GitHubError, Unavailable
from bot.github.transport.channel import USER_AGENT, Channel, ChannelContext, ChannelIdentity
from bot.github.transport.http import exchange
from bot.github.transport.retry import HttpAnswer
from bot.triggers import Role

log = structlog.get_logger(__name__)

_ROUTE = "/login/oauth/access_token"
_AT_ONCE = 8
"""Installations that are read at once."""


@dataclass(frozen=True)
class Challenge:
    """A PKCE pair (RFC 7636): `sent` goes with the person, `verifier` stays until the answer."""

    verifier: str
    sent: str

    @classmethod
    def new(cls) -> Challenge:
        """Draw a fresh one."""
        return cls.of(secrets.token_urlsafe(48))

    @classmethod
    def of(cls, verifier: str) -> Challenge:
        """Give the pair of a verifier: method S256."""
        digest = hashlib.sha256(verifier.encode("ascii")).digest()
        return cls(verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode())


@dataclass(frozen=True)
class Visitor:
    """A person as GitHub knows them, and their role in each repository that the App sees too."""

    login: str
    repositories: Mapping[int, Role]


@dataclass(frozen=True)
class Grant:
    """A person's token; `lasts` where it does not last for ever."""

    token: SecretStr
    lasts: timedelta | None = None


_ROLES = (("admin", Role.ADMIN), ("maintain", Role.MAINTAIN), ("push", Role.WRITE),
          ("triage", Role.TRIAGE), ("pull", Role.READ))  # fmt: skip


def _role(permissions: Mapping[str, Any]) -> Role:
    """What "the access the user has to each repository" comes to; what is listed may be read.

    https://docs.github.com/rest/apps/installations#list-repositories-accessible-to-the-user-access-token
    """
    return next((role for name, role in _ROLES if permissions.get(name) is True), Role.READ)


class _UserToken:
    def __init__(self, token: SecretStr) -> None:
        self._token = token

    async def header(self) -> str:
        return f"Bearer {self._token.get_secret_value()}"

    def discard(self, header: str) -> None:
        del header  # there is no other one


class WebFlow:
    """Logs people in. A person's token is used to learn who they are, and what they may see."""

    def __init__(self, client_id: str, client_secret: SecretStr, around: ChannelContext) -> None:
        """Use the App's client id and secret."""
        self._client_id = client_id
        self._secret = client_secret
        self._around = around

    def derived_key(self, purpose: str) -> bytes:
        """Give 32 bytes that only who knows the client secret can, other ones for each purpose.

        So all replicas have the same, and none of it is stored.
        """
        secret = self._secret.get_secret_value().encode()
        return hmac.digest(secret, f"incident-playbooks {purpose}".encode(), "sha256")

    def address(self, *, state: str, challenge: str, redirect_uri: str) -> str:
        """Where to send a person who wants to log in."""
        query = {
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._around.addresses.web}/login/oauth/authorize?{urlencode(query)}"

    async def identify(
        self, code: str, *, verifier: str, redirect_uri: str
    ) -> tuple[Grant, Visitor]:
        """Learn who came back with this code, and what is needed to ask again.

        Raises:
            BadCredentials: the code is wrong, used or too old, or our client secret is wrong.
            GitHubError: GitHub could not be asked.
        """
        grant = await self._grant(code, verifier, redirect_uri)
        try:
            return grant, await self.look(grant.token)
        except BaseException:
            await self.drop(grant.token)
            raise

    async def look(self, token: SecretStr) -> Visitor:
        """Ask who this is and what they may see. It is in nobody's budget but theirs.

        What an installation refuses them (an IP allow list, a suspension) they do not see.

        Raises:
            BadCredentials: the token is over, or they took it back.
            GitHubError: GitHub could not be asked.
        """
        channel = Channel(ChannelIdentity(_UserToken(token)), self._around, playbook="cockpit")
        me = await channel.get("/user")
        found: dict[int, Role] = {}
        turn = asyncio.Semaphore(_AT_ONCE)

        async def read(installation: int) -> None:
            listed = channel.items(
                "/user/installations/{installation_id}/repositories",
                key="repositories",
                installation_id=installation,
            )
            async with turn:
                try:
                    async for each in listed:
                        found[int(each["id"])] = _role(each.get("permissions") or {})
                except Passing:
                    raise
                except GitHubError as refusal:
                    log.warning("an installation is not shown", login=me["login"], why=str(refusal))

        installations = [
            int(each["id"])
            async for each in channel.items("/user/installations", key="installations")
        ]
        await asyncio.gather(*map(read, installations))
        return Visitor(login=str(me["login"]), repositories=found)

    async def is_known(self) -> bool:
        """Ask GitHub whether id and secret belong together, by a code that nobody was given.

        https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors

        Raises:
            GitHubError: GitHub could not be asked.
        """
        try:
            await self._grant("nobody-was-given-this", "", "")
        except BadCredentials as refused:
            return "incorrect_client_credentials" not in str(refused)
        return True

    async def _grant(self, code: str, verifier: str, redirect_uri: str) -> Grant:
        body = {
            "client_id": self._client_id,
            "client_secret": self._secret.get_secret_value(),
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": redirect_uri,
        }
        answer = await self._send("POST", f"{self._around.addresses.web}{_ROUTE}", body, {})
        if answer.status != 200:
            raise Unavailable(f"GitHub answered the login with {answer.status}.", route=_ROUTE)
        try:
            said = json.loads(answer.body)
            token = said.get("access_token")
        except (ValueError, AttributeError):
            raise Unavailable(
                "GitHub's answer to the login makes no sense.", route=_ROUTE
            ) from None
        if not isinstance(token, str) or not token:
            raise BadCredentials(f"GitHub refused the login: {said.get('error')}", route=_ROUTE)
        seconds = said.get("expires_in")
        lasts = timedelta(seconds=seconds) if isinstance(seconds, int) else None
        return Grant(SecretStr(token), lasts)

    async def drop(self, token: SecretStr) -> None:
        """Revoke the token; where that fails it is forgotten all the same, and expires."""
        route = f"/applications/{self._client_id}/token"
        pair = f"{self._client_id}:{self._secret.get_secret_value()}"
        basic = base64.b64encode(pair.encode()).decode()
        try:
            await self._send(
                "DELETE",
                self._around.addresses.rest + route,
                {"access_token": token.get_secret_value()},
                {"authorization": f"Basic {basic}"},
            )
        except GitHubError:
            return

    async def _send(
        self, method: str, url: str, body: dict[str, str], headers: dict[str, str]
    ) -> HttpAnswer:
        self._around.counter.sent("cockpit", f"{method} {_ROUTE}")
        answer = await exchange(
            self._around.session(),
            method,
            url,
            {
                "accept": "application/json",
                "content-type": "application/json",
                "user-agent": USER_AGENT,
                **headers,
            },
            json.dumps(body).encode(),
        )
        if not isinstance(answer, HttpAnswer):
            raise Unavailable(f"Logging in: {answer.reason}.", route=_ROUTE)
        return answer
