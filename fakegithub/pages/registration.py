"""Registering an App from a manifest, and installing it, as people do in a browser.

https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
https://docs.github.com/apps/using-github-apps/installing-a-github-app-from-a-third-party
Nobody is asked for a password here: a visitor chooses whom they want to be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import jinja2
from aiohttp import web
from yarl import URL

from fakegithub.access.answers import Answer, not_found
from fakegithub.pages import forms
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes.apps import present_app
from fakegithub.site import Site
from fakegithub.world.model import (
    FakeApp,
    FakeInstallation,
    FakeRepository,
    FakeUser,
    PendingApp,
)
from fakegithub.world.roles import RoleName

MakeApp = Callable[[str, FakeUser, dict[str, str], list[str], str | None, str | None], FakeApp]
Install = Callable[[FakeApp, FakeUser, list[FakeRepository] | None], FakeInstallation]
routes = Routes()
CODE_LIFE = timedelta(hours=1)
_LEVELS = ("read", "write", "admin")
_PAGE = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }} · demo GitHub</title></head>
<body><main>
<h1>{{ title }}</h1>
<form method="post" action="{{ action }}">
{% for name, value in hidden.items() %}
<input type="hidden" name="{{ name }}" value="{{ value }}">
{% endfor %}
{% if app_name %}
<p><label>GitHub App name <input name="name" value="{{ app_name }}" maxlength="34"></label></p>
{% endif %}
{% if permissions %}
<ul>{% for name, level in permissions.items() %}<li>{{ name }}: {{ level }}</li>{% endfor %}</ul>
{% endif %}
{% if people %}
<p><label>You are <select name="login">{% for person in people %}
<option>{{ person.login }}</option>{% endfor %}</select></label></p>
{% endif %}
{% if accounts %}
<p><label>Account <select name="account">{% for each in accounts %}
<option>{{ each.login }}</option>{% endfor %}</select></label></p>
<p><label><input type="radio" name="which" value="all" checked> All repositories</label></p>
<p><label><input type="radio" name="which" value="selected"> Only select repositories:</label></p>
{% for each in repositories %}
<p><label><input type="checkbox" name="repository" value="{{ each.id }}"> {{ each.full_name }}
</label></p>
{% endfor %}
{% endif %}
<p><button>{{ button }}</button></p>
</form>
</main></body></html>
"""
)


@routes.post("/app-manifests/{code}/conversions", person=RoleName.NONE)
def convert(call: Call) -> Answer:
    """The new App with its secrets, for the code; once, within an hour."""
    pending = call.world.pending_apps.pop(call.params["code"], None)
    if pending is None or pending.expires_at <= call.world.now():
        raise not_found()
    app = pending.app
    secret = {
        "client_secret": app.client_secret,
        "webhook_secret": app.webhook_secret,
        "pem": app.private_key,
    }
    return Answer(201, present_app(call.world, app) | secret)


def pages(github: Site, make: MakeApp, install: Install) -> list[web.RouteDef]:
    """Where a manifest is posted to, and where an App is installed.

    Args:
        github: the GitHub.
        make: registers an App: slug, owner, permissions, events, webhook and its secret.
        install: installs one on an account, on all of its repositories or on some.
    """
    site = _Registration(github, make, install)
    return [
        web.post("/settings/apps/new", site.confirm),
        web.post("/organizations/{organization}/settings/apps/new", site.confirm),
        web.post("/settings/apps", site.create),
        web.get("/apps/{slug}/installations/new", site.choose),
        web.post("/apps/{slug}/installations", site.install),
    ]


class _Registration:
    def __init__(self, github: Site, make: MakeApp, install: Install) -> None:
        self._world, self._make, self._install = github.world, make, install

    async def confirm(self, request: web.Request) -> web.Response:
        """Show what the manifest asks for; it comes from another site, as it is meant to."""
        form = await request.post()
        manifest = _manifest(str(form.get("manifest", "")))
        owner = self._owner(request.match_info.get("organization", ""))
        name = str(manifest.get("name", ""))
        hidden = {
            "manifest": json.dumps(manifest),
            "state": request.query.get("state", ""),
            "organization": owner.login if owner else "",
        }
        return _show(
            URL(str(manifest["redirect_url"])),
            title="Create a GitHub App",
            action="/settings/apps",
            hidden=hidden,
            app_name=name,
            permissions=manifest.get("default_permissions") or {},
            people=forms.people(self._world, None),
            button=f"Create GitHub App for {owner.login}" if owner else "Create GitHub App",
        )

    async def create(self, request: web.Request) -> web.Response:
        """Make the App, and send the visitor back with a code."""
        form = await request.post()
        manifest = _manifest(str(form.get("manifest", "")))
        owner = self._owner(str(form.get("organization", ""))) or self._owner(
            str(form.get("login", ""))
        )
        if owner is None:
            raise web.HTTPForbidden(text="There is nobody to be yet.")
        slug = re.sub(r"[^a-z0-9]+", "-", str(form.get("name", "")).lower()).strip("-")
        if not slug or any(each.slug == slug for each in self._world.apps.values()):
            raise web.HTTPUnprocessableEntity(text="Name is already taken.")
        hook = manifest.get("hook_attributes") or {}
        app = self._make(
            slug,
            owner,
            {str(k): str(v) for k, v in (manifest.get("default_permissions") or {}).items()},
            [str(each) for each in manifest.get("default_events") or []],
            str(hook.get("url") or "") or None,
            self._world.new_secret(""),
        )
        app.callback_urls = [str(each) for each in manifest.get("callback_urls") or []]
        app.setup_url = str(manifest.get("setup_url") or "") or None
        code = self._world.new_secret("")
        self._world.pending_apps[code] = PendingApp(app, self._world.now() + CODE_LIFE)
        back = URL(str(manifest["redirect_url"])).update_query(
            code=code, state=str(form.get("state", ""))
        )
        raise web.HTTPFound(back)

    async def choose(self, request: web.Request) -> web.Response:
        """On which account, and on which repositories?"""
        app = self._app(request)
        accounts = self._accounts(app)
        mine = [each for each in self._world.repositories.values() if each.owner in accounts]
        return _show(
            URL(app.setup_url) if app.setup_url else None,
            title=f"Install {app.name}",
            action=f"/apps/{app.slug}/installations",
            permissions=app.permissions,
            accounts=accounts,
            repositories=mine,
            button="Install",
        )

    async def install(self, request: web.Request) -> web.Response:
        """Install it, and send the visitor to the App's setup address."""
        app, form = self._app(request), await request.post()
        account = self._owner(str(form.get("account", "")))
        if account is None or account not in self._accounts(app):
            raise web.HTTPForbidden(text="You may not install Apps there.")
        chosen: list[FakeRepository] | None = None
        if form.get("which") == "selected":
            wanted = {str(each) for each in form.getall("repository", [])}
            chosen = [
                each
                for each in self._world.repositories.values()
                if each.owner is account and str(each.id) in wanted
            ]
        installation = self._install(app, account, chosen)
        if app.setup_url is None:
            raise web.HTTPFound(f"/settings/installations/{installation.id}")
        back = URL(app.setup_url).update_query(
            installation_id=str(installation.id), setup_action="install"
        )
        raise web.HTTPFound(back)

    def _app(self, request: web.Request) -> FakeApp:
        slug = request.match_info["slug"]
        found = next((each for each in self._world.apps.values() if each.slug == slug), None)
        if found is None:
            raise web.HTTPNotFound
        return found

    def _owner(self, login: str) -> FakeUser | None:
        found = self._world.users.get(login.lower())
        return found if found is not None and found.type != "Bot" else None

    def _accounts(self, app: FakeApp) -> list[FakeUser]:
        """A private App goes on its owner's account alone."""
        return [app.owner]


def _manifest(text: str) -> Mapping[str, Any]:
    """Read a manifest; what GitHub would not take is refused with its field.

    Raises:
        web.HTTPUnprocessableEntity: it is no manifest, or a field is missing or wrong.
    """
    try:
        found = json.loads(text)
    except ValueError:
        raise web.HTTPUnprocessableEntity(text="manifest is not JSON") from None
    if not isinstance(found, dict):
        raise web.HTTPUnprocessableEntity(text="manifest is no object")
    for name in ("name", "url", "redirect_url"):
        if not isinstance(found.get(name), str) or not found[name]:
            raise web.HTTPUnprocessableEntity(text=f"{name} is missing")
    if len(found["name"]) > 34:
        raise web.HTTPUnprocessableEntity(text="name is too long (maximum is 34 characters)")
    for name, level in (found.get("default_permissions") or {}).items():
        if level not in _LEVELS:
            raise web.HTTPUnprocessableEntity(text=f"default_permissions: {name}")
    return found


def _show(target: URL | None, **values: Any) -> web.Response:
    """A page whose form may lead to that site in the end."""
    given = {"hidden": {}, "app_name": "", "permissions": {}, "people": [], "accounts": [],
             "repositories": []} | values  # fmt: skip
    beyond = "" if target is None else f" {target.origin()}"
    policy = (
        f"default-src 'none'; form-action 'self'{beyond}; base-uri 'none'; frame-ancestors 'none'"
    )
    return web.Response(
        text=_PAGE.render(given),
        content_type="text/html",
        headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"},
    )
