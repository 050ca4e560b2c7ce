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
from bot.github.client import EVENTS, PERMISSIONS, GitHub
from bot.github.errors import GitHubError, in_words
from bot.github.models import Installation
from bot.github.releases import RULESETS
from bot.intake.alerts.mappings import who_may_send
from bot.playbooks.incident.record_files import RECORDS_BRANCH
from bot.records.database import open_database, url_from
from bot.settings import InvalidSettings, Settings
from bot.trials.pool import TrialPool
from bot.trials.sandbox import Showing
from bot.triggers import Repository, Value

KEPT_BY_GITHUB = timedelta(days=3)
_LEAST_FREE_BYTES = 2 * 1024**3
_REPOSITORIES_LOOKED_AT = 30
_APP_ONLY = frozenset({"creation", "update", "deletion"})
"""The ruleset types that together let nobody write but who may bypass them."""
_LEVELS = ("read", "write", "admin")


class DoctorFinding(Value):
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
    """Sign a payload as GitHub would and post it to the bot; its status and answer.

    Args:
        settings: with the webhook secret that signs it, and the bot's own address.
        event: what GitHub calls it, such as `issue_comment`.
        payload: the JSON that is posted, byte for byte.
        url: where the bot listens, without a path; None takes the address of the settings.

    Returns:
        The HTTP status and the text of the answer; 599 and why where nobody answers.
    """
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


async def examine(settings: Settings) -> list[DoctorFinding]:
    """Look at everything the bot needs; never changes anything."""
    findings = [
        _senders(settings),
        _git(),
        _disk(settings),
        await _database(settings),
        await _sandbox(settings),
    ]
    async with github_of(settings) as github:
        findings += await _github(github)
    return findings


def _senders(settings: Settings) -> DoctorFinding:
    try:
        tokens, mappings = who_may_send(settings)
    except InvalidSettings as error:
        remedy = "docs/alerts says what to write."
        return DoctorFinding(subject="senders", ok=False, what=str(error), remedy=remedy)
    mapped = f"; alerts are mapped for {', '.join(sorted(mappings))}" if mappings else ""
    named = ", ".join(token.name for token in tokens) or "nobody"
    return DoctorFinding(subject="senders", ok=True, what=f"tokens for {named}{mapped}")


def _git() -> DoctorFinding:
    try:
        found = ".".join(str(part) for part in require_git())
    except GitTooOld as error:
        return DoctorFinding(
            subject="git", ok=False, what=str(error), remedy="Install git 2.38 or newer."
        )
    return DoctorFinding(subject="git", ok=True, what=f"version {found}")


def _disk(settings: Settings) -> DoctorFinding:
    where = settings.playbooks_data
    there = next(path for path in (where, *where.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    return DoctorFinding(
        subject="disk",
        ok=free >= _LEAST_FREE_BYTES,
        what=f"{free / 1024**3:.1f} GiB free for {where}",
        remedy="" if free >= _LEAST_FREE_BYTES else "Mirrors need room: free 2 GiB or more.",
    )


async def _sandbox(settings: Settings) -> DoctorFinding:
    """Nobody has to try commits on this server, so this never fails."""
    showing = Showing(settings.playbooks_sandbox_readable, settings.secret_places())
    is_off = settings.playbooks_sandbox == "off"
    pool = TrialPool(workers=1, ended=_nobody, showing=showing, is_off=is_off)
    try:
        why_not = await pool.why_not()
    except OSError as error:
        why_not = f"no work folder can be made: {error.strerror}."
    if why_not is None:
        what = "commits can be tried here; none sees the bot's data, keys or environment"
        return DoctorFinding(subject="sandbox", ok=True, what=what)
    return DoctorFinding(
        subject="sandbox",
        ok=True,
        what=f"no commit is tried here: {why_not}",
        remedy="Repositories name a workflow instead: `bisect: {workflow: …}`.",
    )


async def _nobody(_: str) -> None:
    return None


async def _database(settings: Settings) -> DoctorFinding:
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
        return DoctorFinding(
            subject="database",
            ok=False,
            what=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            remedy="Check DATABASE_URL, or that PLAYBOOKS_DATA can be written.",
        )
    return DoctorFinding(subject="database", ok=True, what=f"{kind} answers")


async def _github(github: GitHub) -> list[DoctorFinding]:
    try:
        app = await github.ourselves.app()
    except GitHubError as error:
        return [
            DoctorFinding(
                subject="GitHub",
                ok=False,
                what=str(error),
                remedy="Check GITHUB_API_URL, GITHUB_APP_ID and GITHUB_PRIVATE_KEY.",
            )
        ]
    findings = [DoctorFinding(subject="GitHub", ok=True, what=f"the App is {app.slug} ({app.id})")]
    installed = [each async for each in github.installations.list()]
    if not installed:
        findings.append(
            DoctorFinding(
                subject="installation",
                ok=False,
                what="the App is installed nowhere",
                remedy="Install it on an account: the App's page, Install App.",
            )
        )
    for each in installed:
        findings += _installation(each)
        if each.suspended_at is None:
            findings += await _repositories(github, each)
    return findings


async def _repositories(github: GitHub, installation: Installation) -> list[DoctorFinding]:
    """What the first repositories of an installation lack; that is no fault, it works without."""
    found: list[DoctorFinding] = []
    looked = 0
    try:
        async for repository in github.installations.repositories(installation.id):
            looked += 1
            if looked > _REPOSITORIES_LOOKED_AT:
                break
            found += await _lacks(github, repository)
    except GitHubError as refusal:
        subject = f"installation {installation.id}, repositories"
        remedy = "Nothing works there until this is mended."
        return [*found, DoctorFinding(subject=subject, ok=False, what=str(refusal), remedy=remedy)]
    return found


async def _lacks(github: GitHub, repository: Repository) -> list[DoctorFinding]:
    client = github.repository(repository, playbook="doctor")
    try:
        about = await client.about()
        offered = await client.rules.are_offered(about.default_branch)
        is_apps_own = await client.rules.kinds(RECORDS_BRANCH) >= _APP_ONLY
    except GitHubError as refusal:
        return [DoctorFinding(subject=repository.full_name, ok=False, what=in_words(refusal))]
    lacking: list[tuple[str, str]] = []
    if not offered:
        remedy = "Name the checks that count in .github/playbooks.yml: no rule names them."
        what = f"no rulesets here (the plan, or a release before {RULESETS.since})"
        lacking.append((what, remedy))
    if offered and not is_apps_own:
        remedy = (
            "What they change there is written again. To keep them out: a branch ruleset for "
            "playbooks/** that restricts creations, updates and deletions and blocks force "
            "pushes, with the App alone on its bypass list."
        )
        lacking.append(("whoever has write access can push to playbooks/records", remedy))
    if not about.has_issues:
        remedy = "Incidents go without an issue: their status stands on the pull requests."
        lacking.append(("issues are switched off", remedy))
    return [
        DoctorFinding(subject=repository.full_name, ok=True, what=what, remedy=remedy)
        for what, remedy in lacking
    ]


def _installation(installation: Installation) -> list[DoctorFinding]:
    name = f"installation {installation.id}"
    if installation.suspended_at is not None:
        remedy = "An owner of the account lifts it in the installation's settings."
        return [DoctorFinding(subject=name, ok=False, what="it is suspended", remedy=remedy)]
    missing = [
        f"{permission}: {level}"
        for permission, level in PERMISSIONS.items()
        if not _at_least(installation.permissions.get(permission), level)
    ]
    unheard = sorted(set(EVENTS) - set(installation.events))
    return [
        DoctorFinding(
            subject=f"{name}, permissions",
            ok=not missing,
            what="all granted" if not missing else f"missing {', '.join(missing)}",
            remedy="" if not missing else "Grant them in the App's settings; an owner accepts.",
        ),
        DoctorFinding(
            subject=f"{name}, events",
            ok=not unheard,
            what="all subscribed" if not unheard else f"not subscribed: {', '.join(unheard)}",
            remedy="" if not unheard else "Subscribe to them in the App's settings.",
        ),
    ]


def _at_least(held: str | None, wanted: str) -> bool:
    return held in _LEVELS and _LEVELS.index(held) >= _LEVELS.index(wanted)
