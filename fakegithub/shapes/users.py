"""Accounts as the REST API shows them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fakegithub.world.model import FakeUser
from fakegithub.world.world import World, node_id

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


def present(world: World, user: FakeUser) -> dict[str, Any]:
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


def present_organization(world: World, user: FakeUser) -> dict[str, Any]:
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


def present_enterprise(world: World, account: FakeUser) -> dict[str, Any]:
    """An enterprise as the account of an installation: it has a slug, and no login."""
    return {
        "id": account.id,
        "slug": account.login,
        "name": account.name or account.login,
        "node_id": node_id("Enterprise", account.login),
        "html_url": f"{world.url}/enterprises/{account.login}",
        "avatar_url": f"{world.url}/avatars/{account.id}",
        "description": None,
        "website_url": None,
        "created_at": None,
        "updated_at": None,
    }
