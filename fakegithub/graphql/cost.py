"""What a query costs: the requests that its connections stand for, by a hundred, at least one.

https://docs.github.com/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import graphql as core

from fakegithub.access.answers import RequestRefused

_MOST_NODES = 500_000


@dataclass(frozen=True)
class GraphQLRequest:
    """A query or mutation with its variables, and its cost in points."""

    query: str
    variables: dict[str, Any]
    operation: str | None
    is_mutation: bool
    cost: int

    @classmethod
    def read(cls, raw: bytes) -> GraphQLRequest:
        """Read a request's body.

        Raises:
            RequestRefused: 400 where it is none, 422 where it asks for too many nodes.
        """
        try:
            sent = json.loads(raw)
            query, variables = sent["query"], sent.get("variables") or {}
            operation = sent.get("operationName")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RequestRefused(400, "Problems parsing JSON") from None
        try:
            document = core.parse(query)
        except core.GraphQLSyntaxError:
            return cls(query, variables, operation, False, 1)
        counted = _Counted(document, variables)
        if counted.nodes > _MOST_NODES:
            raise RequestRefused(422, f"This query requests up to {counted.nodes:,} possible nodes")
        return cls(
            query, variables, operation, counted.is_mutation, max(1, round(counted.requests / 100))
        )


class _Counted:
    def __init__(self, document: core.DocumentNode, variables: Mapping[str, Any]) -> None:
        self.variables = variables
        self.requests = self.nodes = 0
        self.is_mutation = False
        self.fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, core.FragmentDefinitionNode)
        }
        for each in document.definitions:
            if isinstance(each, core.OperationDefinitionNode):
                self.is_mutation |= each.operation is core.OperationType.MUTATION
                self._count(each.selection_set, 1)

    def _count(self, selected: core.SelectionSetNode | None, times: int) -> None:
        for each in selected.selections if selected else ():
            if isinstance(each, core.FragmentSpreadNode):
                self._count(self.fragments[each.name.value].selection_set, times)
            elif isinstance(each, core.InlineFragmentNode):
                self._count(each.selection_set, times)
            elif isinstance(each, core.FieldNode):
                size = self._size(each)
                if size is not None:
                    # One request for each parent; the ids of `nodes` are one request together.
                    self.requests += times
                    self.nodes += times * size
                self._count(each.selection_set, times * (size or 1))

    def _size(self, field: core.FieldNode) -> int | None:
        """How many nodes a connection gives at most; None for any other field."""
        for argument in field.arguments or ():
            if argument.name.value in ("first", "last", "ids"):
                value = core.value_from_ast_untyped(argument.value, dict(self.variables))
                return len(value) if isinstance(value, list) else int(value or 0)
        return None
