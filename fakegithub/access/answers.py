"""What a request is answered, and the refusals GitHub words in its own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DOCS = "https://docs.github.com/rest"


class RequestRefused(Exception):
    """The answer is no: GitHub's status and message."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        errors: list[Any] | None = None,
        headers: Mapping[str, str] | None = None,
        docs: str = DOCS,
    ) -> None:
        """Keep what `answer` will say."""
        super().__init__(message)
        self.status, self.message, self.docs = status, message, docs
        self.errors, self.headers = errors, dict(headers or {})

    def answer(self) -> Answer:
        """The JSON answer GitHub gives for it."""
        body: dict[str, Any] = {"message": self.message}
        if self.errors is not None:
            body["errors"] = self.errors
        body |= {"documentation_url": self.docs, "status": str(self.status)}
        return Answer(self.status, body, self.headers)


def not_found() -> RequestRefused:
    """404, also for what the caller may not know to exist."""
    return RequestRefused(404, "Not Found")


def invalid(resource: str, field_name: str, message: str = "", code: str = "") -> RequestRefused:
    """422 about one field: GitHub's answer to a value that it does not take.

    Args:
        resource: what GitHub calls the thing, such as `CheckRun`.
        field_name: the field of the request that is wrong.
        message: what is wrong with it; empty: the answer has no words for it.
        code: GitHub's code; empty: `custom` with a message, else `invalid`.
    """
    error = {"resource": resource, "field": field_name, "code": code or "invalid"}
    if message:
        error |= {"code": code or "custom", "message": message}
    return RequestRefused(422, "Validation Failed", errors=[error])


@dataclass(frozen=True)
class Answer:
    """Status, JSON body (None for an empty one; bytes are sent as they are) and headers."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
