"""GitHub's OpenAPI description of its REST API and webhooks, made into a judge.

Schemas become validators when first needed: loading takes a quarter of a second, a check about a
tenth of a millisecond. Where it comes from: https://github.com/github/rest-api-description
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

_ROOT = "urn:github"
_BASIC_ERROR = {"$ref": "#/components/schemas/basic-error"}
_SHOWN_ERRORS = 3
_SHOWN_CHARACTERS = 300
# Statuses any operation may answer with although its description does not list them.
# Any route may send the caller to where a repository has moved, or say that nothing changed.
# https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
_ELSEWHERE_OR_UNCHANGED = frozenset({301, 304, 307})
_GENERAL_REFUSALS = frozenset({400, 401, 403, 404, 406, 409, 410, 413, 415, 422, 429})


@dataclass(frozen=True)
class Violation:
    """One way in which an exchange differs from GitHub's description."""

    exchange: str
    part: str
    message: str

    def __str__(self) -> str:
        """One line for a report."""
        return f"{self.exchange}: {self.part}: {self.message}"


@dataclass(frozen=True)
class Exchange:
    """One request and its answer; `path` is raw (still percent-encoded), without `/api/v3`."""

    method: str
    path: str
    query: Mapping[str, str]
    request: bytes
    status: int
    response: bytes
    content_type: str = "application/json"


class Validator(Protocol):
    """What is used of a compiled schema."""

    def iter_errors(self, instance: Any) -> Iterable[Any]:
        """Everything wrong with `instance`."""


@dataclass
class _Node:
    """A step of the path tree: literal children, one parameter, one parameter with slashes."""

    literals: dict[str, _Node] = field(default_factory=dict)
    single: _Node | None = None
    multi: _Node | None = None
    operations: dict[str, Operation] = field(default_factory=dict)


@dataclass(eq=False)
class Operation:
    """One method on one path template."""

    template: str
    description: Mapping[str, Any]
    parameters: dict[tuple[str, str], Mapping[str, Any]]
    names: tuple[str, ...]


class Description:
    """The description, indexed by path and compiled as needed."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Index the paths and hand the shared schemas to the validator library."""
        # A development dependency: a demo without the description must start without it.
        import jsonschema_rs

        self._rs = jsonschema_rs
        self._components: Mapping[str, Any] = document["components"]
        schemas = {
            name: json_schema(schema) for name, schema in self._components["schemas"].items()
        }
        self._registry = jsonschema_rs.Registry(
            [(_ROOT, {"components": {"schemas": schemas}})], draft=jsonschema_rs.Draft202012
        )
        self._validators: dict[object, Validator] = {}
        self._webhooks: Mapping[str, Any] = document.get("x-webhooks", {})
        self._tree = _Node()
        for template, item in document["paths"].items():
            if "..." not in template:  # {base}...{head}, which {basehead} describes as well
                self._plant(template, item)

    @classmethod
    def load(cls, path: Path) -> Description:
        """Read `api.github.com.json`."""
        return cls(json.loads(path.read_bytes()))

    # Judging

    def judge(self, exchange: Exchange) -> list[Violation]:
        """Everything in which one request and its answer differ from the description."""
        name = f"{exchange.method} {exchange.path} → {exchange.status}"
        return [Violation(name, part, message) for part, message in self._faults(exchange)]

    def judge_payload(self, event: str, payload: Mapping[str, Any]) -> list[Violation]:
        """Everything in which one webhook payload differs from the description."""
        action = payload.get("action")
        words = [event, action] if isinstance(action, str) else [event]
        key = "-".join(words).replace("_", "-")
        described = self._webhooks.get(key)
        if described is None:
            messages = [f"GitHub describes no {event} event with action {action!r}"]
        else:
            schema = described["post"]["requestBody"]["content"]["application/json"]["schema"]
            messages = _explain(self._validator(("webhook", key), schema), payload)
        return [Violation(f"webhook {key}", "payload", message) for message in messages]

    def _faults(self, exchange: Exchange) -> Iterable[tuple[str, str]]:
        matched = self._match(exchange.method, exchange.path)
        if matched is None:
            if exchange.status not in (404, 405):
                yield "path", "GitHub has no such operation"
            return
        operation, values = matched
        if exchange.status < 400:
            yield from self._request_faults(operation, values, exchange)
        yield from self._response_faults(operation, exchange)

    def _request_faults(
        self, operation: Operation, values: Mapping[str, str], exchange: Exchange
    ) -> Iterable[tuple[str, str]]:
        for where, given in (("path", values), ("query", exchange.query)):
            for name, text in given.items():
                parameter = operation.parameters.get((where, name))
                if parameter is None:
                    yield where, f"GitHub knows no parameter {name!r} here"
                    continue
                schema = parameter.get("schema", {})
                validator = self._validator((operation, where, name), schema)
                for message in _explain(validator, _typed(text, schema)):
                    yield f"{where} parameter {name}", message
        yield from self._body_faults(operation, exchange.request)

    def _body_faults(self, operation: Operation, raw: bytes) -> Iterable[tuple[str, str]]:
        described = operation.description.get("requestBody")
        if described is None:
            if raw.strip() not in (b"", b"{}", b"null"):
                yield "request body", "GitHub expects none here"
            return
        schema = described.get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            return
        if not raw.strip():
            if described.get("required"):
                yield "request body", "missing"
            return
        try:
            body = json.loads(raw)
        except ValueError:
            yield "request body", "is not JSON"
            return
        for message in _explain(self._validator((operation, "request"), schema), body):
            yield "request body", message
        # GitHub ignores fields it does not know: in a request they are somebody's mistake.
        if isinstance(body, dict) and set(schema) <= {"type", "properties", "required"}:
            for name in sorted(set(body) - set(schema.get("properties", {}))):
                yield "request body", f"GitHub knows no field {name!r} here"

    def _response_faults(
        self, operation: Operation, exchange: Exchange
    ) -> Iterable[tuple[str, str]]:
        status, raw = exchange.status, exchange.response
        if status >= 500 or status in _ELSEWHERE_OR_UNCHANGED:
            return
        described = operation.description["responses"].get(str(status))
        if described is None and status not in _GENERAL_REFUSALS:
            yield "status", f"GitHub does not answer {status} here"
            return
        content = self._resolve(described or {}).get("content", {})
        if not content and status < 400:
            if raw and operation.description["responses"].get("204") is described:
                yield "response body", "GitHub's answer is empty here"
            return
        media = exchange.content_type.partition(";")[0].strip()
        if "json" not in media:
            if media not in content and not (status == 202 and not raw):
                yield "response body", f"GitHub does not answer {media} here"
            return
        try:
            body = json.loads(raw)
        except ValueError:
            yield "response body", "is not JSON"
            return
        chosen = content.get(media) or content.get("application/json") or {"schema": _BASIC_ERROR}
        validator = self._validator((operation, status, media), chosen.get("schema", True))
        for message in _explain(validator, body):
            yield "response body", message

    # Compiling

    def _validator(self, key: object, schema: Any) -> Validator:
        known = self._validators.get(key)
        if known is None:
            known = self._rs.validator_for(
                json_schema(schema), registry=self._registry, validate_formats=True
            )
            self._validators[key] = known
        return known

    def _resolve(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in node:
            kind, name = node["$ref"].split("/")[-2:]
            node = self._components[kind][name]
        return node

    # Paths

    def _plant(self, template: str, item: Mapping[str, Any]) -> None:
        for method, description in item.items():
            parameters = {
                (p["in"], p["name"]): p
                for p in map(self._resolve, description.get("parameters", ()))
            }
            node, names = self._tree, []
            for segment in template.strip("/").split("/"):
                if not segment.startswith("{"):
                    node = node.literals.setdefault(segment, _Node())
                    continue
                name = segment.strip("{}")
                names.append(name)
                if parameters.get(("path", name), {}).get("x-multi-segment"):
                    node.multi = node = node.multi or _Node()
                else:
                    node.single = node = node.single or _Node()
            node.operations[method.upper()] = Operation(
                template, description, parameters, tuple(names)
            )

    def _match(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        segments = path.strip("/").split("/")
        found = _walk(self._tree, segments, 0, method)
        if found is None:
            return None
        operation, values = found
        return operation, dict(zip(operation.names, map(unquote, values), strict=True))


def _walk(
    node: _Node, segments: list[str], at: int, method: str
) -> tuple[Operation, list[str]] | None:
    """Find the operation: literals before parameters, short parameters before long ones."""
    if at == len(segments):
        operation = node.operations.get(method)
        return None if operation is None else (operation, [])
    literal = node.literals.get(segments[at])
    if literal is not None:
        found = _walk(literal, segments, at + 1, method)
        if found is not None:
            return found
    if node.single is not None:
        found = _walk(node.single, segments, at + 1, method)
        if found is not None:
            return found[0], [segments[at], *found[1]]
    if node.multi is not None:
        for end in range(at + 1, len(segments) + 1):
            found = _walk(node.multi, segments, end, method)
            if found is not None:
                return found[0], ["/".join(segments[at:end]), *found[1]]
    return None


def json_schema(schema: Any) -> Any:
    """Turn an OpenAPI 3.0 schema into a JSON Schema.

    `nullable` becomes a type; references point at the shared registry. `oneOf` becomes `anyOf`,
    because GitHub's alternatives overlap (a file also has the shape of a symlink).
    """
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": _ROOT + schema["$ref"]}
    made: dict[str, Any] = {}
    for key, value in schema.items():
        match key:
            case "properties" | "patternProperties":
                made[key] = {name: json_schema(part) for name, part in value.items()}
                if "events" in value:
                    # The lists of event names in there are years behind (no merge_group).
                    made[key]["events"] = {"type": "array", "items": {"type": "string"}}
            case "items" | "additionalProperties" | "not":
                made[key] = json_schema(value)
            case "allOf" if [part.get("title") for part in value] == ["Simple User", "Enterprise"]:
                # One place asks an account to be a user and an enterprise at once; others: either.
                made["anyOf"] = [json_schema(part) for part in value]
            case "allOf":
                made[key] = [json_schema(part) for part in value]
            case "anyOf" | "oneOf":
                made["anyOf"] = [json_schema(part) for part in value]
            case (
                "type" | "enum" | "format" | "required" | "pattern" | "minimum" | "maximum"
                | "minLength" | "maxLength" | "minItems" | "maxItems" | "uniqueItems"
                | "minProperties" | "maxProperties"
            ):  # fmt: skip
                made[key] = value
    if made.get("format") == "email":
        del made["format"]  # GitHub itself sends 1+name[bot]@users.noreply.github.com
    return _or_null(made) if schema.get("nullable") and made else made


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(schema.get("type"), str):
        return {"anyOf": [schema, {"type": "null"}]}
    schema["type"] = [schema["type"], "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    """A parameter's text as the value its schema means."""
    match schema.get("type"):
        case "integer" | "number" if text.lstrip("-").isdecimal():
            return int(text)
        case "boolean" if text in ("true", "false"):
            return text == "true"
        case "array":
            return text.split(",")
    return text


def _explain(validator: Validator, instance: Any) -> list[str]:
    """The first few complaints, each with the place it is about."""
    messages = []
    for error in islice(validator.iter_errors(instance), _SHOWN_ERRORS):
        cause = _cause(error)
        place = "/".join(str(part) for part in cause.instance_path) or "(whole)"
        messages.append(f"{place}: {cause.message[:_SHOWN_CHARACTERS]}")
    return messages


def _cause(error: Any) -> Any:
    """Of alternatives that all failed, the complaint of the first whose type was right."""
    while error.kind.name == "anyOf":
        inner = next((e for e, *_ in error.kind.context if e.kind.name != "type"), None)
        if inner is None:
            break
        error = inner
    return error
