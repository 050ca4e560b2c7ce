"""Logging in with an App: the web flow that tells an App who somebody is.

https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app
Here a person is not asked for a password but chosen from a list.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import jinja2
from aiohttp import web
from yarl import URL

from fakegithub.access.answers import Answer, RequestRefused, not_found
from fakegithub.pages import forms
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes import repositories
from fakegithub.shapes.apps import present_installation
from fakegithub.site import Site
from fakegithub.world.model import (
    AppUserToken,
    Authorization,
    FakeApp,
    FakeInstallation,
    FakeRepository,
    FakeUser,
)
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World, covers

routes = Routes()

CODE_LIFE = timedelta(minutes=10)
_AUTHORIZE = "/login/oauth/authorize"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_PAGE = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Authorize {{ app.name }} · demo GitHub</title></head>
<body><main>
<h1>Authorize {{ app.name }}</h1>
<p>It wants to know who you are. Nobody is asked for a password here: choose whom you want to
be.</p>
<form method="post">
{% for name, value in query.items() %}
<input type="hidden" name="{{ name }}" value="{{ value }}">
{% endfor %}
{% for person in people %}
<p><button name="login" value="{{ person.login }}">Continue as {{ person.login }}</button></p>
{% endfor %}
<p><button name="denied" value="yes">Cancel</button></p>
</form>
</main></body></html>
"""
)


# What a logged-in person's token may ask


def _login(call: Call) -> tuple[FakeApp, FakeUser]:
    if call.caller.app is None or call.caller.kind != "person":
        raise RequestRefused(
            403, "You must authenticate with an access token authorized to a GitHub App in order "
            "to list installations",
        )  # fmt: skip
    return call.caller.app, call.user


def _shared(world: World, installation: FakeInstallation, user: FakeUser) -> list[FakeRepository]:
    """What the installation sees and this person has "explicit permission" to, not as everybody.

    https://docs.github.com/rest/apps/installations#list-repositories-accessible-to-the-user-access-token
    """
    return [
        each
        for each in world.repositories.values()
        if covers(installation, each)
        and (user is each.owner or user.login.lower() in each.roles)
        and each.role_of(user).at_least(RoleName.READ)
    ]


@routes.get("/user/installations")
def list_installations(call: Call) -> Answer:
    """The App's installations with something this person can see."""
    app, user = _login(call)
    found = [
        each
        for each in call.world.installations.values()
        if each.app is app and _shared(call.world, each, user)
    ]
    return call.page([present_installation(call.world, each) for each in found], "installations")


@routes.get("/user/installations/{installation_id}/repositories")
def list_repositories(call: Call) -> Answer:
    """What both this installation and this person can see."""
    app, user = _login(call)
    installation = call.world.installations.get(call.number("installation_id"))
    if installation is None or installation.app is not app:
        raise not_found()
    found = _shared(call.world, installation, user)
    if not found:
        raise not_found()
    held = repositories.present_permissions
    shown = [
        {**repositories.present(call.world, each), "permissions": held(each.role_of(user))}
        for each in found
    ]
    return call.page(shown, "repositories")


# The flow itself


def pages(github: Site) -> list[web.RouteDef]:
    """The page people are sent to, and where the App fetches and drops its token."""
    flow = _Flow(github)
    return [
        web.get(_AUTHORIZE, flow.ask),
        web.post(_AUTHORIZE, flow.answer),
        web.post("/login/oauth/access_token", flow.exchange),
        web.delete("/api/v3/applications/{client_id}/token", flow.drop),
    ]


class _Flow:
    def __init__(self, github: Site) -> None:
        self._world = github.world

    async def ask(self, request: web.Request) -> web.Response:
        """Whom does the visitor want to be?"""
        app, redirect = self._asked(request.query)
        people = forms.people(self._world, None)
        policy = (
            f"default-src 'none'; form-action 'self' {redirect.origin()}; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        return web.Response(
            text=_PAGE.render(app=app, people=people, query=request.query),
            content_type="text/html",
            headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"},
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send the visitor back with a code, or with a refusal."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        app, redirect = self._asked(form)
        back = {"state": form["state"]} if "state" in form else {}
        user = self._world.users.get(form.get("login", "").lower())
        if user is None or not user.token:
            raise web.HTTPFound(redirect.update_query(error="access_denied", **back))
        code = self._world.new_secret("")[:20]
        self._world.authorizations[code] = Authorization(
            app, user, str(redirect), form.get("code_challenge", ""),
            self._world.now() + CODE_LIFE,
        )  # fmt: skip
        raise web.HTTPFound(redirect.update_query(code=code, **back))

    async def exchange(self, request: web.Request) -> web.Response:
        """A code, once and in time, for a token. Errors come with status 200, as on GitHub."""
        sent = await _sent(request)
        app = self._client(sent.get("client_id", ""), sent.get("client_secret", ""))
        if app is None:
            return _error("incorrect_client_credentials",
                          "The client_id and/or client_secret passed are incorrect.")  # fmt: skip
        given = self._world.authorizations.pop(sent.get("code", ""), None)
        if given is None or given.app is not app or given.expires_at <= self._world.now():
            return _error("bad_verification_code", "The code passed is incorrect or expired.")
        if sent.get("redirect_uri", given.redirect_uri) != given.redirect_uri:
            return _error("redirect_uri_mismatch", "The redirect_uri MUST match the registered "
                          "callback URL for this application.")  # fmt: skip
        if given.challenge and not _proves(sent.get("code_verifier", ""), given.challenge):
            return _error("bad_verification_code", "The code_verifier does not match.")
        token = self._world.new_secret("ghu_")
        self._world.app_user_tokens[token] = AppUserToken(app, given.user)
        return web.json_response({"access_token": token, "scope": "", "token_type": "bearer"})

    async def drop(self, request: web.Request) -> web.Response:
        """`DELETE /applications/{client_id}/token`, signed with the client's secret."""
        name, _, secret = _basic(request.headers.get("Authorization", "")).partition(":")
        app = self._client(name, secret)
        if app is None or name != request.match_info["client_id"]:
            return web.json_response({"message": "Not Found"}, status=404)
        sent = await _sent(request)
        self._world.app_user_tokens.pop(sent.get("access_token", ""), None)
        return web.Response(status=204)

    def _asked(self, sent: Mapping[str, str]) -> tuple[FakeApp, URL]:
        app = next((a for a in self._world.apps.values() if a.client_id == sent.get("client_id")),
                   None)  # fmt: skip
        if app is None or not app.callback_urls:
            raise web.HTTPNotFound(text="There is no such App, or it has no callback address.")
        redirect = URL(sent.get("redirect_uri", app.callback_urls[0]))
        if not any(_same(redirect, URL(known)) for known in app.callback_urls):
            raise web.HTTPBadRequest(
                text="The redirect_uri is not associated with this application."
            )
        return app, redirect

    def _client(self, client_id: str, secret: str) -> FakeApp | None:
        for app in self._world.apps.values():
            if app.client_id == client_id and hmac.compare_digest(app.client_secret, secret):
                return app
        return None


def _same(redirect: URL, known: URL) -> bool:
    """The registered address; a loopback one may have any port."""
    if redirect.host in _LOOPBACK and known.host == redirect.host:
        return redirect.path == known.path and redirect.scheme == known.scheme
    return redirect.with_query(None) == known


def _proves(verifier: str, challenge: str) -> bool:
    """RFC 7636, section 4.6, method S256."""
    digest = hashlib.sha256(verifier.encode("ascii", "replace")).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)


def _basic(header: str) -> str:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _sent(request: web.Request) -> dict[str, str]:
    if request.content_type == "application/json":
        try:
            found: Any = json.loads(await request.read())
        except ValueError:
            return {}
        return {k: str(v) for k, v in found.items()} if isinstance(found, dict) else {}
    return {name: str(value) for name, value in (await request.post()).items()}


def _error(name: str, description: str) -> web.Response:
    return web.json_response({"error": name, "error_description": description})
