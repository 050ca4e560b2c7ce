"""A server with the routes of providers, on a real database, with a guard behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from bot.intake.api.traffic import FlagRoutes, ObservationRoutes
from bot.intake.http.auth import Callers, read_tokens
from bot.intake.http.openapi import Endpoint
from bot.intake.http.problems import as_problem
from bot.safety.self_work import AgentFlags
from bot.traffic.allocation import NewestAllocations
from bot.traffic.ingest import Ingest
from bot.triggers import Repository

APP = Repository(id=11, owner="Acme", name="app", installation_id=22)
SHOP = Repository(id=12, owner="Acme", name="shop", installation_id=22)


def entry(name: str, role: str, reaches: str) -> str:
    return f"{name}:{role}:{reaches}:{hashlib.sha256(name.encode()).hexdigest()}"


TOKENS = read_tokens(
    [
        entry("reporter", "triage", "acme/app"),
        entry("reader", "read", "acme/app"),
        entry("everywhere", "write", "acme/*"),
        entry("nowhere", "write", "initech/*"),
    ]
)


@dataclass
class Served:
    """The repositories of the installations, as the test says."""

    repositories: tuple[Repository, ...] = (APP,)

    async def served(self) -> tuple[Repository, ...]:
        return self.repositories


async def _running(_: Repository) -> AgentFlags:
    return AgentFlags(paused=False)


def application(served: Served, newest: NewestAllocations, observing: Ingest) -> web.Application:
    callers = Callers(TOKENS, served)
    endpoints: Iterable[Endpoint] = (
        *FlagRoutes(callers, newest.servings, _running).endpoints,
        *ObservationRoutes(callers, observing.put).endpoints,
    )
    app = web.Application(middlewares=[as_problem])
    app.add_routes([web.route(each.method, each.path, each.handler) for each in endpoints])
    return app


@dataclass
class Client:
    """Calls over real HTTP, with a token."""

    http: aiohttp.ClientSession
    url: str
    caller: str = "reporter"
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, **headers: str) -> tuple[int, str, str | None]:
        async with self.http.get(self.url + path, headers=self._with(headers)) as answer:
            return answer.status, await answer.text(), answer.headers.get("ETag")

    async def ask(
        self, path: str, body: object = None, *, raw: bytes | None = None, **headers: str
    ) -> tuple[int, Any, str | None]:
        data = raw if raw is not None else json.dumps(body).encode()
        url, sent = self.url + path, self._with(headers)
        async with self.http.post(url, data=data, headers=sent) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None, answer.headers.get("ETag")

    async def report(self, lines: Iterable[object], **query: str) -> tuple[int, Any]:
        written = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        where = "/providers/observations" + (
            "?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""
        )
        status, answer, _ = await self.ask(where, raw=b"\n".join(written))
        return status, answer

    def _with(self, headers: dict[str, str]) -> dict[str, str]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return {"Authorization": f"Bearer {self.caller}"} | given
