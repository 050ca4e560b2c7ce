"""Who calls the API, and with which right."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Protocol

from aiohttp import web

from bot.intake.http.problems import FieldProblem, HttpProblem
from bot.triggers import Repository, Role

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_GLOB = re.compile(r"[A-Za-z0-9_.*?/\[\]!-]{1,200}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ApiToken:
    """A machine's right to call the API. `reaches` is a glob over `owner/name`."""

    name: str
    role: Role
    reaches: str
    sha256: str

    def may_see(self, repository: Repository) -> bool:
        """Tell whether this token reaches a repository; GitHub's names ignore case."""
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
    if not _NAME.fullmatch(name):
        raise ValueError(f"{where}: a name has 1 to 64 letters, digits and _ . -")
    if role not in roles:
        raise ValueError(f"{where}: the role must be one of {', '.join(roles)}")
    if not _GLOB.fullmatch(reaches):
        raise ValueError(f"{where}: the repository glob must look like acme/* or acme/app")
    if not _HASH.fullmatch(digest.lower()):
        raise ValueError(f"{where}: the last part must be the token's SHA-256 in 64 hex digits")
    return ApiToken(name, Role(role), reaches, digest.lower())


class Repositories(Protocol):
    """The repositories the App is installed on."""

    async def served(self) -> Sequence[Repository]:
        """Return all of them, as GitHub says now or said a short while ago."""


class Callers:
    """Tells callers by their tokens."""

    def __init__(self, tokens: Sequence[ApiToken], repositories: Repositories) -> None:
        """Take who may call, and what they may name."""
        self._tokens = tuple(tokens)
        self._repositories = repositories

    def caller(self, request: web.Request, needed: Role) -> ApiToken:
        """Return the token a request came with.

        Raises:
            Problem: 401 without a known token, 403 where it may not do this.
        """
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        token = find_token(self._tokens, secret.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise HttpProblem(
                HTTPStatus.UNAUTHORIZED,
                "Send a known API token: Authorization: Bearer TOKEN.",
                headers={"WWW-Authenticate": 'Bearer realm="playbooks"'},
            )
        if not token.role.at_least(needed):
            raise HttpProblem(
                HTTPStatus.FORBIDDEN,
                f"The token {token.name} has the role {token.role}; this needs {needed}.",
            )
        return token

    async def reaches(self, token: ApiToken, repository_id: int) -> bool:
        """Tell whether a token reaches a repository."""
        return any(each.id == repository_id for each in await self._reached(token))

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
