"""Answers as GitHub's own descriptions allow them, and what may be otherwise in each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.download import OPENAPI, RELEASES

described = pytest.mark.skipif(
    not OPENAPI.ready, reason="GitHub's description is not downloaded: make contracts"
)
OTHERS = tuple(name for name, contract in RELEASES.items() if contract is not OPENAPI)
OLDEST = "ghes-3.10"
SHA = "a" * 40
DEPTH = 3
"""How far inside an answer something is changed: we read nothing that lies deeper."""

NEVER_NULL = frozenset(
    {"oid", "id", "hasNextPage", "status", "number", "merged", "position", "enqueuedAt", "state"}
)
"""`!` in GitHub's schema of GraphQL."""

_ADDRESSES = re.compile(r"(?<!html)(?<!details)(?<!target)(?<!log)(?<!environment)_url$|^url$")
"""Addresses of other calls, which we make ourselves."""


@dataclass(frozen=True)
class Change:
    """One thing that is otherwise in an answer: where, and what."""

    path: tuple[str | int, ...]
    what: str

    def __str__(self) -> str:
        return f"{'.'.join(str(part) for part in self.path if part != 0)} {self.what}"

    def of(self, answer: Any) -> Any:
        """The answer with it, in each of a list; what is not there stays away."""
        changed = json.loads(json.dumps(answer))
        self._make(changed, self.path)
        return changed

    def _make(self, at: Any, path: tuple[str | int, ...]) -> None:
        part, *further = path
        if isinstance(part, int):
            for index in range(len(at) if isinstance(at, list) else 0):
                self._at(at, index, tuple(further))
        elif isinstance(at, dict) and part in at:
            self._at(at, part, tuple(further))

    def _at(self, at: Any, key: Any, further: tuple[str | int, ...]) -> None:
        if further:
            return self._make(at[key], further)
        match self.what:
            case "null":
                at[key] = None
            case "absent":
                del at[key]
            case "unknown" if isinstance(at[key], str):
                at[key] = "something_new"
            case "more" if isinstance(at[key], dict):
                at[key] = at[key] | {"a_new_field": {"of": ["github"]}}
        return None


def _pattern(template: str) -> re.Pattern[str]:
    """What fits a path of the description; a ref or file at its end may hold slashes."""
    inner = re.sub(r"\{(ref|path)\}$", ".+", template)
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", inner) + "$")


class NotOfThisRelease(LookupError):
    """A request that a release does not have."""


class Description:
    """GitHub's description, as far as answers are generated from it."""

    def __init__(self, path: Path) -> None:
        self._document = json.loads(path.read_text(encoding="utf-8"))
        self._routes = [
            (_pattern(template), (template.count("{"), -len(template)), template, methods)
            for template, methods in self._document["paths"].items()
        ]
        self._found: dict[tuple[str, str], str] = {}

    def route(self, method: str, path: str) -> str:
        """The request as it is described, such as `/repos/{owner}/{repo}`.

        Raises:
            NotOfThisRelease: there is no such request.
        """
        if (method, path) not in self._found:
            fits = [
                (count, template)
                for pattern, count, template, methods in self._routes
                if pattern.match(path) and method.lower() in methods
            ]
            if not fits:
                raise NotOfThisRelease(path)
            self._found[method, path] = min(fits)[1]
        return self._found[method, path]

    def schema(self, method: str, path: str) -> Mapping[str, Any] | None:
        """The schema of what a request is answered with; None: nothing, or not JSON.

        Raises:
            NotOfThisRelease: there is no such request.
        """
        methods = self._document["paths"][self.route(method, path)]
        for status, response in methods[method.lower()]["responses"].items():
            if status.startswith("2"):
                content = self.resolved(response).get("content", {})
                if "application/json" in content:
                    return self.resolved(content["application/json"]["schema"])
        return None

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema itself: behind references, the first of several, all of all."""
        nullable = schema.get("nullable", False)
        while True:
            if "$ref" in schema:
                found: Any = self._document
                for part in schema["$ref"].split("/")[1:]:
                    found = found[part]
                schema = found
            elif kinds := schema.get("oneOf") or schema.get("anyOf"):
                if "properties" in schema:
                    break
                schema = self._likeliest(kinds)
            elif "allOf" in schema:
                merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
                for part in schema["allOf"]:
                    one = self.resolved(part)
                    merged["properties"] |= one.get("properties", {})
                    merged["required"] += one.get("required", [])
                schema = merged
            else:
                break
            nullable = nullable or schema.get("nullable", False)
        return {**schema, "nullable": nullable}

    def _likeliest(self, kinds: list[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Of several, an object before a word, as github.com answers."""
        found = [self.resolved(each) for each in kinds]
        return next((each for each in found if each.get("type") == "object"), found[0])

    def answer(self, schema: Mapping[str, Any], depth: int = 0, name: str = "") -> Any:
        """An answer with everything in it that may be there."""
        schema = self.resolved(schema)
        if schema.get("type") == "array":
            return [self.answer(schema["items"], depth + 1, name)]
        if "properties" in schema or schema.get("type") == "object":
            if depth > DEPTH + 3:
                return {}
            return {
                field: self.answer(one, depth + 1, field)
                for field, one in schema.get("properties", {}).items()
            }
        if schema.get("enum"):
            return next(each for each in schema["enum"] if each is not None)
        return _value(schema, name)

    def changes(
        self, schema: Mapping[str, Any], path: tuple[str | int, ...] = ()
    ) -> Iterator[Change]:
        """Everything that may be otherwise in that answer."""
        schema = self.resolved(schema)
        if schema.get("type") == "array":
            yield from self.changes(schema["items"], (*path, 0))
            return
        if schema.get("enum") and schema.get("type") == "string" and path:
            yield Change(path, "unknown")
        if sum(isinstance(part, str) for part in path) >= DEPTH:
            return
        required = schema.get("required", ())
        if "properties" in schema and path and path[-1] != 0:
            yield Change(path, "more")
        for field, one in schema.get("properties", {}).items():
            if _ADDRESSES.search(field):
                continue
            at = (*path, field)
            if self.resolved(one)["nullable"]:
                yield Change(at, "null")
            if field not in required:
                yield Change(at, "absent")
            yield from self.changes(one, at)


def _value(schema: Mapping[str, Any], name: str) -> Any:
    match schema.get("type"):
        case "integer" | "number":
            return 1
        case "boolean":
            return False
    # Older releases name no format of a commit's date.
    if schema.get("format") == "date-time" or name == "date":
        return "2026-05-01T12:00:00Z"
    if name in ("sha", "oid", "head_sha", "merge_commit_sha"):
        return SHA
    return "MA==" if name == "content" else name or "word"


@lru_cache(maxsize=2)
def description_of(name: str = "api.github.com") -> Description:
    """Read the description of one GitHub."""
    return Description(RELEASES[name].path)
