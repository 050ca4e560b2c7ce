"""The GraphQL API, as far as merging needs it, and one look at many repositories.

https://docs.github.com/graphql/guides/forming-calls-with-graphql
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import graphql as core
from aiohttp import web

from fakegithub.access import credentials
from fakegithub.access.answers import RequestRefused
from fakegithub.access.callers import Caller
from fakegithub.graphql import mutations
from fakegithub.graphql.cost import GraphQLRequest
from fakegithub.graphql.objects import Reader
from fakegithub.graphql.schema import SCHEMA
from fakegithub.rest import endpoint
from fakegithub.site import Site

_RESOURCE = "graphql"

Info = core.GraphQLResolveInfo[Any]


def routes(github: Site) -> list[web.RouteDef]:
    """The one route, `POST /api/graphql`."""
    return [web.post("/api/graphql", _serve(github))]


def _serve(github: Site) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    schema = core.build_schema(SCHEMA)
    _resolve_types(schema)

    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            caller = credentials.authenticate(github.world, request.headers.get("Authorization"))
            if caller.kind not in ("person", "installation"):
                raise RequestRefused(401, "This endpoint requires you to be authenticated.")
            github.limits.check(caller.rate_key, _RESOURCE)
            asked = GraphQLRequest.read(await request.read())
            github.limits.take(caller.rate_key, _RESOURCE, 5 if asked.is_mutation else 1)
        except RequestRefused as refused:
            return endpoint.to_response(refused.answer())
        github.limits.count(caller.rate_key, _RESOURCE, asked.cost)
        response = _execute(github, schema, caller, asked)
        response.headers.update(github.limits.headers(caller.rate_key, _RESOURCE))
        return response

    return serve


def _execute(
    github: Site, schema: core.GraphQLSchema, caller: Caller, asked: GraphQLRequest
) -> web.Response:
    result = core.graphql_sync(
        schema,
        asked.query,
        root_value=_Root(github, caller, asked.cost),
        variable_values=asked.variables,
        operation_name=asked.operation,
    )
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [_error(error) for error in result.errors]
    return web.json_response(answer)


def _error(error: core.GraphQLError) -> dict[str, Any]:
    """GitHub answers 200 with a `type` for each error."""
    cause = error.original_error
    kinds = {401: "FORBIDDEN", 403: "FORBIDDEN", 404: "NOT_FOUND"}
    shape: dict[str, Any] = {"message": error.message}
    if isinstance(cause, RequestRefused):
        shape = {"type": kinds.get(cause.status, "UNPROCESSABLE"), **shape}
    if error.path:
        shape["path"] = error.path
    if error.locations:
        shape["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    return shape


def _resolve_types(schema: core.GraphQLSchema) -> None:
    def kind(value: Any, *_: object) -> str:
        return str(value["__typename"])

    for name in ("Node", "Actor", "GitObject", "Minimizable"):
        interface = schema.type_map[name]
        if isinstance(interface, core.GraphQLInterfaceType):
            interface.resolve_type = kind


class _Root:
    """Query and mutation fields, found here by name."""

    def __init__(self, github: Site, caller: Caller, cost: int) -> None:
        self._github, self._cost = github, cost
        self._reader = Reader(github.world, caller, github.runner)
        for name, mutation in mutations.MUTATIONS.items():
            setattr(self, name, self._mutation(mutation))

    def _mutation(self, mutation: mutations.Mutation) -> Callable[..., Any]:
        def resolve(_: Info, **arguments: Any) -> Any:
            given = arguments["input"]
            answer = mutation(self._reader, given)
            return {**answer, "clientMutationId": given.get("clientMutationId")}

        return resolve

    def node(self, _: Info, **arguments: Any) -> Any:
        return self._reader.node(arguments["id"])

    def nodes(self, _: Info, **arguments: Any) -> Any:
        return self._reader.nodes(arguments["ids"])

    def viewer(self, _: Info) -> Any:
        return self._reader.actor(self._reader.user)

    def rateLimit(self, _: Info, **arguments: Any) -> Any:  # noqa: N802
        del arguments
        limits = self._github.limits
        window = limits.window(self._reader.caller.rate_key, _RESOURCE)
        resets = datetime.fromtimestamp(window.resets_at, UTC)
        return {
            "limit": limits.limit, "cost": self._cost, "used": window.used,
            "remaining": max(limits.limit - window.used, 0),
            "resetAt": resets.isoformat().replace("+00:00", "Z"),
        }  # fmt: skip

    def repository(self, _: Info, **arguments: Any) -> Any:
        return self._reader.repository_named(arguments["owner"], arguments["name"])
