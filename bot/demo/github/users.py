"""Accounts as the REST API shows them. https://docs.github.com/rest/users/users."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from bot.demo.github.calls import Answer, Call, Routes, not_found
from bot.demo.github.model import User
from bot.demo.github.world import World, node_id, timestamp
from bot.triggers import Role

routes = Routes()

_LINKS = {
    "followers_url": "/followers",
    "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs",
    "repos_url": "/repos",
    "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}


def present(world: World, user: User) -> dict[str, Any]:
    """The short form of a user that stands inside other objects."""
    api = f"{world.api}/users/{quote(user.login)}"
    page = f"apps/{user.login.removesuffix('[bot]')}" if user.type == "Bot" else user.login
    return {
        "login": user.login,
        "id": user.id,
        "node_id": node_id("User", user.login),
        "avatar_url": f"{world.url}/avatars/{user.id}",
        "gravatar_id": "",
        "url": api,
        "html_url": f"{world.url}/{page}",
        **{name: api + suffix for name, suffix in _LINKS.items()},
        "type": user.type,
        "user_view_type": "public",
        "site_admin": False,
    }


def present_organization(world: World, user: User) -> dict[str, Any]:
    """The form of an organisation that stands in webhook payloads."""
    api = f"{world.api}/orgs/{user.login}"
    return {
        "login": user.login,
        "id": user.id,
        "node_id": node_id("User", user.login),
        "url": api,
        "repos_url": f"{api}/repos",
        "events_url": f"{api}/events",
        "hooks_url": f"{api}/hooks",
        "issues_url": f"{api}/issues",
        "members_url": f"{api}/members{{/member}}",
        "public_members_url": f"{api}/public_members{{/member}}",
        "avatar_url": f"{world.url}/avatars/{user.id}",
        "description": None,
    }


def _whole(world: World, user: User) -> dict[str, Any]:
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


@routes.get("/users/{username}", app="", person=Role.NONE)
def get_user(call: Call) -> Answer:
    """Any account by login; an App's bot as `slug[bot]`."""
    user = call.world.users.get(call.params["username"].lower())
    if user is None:
        raise not_found()
    return Answer(200, _whole(call.world, user))
