"""The HTTP API of flags and observations.

Both need a token that may read the repository. OFREP errors have the protocol's own shape.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.canary.observations import LARGEST_LINE, Observation, ReadLines
from bot.intake.api.models import WHICH_REPOSITORY, RepositoryName
from bot.intake.http.auth import Callers
from bot.intake.http.bodies import BadEncoding, TooLarge, read_body, read_packed
from bot.intake.http.openapi import NDJSON, Endpoint
from bot.intake.http.problems import FieldProblem, HttpProblem, invalid
from bot.safety.self_work import AgentFlags
from bot.traffic.flagd import Allocation, flag_document, written
from bot.traffic.ingest import MOST_LINES, Overloaded
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
        token = await self._callers.caller(request, Role.READ)
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


LARGEST_BODY = 16 * 1024 * 1024
_MOST_NAMED = 100
"""Lines at fault that a refusal names."""


class ObservationsQuery(BaseModel):
    """Whose observations."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    repository: RepositoryName | None = Field(default=None, description=WHICH_REPOSITORY)


class RejectedLine(BaseModel):
    """A line that does not count; `line` is counted from 1, `problem` says what is allowed."""

    line: int
    event_id: str | None
    field: str | None
    problem: str


class ObservationsAnswer(BaseModel):
    """What became of the lines. What was accepted is on disk, and counts once."""

    accepted: int
    duplicates: int
    rejected: list[RejectedLine]


class Puts(Protocol):
    """Stores observations before it returns."""

    def __call__(self, repository_id: int, lines: Sequence[bytes]) -> Awaitable[ReadLines]:
        """Take lines in; see `Observing.put`."""


class ObservationRoutes:
    """Serves the one route."""

    def __init__(self, callers: Callers, put: Puts) -> None:
        """Take who may call, and what stores observations."""
        self._callers = callers
        self._put = put
        self.endpoints = (
            Endpoint(
                "POST",
                "/providers/observations",
                f"Report what was observed: up to {MOST_LINES:,} lines of JSON, one observation "
                "each. A line that was sent before changes nothing.",
                self.observations,
                Role.TRIAGE,
                body=Observation,
                media=NDJSON,
                query=ObservationsQuery,
                answer=ObservationsAnswer,
                status=202,
            ),
        )

    async def observations(self, request: web.Request) -> web.Response:
        """`POST /providers/observations`."""
        token = await self._callers.caller(request, Role.TRIAGE)
        try:
            query = ObservationsQuery.model_validate(dict(request.query))
        except ValidationError as error:
            raise invalid(error, ObservationsQuery) from None
        repository = await self._callers.repository(token, query.repository)
        lines = await _lines(request)
        try:
            read = await self._put(repository.id, lines)
        except Overloaded as overloaded:
            raise HttpProblem(
                HTTPStatus.SERVICE_UNAVAILABLE, str(overloaded), headers={"Retry-After": "1"}
            ) from overloaded
        return _answer(read)


async def _lines(request: web.Request) -> list[bytes]:
    try:
        body = await read_packed(request, LARGEST_BODY)
    except TooLarge as error:
        detail = f"at most {LARGEST_BODY // (1024 * 1024)} MiB; send fewer lines at once"
        raise HttpProblem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body is too large: {detail}.",
            [FieldProblem(field="body", detail=detail)],
        ) from error
    except BadEncoding as error:
        raise HttpProblem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"The body cannot be unpacked: {error}.",
            [FieldProblem(field="body", detail="plain, or one gzip stream")],
        ) from error
    lines = body.split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    detail = f"1 to {MOST_LINES:,} lines, each one JSON object of at most {LARGEST_LINE} bytes"
    if not lines or len(lines) > MOST_LINES:
        raise HttpProblem(
            HTTPStatus.BAD_REQUEST if not lines else HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body has {len(lines):,} lines; allowed are {detail}.",
            [FieldProblem(field="body", detail=detail)],
        )
    return lines


def _answer(read: ReadLines) -> web.Response:
    wrong = [each for each in read.rejected if not each.duplicate]
    duplicates = len(read.rejected) - len(wrong)
    if wrong and not read.accepted and not duplicates:
        fields = [
            FieldProblem(
                field=f"line {each.line}" + (f": {each.field}" if each.field else ""),
                detail=each.problem,
            )
            for each in wrong[:_MOST_NAMED]
        ]
        raise HttpProblem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"None of the {len(wrong):,} lines counts. Line {wrong[0].line}: "
            f"{wrong[0].field or 'it'} {wrong[0].problem}.",
            fields,
        )
    answer = ObservationsAnswer(
        accepted=len(read.accepted),
        duplicates=duplicates,
        rejected=[
            RejectedLine(
                line=each.line, event_id=each.event_id, field=each.field, problem=each.problem
            )
            for each in wrong
        ],
    )
    return web.Response(
        text=answer.model_dump_json() + "\n", status=202, content_type="application/json"
    )
