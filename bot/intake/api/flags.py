"""Who serves what, for clients: the flagd document, and OFREP, which also knows self-work.

Both need a token that may read the repository. OFREP errors have the protocol's own shape.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from bot.intake.http.auth import Callers
from bot.intake.http.bodies import TooLarge, read_body
from bot.intake.http.openapi import Endpoint
from bot.safety.self_work import AgentFlags
from bot.traffic.flagd import Allocation, flag_document, written
from bot.traffic.ofrep import BadContext, OfrepAnswer, evaluate, evaluate_all, failed, targeting_key
from bot.triggers import SELF_WORK, Repository, Role

LARGEST_CONTEXT = 64 * 1024
_HERE = "/r/{owner}/{repo}"
_ALWAYS_ASK = {"Cache-Control": "no-cache"}

Servings = Callable[[int], Awaitable[Sequence[Allocation]]]
SelfWorkOf = Callable[[Repository], Awaitable[AgentFlags]]


class FlagRoutes:
    """Serves the flag document and OFREP, with a repository in the path and without."""

    def __init__(self, callers: Callers, servings: Servings, self_work: SelfWorkOf) -> None:
        """Take who may ask, and what tells who serves what and how self-work stands."""
        self._callers = callers
        self._servings = servings
        self._self_work = self_work
        self.endpoints = tuple(
            endpoint
            for prefix, where in ((_HERE, ""), ("", " Only while one repository is served."))
            for endpoint in (
                Endpoint(
                    "GET",
                    f"{prefix}/flags/flagd.json",
                    f"The flagd document, with an ETag.{where}",
                    self.flagd,
                    Role.READ,
                ),
                Endpoint(
                    "POST",
                    f"{prefix}/ofrep/v1/evaluate/flags/{{key}}",
                    f"OFREP: evaluate one flag.{where}",
                    self.one,
                    Role.READ,
                ),
                Endpoint(
                    "POST",
                    f"{prefix}/ofrep/v1/evaluate/flags",
                    f"OFREP: evaluate all flags, with an ETag.{where}",
                    self.all,
                    Role.READ,
                ),
            )
        )

    async def flagd(self, request: web.Request) -> web.Response:
        """`GET …/flags/flagd.json`."""
        repository = await self._asked(request)
        text = written(flag_document(await self._servings(repository.id)))
        etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        headers = _ALWAYS_ASK | {"ETag": etag}
        if _known(request, etag):
            return web.Response(status=304, headers=headers)
        return web.Response(text=text, content_type="application/json", headers=headers)

    async def one(self, request: web.Request) -> web.Response:
        """`POST …/ofrep/v1/evaluate/flags/{key}`."""
        repository, capability = await self._asked(request), request.match_info["key"]
        try:
            key = targeting_key(await read_body(request, LARGEST_CONTEXT))
        except (BadContext, TooLarge) as fault:
            return _json(_refused(fault, capability))
        if capability == SELF_WORK:
            return _json(
                OfrepAnswer(HTTPStatus.OK, self_work_flag(await self._self_work(repository)))
            )
        return _json(evaluate(await self._servings(repository.id), capability, key))

    async def all(self, request: web.Request) -> web.Response:
        """`POST …/ofrep/v1/evaluate/flags`."""
        repository = await self._asked(request)
        try:
            key = targeting_key(await read_body(request, LARGEST_CONTEXT))
        except (BadContext, TooLarge) as fault:
            return _json(_refused(fault))
        ours = self_work_flag(await self._self_work(repository))
        answer = evaluate_all(await self._servings(repository.id), key, besides=[ours])
        headers = {"ETag": answer.etag}
        if _known(request, answer.etag):
            return web.Response(status=304, headers=headers)
        return _json(answer, headers)

    async def _asked(self, request: web.Request) -> Repository:
        token = self._callers.caller(request, Role.READ)
        return await self._callers.at_path(request, token)


def self_work_flag(now: AgentFlags) -> dict[str, Any]:
    """How self-work stands, as an OFREP flag: true while agents may go on."""
    details = now.model_dump(mode="json", exclude={"paused"}, exclude_none=True)
    return {
        "key": SELF_WORK,
        "value": not now.paused,
        "variant": now.state,
        "reason": "STATIC",
        "metadata": details,
    }


def _refused(fault: BadContext | TooLarge, capability: str | None = None) -> OfrepAnswer:
    code = fault.code if isinstance(fault, BadContext) else "INVALID_CONTEXT"
    return failed(HTTPStatus.BAD_REQUEST, code, str(fault), capability)


def _known(request: web.Request, etag: str) -> bool:
    """Tell whether the client has this already (`If-None-Match`, RFC 9110, section 13.1.2)."""
    given = request.headers.get("If-None-Match", "")
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    return etag in tags or "*" in tags


def _json(answer: OfrepAnswer, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(answer.body, status=answer.status, headers=headers)
