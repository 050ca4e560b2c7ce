"""The command line: `python -m bot …`, installed as `playbooks`."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import hashlib
import json
import os
import resource
import secrets
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import entry_points, version
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
import structlog

from bot import loading
from bot.git.errors import GitError
from bot.kept_code import keep_code
from bot.logs import set_up_logs
from bot.settings import (
    InvalidSettings,
    Settings,
    data_folder,
    is_nothing_set,
    load_settings,
    load_setup_settings,
    misspelt,
    name_of_user,
    text_of,
    value_of,
    why_no_address,
)
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

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command; where what it says cannot be written, say so, without a traceback."""
        try:
            return super().main(*args, **kwargs)
        except InvalidSettings as error:
            _refuse(error)
        except OSError as error:
            if error.errno is None or not _was_said(error):
                raise
            # Python would try once more at its end.
            sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
            _fail(f"What I have to say cannot be written: {os.strerror(error.errno)}.")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands, also those that are not installed."""
        ours = {*super().list_commands(ctx), "bisect"}
        return sorted({*ours, *APART, *entry_points(group=COMMANDS).names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command; one whose package is missing says what to install."""
        if (ours := super().get_command(ctx, cmd_name)) is not None:
            return ours
        if cmd_name == "bisect":
            # Only here: its room has a picture for terminals, which a server does without.
            from bot.local.command import bisect_command

            return bisect_command
        for found in entry_points(group=COMMANDS, name=cmd_name):
            loaded = found.load()
            if isinstance(loaded, click.Command):
                return loaded
        return _missing(cmd_name, APART[cmd_name]) if cmd_name in APART else None


def _was_said(error: OSError) -> bool:
    """Whether it is of an answer to standard output, and not of some file."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_code.co_filename == click.echo.__code__.co_filename


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
    _open_what_is_closed()
    # A terminal that is not UTF-8 shows "?" for what it has no character for.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Standard output is for answers; a command that has more to say sets them up again.
    if not structlog.is_configured():
        set_up_logs("error", "console")


@main.command()
def serve() -> None:
    """Serve webhooks, API and cockpit on one port; without an App, Setup.

    Exit codes: 0 it was stopped, 2 a setting is wrong, 70 it could not say for 15 seconds that it
    lives (start it again).
    """
    if is_nothing_set(os.environ):
        asyncio.run(_set_up())
        return
    settings = _settings()
    _keep_one_heap()
    _take_more_files()
    set_up_logs(settings.log_level, settings.log_format)
    try:
        set_up_tracing(
            settings.otel_exporter_otlp_endpoint,
            version=version("incident-playbooks"),
            replica=settings.replica,
        )
    except InvalidSettings as error:
        _refuse(error)
    asyncio.run(_serve(settings))
    stop_tracing()


def _keep_one_heap() -> None:
    """Have all threads allocate from one heap: glibc gives each its own, some 5 MB in all.

    They never need it at the same time: Python lets one of them run.
    """
    arena_max = -8  # M_ARENA_MAX, https://man7.org/linux/man-pages/man3/mallopt.3.html
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(arena_max, 1)


_MANY_FILES = 4096


def _take_more_files() -> None:
    """Take more open files than the 1024 of most systems, as far as this process may."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if most < 0 else min(_MANY_FILES, most)
    if 0 <= files < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def _set_up() -> None:
    """Show Setup until there is an App, then serve it."""
    from bot.setup.site import SetupSite
    from bot.wiring.readings import faults_beside_the_app, port_fault

    try:
        around = load_setup_settings()
        set_up_logs(around.log_level, around.log_format)
        if faults := await faults_beside_the_app():
            raise InvalidSettings(*faults)
        host, port = around.playbooks_host, around.playbooks_port
        site = SetupSite(
            host, port, around.playbooks_url, around.github_api_url, around.playbooks_data
        )
        try:
            await site.open()
        except OSError as error:
            raise port_fault(host, port, error) from error
    except InvalidSettings as error:
        _refuse(error)
    for fault in misspelt(os.environ):
        _tell(f"Warning: {fault}")
    _tell(f"Nothing is set up yet. Open this, once:\n\n  {site.address}\n")
    _tell("Or set GITHUB_APP_ID, GITHUB_PRIVATE_KEY and GITHUB_WEBHOOK_SECRET.")
    stopped = asyncio.Event()
    _when_stopped(stopped.set)
    registered, stop = (
        asyncio.ensure_future(site.registered.wait()),
        asyncio.ensure_future(stopped.wait()),
    )
    await asyncio.wait([registered, stop], return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        _end_in_time()
        registered.cancel()
        await site.close()
        return
    stop.cancel()
    settings = _settings().model_copy(update={"playbooks_port": site.port})
    await _serve(settings, beside=site.routes, make_way=site.hand_over)


LONGEST_STOP_S = 9.0
"""Seconds until a stop that hangs is cut off: `docker stop` and Kubernetes kill after ten or more.
Nothing is lost by that: what was begun is on record, and resumes at the next start."""


def _when_stopped(do: Callable[[], object]) -> None:
    """Do something once a signal asks this process to end; what is ignored stays so: `nohup`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, do)


def _end_in_time(code: int = 0) -> None:
    """End, whatever hangs: also a thread that waits for a database, or for the name of a host."""
    last = threading.Timer(LONGEST_STOP_S, os._exit, (code,))
    last.daemon = True
    last.start()


async def _serve(settings: Settings, **given: Any) -> None:
    with loading():
        from bot.app import Bot
        from bot.doctor import warn
        from bot.setup.site import after_setup

    stopped = asyncio.Event()
    _when_stopped(stopped.set)
    try:
        bot = Bot(settings, **{"beside": lambda _: after_setup(), **given})
    except InvalidSettings as error:
        _refuse(error)
    for fault in misspelt(os.environ):
        _tell(f"Warning: {fault}")
    stop = asyncio.create_task(stopped.wait())
    start = asyncio.create_task(bot.start())
    begun: list[asyncio.Task[Any]] = [start]
    await asyncio.wait([start, stop], return_when=asyncio.FIRST_COMPLETED)
    if start.done():
        try:
            start.result()
        except InvalidSettings as refused:
            _end_in_time(code=2)
            await bot.stop()
            _refuse(refused)
        # What is loaded by now stays: looking through it at every full collection would halt the
        # whole process for a tenth of a second.
        gc.freeze()
        begun.append(asyncio.create_task(asyncio.to_thread(keep_code)))
        begun.append(asyncio.create_task(warn(settings)))
        await stop
    _end_in_time()
    for task in begun:
        task.cancel()
    # Whoever is in the middle of a statement lets go of the database before the loop closes.
    await asyncio.gather(*begun, return_exceptions=True)
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
    from sqlalchemy.exc import SQLAlchemyError

    from bot.records.audit.verify import declare_restored

    by, now = name_of_user(os.getuid()), datetime.now(UTC)
    declared = declare_restored(
        _database_url(), anchors, public_key, by=by, because=because, at=now
    )
    try:
        named = asyncio.run(declared)
    except (OSError, ValueError, SQLAlchemyError) as error:
        _fail(_said_by_database(error))
    if not named:
        click.echo("Every anchor agrees with the database: nothing is lost, nothing was noted.")
    for repository_id, count in named.items():
        click.echo(f"repository {repository_id}: noted that {count} anchored entries are lost")


class _Verify(click.Command):
    """What it is asked wrongly it could not check: 2 is its word for a chain that was altered."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments; exit code 1 where they cannot be."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            error.show()
            sys.exit(1)


@audit.command("verify", cls=_Verify)
@_anchors
@_public_key
@click.option("--database", metavar="URL", help="Default: DATABASE_URL, else PLAYBOOKS_DATA's.")
def audit_verify(anchors: Path, public_key: Path, database: str | None) -> None:
    """Verify the audit chain against anchors from outside the database.

    Exit codes: 0 intact, 1 could not check, 2 altered or removed inside, 3 the end is cut off.
    """
    from bot.records.audit.verify import audit_verify as verify

    try:
        url = database or _database_url()
    except InvalidSettings as error:
        _fail(str(error))
    report = asyncio.run(verify(url, anchors, public_key))
    click.echo("\n".join(report.lines()))
    sys.exit(report.code)


def _address(_: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no address, before anybody waits for an answer from there."""
    if value is not None and (why := why_no_address(value)):
        raise click.BadParameter(f"{value} {why}", param=option)
    return value


@main.command()
@click.option("-e", "--event", required=True, help="The event's name, such as issue_comment.")
@click.option(
    "-p", "--payload", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True
)
@click.option(
    "--url",
    callback=_address,
    help="Where the bot listens; default: PLAYBOOKS_URL, else host and port.",
)
def receive(event: str, payload: Path, url: str | None) -> None:
    """Sign a payload file and deliver it to the bot that runs here.

    Exit codes: 0 the bot took it, 1 it refused, 2 a setting is wrong.
    """
    from bot.listen import deliver

    settings = _settings()
    status, answer = asyncio.run(deliver(settings, event, payload.read_bytes(), url))
    click.echo(f"{status} {answer}")
    sys.exit(0 if status < 400 else 1)


@main.command()
def redeliver() -> None:
    """Ask GitHub for the failed deliveries of the last 3 days, and have them sent again."""
    from bot.github.errors import GitHubError
    from bot.listen import redeliver_failed

    settings = _settings()
    try:
        sent = asyncio.run(redeliver_failed(settings))
    except GitHubError as refused:
        _fail(f"Not every failed delivery is asked for again. {_without_promise(refused)}")
    for line in sent:
        click.echo(line)
    click.echo(f"{len(sent)} deliveries asked for again.")


@main.command()
@click.option("--github", metavar="HOST", help="github.com, SUB.ghe.com, or your server's address.")
@click.option("--url", help="Where people and GitHub reach this bot.")
@click.option("--print", "prints", is_flag=True, help="Print the credentials instead of a file.")
@click.option("--propose", metavar="OWNER/REPO", help="Open the pull request there, unasked.")
def setup(github: str | None, url: str | None, prints: bool, propose: str | None) -> None:
    """Register the App, then propose a configuration to its repositories."""
    from bot.github.errors import GitHubError
    from bot.setup.registration import SetupRefused
    from bot.setup.terminal import look_around, register, server_settings
    from bot.wiring.readings import faults_beside_the_app, github_of

    async def begin() -> None:
        around = server_settings(load_setup_settings(), github=github, url=url)
        if faults := await faults_beside_the_app():
            raise InvalidSettings(*faults)
        await register(around, None if prints else around.playbooks_data)

    async def look() -> None:
        settings = load_settings()
        async with github_of(settings) as client:
            await look_around(client, settings, propose, is_new=is_new)

    is_new = is_nothing_set(os.environ)
    try:
        for fault in misspelt(os.environ):
            _tell(f"Warning: {fault}")
        if is_new:
            asyncio.run(begin())
            if prints:
                return
        asyncio.run(look())
    except InvalidSettings as error:
        _refuse(error)
    except (SetupRefused, GitHubError) as refused:
        _fail(_without_promise(refused))


@main.command()
@click.option(
    "--relay", metavar="URL", callback=_address,
    help="A smee-compatible relay; default: GitHub is asked.",
)  # fmt: skip
@click.option(
    "--bot",
    "bot_url",
    callback=_address,
    help="Where the bot listens; default: PLAYBOOKS_HOST and _PORT.",
)
@click.option("--every", type=click.FloatRange(min=1), default=5.0, show_default=True,
              help="Seconds between two looks.")  # fmt: skip
def listen(relay: str | None, bot_url: str | None, every: float) -> None:
    """Take deliveries without a public address, and hand them to the bot that runs here."""
    from bot.github.errors import GitHubError
    from bot.listen import listen as take

    settings = _settings()
    here = bot_url or settings.url_here
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(take(settings, relay=relay, bot=here, every=every, say=click.echo))
    except GitHubError as refused:
        _fail(str(refused))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list on standard output.")
def doctor(as_json: bool) -> None:
    """Check settings, credentials, permissions, events, repositories, disk and database.

    Exit codes: 0 all is well, 1 something is not, with what mends it.
    """
    from bot.doctor import examine_here

    # What it finds is all that it says.
    set_up_logs("error", "console")
    findings = asyncio.run(examine_here(os.environ))
    if as_json:
        click.echo(json.dumps([each.model_dump() for each in findings], indent=2, sort_keys=True))
    for finding in () if as_json else findings:
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject}: {finding.what}")
        if finding.remedy:
            click.echo(f"      → {finding.remedy}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


@main.command()
@click.argument("repository", metavar="OWNER/SCRATCH")
@click.option("--again", metavar="OWNER/SCRATCH", help="The name once more; else it is asked for.")
@click.option("--every", type=click.FloatRange(min=0.1), default=3.0, show_default=True,
              help="Seconds between two looks.")  # fmt: skip
@click.option(
    "--patience", type=click.FloatRange(min=1), default=900.0, show_default=True,
    help="Seconds that anything may take.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="A JSON list on standard output.")
def rehearse(
    repository: str, again: str | None, every: float, patience: float, as_json: bool
) -> None:
    """Play break, /revert, /bisect and a pause in a repository made for it: what differs?

    Needs the running bot, and GH_TOKEN of a person. Exit code: 0 all is as assumed, 1 something
    differed or was refused, 2 nothing was begun.
    """
    from bot.rehearsal.rehearsal import NotBegun
    from bot.rehearsal.rehearsal import rehearse as play

    settings = _settings()
    if again is None and sys.stdin.isatty():
        again = click.prompt("It will be written to. Type its name once more", default="")
    if again != repository:
        _fail(f"Nothing is touched unless it is named twice: --again {repository}", code=2)
    by_person = os.environ.get("GH_TOKEN") or os.environ.get("GITHUB_TOKEN")
    say = partial(click.echo, err=True)
    work = play(settings, repository, by_person, every=every, patience=patience, say=say)
    try:
        found = asyncio.run(_until_stopped(work))
    except NotBegun as refusal:
        _fail(f"{refusal} {refusal.remedy}".strip(), code=2)
    except asyncio.CancelledError:
        _fail("It was stopped, and what it had begun is cleaned up.")
    if as_json:
        click.echo(json.dumps([each.model_dump() for each in found], indent=2, sort_keys=True))
    marks = {"as assumed": "ok      ", "differed": "DIFFERS ", "refused": "REFUSED "}
    for each in () if as_json else found:
        took = "" if each.seconds is None else f" ({each.seconds:.1f} s)"
        click.echo(f"{marks.get(each.outcome, 'not done')}  {each.part}: {each.what}{took}")
        if each.remedy:
            click.echo(f"          → {each.remedy}")
    sys.exit(0 if all(each.outcome == "as assumed" for each in found) else 1)


async def _until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """Work until somebody stops it; what it does at its end is done all the same."""
    task = asyncio.ensure_future(work)
    _when_stopped(task.cancel)
    return await task


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
    click.echo(f"{name} is refused from now on, within 2 seconds.")


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
        data = data_folder()
        say = partial(click.echo, err=True)
        return await move(_database_url(), data, f, say, datetime.now(UTC))

    try:
        return asyncio.run(do())
    except (TransferRefused, OSError, ValueError) as refusal:
        _fail(str(refusal))
    except SQLAlchemyError as error:
        _fail(f"The database refused; nothing was changed: {_said_by_database(error)}")


def _said_by_database(error: Exception) -> str:
    from bot.wiring.database_faults import database_fault, said_by_driver

    fault = database_fault(error, is_given=_variable("DATABASE_URL") is not None)
    return said_by_driver(error) if fault is None else f"{fault.what} {fault.remedy}"


def _database_url() -> str:
    from bot.records.database import url_from

    try:
        return _variable("DATABASE_URL") or url_from(data_folder())
    except ValueError as fault:
        raise InvalidSettings(f"PLAYBOOKS_DATA: {fault}") from fault


def _variable(name: str) -> str | None:
    """A setting, for commands that need no other."""
    return value_of(name) or text_of(name)


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

    from bot.records.database import open_database
    from bot.records.schema import migrate

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
        _fail(f"The database cannot be used: {_said_by_database(error)}")


@main.group()
def config() -> None:
    """A repository's configuration."""


@config.command("check")
@click.argument("file", type=click.Path(path_type=Path))
def config_check(file: Path) -> None:
    """Check a `.github/playbooks.yml`; says the line and what is allowed.

    Exit codes: 0 it is valid, 1 it is not, or cannot be read.
    """
    from bot.config import CONFIG_PATH, InvalidConfig, read_config_text

    def of_file(said: str) -> str:
        return said.replace(CONFIG_PATH, str(file))

    try:
        found = read_config_text(file.read_bytes())
    except OSError as error:
        _fail(f"{file} cannot be read: {error.strerror}.")
    except InvalidConfig as invalid:
        _fail(of_file(str(invalid)))
    for doubt in found.doubts:
        click.echo(f"Warning: {of_file(doubt)}")
    click.echo(f"{file} is valid.")


@main.group()
def notify() -> None:
    """Founder and team notifications."""


@notify.command("test")
def notify_test() -> None:
    """Send a test message to each address of NOTIFY_URLS.

    Exit codes: 0 all took it, 1 some did not.
    """
    from bot.notify import InvalidAddress, read_addresses, try_out

    try:
        given = load_setup_settings().notify_urls
        addresses = read_addresses([each.get_secret_value() for each in given])
    except InvalidSettings as wrong:
        _refuse(wrong)
    except InvalidAddress as invalid:
        _fail(str(invalid))
    if not addresses:
        _fail("NOTIFY_URLS names no address: nobody is notified.")
    taken = [try_out(each) for each in addresses]
    for place, (address, is_taken) in enumerate(zip(addresses, taken, strict=True), start=1):
        said = "took the message" if is_taken else "did not take it: check the address and network"
        click.echo(f"address {place} ({address.audience}, {address.scheme}): {said}")
    sys.exit(0 if all(taken) else 1)


def _settings() -> Settings:
    try:
        return load_settings()
    except InvalidSettings as error:
        _refuse(error)


def _without_promise(refused: Exception) -> str:
    """What GitHub said; whoever ends here tries nothing again."""
    return str(refused).removesuffix(" It will be tried again.")


def _refuse(error: InvalidSettings) -> NoReturn:
    """End with one line for each setting that cannot be used."""
    _fail("\nError: ".join(map(str, error.faults)), code=2)


def _tell(message: str) -> None:
    """Say something to whoever starts the server: a line of JSON among lines of JSON."""
    if (value_of("LOG_FORMAT") or "").lower() == "json":
        structlog.get_logger(__name__).warning(message)
    else:
        click.echo(message, err=True)


def _open_what_is_closed() -> None:
    """Give a process that was started without standard streams those of `/dev/null`.

    Otherwise the next file that is opened, such as the database, would be its standard error.
    """
    # A file gets the lowest number that is free: in this order, the one that is missing.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  while it lives
            setattr(sys, name, nothing)


def _fail(message: str, code: int = 1) -> NoReturn:
    if (value_of("LOG_FORMAT") or "").lower() == "json":
        set_up_logs("info", "json")
        structlog.get_logger(__name__).error("it ends here", why=message, code=code)
    else:
        # The code says it, too, where standard error is what is full.
        with suppress(OSError):
            click.echo(f"Error: {message}", err=True)
    sys.exit(code)
