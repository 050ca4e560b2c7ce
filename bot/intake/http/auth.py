"""Who calls the API, and with which right."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Protocol

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.intake.http.problems import FieldProblem, HttpProblem
from bot.records import api_tokens
from bot.records.api_tokens import GLOB, NAME
from bot.records.database import reading
from bot.records.outages import outage_of
from bot.triggers import Repository, Role

_HASH = re.compile(r"[0-9a-f]{64}")
KNOWN_FOR = 2.0
"""Seconds until a token that was made or revoked elsewhere is known here."""


@dataclass(frozen=True)
class ApiToken:
    """A machine's right to call the API.

    Attributes:
        name: what people know it by.
        role: what it may do.
        reaches: a glob over `owner/name`.
        sha256: of the secret; empty where the caller proved otherwise who it is.
        repository_id: the one repository that a workflow's token is for.
        unnamed: the workflow that it is, where nobody has said that it may act: it reads and
            reports, and blames nothing.
    """

    name: str
    role: Role
    reaches: str
    sha256: str
    repository_id: int | None = None
    unnamed: str | None = None

    def may_see(self, repository: Repository) -> bool:
        """Tell whether this token reaches a repository; GitHub's names ignore case."""
        if self.repository_id is not None:
            return self.repository_id == repository.id
        return fnmatchcase(repository.full_name.lower(), self.reaches.lower())


def read_tokens(entries: Sequence[str]) -> tuple[ApiToken, ...]:
    """Read the entries of PLAYBOOKS_API_TOKENS.

    Raises:
        ValueError: an entry is wrong; says which and how, and never repeats the hash.
    """
    tokens = tuple(_read(place, entry) for place, entry in enumerate(entries, start=1))
    names = [token.name for token in tokens]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"PLAYBOOKS_API_TOKENS: the name {name!r} is used twice")
    return tokens


def is_same_secret(given: str, expected: str) -> bool:
    """Tell whether a secret is the expected one; takes as long whether it is or not."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def find_token(tokens: Sequence[ApiToken], secret: str) -> ApiToken | None:
    """Return the token this secret belongs to; takes as long whether one matches or none."""
    digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
    matching = [token for token in tokens if hmac.compare_digest(token.sha256, digest)]
    return matching[0] if matching else None


def _read(place: int, entry: str) -> ApiToken:
    where = f"PLAYBOOKS_API_TOKENS, entry {place}"
    parts = entry.strip().split(":")
    if len(parts) != 4:
        raise ValueError(f"{where}: write name:role:repository-glob:sha256")
    name, role, reaches, digest = parts
    roles = [str(each) for each in Role]
    if not NAME.fullmatch(name):
        raise ValueError(f"{where}: a name has 1 to 64 letters, digits and _ . -")
    if role not in roles:
        raise ValueError(f"{where}: the role must be one of {', '.join(roles)}")
    if not GLOB.fullmatch(reaches):
        raise ValueError(f"{where}: the repository glob must look like acme/* or acme/app")
    if not _HASH.fullmatch(digest.lower()):
        raise ValueError(f"{where}: the last part must be the token's SHA-256 in 64 hex digits")
    return ApiToken(name, Role(role), reaches, digest.lower())


def unauthorized(detail: str, fields: Collection[FieldProblem] = ()) -> HttpProblem:
    """Refuse somebody who has not shown who they are."""
    headers = {"WWW-Authenticate": 'Bearer realm="playbooks"'}
    return HttpProblem(HTTPStatus.UNAUTHORIZED, detail, tuple(fields), headers)


def may_blame(token: ApiToken) -> str | None:
    """Why this caller may name no cause of trouble: it would be reverted. None where it may."""
    if token.unnamed is None:
        return None
    return (
        "left out: what is named here may be reverted, so only a workflow that callers.workflows "
        "in .github/playbooks.yml names may say so"
    )


class Repositories(Protocol):
    """The repositories the App is installed on."""

    async def served(self) -> Sequence[Repository]:
        """Return all of them, as GitHub says now or said a short while ago."""


class KnownTokens:
    """The tokens of the setting and of the database, without those that were revoked."""

    def __init__(self, given: Sequence[ApiToken], database: AsyncEngine | None = None) -> None:
        """Take what the setting says, and where others are kept."""
        self._given = tuple(given)
        self._database = None if database is None else reading(database)
        self._known: tuple[ApiToken, ...] | None = None
        self._read_at = 0.0

    async def find(self, secret: str) -> ApiToken | None:
        """Return the token that this secret belongs to.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is away, and was never asked.
        """
        return find_token(await self._all(), secret)

    async def _all(self) -> tuple[ApiToken, ...]:
        if self._database is None:
            return self._given
        if self._known is None or time.monotonic() - self._read_at > KNOWN_FOR:
            try:
                async with self._database.connect() as conn:
                    stored = await api_tokens.everyone(conn)
            except Exception as error:
                if self._known is None or outage_of(error) is None:
                    raise
                return self._known
            revoked = {each.sha256 for each in stored if each.revoked_at}
            made = [ApiToken(t.name, t.role, t.reaches, t.sha256) for t in stored]
            self._known = tuple(t for t in (*self._given, *made) if t.sha256 not in revoked)
            self._read_at = time.monotonic()
        return self._known


Proof = Callable[[str], Awaitable[ApiToken]]
"""Tells what a workflow's own token may do; raises HttpProblem where it is no good."""


class Callers:
    """Tells callers by their tokens."""

    def __init__(
        self,
        tokens: KnownTokens | Sequence[ApiToken],
        repositories: Repositories,
        workflows: Proof | None = None,
    ) -> None:
        """Take who may call, what they may name, and who reads the tokens of workflows."""
        self._tokens = tokens if isinstance(tokens, KnownTokens) else KnownTokens(tokens)
        self._repositories = repositories
        self._workflows = workflows

    async def caller(
        self, request: web.Request, needed: Role, *, is_report: bool = False
    ) -> ApiToken:
        """Return the token a request came with.

        Args:
            request: with its headers.
            needed: the role that a token needs.
            is_report: whether every workflow of the default branch may send this.

        Raises:
            Problem: 401 without a known token, 403 where it may not do this.
        """
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        secret, token = secret.strip(), None
        if scheme.lower() == "bearer" and secret:
            if self._workflows is not None and secret.count(".") == 2 and secret.startswith("eyJ"):
                token = await self._workflows(secret)
            else:
                token = await self._tokens.find(secret)
        if token is None:
            raise unauthorized("Send a known API token: Authorization: Bearer TOKEN.")
        if token.role.at_least(needed) or (is_report and token.unnamed is not None):
            return token
        if token.unnamed is not None:
            raise HttpProblem(
                HTTPStatus.FORBIDDEN,
                f"job_workflow_ref: {token.unnamed} may read and report, not act. To let it act, "
                "name it under callers.workflows in .github/playbooks.yml; a Founder approves.",
                [FieldProblem(field="job_workflow_ref", detail="one of callers.workflows")],
            )
        raise HttpProblem(
            HTTPStatus.FORBIDDEN,
            f"The token {token.name} has the role {token.role}; this needs {needed}.",
        )

    async def reached(self, token: ApiToken, repository_id: int) -> Repository | None:
        """Return a repository as it is called now; None where the token does not reach it."""
        return next((each for each in await self._reached(token) if each.id == repository_id), None)

    async def repository(self, token: ApiToken, name: str | None) -> Repository:
        """Return the repository of this name; without one, the only one the token reaches.

        Raises:
            Problem: there is none, or there are several; says which may be named.
        """
        reached = await self._reached(token)
        if name is not None:
            for each in reached:
                if each.full_name.lower() == name.lower():
                    return each
        elif len(reached) == 1:
            return reached[0]
        if not reached:
            raise HttpProblem(
                HTTPStatus.CONFLICT,
                f"The App is installed on no repository that the token {token.name} reaches "
                f"({token.reaches}).",
            )
        names = [each.full_name for each in reached]
        allowed = ", ".join(names[:20]) + (" and more" if len(names) > 20 else "")
        detail = f"one of {allowed}" if len(names) > 1 else f"{allowed}, or left out"
        what = "must be named" if name is None else "is not one this token reaches"
        raise HttpProblem(
            HTTPStatus.BAD_REQUEST if name is None else HTTPStatus.NOT_FOUND,
            f"The repository {what}: {detail}.",
            [FieldProblem(field="repository", detail=detail)],
        )

    async def at_path(self, request: web.Request, token: ApiToken) -> Repository:
        """Return the repository of `/r/{owner}/{repo}/…`, or the only one that is served.

        Raises:
            Problem: 404 where the token reaches no such repository, 409 where a path without
                one could mean several.
        """
        owner, repo = request.match_info.get("owner"), request.match_info.get("repo")
        if owner is not None and repo is not None:
            for each in await self._reached(token):
                if each.full_name.lower() == f"{owner}/{repo}".lower():
                    return each
            raise HttpProblem(
                HTTPStatus.NOT_FOUND,
                f"The token {token.name} reaches no repository of that name ({token.reaches}).",
            )
        served = await self._repositories.served()
        if len(served) != 1:
            raise HttpProblem(
                HTTPStatus.CONFLICT,
                f"{len(served)} repositories are served: write /r/OWNER/REPO{request.path}.",
            )
        if not token.may_see(served[0]):
            raise HttpProblem(
                HTTPStatus.NOT_FOUND, f"The token {token.name} does not reach that repository."
            )
        return served[0]

    async def _reached(self, token: ApiToken) -> list[Repository]:
        return [each for each in await self._repositories.served() if token.may_see(each)]
