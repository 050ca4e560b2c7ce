"""What a visitor can do on the pages, as one of the demo's people.

Each form becomes the very API request that this person's own program would send, with their
token: the same rules hold and the same events follow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from multidict import MultiDictProxy
from yarl import URL

from fakegithub.access.answers import RequestRefused
from fakegithub.changes import checks
from fakegithub.site import Site
from fakegithub.world.model import FakeRepository, FakeUser
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World

_COOKIE = "demo_user"
_GITHUB_ITSELF = "web-flow"
_Form = MultiDictProxy[Any]


@dataclass(frozen=True)
class _Request:
    """An API request below `/repos/{owner}/{repo}`."""

    method: str
    path: str
    body: Mapping[str, Any]


def people(world: World, repository: FakeRepository | None) -> list[FakeUser]:
    """Whom a visitor may choose to be; those who may do most in the repository come first."""
    persons = (user for user in world.users.values() if user.type == "User" and user.token)
    found = [user for user in persons if user.login != _GITHUB_ITSELF]
    if repository is not None:
        found.sort(key=lambda user: -list(RoleName).index(repository.role_of(user)))
    return found


def chosen(people: Sequence[FakeUser], request: web.Request) -> FakeUser | None:
    """Whom the visitor chose to be by the cookie, else the first."""
    wanted = request.cookies.get(_COOKIE, "")
    return next((u for u in people if u.login == wanted), people[0] if people else None)


def routes(github: Site) -> list[web.RouteDef]:
    """Where the forms are sent."""
    forms = _Forms(github)
    repo = "/{owner}/{repo}"
    return [
        web.post("/session", forms.choose),
        web.post(f"{repo}/issues/{{number}}/{{what}}", forms.on_issue),
        web.post(f"{repo}/runs/{{run_id}}/{{what}}", forms.on_check),
    ]


class _Forms:
    def __init__(self, github: Site) -> None:
        self._github = github

    async def choose(self, request: web.Request) -> web.StreamResponse:
        """Remember whom the visitor wants to be."""
        form = await self._form(request)
        answer = web.HTTPSeeOther(_inside(str(form.get("back", "/"))))
        answer.set_cookie(
            _COOKIE, str(form.get("login", "")), httponly=True, samesite="Strict", path="/"
        )
        raise answer

    async def on_issue(self, request: web.Request) -> web.StreamResponse:
        """Comment, label, close, reopen, approve or merge."""
        form, repository = await self._form(request), self._repository(request)
        number = request.match_info["number"]
        if not number.isdecimal():
            raise web.HTTPNotFound
        wanted = _translate(request.match_info["what"], number, form)
        if wanted is None:
            raise web.HTTPNotFound
        said = await self._send(self._user(request, form, repository), repository, wanted)
        raise _back(form, said)

    async def on_check(self, request: web.Request) -> web.StreamResponse:
        """Press a check's button, or have it run again."""
        form, repository = await self._form(request), self._repository(request)
        user, world = self._user(request, form, repository), self._github.world
        identity = request.match_info["run_id"]
        run = repository.check_runs.get(int(identity)) if identity.isdecimal() else None
        if run is None:
            raise web.HTTPNotFound
        said = ""
        if request.match_info["what"] == "rerequest":
            wanted = _Request("POST", f"check-runs/{run.id}/rerequest", {})
            said = await self._send(user, repository, wanted)
        elif not repository.role_of(user).at_least(RoleName.WRITE):
            said = "Only people with write access see this button on GitHub."
        else:
            try:
                checks.press(world, repository, run, str(form.get("identifier", "")), user)
            except RequestRefused as refused:
                said = refused.message
        raise _back(form, said)

    async def _form(self, request: web.Request) -> _Form:
        """The form sent, refused when another site sent it."""
        origin = request.headers.get("Origin")
        if origin not in (None, "null") and URL(origin).authority != request.host:
            raise web.HTTPForbidden(text="This form was sent from another site.")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise web.HTTPForbidden(text="This form was sent from another site.")
        return await request.post()

    def _repository(self, request: web.Request) -> FakeRepository:
        match = request.match_info
        found = self._github.world.repository(match["owner"], match["repo"])
        if found is None:
            raise web.HTTPNotFound
        return found

    def _user(self, request: web.Request, form: _Form, repository: FakeRepository) -> FakeUser:
        named = self._github.world.users.get(str(form.get("as", "")).lower())
        user = (
            named
            if named and named.token
            else chosen(people(self._github.world, repository), request)
        )
        if user is None:
            raise web.HTTPForbidden(text="There is nobody to be yet.")
        return user

    async def _send(self, user: FakeUser, repository: FakeRepository, wanted: _Request) -> str:
        """Send the API request; returns GitHub's words when it refused, else nothing."""
        url = f"{self._github.world.api}/repos/{repository.full_name}/{wanted.path}"
        headers = {"Authorization": f"Bearer {user.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(wanted.method, url, data=json.dumps(wanted.body)) as response,
        ):
            if response.status < 400:
                return ""
            try:
                return str((await response.json(content_type=None))["message"])
            except (ValueError, KeyError, TypeError):
                return f"GitHub answered {response.status}."


def _translate(what: str, number: str, form: _Form) -> _Request | None:
    """The API request that a form means."""
    text = str(form.get("body", "")).replace("\r\n", "\n")
    match what:
        case "comment":
            return _Request("POST", f"issues/{number}/comments", {"body": text})
        case "label":
            return _Request("POST", f"issues/{number}/labels", {"labels": [form.get("label", "")]})
        case "unlabel":
            return _Request(
                "DELETE", f"issues/{number}/labels/{quote(str(form.get('label', '')), safe='')}", {}
            )
        case "close":
            return _Request("PATCH", f"issues/{number}", {"state": "closed"})
        case "reopen":
            return _Request("PATCH", f"issues/{number}", {"state": "open"})
        case "approve":
            return _Request("POST", f"pulls/{number}/reviews", {"event": "APPROVE", "body": text})
        case "merge":
            method = str(form.get("method", "merge"))
            return _Request("PUT", f"pulls/{number}/merge", {"merge_method": method})
    return None


def _inside(address: str) -> str:
    """An address on this site: never a way to elsewhere."""
    return address if address.startswith("/") and not address.startswith(("//", "/\\")) else "/"


def _back(form: _Form, said: str) -> web.HTTPSeeOther:
    """Show the page again, with what GitHub said if it refused."""
    url = URL(_inside(str(form.get("back", "/"))))
    query = {key: value for key, value in url.query.items() if key != "said"}
    return web.HTTPSeeOther(url.with_query(query | ({"said": said} if said else {})))
