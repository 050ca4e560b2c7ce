"""Is it set up? Everything that can be wrong, in plain words, with what mends it.

The settings are read by what `serve` reads them with (`bot/wiring/readings.py`), so that what is
passed here is no reason for `serve` not to start.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import sqlalchemy as sa
import structlog
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine
from yarl import URL

from bot.canary.counters import CounterFault
from bot.config import CONFIG_PATH, is_misnamed
from bot.engine.storage import ENGINE_FILE
from bot.git.errors import GitTooOld
from bot.git.process import require_git
from bot.github.client import EVENTS, PERMISSIONS, GitHub, RepositoryClient
from bot.github.errors import GitHubError, in_words
from bot.github.models import Installation, RepositoryFacts
from bot.github.releases import RULESETS
from bot.github.transport.http import new_session
from bot.playbooks.checks.results import GATE_CHECK, HOTFIX_CHECK
from bot.playbooks.incident.record_files import RECORDS_BRANCH
from bot.records.audit.keys import FILE, KeyFileDamaged, SigningKeyRefused, settle_key
from bot.records.database import open_existing, sqlite_url
from bot.records.outages import in_public
from bot.records.replicas import NameLock, living, of_another_app, time_there
from bot.records.schema import UnfitDatabase, pending
from bot.safety.config_in_force import version_at
from bot.settings import (
    LOOPBACK,
    InvalidSettings,
    SettingFault,
    Settings,
    is_nothing_set,
    load_settings,
    misspelt,
    url_near,
)
from bot.traffic.prometheus import Prometheus
from bot.trials.pool import TrialPool
from bot.trials.sandbox import Showing
from bot.triggers import Repository, Value
from bot.wiring.database_faults import LOOK_THERE, database_fault, said_by_driver
from bot.wiring.readings import (
    ClockWrong,
    Readings,
    another_app,
    app_of,
    ask_who,
    faults_beside_the_app,
    free_port,
    read_settings,
)

log = structlog.get_logger(__name__)
_LEAST_FREE_BYTES = 2 * 1024**3
_REPOSITORIES_LOOKED_AT = 30
_LOOKED_AT_BY_SERVE = 10
"""A start costs an installation some hundred requests at most."""
_DELIVERIES_LOOKED_AT = 30
_HEADS_LOOKED_AT = 3
_WORST_CLOCK_S = 30.0
"""GitHub takes a token that was signed up to a minute ahead."""
_APP_ONLY = frozenset({"creation", "update", "deletion"})
"""The ruleset types that together let nobody write but who may bypass them."""
_HINDRANCES = _APP_ONLY | {"pull_request", "required_status_checks"}
"""The ruleset types by which nobody can make or push a branch of ours."""
_OURS = ("hotfix/revert-1-0000", "fix/bisect-1-0000", RECORDS_BRANCH)
_LEVELS = ("read", "write", "admin")
_ONE_TRY = {"timeout_seconds": 10.0, "patience_seconds": 0.0}


class DoctorFinding(Value):
    """One thing that was looked at."""

    subject: str
    ok: bool
    what: str
    remedy: str = ""


async def examine_here(environment: Mapping[str, str]) -> list[DoctorFinding]:
    """Look at this environment's settings, and where they can be read, at all that they name."""
    wrong = [_of(each) for each in misspelt(environment)]
    if is_nothing_set(environment):
        remedy = "Run `playbooks serve` and open the address it prints, or `playbooks setup`."
        nothing = _bad("settings", "no App is named: nothing is set up yet.", remedy)
        return [*wrong, *map(_of, await faults_beside_the_app()), nothing]
    try:
        settings = load_settings()
    except InvalidSettings as refused:
        return [*wrong, *map(_of, refused.faults)]
    return wrong + await examine(settings)


async def examine(settings: Settings) -> list[DoctorFinding]:
    """Look at everything the bot needs; never changes anything."""
    async with _readings(settings) as (found, faults):
        findings = faults + await _around(settings, found)
        if found is None:
            return findings
        findings += await _github(settings, found.github, _REPOSITORIES_LOOKED_AT)
    return findings


async def warn(settings: Settings) -> None:
    """Log what `examine` would say of all that is no setting, and of the first repositories."""
    try:
        async with _readings(settings) as (found, _):
            if found is not None:
                _log(await _around(settings, found, running=True))
                _log(await _github(settings, found.github, _LOOKED_AT_BY_SERVE))
    except Exception:
        log.exception("what is around could not be looked at")


def _log(findings: Iterable[DoctorFinding]) -> None:
    for each in findings:
        if not each.ok:
            log.warning(f"{each.subject}: {each.what}", remedy=each.remedy)


class _readings:  # noqa: N801  reads as what it gives
    """What the settings say and their faults, closed in the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: Readings | None = None

    async def __aenter__(self) -> tuple[Readings | None, list[DoctorFinding]]:
        try:
            self._found = read_settings(self._settings, only_look=True, **_ONE_TRY)
        except InvalidSettings as refused:
            return None, [_of(each) for each in refused.faults]
        return self._found, []

    async def __aexit__(self, *_: object) -> None:
        if self._found is not None:
            await _to_its_end(self._close(self._found))

    async def _close(self, found: Readings) -> None:
        await found.github.close()
        await found.records.dispose()


async def _to_its_end(closing: Awaitable[None]) -> None:
    """Close it, also where the bot stops meanwhile: half a close is an error in the log."""
    work = asyncio.ensure_future(closing)
    try:
        await asyncio.shield(work)
    finally:
        await work


async def _around(
    settings: Settings, found: Readings | None, *, running: bool = False
) -> list[DoctorFinding]:
    """All but GitHub; `running`: in the process that serves, whose port and name are its own."""
    findings = [_git(), _disk(settings), await _sandbox(settings)]
    if not running:
        at_port = await _port(settings)
        findings.append(at_port)
        running = at_port.what == _RUNS
    if found is not None:
        named = ", ".join(token.name for token in found.tokens) or "none"
        findings.append(_good("senders", f"tokens in PLAYBOOKS_API_TOKENS: {named}"))
        findings += await _database(settings, found, running)
        if settings.prometheus_url is not None:
            findings.append(await _prometheus(settings))
    return findings + _public(settings)


def _good(subject: str, what: str, remedy: str = "") -> DoctorFinding:
    return DoctorFinding(subject=subject, ok=True, what=what, remedy=remedy)


def _bad(subject: str, what: str, remedy: str) -> DoctorFinding:
    return DoctorFinding(subject=subject, ok=False, what=what, remedy=remedy)


def _of(fault: SettingFault) -> DoctorFinding:
    return _bad(fault.name, fault.what, fault.remedy or "Correct it, then start the bot again.")


def _git() -> DoctorFinding:
    try:
        found = ".".join(str(part) for part in require_git())
    except GitTooOld as error:
        return _bad("git", str(error), "Install git 2.38 or newer.")
    return _good("git", f"version {found}")


def _disk(settings: Settings) -> DoctorFinding:
    where = settings.playbooks_data.absolute()
    there = next(path for path in (where, *where.parents) if path.exists())
    free = shutil.disk_usage(there).free
    what = f"{free / 1024**3:.1f} GiB free for {settings.playbooks_data}"
    if free < _LEAST_FREE_BYTES:
        return _bad("disk", what, "Mirrors need room: free 2 GiB or more.")
    return _good("disk", what)


_RUNS = "the bot runs there"


async def _port(settings: Settings) -> DoctorFinding:
    host, port = settings.playbooks_host, settings.playbooks_port
    try:
        free_port(host, port)
    except InvalidSettings as refused:
        if await answers(url_near(host, port)):
            return _good("port", _RUNS)
        return _of(refused.faults[0])
    return _good("port", f"{port} is free")


async def answers(bot: str) -> bool:
    """Whether a bot answers at an address; asked once."""
    try:
        async with (
            new_session(5.0) as session,
            session.get(URL(bot) / "healthz", allow_redirects=False) as answer,
        ):
            return answer.status == 200 and "ok" in await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError, TypeError):
        return False


def _public(settings: Settings) -> list[DoctorFinding]:
    findings = []
    if settings.playbooks_url is None and settings.playbooks_host not in LOOPBACK:
        remedy = "Set PLAYBOOKS_URL to the address that people and GitHub reach it at."
        what = f"it listens on {settings.playbooks_host}, and no public address is set."
        findings.append(_bad("PLAYBOOKS_URL", what, remedy))
    for name in ("github_client_id", "github_client_secret"):
        if not getattr(settings, name):
            what = "is not set: nobody can log in to the cockpit."
            remedy = "It stands on the App's page under General."
            findings.append(_bad(name.upper(), what, remedy))
    return findings


async def _prometheus(settings: Settings) -> DoctorFinding:
    token = settings.prometheus_token
    server = Prometheus(settings.prometheus_url or "", token.get_secret_value() if token else None)
    try:
        await server.query("vector(1)")
    except CounterFault as fault:
        remedy = "Open that address from this machine, with PROMETHEUS_TOKEN where it asks for one."
        return _bad("PROMETHEUS_URL", str(fault), remedy)
    finally:
        await server.close()
    return _good("Prometheus", "it answers")


async def _sandbox(settings: Settings) -> DoctorFinding:
    """Nobody has to try commits on this server; who does not says so."""
    showing = Showing(settings.playbooks_sandbox_readable, settings.secret_places())
    is_off = settings.playbooks_sandbox == "off"
    pool = TrialPool(workers=1, ended=_nobody, showing=showing, is_off=is_off)
    try:
        why_not = await pool.why_not()
    except OSError as error:
        why_not = f"no work folder can be made: {error.strerror}."
    if why_not is None:
        what = "commits can be tried here; none sees the bot's data, keys or environment"
        return _good("sandbox", what)
    what, instead = f"no commit is tried here: {why_not}", "`bisect: {workflow: …}`"
    if is_off:
        return _good("sandbox", what, f"Repositories name a workflow instead: {instead}.")
    remedy = f"Fix that, or set PLAYBOOKS_SANDBOX=off and have repositories name one: {instead}."
    return _bad("sandbox", what, remedy)


async def _nobody(_: str) -> None:
    return None


async def _database(settings: Settings, found: Readings, running: bool) -> list[DoctorFinding]:
    try:
        records = open_existing(found.database_url)
    except ValueError:
        return [_good("database", "it is made at the first start")]
    try:
        findings = await _stored(settings, found, records, running)
        is_file = records.dialect.name == "sqlite"
        return findings + (await _engine_file(settings) if is_file else [])
    except UnfitDatabase as unfit:
        return [_of(SettingFault("DATABASE_URL", str(unfit)))]
    except Exception as error:  # whatever the driver raises is what the person must see
        if fault := database_fault(error, is_given=settings.database_url is not None):
            return [_of(fault)]
        return [_bad("database", said_by_driver(error), LOOK_THERE)]
    finally:
        await _to_its_end(records.dispose())


async def _engine_file(settings: Settings) -> list[DoctorFinding]:
    """What is wrong with the file of Runs; one that is not there yet is made at the start."""
    try:
        engine = open_existing(sqlite_url(settings.playbooks_data / ENGINE_FILE))
    except ValueError:
        return []
    try:
        async with engine.connect() as conn:
            for table in await conn.run_sync(lambda plain: sa.inspect(plain).get_table_names()):
                await conn.execute(sa.select(sa.literal(1)).select_from(sa.table(table)).limit(1))
    except sa.exc.DBAPIError as error:
        if fault := database_fault(error, is_given=False):
            return [_bad(fault.name, f"{ENGINE_FILE}: {fault.what}", fault.remedy)]
        return [_bad("PLAYBOOKS_DATA", f"{ENGINE_FILE}: {said_by_driver(error)}.", LOOK_THERE)]
    finally:
        await _to_its_end(engine.dispose())
    return []


async def _stored(
    settings: Settings, found: Readings, records: AsyncEngine, running: bool
) -> list[DoctorFinding]:
    async with records.connect() as conn:
        behind = await conn.run_sync(pending)
        if not await conn.run_sync(lambda plain: sa.inspect(plain).get_table_names()):
            made = "its tables are made at the first start"
            return [_good("database", f"{records.dialect.name} answers; {made}")]
    findings = [_good("database", f"{records.dialect.name} answers")]
    if behind:
        remedy = "Make a backup, then start the bot: `playbooks serve` brings it up to date."
        return [_bad("database", f"it is of an older release ({behind}).", remedy)]
    name = NameLock(found.records, settings.replica)
    if not running:
        if not await name.take():
            what = f"another process is alive under the name {settings.replica}."
            remedy = "Stop it, or give each process a name of its own."
            findings.append(_bad("PLAYBOOKS_REPLICA", what, remedy))
        await name.release()
    given = settings.playbooks_signing_key
    now = datetime.now(UTC)
    async with found.records.connect() as conn:
        # What serve does, and then not.
        try:
            there = await time_there(conn, now)
            if another := await of_another_app(conn, app_of(settings), there):
                findings.append(_of(another_app(another)))
            alive = await living(conn, there)
            siblings = alive.keys() - {settings.replica}
            key = given.get_secret_value() if given else None
            file = settings.playbooks_data / FILE
            await settle_key(conn, given=key, file=file, siblings=siblings, at=now)
        except KeyFileDamaged as damaged:
            findings.append(_bad("PLAYBOOKS_DATA", str(damaged), "Then start the bot."))
        except SigningKeyRefused as refused:
            remedy = "Set it to the same key in every replica."
            findings.append(_bad("PLAYBOOKS_SIGNING_KEY", str(refused), remedy))
        finally:
            await conn.rollback()
    return findings


async def _github(settings: Settings, github: GitHub, most: int) -> list[DoctorFinding]:
    """What GitHub says of the App, and of its first repositories: of `most` at most."""
    clock = await _clock(github)
    try:
        app = await ask_who(github, settings.github_app_id, settings.github_api_url)
    except InvalidSettings as refused:
        return [clock, *map(_of, refused.faults)] if clock.ok else [clock]
    except ClockWrong as wrong:
        return [_bad("clock", str(wrong), "Set it, for instance: timedatectl set-ntp true")]
    except GitHubError as error:
        remedy = (
            f"Check GITHUB_API_URL ({settings.github_api_url}), the network and the proxy; "
            "SSL_CERT_FILE names the authority of a certificate of your own."
        )
        return [_bad("GitHub", str(error), remedy)]
    findings = [clock, _good("GitHub", f"the App is {app.slug} ({app.id})")]
    try:
        findings += await _hook(settings, github)
        findings += await _client(settings, github)
        installed = [each async for each in github.installations.list()]
        for each in installed:
            findings += _installation(each)
            if each.suspended_at is None and most > 0:
                of_this = await _repositories(github, each, most)
                findings += of_this
                most -= len({finding.subject for finding in of_this})
    except (GitHubError, ValidationError) as error:
        return [*findings, _bad("GitHub", in_public(error), "Try again in a minute.")]
    if not installed:
        page = f"{github.addresses.web}/apps/{app.slug}/installations/new"
        findings.append(
            _bad("installation", "the App is installed nowhere.", f"Install it: {page}")
        )
    return findings


async def _clock(github: GitHub) -> DoctorFinding:
    """Compare with GitHub's; where it says nothing there is nothing to compare."""
    try:
        async with (
            new_session(5.0) as session,
            session.get(f"{github.addresses.rest}/meta", allow_redirects=False) as answer,
        ):
            theirs = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (aiohttp.ClientError, TimeoutError, KeyError, ValueError):
        return _good("clock", "there is none to compare it with")
    apart = time.time() - theirs
    if abs(apart) <= _WORST_CLOCK_S:
        return _good("clock", "it agrees with GitHub's")
    way = "ahead of" if apart > 0 else "behind"
    what = f"this machine's clock is {abs(apart):.0f} s {way} GitHub's."
    return _bad("clock", what, "Set it, for instance: timedatectl set-ntp true")


async def _hook(settings: Settings, github: GitHub) -> list[DoctorFinding]:
    """Where deliveries go, and what became of the latest."""
    findings = []
    target = await github.deliveries.address()
    ours = f"{settings.public_url}/webhooks/github"
    if settings.playbooks_url is None and not target.endswith("/webhooks/github"):
        ours = "https://YOUR-HOST/webhooks/github"
        findings.append(_wrong_hook(target, ours))
    elif settings.playbooks_url is not None and target.rstrip("/") != ours:
        findings.append(_wrong_hook(target, ours))
    elif settings.playbooks_url is not None and not await answers(settings.playbooks_url):
        what = f"nothing of the bot answers at {settings.playbooks_url}."
        remedy = "Start the bot, and have its proxy or tunnel lead to PLAYBOOKS_HOST and _PORT."
        findings.append(_bad("webhooks", what, remedy))
    latest = await github.deliveries.latest(_DELIVERIES_LOOKED_AT)
    if latest is not None and latest.status_code == 401:
        what = "the bot refuses what GitHub signs: the webhook secrets differ."
        remedy = (
            "Put one secret into the App's page and into GITHUB_WEBHOOK_SECRET, start the bot "
            "again, then run `playbooks redeliver`."
        )
        findings.append(_bad("GITHUB_WEBHOOK_SECRET", what, remedy))
    elif latest is not None and not latest.is_ok:
        what = f"GitHub's latest delivery failed: {latest.status} ({latest.status_code})."
        remedy = "Make sure that GitHub can reach the bot, then run `playbooks redeliver`."
        findings.append(_bad("webhooks", what, remedy))
    return findings or [_good("webhooks", f"they go to {target}")]


def _wrong_hook(target: str, ours: str) -> DoctorFinding:
    what = f"GitHub sends deliveries to {target or 'nowhere'}, and not to {ours}."
    remedy = f"On the App's page under Webhook, set the URL to {ours}, or correct PLAYBOOKS_URL."
    return _bad("webhooks", what, remedy)


async def _client(settings: Settings, github: GitHub) -> list[DoctorFinding]:
    if not settings.github_client_id or settings.github_client_secret is None:
        return []
    flow = github.web_flow(settings.github_client_id, settings.github_client_secret)
    if await flow.is_known():
        return [_good("log-in", "GitHub knows the client")]
    what = "GitHub does not accept it with GITHUB_CLIENT_ID: nobody can log in to the cockpit."
    remedy = "Make a new client secret on the App's page under General."
    return [_bad("GITHUB_CLIENT_SECRET", what, remedy)]


async def _repositories(
    github: GitHub, installation: Installation, most: int
) -> list[DoctorFinding]:
    """What the first repositories of an installation lack, or that nothing is."""
    found: list[DoctorFinding] = []
    try:
        async for repository in github.installations.repositories(installation.id):
            if (most := most - 1) < 0:
                break
            found += await _lacks(github, repository)
    except GitHubError as refusal:
        subject = f"installation {installation.id}, repositories"
        remedy = "Nothing works there until this is fixed."
        return [*found, _bad(subject, str(refusal), remedy)]
    return found


async def _lacks(github: GitHub, repository: Repository) -> list[DoctorFinding]:
    client = github.repository(repository, playbook="doctor")
    name = repository.full_name
    try:
        about = await client.about()
        faults = [each async for each in _faults(client, about.default_branch)]
        lacking = [each async for each in _wanting(client, about)]
    except GitHubError as refusal:
        return [_bad(name, in_words(refusal), "Nothing works there until this is fixed.")]
    return [
        *(_bad(name, what, remedy) for what, remedy in faults),
        *(_good(name, what, remedy) for what, remedy in lacking),
    ] or [_good(name, "nothing is in the way there")]


async def _wanting(
    client: RepositoryClient, about: RepositoryFacts
) -> AsyncIterator[tuple[str, str]]:
    """What a repository does without; that is no fault."""
    has_rules = await client.rules.are_offered(about.default_branch)
    if has_rules and not await client.rules.kinds(RECORDS_BRANCH) >= _APP_ONLY:
        yield (
            "whoever has write access can push to playbooks/records",
            "What they change there is written again. To keep them out: a branch ruleset for "
            "playbooks/** that restricts creations, updates and deletions and blocks force "
            "pushes, with the App alone on its bypass list.",
        )
    rules = await client.branch_rules(about.default_branch)
    pinned = (GATE_CHECK, (await client.app()).id) in rules.pins
    if not pinned and any(each.name == GATE_CHECK for each in rules.required_checks):
        yield (
            f"`{GATE_CHECK}` is required from any source: an agent that may push can report it",
            "Where it is required, choose this App as its source.",
        )
    if not about.has_issues:
        remedy = "Incidents go without an issue: their status stands on the pull requests."
        yield "issues are switched off", remedy


async def _faults(client: RepositoryClient, branch: str) -> AsyncIterator[tuple[str, str]]:
    """What keeps the bot from working in a repository, each with what mends it."""
    version = await version_at(client)
    if version.fault:
        remedy = f"Correct {CONFIG_PATH} and try it: `playbooks config check FILE`."
        yield f"its configuration is invalid: {version.fault.splitlines()[0]}", remedy
    if not version.blob:
        folder, _, _ = CONFIG_PATH.rpartition("/")
        for name in await client.contents.names(folder, branch):
            if is_misnamed(path := f"{folder}/{name}"):
                yield f"{path} is not read: the name is another.", f"Rename it to {CONFIG_PATH}."
    for ours in _OURS:
        if names := await client.rules.keeping_us_out(ours, _HINDRANCES):
            what = f"the ruleset {', '.join(names)} keeps the App from {ours.partition('/')[0]}/**."
            yield what, "Add the App to the ruleset's bypass list: Settings, Rules, Rulesets."
    if await client.git.branch(branch) is None:
        return
    required = {each.name for each in (await client.branch_rules(branch)).required_checks}
    is_named = version.config is None or bool(version.config.checks.smoke)
    if not (required or is_named or await client.rules.are_offered(branch)):
        yield (
            f"no rulesets here (the plan, or a release before {RULESETS.since}), so no rule names "
            "the checks that count, and nothing else does.",
            f"Name them in {CONFIG_PATH}: `checks: {{smoke: [NAME]}}`.",
        )
    silent = required - {GATE_CHECK, HOTFIX_CHECK}
    merged = [each async for each in client.pulls.list(state="closed")][:_HEADS_LOOKED_AT]
    for head in (each.head.sha for each in merged):
        silent -= {each.name for each in await client.checks.results(head)} if silent else set()
    if merged and silent:
        what = f"required, and reported on none of the last pull requests: {', '.join(silent)}."
        yield what, "Have it report on pull requests, or stop requiring it: hotfixes wait for it."


def _installation(installation: Installation) -> list[DoctorFinding]:
    name = f"installation {installation.id}"
    if installation.suspended_at is not None:
        remedy = "An owner of the account lifts it in the installation's settings."
        return [_bad(name, "it is suspended", remedy)]
    missing = ", ".join(
        f"{permission}: {level}"
        for permission, level in PERMISSIONS.items()
        if not _at_least(installation.permissions.get(permission), level)
    )
    unheard = ", ".join(sorted(set(EVENTS) - set(installation.events)))
    granted, subscribed = (
        _good(f"{name}, permissions", "all granted"),
        _good(f"{name}, events", "all subscribed"),
    )
    if missing:
        remedy = "Grant them in the App's settings; an owner accepts."
        granted = _bad(granted.subject, f"missing {missing}", remedy)
    if unheard:
        remedy = "Subscribe to them in the App's settings."
        subscribed = _bad(subscribed.subject, f"not subscribed: {unheard}", remedy)
    return [granted, subscribed]


def _at_least(held: str | None, wanted: str) -> bool:
    return held in _LEVELS and _LEVELS.index(held) >= _LEVELS.index(wanted)
