"""Errors of the HTTP API, as RFC 9457 problem details that name the field and what is allowed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from bot.github.errors import RateLimited, Unavailable
from bot.logs import Few
from bot.records.outages import outage_of

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER_S = 5
"""Seconds after which it makes sense to ask again, where the database is away."""

log = structlog.get_logger(__name__)
_refusals = Few()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FieldProblem(BaseModel):
    """One field that cannot stand as it is; `detail` says what is allowed."""

    model_config = ConfigDict(defer_build=True, frozen=True)

    field: str
    detail: str


class HttpProblem(Exception):
    """An answer other than success: status, what happened, and the fields at fault."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        fields: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Say what happened and what to do, in `detail`."""
        super().__init__(detail)
        self.status = status
        self.fields = tuple(fields)
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """Return the HTTP answer."""
        body: dict[str, object] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": str(self),
        }
        if self.fields:
            body["errors"] = [field.model_dump() for field in self.fields]
        return web.Response(
            text=json.dumps(body, ensure_ascii=False) + "\n",
            status=self.status.value,
            content_type=MEDIA_TYPE,
            charset="utf-8",
            headers=self.headers,
        )


class ProblemDocument(BaseModel):
    """The shape of every error, for the API's description."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []


def invalid(error: ValidationError, model: type[BaseModel]) -> HttpProblem:
    """Turn pydantic's findings about a `model` into a 400 that names each field."""
    fields = [
        FieldProblem(
            field=".".join(str(part) for part in fault["loc"]) or "body",
            detail=_sentence(fault, model),
        )
        for fault in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    named = "; ".join(f"{field.field}: {field.detail}" for field in fields)
    return HttpProblem(HTTPStatus.BAD_REQUEST, f"The request cannot be read. {named}", fields)


def _sentence(fault: ErrorDetails, model: type[BaseModel]) -> str:
    """Say what is allowed, in the words of the field's own description where pydantic has none."""
    name = str(fault["loc"][0]) if fault["loc"] else ""
    described = model.model_fields[name].description if name in model.model_fields else None
    match fault["type"]:
        case "extra_forbidden":
            return f"unknown; allowed are {', '.join(model.model_fields)}"
        case "string_pattern_mismatch" if described:
            return f"not allowed. {described}"
        case "missing":
            return f"required. {described or ''}".rstrip()
        case _:
            return fault["msg"].removeprefix("Value error, ")


def put_off(why: str) -> HttpProblem:
    """Ask to come back soon: something that is needed is away for a moment."""
    detail = f"Not done: {why}. Try again in {RETRY_AFTER_S} seconds."
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)


@web.middleware
async def as_problem(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer whatever goes wrong as a problem document; what is away for a moment, with a 503."""
    try:
        return await handler(request)
    except HttpProblem as problem:
        _refusals.info(
            "a request was refused",
            path=request.path[:200],
            status=problem.status.value,
            why=str(problem),
            remote=request.remote,
        )
        return problem.response()
    except web.HTTPException as error:
        if request.match_info.http_exception is None:
            raise
        return _nothing_serves(request, error).response()
    except Exception as error:
        if (outage := outage_of(error)) is not None:
            log.warning("a request was put off", path=request.path, why=str(error))
            return put_off(outage.value).response()
        if isinstance(error, RateLimited | Unavailable):
            log.warning("a request was put off", path=request.path, why=str(error))
            return put_off(str(error).rstrip(".")).response()
        if request.transport is None or request.transport.is_closing():
            # Whoever asked has hung up, as a program does that ends: nobody reads the answer.
            log.debug("a request was cut off", path=request.path, why=str(error))
            raise web.HTTPBadRequest from error
        log.exception("a request failed", path=request.path)
        detail = "Something went wrong here. It is in the log; try again."
        return HttpProblem(HTTPStatus.INTERNAL_SERVER_ERROR, detail).response()


def _nothing_serves(request: web.Request, error: web.HTTPException) -> HttpProblem:
    """Say of an address, or of a method there, that nothing serves it."""
    path = request.path[:200]
    detail, headers = f"Nothing is served at {path}. Check how the address is written.", {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers = {"Allow": ", ".join(sorted(error.allowed_methods))}
        detail = f"{path} takes {headers['Allow']}."
    return HttpProblem(HTTPStatus(error.status), detail, headers=headers)
