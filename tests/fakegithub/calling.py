"""A bare caller of the demo GitHub's REST API, for tests of its behaviour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from fakegithub.access import credentials
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository, FakeUser


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Caller:
    """Someone with a credential. Paths that start with `.` are below `/repos/{owner}/{repo}`."""

    github: DemoGitHub
    token: str
    repository: FakeRepository | None = None

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> Reply:
        if path.startswith("."):
            assert self.repository is not None
            path = f"/repos/{self.repository.full_name}{path[1:]}"
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(
                method, f"{self.github.world.api}{path}", data=data, params=query,
                allow_redirects=False,
            ) as response,
        ):  # fmt: skip
            raw = await response.read()
            parsed = json.loads(raw) if raw and "json" in response.content_type else raw
            return Reply(response.status, parsed, response.headers)

    async def get(self, path: str, **query: Any) -> Reply:
        return await self.call("GET", path, **query)

    async def post(self, path: str, body: Any = None) -> Reply:
        return await self.call("POST", path, body)

    async def patch(self, path: str, body: Any) -> Reply:
        return await self.call("PATCH", path, body)


def as_installation(
    github: DemoGitHub, installation: FakeInstallation, repository: FakeRepository | None = None
) -> Caller:
    return Caller(github, credentials.issue_token(github.world, installation).token, repository)


def as_app(github: DemoGitHub, app: FakeApp) -> Caller:
    return Caller(github, credentials.app_jwt(app.id, app.private_key))


def as_person(
    github: DemoGitHub, user: FakeUser, repository: FakeRepository | None = None
) -> Caller:
    return Caller(github, user.token, repository)
