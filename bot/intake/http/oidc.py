"""Callers without a stored secret: workflows of GitHub Actions, by the token GitHub makes for them.

Facts: docs.github.com, "OpenID Connect reference" (claims, issuer, where the keys are; GitHub
Enterprise Server: `https://HOST/_services/token`). What GitHub signed is believed; whether it lets
the workflow in here is decided by `judge`.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import jwt
import structlog
from cachetools import TTLCache

from bot.intake.http.auth import ApiToken, Repositories, unauthorized
from bot.intake.http.problems import FieldProblem, HttpProblem, put_off
from bot.triggers import Repository, Role

ALGORITHM = "RS256"
"""What GitHub signs with. A token that names another algorithm is refused, whatever it is."""
LEEWAY_S = 30
"""Seconds that GitHub's clock and ours may differ."""
KEYS_LIVE_S = 3600.0
"""Seconds after which the keys are read again even where all are known."""
COOLDOWN_S = 30.0
"""Seconds between two looks for a key that is not known: strangers can ask for any."""
AWAY_FOR_S = 10.0
"""Seconds until keys that could not be read are asked for again."""
_FETCH_S = 5.0
_KNOWN_FOR_S = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class WorkflowPolicy:
    """What a repository says of workflows: its default branch, and those that may act."""

    default_branch: str
    may_act: tuple[str, ...] = ()


class ClaimRefused(Exception):
    """A claim that lets nobody in. `status` is 401 where it is unproven, 403 where not allowed."""

    def __init__(self, claim: str, allowed: str, status: HTTPStatus) -> None:
        """Name the claim, and what it must be."""
        super().__init__(f"{claim} {allowed}")
        self.claim, self.allowed, self.status = claim, allowed, status

    def problem(self) -> HttpProblem:
        """Say it over HTTP."""
        detail = f"The workflow's token is refused: {self}."
        fields = [FieldProblem(field=self.claim, detail=self.allowed)]
        if self.status is HTTPStatus.UNAUTHORIZED:
            return unauthorized(detail, fields)
        return HttpProblem(self.status, detail, fields)


def issuer_of(web_url: str) -> str:
    """The address that signs for the workflows of a GitHub at `web_url`."""
    parts = urlsplit(web_url)
    if parts.netloc == "github.com":
        return "https://token.actions.githubusercontent.com"
    if parts.netloc.endswith(".ghe.com"):
        return f"{parts.scheme}://token.actions.{parts.netloc}"
    return f"{web_url.rstrip('/')}/_services/token"


def check_proof(claims: Mapping[str, Any], *, issuer: str, audience: str, now: float) -> None:
    """Check whom a token is from and for, and when it is good.

    Raises:
        ClaimRefused: names the first claim that is wrong.
    """
    unproven = HTTPStatus.UNAUTHORIZED
    if claims.get("iss") != issuer:
        raise ClaimRefused("iss", f"must be {issuer}, not {_shown(claims.get('iss'))}", unproven)
    if claims.get("aud") not in (audience, [audience]):
        said = _shown(claims.get("aud"))
        raise ClaimRefused("aud", f"must be {audience} (PLAYBOOKS_URL), not {said}", unproven)
    if now >= _seconds(claims, "exp") + LEEWAY_S:
        raise ClaimRefused("exp", "is over: ask for a new token just before it is used", unproven)
    for name in ("nbf", "iat"):
        if _seconds(claims, name) > now + LEEWAY_S:
            raise ClaimRefused(name, "is in the future: is a clock wrong, here or there?", unproven)


def check_place(claims: Mapping[str, Any], policy: WorkflowPolicy) -> None:
    """Check what a workflow runs for: the default branch, and nothing that an outsider sends.

    Raises:
        ClaimRefused: names the first claim that is wrong.
    """
    forbidden = HTTPStatus.FORBIDDEN
    event = claims.get("event_name")
    if not isinstance(event, str) or not event or event.startswith("pull_request"):
        what = f"is {_shown(event)}: what a pull request starts is not taken, since outsiders"
        raise ClaimRefused("event_name", f"{what} write it", forbidden)
    wanted = f"refs/heads/{policy.default_branch}"
    if claims.get("ref") != wanted:
        said = _shown(claims.get("ref"))
        raise ClaimRefused("ref", f"must be the default branch, {wanted}, not {said}", forbidden)
    if not isinstance(claims.get("job_workflow_ref"), str):
        raise ClaimRefused("job_workflow_ref", "must name the workflow", forbidden)


def caller_of(
    claims: Mapping[str, Any], repository: Repository, policy: WorkflowPolicy
) -> ApiToken:
    """The rights of a workflow that was let in."""
    workflow = str(claims["job_workflow_ref"])
    file = workflow.partition("@")[0].rpartition("/")[2]
    named = workflow in policy.may_act
    return ApiToken(
        name=f"actions.{re.sub(r'[^A-Za-z0-9_.-]', '-', file)[:50]}",
        role=Role.WRITE if named else Role.TRIAGE,
        reaches=repository.full_name,
        sha256="",
        repository_id=repository.id,
        unnamed=None if named else _shown(workflow),
    )


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise ClaimRefused(name, "must be a number of seconds since 1970", HTTPStatus.UNAUTHORIZED)
    return float(found)


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    text = value if isinstance(value, str) else str(value)
    return "".join(char if char.isprintable() else "?" for char in text[:200]) or "empty"


class IssuerKeys:
    """The keys with which an issuer signs: kept for a while, and read again where one is new."""

    def __init__(self, issuer: str) -> None:
        """Prepare; nothing is read before the first token."""
        self._client = jwt.PyJWKClient(
            f"{issuer}/.well-known/jwks",
            lifespan=KEYS_LIVE_S,
            timeout=_FETCH_S,
            cooldown_duration=COOLDOWN_S,
        )
        self._one_at_a_time = asyncio.Lock()
        self._away_until = 0.0

    async def find(self, kid: str) -> jwt.PyJWK:
        """Return the key of this id.

        Raises:
            HttpProblem: 401 where the issuer has no such key, 503 where it does not answer.
        """
        async with self._one_at_a_time:
            if time.monotonic() < self._away_until:
                raise put_off(f"the keys of {self._client.uri} cannot be read")
            try:
                return await asyncio.to_thread(self._client.get_signing_key, kid)
            except jwt.PyJWKClientConnectionError as error:
                log.warning("the keys of workflows' tokens cannot be read", why=str(error))
                self._away_until = time.monotonic() + AWAY_FOR_S
                raise put_off(f"the keys of {self._client.uri} cannot be read") from error
            except (jwt.PyJWTError, ValueError) as error:
                raise ClaimRefused(
                    "kid",
                    "must be a key of the issuer; one that was made just now is known in "
                    f"{COOLDOWN_S:.0f} seconds",
                    HTTPStatus.UNAUTHORIZED,
                ).problem() from error


class WorkflowTokens:
    """Reads the tokens of workflows. Call it with one, and it says who that is."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str | None,
        repositories: Repositories,
        policy_of: Callable[[Repository], Awaitable[WorkflowPolicy]],
        clock: Callable[[], datetime],
    ) -> None:
        """Prepare; nothing is asked before the first token.

        Args:
            issuer: who must have signed.
            audience: for whom the token must be, our public address; None: nobody gave one.
            repositories: those the App is installed on.
            policy_of: what a repository says of workflows; asks GitHub.
            clock: tells the time (UTC).
        """
        self._issuer = issuer.rstrip("/")
        self._audience = audience
        self._repositories = repositories
        self._policy_of = policy_of
        self._clock = clock
        self._keys = IssuerKeys(self._issuer)
        self._policies: TTLCache[int, WorkflowPolicy] = TTLCache(1000, _KNOWN_FOR_S)

    async def __call__(self, token: str) -> ApiToken:
        """Tell whose token this is.

        Raises:
            HttpProblem: it is refused; names the claim, and what it must be.
        """
        if self._audience is None:
            raise unauthorized(
                "Tokens of workflows are taken once this bot knows its public address: "
                "whoever runs it sets PLAYBOOKS_URL."
            )
        try:
            claims = await self._proven(token)
            check_proof(
                claims,
                issuer=self._issuer,
                audience=self._audience,
                now=self._clock().timestamp(),
            )
            repository = await self._repository(claims)
            policy = await self._policy(repository)
            check_place(claims, policy)
        except ClaimRefused as refusal:
            log.info("a workflow's token was refused", why=str(refusal))
            raise refusal.problem() from refusal
        return caller_of(claims, repository, policy)

    async def _proven(self, token: str) -> Mapping[str, Any]:
        unproven = HTTPStatus.UNAUTHORIZED
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise ClaimRefused("token", "must be a JWT as GitHub makes them", unproven) from error
        if header.get("alg") != ALGORITHM:
            raise ClaimRefused("alg", f"must be {ALGORITHM}", unproven)
        kid = header.get("kid")
        if not isinstance(kid, str) or not kid:
            raise ClaimRefused("kid", "must name the issuer's key", unproven)
        key = await self._keys.find(kid)
        try:
            # Who, for whom and when is checked apart, so that each fault is named.
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[ALGORITHM],
                options={
                    "verify_signature": True,
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise ClaimRefused("signature", "must be the issuer's", unproven) from error
        return claims

    async def _repository(self, claims: Mapping[str, Any]) -> Repository:
        wanted = str(claims.get("repository_id"))
        for each in await self._repositories.served():
            if str(each.id) == wanted:
                return each
        raise ClaimRefused(
            "repository_id",
            f"is {_shown(claims.get('repository_id'))}: the App is not installed there",
            HTTPStatus.FORBIDDEN,
        )

    async def _policy(self, repository: Repository) -> WorkflowPolicy:
        found = self._policies.get(repository.id)
        if found is None:
            found = self._policies[repository.id] = await self._policy_of(repository)
        return found
