"""Accounts. https://docs.github.com/rest/users/users."""

from __future__ import annotations

from typing import Any

from fakegithub.access.answers import Answer, not_found
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes.users import present
from fakegithub.world.model import FakeUser
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World, timestamp

routes = Routes()


def _whole(world: World, user: FakeUser) -> dict[str, Any]:
    nothing = dict.fromkeys(("company", "email", "location", "bio", "hireable"))
    counts = dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0)
    moment = timestamp(world.now())
    return {
        **present(world, user), "name": user.name, "blog": "", **nothing, **counts,
        "created_at": moment, "updated_at": moment,
    }  # fmt: skip


@routes.get("/user")
def get_me(call: Call) -> Answer:
    """The person whose token this is; an installation has no user and is refused."""
    return Answer(200, _whole(call.world, call.user))


@routes.get("/users/{username}", app="", person=RoleName.NONE)
def get_user(call: Call) -> Answer:
    """Any account by login; an App's bot as `slug[bot]`."""
    user = call.world.users.get(call.params["username"].lower())
    if user is None:
        raise not_found()
    return Answer(200, _whole(call.world, user))
