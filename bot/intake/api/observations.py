"""`POST /providers/observations`: what clients saw of both arms, a line of JSON each."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from http import HTTPStatus
from typing import Protocol

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.canary.observations import LARGEST_LINE, Observation, ReadLines
from bot.intake.api.models import WHICH_REPOSITORY, RepositoryName
from bot.intake.http.auth import Callers
from bot.intake.http.bodies import BadEncoding, TooLarge, read_packed
from bot.intake.http.openapi import NDJSON, Endpoint
from bot.intake.http.problems import FieldProblem, HttpProblem, invalid
from bot.traffic.ingest import MOST_LINES, Overloaded
from bot.triggers import Role

LARGEST_BODY = 16 * 1024 * 1024
_MOST_NAMED = 100
"""Lines at fault that a refusal names."""


class ObservationsQuery(BaseModel):
    """Whose observations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
        token = self._callers.caller(request, Role.TRIAGE)
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
