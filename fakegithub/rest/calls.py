"""How a REST route is declared, what its handler gets, and what it answers.

    routes = Routes()

    @routes.post("/repos/{owner}/{repo}/issues", app="issues=write", person=RoleName.READ)
    def create_issue(call: Call) -> Answer: ...

A handler that is a plain function is atomic; one that must wait may be a coroutine.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from yarl import URL

from fakegithub.access.answers import Answer, RequestRefused, not_found
from fakegithub.access.callers import Caller
from fakegithub.site import Site
from fakegithub.world.model import FakeIssue, FakeRepository, FakeUser
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World


@dataclass(eq=False)
class Call:
    """One request that passed authentication and permission checks."""

    github: Site
    caller: Caller
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    url: URL
    raw: bytes = b""
    found: FakeRepository | None = None

    @property
    def world(self) -> World:
        """The state everything lives in."""
        return self.github.world

    @property
    def repository(self) -> FakeRepository:
        """The repository named by the path."""
        if self.found is None:
            raise not_found()
        return self.found

    @property
    def user(self) -> FakeUser:
        """Who acts: the person, or the App's bot user."""
        if self.caller.user is None:
            raise RequestRefused(401, "Requires authentication")
        return self.caller.user

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object sent; {} when nothing was sent."""
        parsed = self._parsed()
        if not isinstance(parsed, dict):
            raise RequestRefused(400, "Body should be a JSON object")
        return parsed

    def body_list(self, name: str) -> list[Any]:
        """A list sent bare or as `{name: [...]}`, which some label routes both allow."""
        parsed = self._parsed()
        found = parsed.get(name) if isinstance(parsed, dict) else parsed
        if not isinstance(found, list):
            raise RequestRefused(422, "Invalid request.")
        return found

    def _parsed(self) -> Any:
        if not self.raw.strip():
            return {}
        try:
            return json.loads(self.raw)
        except ValueError:
            raise RequestRefused(400, "Problems parsing JSON") from None

    def role(self) -> RoleName:
        """What the calling person may do in the repository (an installation: admin of nothing)."""
        if self.caller.kind != "person" or self.caller.user is None:
            return RoleName.NONE
        return self.repository.role_of(self.caller.user)

    def number(self, name: str = "number") -> int:
        """A whole number in the path."""
        text = self.params[name]
        if not text.isdecimal():
            raise not_found()
        return int(text)

    def issue(self) -> FakeIssue:
        """The issue or pull request named by the path.

        Raises:
            RequestRefused: 404; 410 for an issue where issues are off (pull requests stay).
        """
        issue = self.repository.issues.get(self.number())
        if issue is None:
            raise not_found()
        self.require_issues(issue)
        return issue

    def require_issues(self, issue: FakeIssue | None = None) -> None:
        """Refuse what is about issues (and not about the pull request given) where they are off.

        https://docs.github.com/rest/issues/issues#create-an-issue

        Raises:
            RequestRefused: 410.
        """
        if not self.repository.has_issues and (issue is None or issue.pull is None):
            docs = "https://docs.github.com/rest/issues/issues#create-an-issue"
            raise RequestRefused(410, "Issues has been disabled in this repository.", docs=docs)

    def page(self, items: list[Any], wrap: str | None = None) -> Answer:
        """One page of `items` with GitHub's Link header; `wrap` names the list in an object."""
        size = min(max(_integer(self.query.get("per_page"), 30), 1), 100)
        number = max(_integer(self.query.get("page"), 1), 1)
        last = max((len(items) + size - 1) // size, 1)
        part = items[(number - 1) * size : number * size]
        links = []
        for relation, target, shown in (
            ("prev", number - 1, number > 1),
            ("next", number + 1, number < last),
            ("last", last, number < last),
            ("first", 1, number > 1),
        ):
            if shown:
                address = self.url.update_query({"page": str(target)})
                links.append(f'<{address}>; rel="{relation}"')
        headers = {"Link": ", ".join(links)} if links else {}
        body = part if wrap is None else {"total_count": len(items), wrap: part}
        return Answer(200, body, headers)


def _integer(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default


Handler = Callable[[Call], Answer | Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """One REST operation and who may call it.

    `app` is the permission an installation token needs, alternatives separated by `;`
    (GitHub's `X-Accepted-GitHub-Permissions` form); "" means any installation token, None that
    installations may not call it. `person` is the least role of a person; None: no person may.
    `jwt` says that the App itself (by JWT) calls it.
    """

    method: str
    path: str
    handler: Handler
    app: str | None
    person: RoleName | None
    jwt: bool


class Routes:
    """A resource module's routes, in order: an earlier match wins."""

    def __init__(self) -> None:
        """Start with none."""
        self.list: list[Route] = []

    def add(
        self,
        method: str,
        path: str,
        *,
        app: str | None = None,
        person: RoleName | None = None,
        jwt: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Declare the decorated handler for `method path` (path without `/api/v3`)."""

        def register(handler: Handler) -> Handler:
            self.list.append(Route(method, path, handler, app, person, jwt))
            return handler

        return register

    def get(
        self,
        path: str,
        *,
        app: str | None = None,
        person: RoleName | None = RoleName.READ,
        jwt: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Declare a GET."""
        return self.add("GET", path, app=app, person=person, jwt=jwt)

    def post(
        self,
        path: str,
        *,
        app: str | None = None,
        person: RoleName | None = None,
        jwt: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Declare a POST."""
        return self.add("POST", path, app=app, person=person, jwt=jwt)

    def patch(
        self, path: str, *, app: str | None = None, person: RoleName | None = None
    ) -> Callable[[Handler], Handler]:
        """Declare a PATCH."""
        return self.add("PATCH", path, app=app, person=person)

    def put(
        self, path: str, *, app: str | None = None, person: RoleName | None = None
    ) -> Callable[[Handler], Handler]:
        """Declare a PUT."""
        return self.add("PUT", path, app=app, person=person)

    def delete(
        self, path: str, *, app: str | None = None, person: RoleName | None = None
    ) -> Callable[[Handler], Handler]:
        """Declare a DELETE."""
        return self.add("DELETE", path, app=app, person=person)
