"""The API described by its own route table: OpenAPI 3.1 for programs, a plain page for people."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bot.intake.http.problems import MEDIA_TYPE, ProblemDocument
from bot.triggers import Role

JSON = "application/json"
NDJSON = "application/x-ndjson"
"""Lines of JSON; `body` describes one line."""

_IN_PATH = re.compile(r"\{(\w+)\}")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color-scheme:light dark}pre{overflow:auto;padding:.5rem;border:1px solid #8888}"
)


@dataclass(frozen=True)
class Endpoint:
    """One row of the route table. `role` is what a token needs; None means no token at all."""

    method: str
    path: str
    summary: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    role: Role | None = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    media: str = JSON


def document(endpoints: Sequence[Endpoint], *, server: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of these endpoints."""
    schemas = _schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Incident Playbooks", "version": version},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def page(description: dict[str, Any]) -> str:
    """Return the same description as one HTML page without scripts."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>HTTP API</title><style>{_STYLE}</style><h1>HTTP API</h1>",
        "<p>Send <code>Authorization: Bearer TOKEN</code>. For programs: "
        "<a href=/openapi.json>openapi.json</a>.</p>",
    ]
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation['summary'])}</p>")
            parts.extend(
                f"<p><code>{escape(each['name'])}</code> (in {escape(each['in'])})</p>"
                for each in operation["parameters"]
            )
    parts.append("<h1>Shapes</h1>")
    for name, schema in description["components"]["schemas"].items():
        shape = escape(json.dumps(schema, indent=2, ensure_ascii=False))
        parts.append(f"<h2 id={escape(name)}>{escape(name)}</h2><pre>{shape}</pre>")
    return "\n".join(parts) + "</html>\n"


def _schemas(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    bodies = {endpoint.body for endpoint in endpoints if endpoint.body}
    answers = {endpoint.answer for endpoint in endpoints if endpoint.answer} | {ProblemDocument}
    _, found = models_json_schema(
        [(model, "validation") for model in sorted(bodies, key=lambda each: each.__name__)]
        + [(model, "serialization") for model in sorted(answers, key=lambda each: each.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = found.get("$defs", {})
    return schemas


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done"}
    if endpoint.answer:
        success["content"] = {JSON: {"schema": _ref(endpoint.answer)}}
    problem = {
        "description": "What went wrong, and what is allowed",
        "content": {MEDIA_TYPE: {"schema": _ref(ProblemDocument)}},
    }
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "parameters": _parameters(endpoint),
        "responses": {str(endpoint.status): success, "default": problem},
    }
    if endpoint.body:
        content = {endpoint.media: {"schema": _ref(endpoint.body)}}
        operation["requestBody"] = {"required": True, "content": content}
    if endpoint.role:
        operation["security"] = [{"token": []}]
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _IN_PATH.findall(endpoint.path)
    ]
    if endpoint.query:
        properties = endpoint.query.model_json_schema().get("properties", {})
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in properties.items()
        ]
    if endpoint.body and endpoint.media == JSON:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same key with the same body is one request.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        )
    return parameters


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
