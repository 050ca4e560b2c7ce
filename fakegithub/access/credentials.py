"""Who calls? Read from keys, JWTs and tokens, which are made here too.

App JWTs: https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app
Installation tokens: https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app
"""

from __future__ import annotations

import base64
import time
from datetime import timedelta

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fakegithub.access.answers import RequestRefused
from fakegithub.access.callers import Caller
from fakegithub.world.model import FakeApp, FakeInstallation, FakeInstallationToken
from fakegithub.world.world import World

TOKEN_LIFE = timedelta(hours=1)


_LONGEST_JWT = 600


_DRIFT = 60


NO_JWT = "A JSON web token could not be decoded"


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
        RequestRefused: 401 for credentials that are wrong, expired or revoked.
    """
    if not header:
        return Caller("nobody")
    scheme, _, credential = header.partition(" ")
    credential = credential.strip()
    if scheme.lower() == "basic":
        credential = _password(credential)
    elif scheme.lower() not in ("bearer", "token"):
        raise RequestRefused(401, "Bad credentials")
    if credential.count(".") == 2:
        return _by_jwt(world, credential)
    if (known := world.installation_tokens.get(credential)) is not None:
        return _by_installation_token(world, known)
    if (user := world.user_tokens.get(credential)) is not None:
        return Caller("person", user=user, token=credential)
    if (login := world.app_user_tokens.get(credential)) is not None:
        return Caller("person", user=login.user, app=login.app, token=credential)
    raise RequestRefused(401, "Bad credentials")


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except ValueError:
        raise RequestRefused(401, "Bad credentials") from None


def _by_jwt(world: World, token: str) -> Caller:
    app = _issuer(world, token)
    try:
        claims = jwt.decode(
            token, app.public_key, algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False, "verify_aud": False},
        )  # fmt: skip
        issued, expires = float(claims["iat"]), float(claims["exp"])
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        raise RequestRefused(401, NO_JWT) from None
    now = world.clock().timestamp()
    if expires <= now:
        raise RequestRefused(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future "
            "time at which the assertion expires",
        )
    if expires - now > _LONGEST_JWT + _DRIFT or expires - issued > _LONGEST_JWT + _DRIFT:
        raise RequestRefused(401, "'Expiration time' claim ('exp') is too far in the future")
    if issued > now + _DRIFT:
        raise RequestRefused(
            401, "'Issued at' claim ('iat') must be an Integer representing the time that the "
            "assertion was issued",
        )  # fmt: skip
    return Caller("app", app=app)


def _issuer(world: World, token: str) -> FakeApp:
    try:
        unchecked = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        raise RequestRefused(401, NO_JWT) from None
    issuer = str(unchecked.get("iss", ""))
    for app in world.apps.values():
        if issuer in (str(app.id), app.client_id):
            return app
    raise RequestRefused(404, "Integration not found")


def _by_installation_token(world: World, token: FakeInstallationToken) -> Caller:
    installation = token.installation
    if token.expires_at <= world.clock() or installation.id not in world.installations:
        raise RequestRefused(401, "Bad credentials")
    if installation.suspended_at is not None:
        raise RequestRefused(403, "This installation has been suspended")
    if installation.account.has_allow_list:
        raise RequestRefused(
            403,
            "Although you appear to have the correct authorization credentials, the "
            f"`{installation.account.login}` organization has an IP allow list enabled, and your "
            "IP address is not permitted to access this resource.",
        )
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


def issue_token(
    world: World,
    installation: FakeInstallation,
    permissions: dict[str, str] | None = None,
    repository_ids: frozenset[int] | None = None,
) -> FakeInstallationToken:
    """Make an installation token good for one hour.

    Args:
        world: keeps the token, and tells the time.
        installation: the one whose rights the token has.
        permissions: the level of each right, such as `{"checks": "write"}`; None: all it has.
        repository_ids: the repositories that it is good for; None: all of the installation's.

    Raises:
        RequestRefused: 422 when more is asked than the installation has, 403 when it is suspended.
    """
    if installation.suspended_at is not None:
        raise RequestRefused(403, "This installation has been suspended")
    granted = Caller("app", permissions=installation.permissions)
    for name, level in (permissions or {}).items():
        if level not in ("read", "write", "admin") or not granted.may(f"{name}={level}"):
            raise RequestRefused(
                422, "The permissions requested are not granted to this installation."
            )
    token = FakeInstallationToken(
        world.new_secret("ghs_"),
        installation,
        dict(permissions) if permissions else dict(installation.permissions),
        repository_ids,
        world.now() + TOKEN_LIFE,
    )
    world.installation_tokens[token.token] = token
    return token


def app_jwt(app_id: int, private_key: str, now: float | None = None) -> str:
    """An App's JWT as an App would make it, good for nine minutes; for people's scripts."""
    issued = int(time.time() if now is None else now) - 30
    return jwt.encode(
        {"iat": issued, "exp": issued + 540, "iss": str(app_id)}, private_key, algorithm="RS256"
    )
