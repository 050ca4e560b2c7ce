"""What whoever runs the bot does by hand: examine it, replay a delivery, ask for lost ones."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import uuid
from datetime import UTC, datetime, timedelta

import aiohttp
import sqlalchemy as sa

from bot.git.errors import GitTooOld
from bot.git.process import require_git
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.github.manifest import EVENTS, PERMISSIONS
from bot.github.models import Installation
from bot.records.database import open_database, url_from
from bot.settings import Settings
from bot.triggers import Value

KEPT_BY_GITHUB = timedelta(days=3)
_LEAST_FREE_BYTES = 2 * 1024**3
_LEVELS = ("read", "write", "admin")


class Finding(Value):
    """One thing that was looked at."""

    subject: str
    ok: bool
    what: str
    remedy: str = ""


def github_of(settings: Settings) -> GitHub:
    """The client these settings describe."""
    return GitHub(
        app_id=settings.github_app_id,
        private_key=settings.github_private_key.get_secret_value(),
        api_url=settings.github_api_url,
        graphql_url=settings.github_graphql_url,
        url=settings.github_url,
    )


async def deliver(
    settings: Settings, event: str, payload: bytes, url: str | None
) -> tuple[int, str]:
    """Sign a payload as GitHub would and post it to the bot; its status and answer."""
    secret = settings.github_webhook_secret[0].get_secret_value().encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": "sha256=" + hmac.new(secret, payload, hashlib.sha256).hexdigest(),
    }
    target = f"{(url or settings.public_url).rstrip('/')}/webhooks/github"
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(target, data=payload, headers=headers) as answer,
        ):
            return answer.status, await answer.text()
    except aiohttp.ClientError as error:
        return 599, f"No bot answers at {target}: {error}"


async def redeliver_failed(settings: Settings) -> list[str]:
    """Have GitHub send again what failed in the last three days; one line for each."""
    async with github_of(settings) as github:
        failed = await github.deliveries.failed(datetime.now(UTC) - KEPT_BY_GITHUB)
        for delivery in failed:
            await github.deliveries.redeliver(delivery)
        return [f"{each.delivered_at:%Y-%m-%d %H:%M} {each.event} {each.guid}" for each in failed]


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything the bot needs; never changes anything."""
    findings = [_git(), _disk(settings), await _database(settings)]
    async with github_of(settings) as github:
        findings += await _github(github)
    return findings


def _git() -> Finding:
    try:
        found = ".".join(str(part) for part in require_git())
    except GitTooOld as error:
        return Finding(
            subject="git", ok=False, what=str(error), remedy="Install git 2.38 or newer."
        )
    return Finding(subject="git", ok=True, what=f"version {found}")


def _disk(settings: Settings) -> Finding:
    where = settings.playbooks_data
    there = next(path for path in (where, *where.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    return Finding(
        subject="disk",
        ok=free >= _LEAST_FREE_BYTES,
        what=f"{free / 1024**3:.1f} GiB free for {where}",
        remedy="" if free >= _LEAST_FREE_BYTES else "Mirrors need room: free 2 GiB or more.",
    )


async def _database(settings: Settings) -> Finding:
    url = (
        settings.database_url.get_secret_value()
        if settings.database_url
        else url_from(settings.playbooks_data)
    )
    try:
        engine = open_database(url)
        async with engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))
        kind = engine.dialect.name
        await engine.dispose()
    except Exception as error:  # whatever the driver raises is what the person must see
        return Finding(
            subject="database",
            ok=False,
            what=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            remedy="Check DATABASE_URL, or that PLAYBOOKS_DATA can be written.",
        )
    return Finding(subject="database", ok=True, what=f"{kind} answers")


async def _github(github: GitHub) -> list[Finding]:
    try:
        app = await github.ourselves.app()
    except GitHubError as error:
        return [
            Finding(
                subject="GitHub",
                ok=False,
                what=str(error),
                remedy="Check GITHUB_API_URL, GITHUB_APP_ID and GITHUB_PRIVATE_KEY.",
            )
        ]
    findings = [Finding(subject="GitHub", ok=True, what=f"the App is {app.slug} ({app.id})")]
    installed = [each async for each in github.installations.list()]
    if not installed:
        findings.append(
            Finding(
                subject="installation",
                ok=False,
                what="the App is installed nowhere",
                remedy="Install it on an account: the App's page, Install App.",
            )
        )
    return findings + [finding for each in installed for finding in _installation(each)]


def _installation(installation: Installation) -> list[Finding]:
    name = f"installation {installation.id}"
    if installation.suspended_at is not None:
        remedy = "An owner of the account lifts it in the installation's settings."
        return [Finding(subject=name, ok=False, what="it is suspended", remedy=remedy)]
    missing = [
        f"{permission}: {level}"
        for permission, level in PERMISSIONS.items()
        if not _at_least(installation.permissions.get(permission), level)
    ]
    unheard = sorted(set(EVENTS) - set(installation.events))
    return [
        Finding(
            subject=f"{name}, permissions",
            ok=not missing,
            what="all granted" if not missing else f"missing {', '.join(missing)}",
            remedy="" if not missing else "Grant them in the App's settings; an owner accepts.",
        ),
        Finding(
            subject=f"{name}, events",
            ok=not unheard,
            what="all subscribed" if not unheard else f"not subscribed: {', '.join(unheard)}",
            remedy="" if not unheard else "Subscribe to them in the App's settings.",
        ),
    ]


def _at_least(held: str | None, wanted: str) -> bool:
    return held in _LEVELS and _LEVELS.index(held) >= _LEVELS.index(wanted)
