"""From an HTTP request to a handler and back: the REST API's common behaviour.

Authentication, permissions, rate limit, redirects after a rename, ETag and 304.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from yarl import URL

from fakegithub.access import credentials
from fakegithub.access.answers import Answer, RequestRefused
from fakegithub.access.callers import Caller
from fakegithub.git.bare import GitRefused
from fakegithub.limits import creates_content, points_of
from fakegithub.rest import authorization, refusals
from fakegithub.rest.calls import Call, Route
from fakegithub.site import Site
from fakegithub.world.model import FakeRepository

_REPOSITORY = "/repos/{owner}/{repo}"
_BY_ID = "/repositories/{repository_id}"

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


def register(github: Site, app: web.Application, routes: Iterable[Route]) -> None:
    """Serve `routes` below `/api/v3`, repositories also by id, as redirects point there."""
    for route in routes:
        app.router.add_route(route.method, f"/api/v3{route.path}", _serve(github, route))
        if route.path.startswith(_REPOSITORY):
            by_id = route.path.replace(_REPOSITORY, _BY_ID, 1)
            app.router.add_route(route.method, f"/api/v3{by_id}", _serve(github, route))
    app.router.add_route("*", "/api/v3/{nothing:.*}", _serve_nothing(github))


def _serve(github: Site, route: Route) -> Serve:
    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            caller = credentials.authenticate(github.world, request.headers.get("Authorization"))
        except RequestRefused as refused:
            return to_response(refused.answer())
        try:
            answer = await _answer(github, route, request, caller)
        except RequestRefused as refused:
            answer = refused.answer()
        return _finish(github, request, caller, answer, counted=route.path != "/rate_limit")

    return serve


def _serve_nothing(github: Site) -> Serve:
    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            credentials.authenticate(github.world, request.headers.get("Authorization"))
        except RequestRefused as refused:
            return to_response(refused.answer())
        return to_response(RequestRefused(404, "Not Found").answer())

    return serve


async def _answer(github: Site, route: Route, request: web.Request, caller: Caller) -> Answer:
    raw = await request.read()
    if route.path != "/rate_limit":
        github.limits.check(caller.rate_key)
        creates = creates_content(request.method, request.rel_url.path)
        github.limits.take(caller.rate_key, "core", points_of(request.method), creates=creates)
    found, moved = _repository(github, request)
    authorization.authorize(caller, route, found)
    if moved is not None:
        status = 301 if request.method == "GET" else 307
        body = {
            "message": "Moved Permanently",
            "url": str(moved),
            "documentation_url": "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects",
        }
        return Answer(status, body, {"Location": str(moved)})
    call = Call(
        github, caller, request.match_info, request.query, request.headers,
        URL(github.world.url).join(request.rel_url), raw, found,
    )  # fmt: skip
    refusals.check(call, route)
    try:
        result = route.handler(call)
        return await result if inspect.isawaitable(result) else result
    except GitRefused as error:
        # For example `topic` and `topic/one`, which cannot both be branches. GitHub says no more.
        # https://docs.github.com/rest/git/refs#create-a-reference
        raise RequestRefused(422, "Reference update failed") from error


def _repository(github: Site, request: web.Request) -> tuple[FakeRepository | None, URL | None]:
    """The repository the path names, and where it moved if it is named by a former name."""
    match, world = request.match_info, github.world
    if "repository_id" in match:
        if not match["repository_id"].isdecimal():
            raise RequestRefused(404, "Not Found")
        found = world.repositories.get(int(match["repository_id"]))
        if found is None:
            raise RequestRefused(404, "Not Found")
        return found, None
    if "repo" not in match or "owner" not in match:
        return None, None
    found = world.repository(match["owner"], match["repo"])
    if found is None:
        raise RequestRefused(404, "Not Found")
    if found.name.lower() == match["repo"].lower():
        return found, None
    named = f"/repos/{match['owner']}/{match['repo']}"
    path = request.rel_url.raw_path.replace(named, f"/repositories/{found.id}", 1)
    return found, URL(world.url + path, encoded=True).with_query(request.query)


def _finish(
    github: Site, request: web.Request, caller: Caller, answer: Answer, *, counted: bool
) -> web.Response:
    response = to_response(answer)
    if request.method == "GET" and answer.status == 200:
        body = response.body if isinstance(response.body, bytes) else b""
        etag = f'W/"{hashlib.sha256(body).hexdigest()}"'
        if request.headers.get("If-None-Match") == etag:
            response, counted = web.Response(status=304), False
        response.headers["ETag"] = etag
        response.headers["Cache-Control"] = "private, max-age=60, s-maxage=60"
    if counted:
        github.limits.count(caller.rate_key)
    response.headers.update(github.limits.headers(caller.rate_key))
    return response


def to_response(answer: Answer) -> web.Response:
    """The HTTP form of an answer."""
    headers = {"X-GitHub-Media-Type": "github.v3; format=json", **answer.headers}
    if answer.body is None:
        return web.Response(status=answer.status, headers=headers)
    if isinstance(answer.body, bytes):
        return web.Response(status=answer.status, headers=headers, body=answer.body)
    return web.Response(
        status=answer.status, headers=headers, body=json.dumps(answer.body).encode(),
        content_type="application/json", charset="utf-8",
    )  # fmt: skip
