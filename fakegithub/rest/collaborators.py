"""Who may do what. https://docs.github.com/rest/collaborators/collaborators."""

from __future__ import annotations

from typing import Any

from fakegithub.access.answers import Answer, RequestRefused, not_found
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes import users
from fakegithub.shapes.repositories import STEPS, present_permissions
from fakegithub.world.model import FakeUser
from fakegithub.world.roles import RoleName

routes = Routes()

_COLLABORATOR = "/repos/{owner}/{repo}/collaborators/{username}"
# The older `permission` field knows four levels only.
_FOLDED = {RoleName.MAINTAIN: "write", RoleName.TRIAGE: "read"}


def _named(call: Call) -> FakeUser:
    login = call.params["username"].lower()
    user = call.world.users.get(login)
    if user is None:
        raise not_found()
    if user.type == "Bot":
        raise RequestRefused(404, f"{user.login} is not a user")
    return user


def _shape(call: Call, user: FakeUser) -> dict[str, Any]:
    role = call.repository.role_of(user)
    held = present_permissions(role)
    return {**users.present(call.world, user), "permissions": held, "role_name": str(role)}


def _invited(call: Call, user: FakeUser) -> bool:
    if user is call.repository.owner and user.type == "User":
        return True
    return call.repository.roles.get(user.login.lower(), RoleName.NONE) is not RoleName.NONE


@routes.get("/repos/{owner}/{repo}/collaborators", app="metadata=read", person=RoleName.WRITE)
def list_collaborators(call: Call) -> Answer:
    """Everyone invited, optionally those with at least `permission`."""
    least = STEPS.get(call.query.get("permission", "pull"), RoleName.READ)
    found = [u for u in call.world.users.values() if _invited(call, u)]
    found = [u for u in found if call.repository.role_of(u).at_least(least)]
    return call.page([_shape(call, user) for user in found])


@routes.get(f"{_COLLABORATOR}/permission", app="metadata=read")
def get_permission(call: Call) -> Answer:
    """What a user may do: `role_name` is exact, `permission` folds maintain into write."""
    user = _named(call)
    role = call.repository.role_of(user)
    folded = _FOLDED.get(role, str(role))
    named = call.repository.custom_roles.get(user.login, str(role))
    return Answer(200, {"permission": folded, "role_name": named, "user": _shape(call, user)})


@routes.get(_COLLABORATOR, app="metadata=read")
def check(call: Call) -> Answer:
    """204 for a collaborator, else 404."""
    if not _invited(call, _named(call)):
        raise not_found()
    return Answer(204)


@routes.put(_COLLABORATOR, app="administration=write", person=RoleName.ADMIN)
def add(call: Call) -> Answer:
    """Give a role; here nobody needs to accept an invitation."""
    given = call.body.get("permission", "push")
    role = STEPS.get(given) or (RoleName(given) if given in list(RoleName) else None)
    if role is None:
        raise RequestRefused(422, "Validation Failed")
    call.repository.roles[_named(call).login.lower()] = role
    return Answer(204)


@routes.delete(_COLLABORATOR, app="administration=write", person=RoleName.ADMIN)
def remove(call: Call) -> Answer:
    """Take the role away."""
    call.repository.roles.pop(_named(call).login.lower(), None)
    return Answer(204)
