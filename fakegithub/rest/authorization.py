"""May this caller use this route on this repository?"""

from __future__ import annotations

from fakegithub.access.answers import RequestRefused, not_found
from fakegithub.access.callers import Caller
from fakegithub.access.credentials import NO_JWT
from fakegithub.access.sight import sees
from fakegithub.rest.calls import Route
from fakegithub.world.model import FakeRepository
from fakegithub.world.roles import RoleName


def authorize(caller: Caller, route: Route, repository: FakeRepository | None) -> None:
    """Refuse a caller who may not use `route` on `repository`.

    Raises:
        RequestRefused: 401 without (the right kind of) credentials, 403 without the permission, 404
            where the caller may not even know the repository.
    """
    if route.jwt:
        if caller.kind == "app" or (route.app is not None and caller.kind == "installation"):
            return
        raise RequestRefused(401, NO_JWT)
    if caller.kind == "app":
        raise RequestRefused(401, "Bad credentials")
    if repository is not None and not sees(caller, repository):
        raise not_found()
    if caller.kind == "installation":
        _authorize_installation(caller, route)
    elif caller.kind == "person":
        _authorize_person(caller, route, repository)
    elif route.person is RoleName.NONE:
        return  # what comes with the request is all that is asked for, such as a code
    elif route.person is None or route.person.at_least(RoleName.TRIAGE) or route.method != "GET":
        raise RequestRefused(401, "Requires authentication")


def _authorize_installation(caller: Caller, route: Route) -> None:
    if route.app is None or (route.app and not caller.may(route.app)):
        accepted = {"X-Accepted-GitHub-Permissions": route.app} if route.app else {}
        raise RequestRefused(403, "Resource not accessible by integration", headers=accepted)


def _authorize_person(caller: Caller, route: Route, repository: FakeRepository | None) -> None:
    if route.person is None:
        raise RequestRefused(403, "You must authenticate with an installation access token")
    if caller.app is not None and route.method != "GET":
        # On GitHub it may write within the App's permissions; no part of this bot does.
        raise RequestRefused(403, "Resource not accessible by integration")
    if repository is None or caller.user is None:
        return
    if repository.archived and route.method != "GET":
        raise RequestRefused(403, "Repository was archived so is read-only.")
    if not repository.role_of(caller.user).at_least(route.person):
        needed = "admin" if route.person is RoleName.ADMIN else "write"
        raise RequestRefused(403, f"Must have {needed} rights to Repository.")
