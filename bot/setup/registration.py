"""Registers the App from a manifest, and keeps what GitHub gives for it.

https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from bot.github.client import EVENTS, PERMISSIONS
from bot.github.transport.http import Addresses, new_session
from bot.github.transport.redaction import keep_secret
from bot.records.private_files import put_whole
from bot.settings import CREDENTIALS, LOOPBACK

_CODE = re.compile(r"[A-Za-z0-9_-]{1,200}")
_ORGANIZATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})")
_AGAIN = "Load this page again: its code is good for an hour."
_HEADERS = {
    "Accept": "application/vnd.github+json",
    "User-Agent": "incident-playbooks",
    "X-GitHub-Api-Version": "2022-11-28",
}


class SetupRefused(Exception):
    """It cannot go on like this; the message says why and what to do, for whoever sets it up."""


@dataclass(frozen=True)
class AppCredentials:
    """What GitHub gives for a new App.

    Attributes:
        public_url: where it was told that people reach the bot, if nowhere else says so.
    """

    app_id: int
    slug: str
    owner: str
    api_url: str
    client_id: str
    client_secret: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    private_key: str = field(repr=False)
    public_url: str | None = None

    def settings(self) -> dict[str, str]:
        """By the names of the settings."""
        given = {
            "github_api_url": self.api_url,
            "github_app_id": str(self.app_id),
            "github_client_id": self.client_id,
            "github_client_secret": self.client_secret,
            "github_webhook_secret": self.webhook_secret,
            "github_private_key": self.private_key,
        }
        return given | ({"playbooks_url": self.public_url} if self.public_url else {})

    def variables(self) -> str:
        """As lines that a shell or an env file reads; the key is base64."""
        key = base64.b64encode(self.private_key.encode()).decode()
        given = self.settings() | {"github_private_key": key}
        return "".join(f"{name.upper()}={shlex.quote(value)}\n" for name, value in given.items())


def addresses_of(host: str) -> Addresses:
    """The addresses of the GitHub that somebody names, as they see it in their browser.

    Args:
        host: `github.com`, `SUB.ghe.com`, or the address of an Enterprise Server; a REST address
            is understood as well.

    Raises:
        SetupRefused: it is none.
    """
    given = host.strip().rstrip("/") or "github.com"
    url = given if "://" in given else f"https://{given}"
    try:
        parts = urlsplit(url)
        name = parts.netloc.lower()
        if "@" in name or parts.port == 0:
            raise ValueError("an address of a GitHub is no more than a host and a port")
        if name in ("github.com", "www.github.com", "api.github.com"):
            return Addresses.derive()
        if name.endswith(".ghe.com"):
            return Addresses.derive(f"https://api.{name.removeprefix('api.')}")
        return Addresses.derive(f"{parts.scheme}://{parts.netloc}/api/v3")
    except ValueError:
        raise SetupRefused(
            f"{given[:100]} is not the address of a GitHub: github.com, SUB.ghe.com, or "
            "https://HOST of your Enterprise Server."
        ) from None


def manifest(public_url: str, hook_url: str | None = None) -> dict[str, Any]:
    """`app.yml`, filled in.

    Args:
        public_url: where people reach the bot.
        hook_url: where GitHub does, if that is elsewhere: a relay.
    """
    root = public_url.rstrip("/")
    return {
        # Names are unique on all of GitHub; its page lets people change it.
        "name": f"incident-playbooks-{secrets.token_hex(3)}",
        "url": root,
        "public": False,
        "hook_attributes": {"url": hook_url or f"{root}/webhooks/github", "active": True},
        "redirect_url": f"{root}/ui/setup/registered",
        "callback_urls": [f"{root}/ui/login/callback"],
        "setup_url": f"{root}/ui/setup/installed",
        "default_permissions": dict(PERMISSIONS),
        "default_events": list(EVENTS),
    }


def form_address(github: Addresses, organization: str, state: str) -> str:
    """Where the manifest is posted to.

    Raises:
        SetupRefused: no organization can be called so.
    """
    if organization and not _ORGANIZATION.fullmatch(organization):
        raise SetupRefused(f"{organization[:60]} cannot be the name of an organization.")
    owner = f"/organizations/{organization}" if organization else ""
    return f"{github.web}{owner}/settings/apps/new?state={quote(state)}"


def is_reachable(public_url: str, github: Addresses) -> bool:
    """Whether that GitHub may be able to deliver there: a loopback one reaches loopback."""
    ours, theirs = urlsplit(public_url).hostname, urlsplit(github.web).hostname
    return ours not in LOOPBACK or theirs in LOOPBACK


async def exchange(github: Addresses, code: str) -> AppCredentials:
    """Give GitHub's code back, for the new App's credentials.

    Raises:
        SetupRefused: the code is wrong, used, or older than an hour; or GitHub is away.
    """
    if not _CODE.fullmatch(code):
        raise SetupRefused("GitHub's answer has no code. Begin again.")
    url = f"{github.rest}/app-manifests/{code}/conversions"
    try:
        async with (
            new_session(30.0) as session,
            session.post(url, headers=_HEADERS, allow_redirects=False) as answer,
        ):
            if answer.status >= 500:
                raise SetupRefused(f"GitHub does not answer ({answer.status}). {_AGAIN}")
            if answer.status != 201:
                raise SetupRefused(
                    f"GitHub does not accept its code ({answer.status}): it works once, within an "
                    "hour. Begin again; an App that was made meanwhile can be deleted."
                )
            given = await answer.json(content_type=None)
        found = AppCredentials(
            app_id=int(given["id"]),
            slug=str(given["slug"]),
            owner=str((given.get("owner") or {}).get("login") or ""),
            api_url=github.rest,
            client_id=str(given["client_id"]),
            client_secret=str(given["client_secret"]),
            webhook_secret=str(given["webhook_secret"]),
            private_key=str(given["pem"]),
        )
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SetupRefused(f"GitHub does not answer: {error or 'in time'}. {_AGAIN}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SetupRefused("GitHub's answer makes no sense. Begin again.") from error
    keep_secret([found.client_secret, found.webhook_secret, found.private_key])
    return found


def keep(data: Path, given: AppCredentials) -> Path:
    """Write them into the data folder, for this user alone (0600); whole or not at all.

    Raises:
        SetupRefused: the folder has another Setup's App already, or cannot be written.
    """
    file = data / CREDENTIALS
    if file.exists():
        raise SetupRefused(
            f"{file} holds the keys of another App, which was set up at the same time. Start the "
            f"bot again to use that one, and delete {given.slug} on GitHub."
        )
    try:
        put_whole(file, json.dumps(given.settings(), indent=2).encode())
    except OSError as error:
        raise SetupRefused(
            f"The keys of {given.slug} cannot be written to {data}: {error.strerror}. Fix that, "
            "then load this page again: until then they are kept in memory alone."
        ) from error
    return file
