"""Who calls, and what may they do?

App JWTs: https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app
Installation tokens: https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app
"""

from __future__ import annotations

import base64
import time
from datetime import timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bot.demo.github import (
    repositories,
    users,
)
from bot.demo.github.calls import Answer, Call, Caller, Refused, Route, Routes, not_found
from bot.demo.github.model import App, Installation, InstallationToken, Repository
from bot.demo.github.world import World, covers, node_id, timestamp
from bot.triggers import Role

routes = Routes()

TOKEN_LIFE = timedelta(hours=1)
_LONGEST_JWT = 600
_DRIFT = 60
_NO_JWT = "A JSON web token could not be decoded"


def new_key_pair() -> tuple[str, str]:
    """A private and a public RSA key, PEM. 2048 bits, as GitHub makes them."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def authenticate(world: World, header: str | None) -> Caller:
    """Read an Authorization header (Bearer, token, or Basic with the token as password).

    Raises:
        Refused: 401 for credentials that are wrong, expired or revoked.
    """
    if not header:
        return Caller("nobody")
    scheme, _, credential = header.partition(" ")
    credential = credential.strip()
    if scheme.lower() == "basic":
        credential = _password(credential)
    elif scheme.lower() not in ("bearer", "token"):
        raise Refused(401, "Bad credentials")
    if credential.count(".") == 2:
        return _by_jwt(world, credential)
    if (known := world.installation_tokens.get(credential)) is not None:
        return _by_installation_token(world, known)
    if (user := world.user_tokens.get(credential)) is not None:
        return Caller("person", user=user, token=credential)
    if (login := world.app_user_tokens.get(credential)) is not None:
        return Caller("person", user=login.user, app=login.app, token=credential)
    raise Refused(401, "Bad credentials")


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except ValueError:
        raise Refused(401, "Bad credentials") from None


def _by_jwt(world: World, token: str) -> Caller:
    app = _issuer(world, token)
    try:
        claims = jwt.decode(
            token, app.public_key, algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False, "verify_aud": False},
        )  # fmt: skip
        issued, expires = float(claims["iat"]), float(claims["exp"])
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        raise Refused(401, _NO_JWT) from None
    now = world.clock().timestamp()
    if expires <= now:
        raise Refused(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future "
            "time at which the assertion expires",
        )
    if expires - now > _LONGEST_JWT + _DRIFT or expires - issued > _LONGEST_JWT + _DRIFT:
        raise Refused(401, "'Expiration time' claim ('exp') is too far in the future")
    if issued > now + _DRIFT:
        raise Refused(
            401, "'Issued at' claim ('iat') must be an Integer representing the time that the "
            "assertion was issued",
        )  # fmt: skip
    return Caller("app", app=app)


def _issuer(world: World, token: str) -> App:
    try:
        unchecked = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        raise Refused(401, _NO_JWT) from None
    issuer = str(unchecked.get("iss", ""))
    for app in world.apps.values():
        if issuer in (str(app.id), app.client_id):
            return app
    raise Refused(404, "Integration not found")


def _by_installation_token(world: World, token: InstallationToken) -> Caller:
    installation = token.installation
    if token.expires_at <= world.clock() or installation.id not in world.installations:
        raise Refused(401, "Bad credentials")
    if installation.suspended_at is not None:
        raise Refused(403, "This installation has been suspended")
    held = {
        name: level
        for name, level in token.permissions.items()
        if Caller("app", permissions=installation.permissions).may(f"{name}={level}")
    }
    return Caller(
        "installation", user=installation.app.bot, app=installation.app,
        installation=installation, permissions=held, repositories=token.repositories,
        token=token.token,
    )  # fmt: skip


def sees(caller: Caller, repository: Repository) -> bool:
    """Tell whether the caller may know that `repository` exists."""
    if caller.installation is not None:
        narrowed = caller.repositories is None or repository.id in caller.repositories
        return covers(caller.installation, repository) and narrowed
    if caller.kind == "person" and caller.user is not None:
        return repository.role_of(caller.user).at_least(Role.READ)
    return not repository.private


def authorize(caller: Caller, route: Route, repository: Repository | None) -> None:
    """Refuse a caller who may not use `route` on `repository`.

    Raises:
        Refused: 401 without (the right kind of) credentials, 403 without the permission, 404
            where the caller may not even know the repository.
    """
    if route.jwt:
        if caller.kind == "app" or (route.app is not None and caller.kind == "installation"):
            return
        raise Refused(401, _NO_JWT)
    if caller.kind == "app":
        raise Refused(401, "Bad credentials")
    if repository is not None and not sees(caller, repository):
        raise not_found()
    if caller.kind == "installation":
        _authorize_installation(caller, route)
    elif caller.kind == "person":
        _authorize_person(caller, route, repository)
    elif route.person is None or route.person.at_least(Role.TRIAGE) or route.method != "GET":
        raise Refused(401, "Requires authentication")


def _authorize_installation(caller: Caller, route: Route) -> None:
    if route.app is None or (route.app and not caller.may(route.app)):
        accepted = {"X-Accepted-GitHub-Permissions": route.app} if route.app else {}
        raise Refused(403, "Resource not accessible by integration", headers=accepted)


def _authorize_person(caller: Caller, route: Route, repository: Repository | None) -> None:
    if route.person is None:
        raise Refused(403, "You must authenticate with an installation access token")
    if caller.app is not None and route.method != "GET":
        # On GitHub it may write within the App's permissions; no part of this bot does.
        raise Refused(403, "Resource not accessible by integration")
    if repository is None or caller.user is None:
        return
    if repository.archived and route.method != "GET":
        raise Refused(403, "Repository was archived so is read-only.")
    if not repository.role_of(caller.user).at_least(route.person):
        needed = "admin" if route.person is Role.ADMIN else "write"
        raise Refused(403, f"Must have {needed} rights to Repository.")


def issue_token(
    world: World,
    installation: Installation,
    permissions: dict[str, str] | None = None,
    repository_ids: frozenset[int] | None = None,
) -> InstallationToken:
    """Make an installation token good for one hour.

    Raises:
        Refused: 422 when more is asked than the installation has.
    """
    if installation.suspended_at is not None:
        raise Refused(403, "This installation has been suspended")
    granted = Caller("app", permissions=installation.permissions)
    for name, level in (permissions or {}).items():
        if level not in ("read", "write", "admin") or not granted.may(f"{name}={level}"):
            raise Refused(422, "The permissions requested are not granted to this installation.")
    token = InstallationToken(
        world.new_secret("ghs_"),
        installation,
        dict(permissions) if permissions else dict(installation.permissions),
        repository_ids,
        world.now() + TOKEN_LIFE,
    )
    world.installation_tokens[token.token] = token
    return token


# What Apps ask about themselves


def present_app(world: World, app: App) -> dict[str, Any]:
    """An App as it stands in check-runs, comments and `GET /app`."""
    moment = timestamp(app.created_at)
    return {
        "id": app.id,
        "slug": app.slug,
        "client_id": app.client_id,
        "node_id": node_id("App", app.id),
        "owner": users.present(world, app.owner),
        "name": app.name,
        "description": None,
        "external_url": app.webhook_url or f"{world.url}/apps/{app.slug}",
        "html_url": f"{world.url}/apps/{app.slug}",
        "created_at": moment,
        "updated_at": moment,
        "permissions": dict(app.permissions),
        "events": list(app.events),
    }


def present_installation(world: World, installation: Installation) -> dict[str, Any]:
    """An installation as `GET /app/installations` and installation events show it."""
    moment = timestamp(installation.created_at)
    api = f"{world.api}/app/installations/{installation.id}"
    suspended = installation.suspended_at
    return {
        "id": installation.id,
        "client_id": installation.app.client_id,
        "account": users.present(world, installation.account),
        "repository_selection": "all" if installation.repositories is None else "selected",
        "access_tokens_url": f"{api}/access_tokens",
        "repositories_url": f"{world.api}/installation/repositories",
        "html_url": f"{world.url}/settings/installations/{installation.id}",
        "app_id": installation.app.id,
        "app_slug": installation.app.slug,
        "target_id": installation.account.id,
        "target_type": installation.account.type,
        "permissions": dict(installation.permissions),
        "events": list(installation.events),
        "created_at": moment,
        "updated_at": moment,
        "single_file_name": None,
        "has_multiple_single_files": False,
        "single_file_paths": [],
        "suspended_by": users.present(world, installation.account) if suspended else None,
        "suspended_at": timestamp(suspended) if suspended else None,
    }


def _app(call: Call) -> App:
    if call.caller.app is None:
        raise not_found()
    return call.caller.app


def _installation(call: Call) -> Installation:
    installation = call.world.installations.get(call.number("installation_id"))
    if installation is None or installation.app is not _app(call):
        raise not_found()
    return installation


@routes.get("/app", jwt=True)
def get_app(call: Call) -> Answer:
    """The App whose JWT this is."""
    mine = [i for i in call.world.installations.values() if i.app is _app(call)]
    return Answer(200, present_app(call.world, _app(call)) | {"installations_count": len(mine)})


@routes.get("/app/installations", jwt=True)
def list_installations(call: Call) -> Answer:
    """Where the App is installed."""
    mine = [i for i in call.world.installations.values() if i.app is _app(call)]
    return call.page([present_installation(call.world, i) for i in mine])


@routes.get("/app/installations/{installation_id}", jwt=True)
def get_installation(call: Call) -> Answer:
    """One installation of the App."""
    return Answer(200, present_installation(call.world, _installation(call)))


@routes.get("/repos/{owner}/{repo}/installation", jwt=True)
def get_repository_installation(call: Call) -> Answer:
    """The App's installation on a repository."""
    installation = call.world.installation_of(_app(call), call.repository)
    if installation is None:
        raise not_found()
    return Answer(200, present_installation(call.world, installation))


@routes.post("/app/installations/{installation_id}/access_tokens", jwt=True)
def create_token(call: Call) -> Answer:
    """A token for one hour, narrowed to `permissions`, `repositories`, `repository_ids`."""
    installation, body, world = _installation(call), call.body, call.world
    names = {str(name).lower() for name in body.get("repositories", [])}
    wanted = set(body.get("repository_ids", []))
    visible = [r for r in world.repositories.values() if covers(installation, r)]
    chosen = [r for r in visible if r.id in wanted or r.name.lower() in names]
    narrowed = bool(names or wanted)
    if narrowed and len(chosen) < max(len(names), len(wanted)):
        raise Refused(
            422,
            "There is at least one repository that does not exist or is not accessible to the "
            "parent installation.",
        )
    token = issue_token(
        world, installation, body.get("permissions") or None,
        frozenset(r.id for r in chosen) if narrowed else None,
    )  # fmt: skip
    everything = installation.repositories is None and not narrowed
    answer: dict[str, Any] = {
        "token": token.token,
        "expires_at": timestamp(token.expires_at),
        "permissions": token.permissions,
        "repository_selection": "all" if everything else "selected",
    }
    if narrowed:
        answer["repositories"] = [repositories.present(world, r) for r in chosen]
    return Answer(201, answer)


@routes.delete("/installation/token", app="")
def revoke_token(call: Call) -> Answer:
    """Give the calling installation token back."""
    call.world.installation_tokens.pop(call.caller.token, None)
    return Answer(204)


def app_jwt(app_id: int, private_key: str, now: float | None = None) -> str:
    """An App's JWT as an App would make it, good for nine minutes; for people's scripts."""
    issued = int(time.time() if now is None else now) - 30
    return jwt.encode(
        {"iat": issued, "exp": issued + 540, "iss": str(app_id)}, private_key, algorithm="RS256"
    )
