"""Reading what a request brings, never more of it than allowed, and answering in JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from bot.intake.http.problems import Problem, invalid

LARGEST_JSON = 64 * 1024
Model = TypeVar("Model", bound=BaseModel)


class TooLarge(Exception):
    """The body is larger than `most` bytes."""

    def __init__(self, most: int) -> None:
        """Name the cap."""
        super().__init__(f"a body may have at most {most} bytes")
        self.most = most


async def read_body(request: web.Request, most: int) -> bytes:
    """Return the body, whatever length the sender announced.

    Raises:
        TooLarge: there are more than `most` bytes; the rest is not read.
    """
    if (request.content_length or 0) > most:
        raise TooLarge(most)
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > most:
            raise TooLarge(most)
    return bytes(body)


async def read_model(request: web.Request, model: type[Model]) -> Model:
    """Read a JSON body.

    Raises:
        Problem: it is not JSON, too large, or a field is wrong; says which and what is allowed.
    """
    if request.content_type != "application/json":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, with Content-Type: application/json."
        )
    try:
        return model.model_validate_json(await read_body(request, LARGEST_JSON))
    except TooLarge as error:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Too large: {error}.") from error
    except ValidationError as error:
        raise invalid(error, model) from error


def read_query(request: web.Request, model: type[Model]) -> Model:
    """Read the query string.

    Raises:
        Problem: a field is wrong; says which and what is allowed.
    """
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise invalid(error, model) from error


def as_json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Answer with a model."""
    return web.json_response(text=answer.model_dump_json(), status=status)
