"""The command line: `python -m bot …`, installed as `playbooks`."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click
import structlog

from bot.git.errors import GitError
from bot.local.command import bisect_command
from bot.logs import set_up_logs
from bot.settings import InvalidSettings, Settings, load_settings
from bot.tracing import set_up_tracing, stop_tracing
from bot.triggers import Role

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from bot.intake.http.auth import ApiToken
    from bot.transfer import Say

T = TypeVar("T")

COMMANDS = "playbooks.commands"
"""The group of entry points by which another package adds commands."""
APART = {"demo": "incident-playbooks-demo"}
"""Commands that come in a package of their own."""


class CommandLine(click.Group):
    """Our commands, and those that other packages bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands, also those that are not installed."""
        return sorted({*super().list_commands(ctx), *APART, *entry_points(group=COMMANDS).names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command; one whose package is missing says what to install."""
        if (ours := super().get_command(ctx, cmd_name)) is not None:
            return ours
        for found in entry_points(group=COMMANDS, name=cmd_name):
            loaded = found.load()
            if isinstance(loaded, click.Command):
                return loaded
        return _missing(cmd_name, APART[cmd_name]) if cmd_name in APART else None


def _missing(name: str, package: str) -> click.Command:
    @click.command(
        name,
        help=f"Comes with the package {package}, which is not installed here.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def missing() -> None:
        _fail(f"`playbooks {name}` is in a package of its own: pip install {package}", code=2)

    return missing


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="incident-playbooks")
def main() -> None:
    """Bring a broken repository back to a safe state, and find out why."""


main.add_command(bisect_command)


@main.command()
def serve() -> None:
    """Serve webhooks, API and cockpit on one port."""
    settings = _settings()
    set_up_logs(settings.log_level, settings.log_format)
    try:
        set_up_tracing(
            settings.otel_exporter_otlp_endpoint,
            version=version("incident-playbooks"),
            replica=settings.replica,
        )
    except InvalidSettings as error:
        _fail(f"The settings cannot be used:\n{error}", code=2)
    asyncio.run(_serve(settings))
    stop_tracing()


async def _serve(settings: Settings) -> None:
    from bot.app import Bot

    try:
        bot = Bot(settings)
    except InvalidSettings as error:
        _fail(f"The settings cannot be used:\n{error}", code=2)
    try:
        await bot.start()
    except InvalidSettings as error:
        await bot.stop()
        _fail(f"The settings cannot be used:\n{error}", code=2)
    # What is loaded by now stays: looking through it at every full collection would halt the
    # whole process for a tenth of a second.
    gc.freeze()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
    await bot.stop()


@main.command()
@click.option("--repo", type=click.Path(exists=True, path_type=Path), default=Path(), help="Clone.")
@click.option("--commit", required=True, metavar="REV", help="What to revert.")
@click.option("--onto", required=True, metavar="REV", help="On top of what.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def revert(repo: Path, commit: str, onto: str, as_json: bool) -> None:
    """Compute a revert without a work tree; writes nothing but objects."""
    from bot.git.revert import NOTHING_KEPT, open_clone, revert_report
    from bot.playbooks.incident.own_files import OwnFiles
    from bot.playbooks.plan import own_config

    async def compute() -> str:
        git = await open_clone(repo)
        config = await own_config(git)
        keep = OwnFiles(config).kept if config else NOTHING_KEPT
        report = await revert_report(repo, commit, onto, keep)
        if as_json:
            return json.dumps(report.model_dump(mode="json"), sort_keys=True)
        lines = [f"{report.status}: tree {report.tree}", *(f"  {p}" for p in report.conflicts)]
        return "\n".join(lines)

    try:
        click.echo(asyncio.run(compute()))
    except GitError as error:
        _fail(str(error))


@main.group()
def audit() -> None:
    """The audit chain."""


_anchors = click.option(
    "--anchors",
    type=click.Path(path_type=Path),
    required=True,
    help="A file of anchors, or a clone that has the branch playbooks/records.",
)
_public_key = click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    required=True,
    help="The PEM file that belongs to the signing key.",
)


@audit.command("restored")
@_anchors
@_public_key
@click.option("--because", required=True, help="Why an older backup was restored.")
def audit_restored(anchors: Path, public_key: Path, because: str) -> None:
    """Say that an older backup was restored: what anchors know beyond it is named as lost."""
    import getpass

    from sqlalchemy.exc import SQLAlchemyError

    from bot.records.audit.verify import declare_restored

    by, now = getpass.getuser(), datetime.now(UTC)
    declared = declare_restored(
        _database_url(), anchors, public_key, by=by, because=because, at=now
    )
    try:
        named = asyncio.run(declared)
    except (OSError, ValueError, SQLAlchemyError) as error:
        _fail(str(error).splitlines()[0])
    if not named:
        click.echo("Every anchor agrees with the database: nothing is lost, nothing was noted.")
    for repository_id, count in named.items():
        click.echo(f"repository {repository_id}: noted that {count} anchored entries are lost")


@audit.command("verify")
@_anchors
@_public_key
@click.option("--database", metavar="URL", help="Default: DATABASE_URL, else PLAYBOOKS_DATA's.")
def audit_verify(anchors: Path, public_key: Path, database: str | None) -> None:
    """Verify the chain: 0 intact, 1 could not check, 2 altered, 3 truncated."""
    from bot.records.audit.verify import audit_verify as verify

    report = asyncio.run(verify(database or _database_url(), anchors, public_key))
    click.echo("\n".join(report.lines()))
    sys.exit(report.code)


@main.command()
@click.option("-e", "--event", required=True, help="The event's name, such as issue_comment.")
@click.option("-p", "--payload", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--url", help="Where the bot listens; default: PLAYBOOKS_URL, else host and port.")
def receive(event: str, payload: Path, url: str | None) -> None:
    """Sign a payload file and deliver it to the bot that runs here."""
    from bot.doctor import deliver

    settings = _settings()
    status, answer = asyncio.run(deliver(settings, event, payload.read_bytes(), url))
    click.echo(f"{status} {answer}")
    sys.exit(0 if status < 400 else 1)


@main.command()
def redeliver() -> None:
    """Ask GitHub for the failed deliveries of the last 3 days, and have them sent again."""
    from bot.doctor import redeliver_failed

    settings = _settings()
    sent = asyncio.run(redeliver_failed(settings))
    for line in sent:
        click.echo(line)
    click.echo(f"{len(sent)} deliveries asked for again.")


@main.command()
def doctor() -> None:
    """Check settings, credentials, permissions, events, disk and database."""
    from bot.doctor import examine

    settings = _settings()
    findings = asyncio.run(examine(settings))
    for finding in findings:
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject}: {finding.what}")
        if finding.remedy:
            click.echo(f"      → {finding.remedy}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


@main.group()
def token() -> None:
    """Tokens with which machines call the API."""


@token.command("new")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([str(role) for role in Role if role is not Role.NONE]),
    default=str(Role.WRITE),
    show_default=True,
    help="What it may do: triage reports observations, write starts playbooks.",
)
@click.option("--repositories", default="*", show_default=True, metavar="GLOB", help="Such as a/*.")
@click.option("--print-only", is_flag=True, help="Store nothing: for PLAYBOOKS_API_TOKENS.")
def token_new(name: str, role: str, repositories: str, print_only: bool) -> None:
    """Make a token, and print it once. It may call at once, without a restart."""
    from bot.records.api_tokens import StoredToken, TokenRefused, add, checked

    secret = f"pbk_{secrets.token_urlsafe(32)}"
    made = StoredToken(
        sha256=hashlib.sha256(secret.encode()).hexdigest(),
        name=name,
        role=Role(role),
        reaches=repositories,
        created_at=datetime.now(UTC),
    )
    try:
        if print_only:
            checked(made)
        else:
            _in_database(lambda conn: add(conn, made))
    except TokenRefused as refusal:
        _fail(str(refusal))
    click.echo(f"token: {secret}")
    click.echo(f"spec:  {made.spec}")
    where = "put the spec into PLAYBOOKS_API_TOKENS" if print_only else "it may call from now on"
    click.echo(f"The token is shown this once, and kept nowhere; {where}.", err=True)


@token.command("list")
def token_list() -> None:
    """Say which tokens there are: those made here, and those of PLAYBOOKS_API_TOKENS."""
    from bot.records.api_tokens import everyone

    stored = _in_database(everyone)
    revoked = {each.sha256 for each in stored if each.revoked_at}
    for each in stored:
        made = f"made {each.created_at:%Y-%m-%d}"
        state = f"revoked {each.revoked_at:%Y-%m-%d}" if each.revoked_at else made
        click.echo(f"{each.name}  {each.role}  {each.reaches}  {state}")
    for given in _given_tokens():
        if given.sha256 not in revoked:
            click.echo(f"{given.name}  {given.role}  {given.reaches}  in PLAYBOOKS_API_TOKENS")


@token.command("revoke")
@click.argument("name")
def token_revoke(name: str) -> None:
    """Refuse a token from now on, without a restart."""
    from bot.records.api_tokens import StoredToken, everyone, revoke

    now = datetime.now(UTC)
    found = [each for each in _in_database(everyone) if each.name == name and not each.revoked_at]
    gone = {each.sha256 for each in _in_database(everyone) if each.revoked_at}
    found += [
        StoredToken(
            sha256=given.sha256,
            name=name,
            role=given.role,
            reaches=given.reaches,
            created_at=now,
        )
        for given in _given_tokens()
        if given.name == name and given.sha256 not in gone
    ]
    if not found:
        _fail(f"No token named {name} is in force: see playbooks token list.")
    for each in found:
        _in_database(partial(revoke, token=each, at=now))
    click.echo(f"{name} is refused from now on, at the latest in 2 seconds.")


@main.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def export_command(file: Path) -> None:
    """Write everything the database has into FILE, open Runs included. Stop the server first."""
    from bot.transfer import export_all

    rows = _transferred(export_all, file)
    click.echo(f"{rows:,} rows are in {file}. Whoever has it has the key that signs: keep it safe.")


@main.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def import_command(file: Path) -> None:
    """Bring FILE into an empty database and verify its audit chains. Stop the server first."""
    from bot.transfer import import_all

    rows = _transferred(import_all, file)
    click.echo(f"{rows:,} rows are in the database. Start the server: open Runs go on.")


def _transferred(move: Callable[[str, Path, Path, Say, datetime], Awaitable[int]], f: Path) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    from bot.transfer import TransferRefused

    async def do() -> int:
        data = Path(_variable("PLAYBOOKS_DATA") or "var")
        say = partial(click.echo, err=True)
        return await move(_database_url(), data, f, say, datetime.now(UTC))

    try:
        return asyncio.run(do())
    except (TransferRefused, OSError, ValueError) as refusal:
        _fail(str(refusal))
    except SQLAlchemyError as error:
        _fail(f"The database refused; nothing was changed: {str(error).splitlines()[0]}")


def _database_url() -> str:
    from bot.records.database import url_from

    folder = Path(os.environ.get("PLAYBOOKS_DATA", "var"))
    return _variable("DATABASE_URL") or url_from(folder)


def _variable(name: str) -> str | None:
    """A setting, for commands that need no other."""
    path = os.environ.get(f"{name}_PATH")
    try:
        return os.environ.get(name) or (Path(path).read_text("utf-8").strip() if path else None)
    except OSError as error:
        _fail(f"{name}_PATH names a file that cannot be read: {error.strerror}.", code=2)


def _given_tokens() -> tuple[ApiToken, ...]:
    from bot.intake.http.auth import read_tokens

    entries = (_variable("PLAYBOOKS_API_TOKENS") or "").split(",")
    try:
        return read_tokens([each for each in entries if each.strip()])
    except ValueError as error:
        _fail(str(error), code=2)


def _in_database(work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do something in one transaction of the records database, migrated if need be."""
    from sqlalchemy.exc import SQLAlchemyError

    from bot.records.database import migrate, open_database

    async def do() -> T:
        url = _database_url()
        await migrate(url)
        engine = open_database(url)
        try:
            async with engine.begin() as conn:
                return await work(conn)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(do())
    except (SQLAlchemyError, ValueError, OSError) as error:
        _fail(f"The database cannot be used: {str(error).splitlines()[0]}")


def _settings() -> Settings:
    try:
        return load_settings()
    except InvalidSettings as error:
        _fail(f"The settings cannot be used:\n{error}", code=2)


def _fail(message: str, code: int = 1) -> NoReturn:
    if os.environ.get("LOG_FORMAT", "").lower() == "json":
        set_up_logs("info", "json")
        structlog.get_logger(__name__).error("it ends here", why=message, code=code)
    else:
        click.echo(f"Error: {message}", err=True)
    sys.exit(code)
