"""The command line: `python -m bot …`, installed as `playbooks`."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from bot.git.errors import GitError
from bot.local.command import bisect_command
from bot.logs import set_up_logs
from bot.settings import InvalidSettings, Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bot.demo.stage import Stage
    from bot.demo.stories.invitation import Scene

T = TypeVar("T")
PLAYS = ("revert", "bisect", "safety", "shadow", "ramp", "rollback", "all")
"""What can be played by now; the others come with their playbooks."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="incident-playbooks")
def main() -> None:
    """Bring a broken repository back to a safe state, and find out why."""


main.add_command(bisect_command)


@main.command()
def serve() -> None:
    """Serve webhooks, API and cockpit on one port."""
    settings = _settings()
    set_up_logs(settings.log_level, settings.log_format)
    asyncio.run(_serve(settings))


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
    click.echo(f"listening on {settings.public_url} (port {bot.port})", err=True)
    await stopped.wait()
    await bot.stop()


@main.command()
@click.option("--play", type=click.Choice(PLAYS), default="revert", show_default=True)
@click.option("--exit", "leave", is_flag=True, help="End after the story, with one JSON line.")
@click.option("--skip-story", is_flag=True, help="It is your turn at once.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The demo GitHub's port.")
@click.option("--seed", type=click.IntRange(0), default=20, show_default=True)
def demo(play: str, leave: bool, skip_story: bool, port: int, seed: int) -> None:
    """Play a story on a GitHub on this machine; nothing else is needed."""
    set_up_logs("error", "console")
    try:
        if not skip_story:
            sys.exit(asyncio.run(_until_stopped(_demo(play, leave=leave, port=port, seed=seed))))
        if leave or play == "all":
            raise click.UsageError("--skip-story leaves nothing to play: name one play, no --exit.")
        asyncio.run(_until_stopped(_your_turn(play, port=port, seed=seed)))
    except asyncio.CancelledError:
        click.echo("\nStopped; nothing is left behind.", err=True)


async def _until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """Work until somebody stops it, also where it was begun in the background of a script.

    Raises:
        asyncio.CancelledError: it was stopped, and what it had begun is ended.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    # A shell has what it begins in the background ignore an interrupt; this sets it right.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    return await task


async def _demo(play: str, *, leave: bool, port: int, seed: int) -> int:
    from bot.demo.stage import Stage
    from bot.demo.stories.bisect import play_bisect
    from bot.demo.stories.providers import play_ramp, play_rollback, play_shadow
    from bot.demo.stories.revert import play_revert
    from bot.demo.stories.safety import play_safety

    stories = {
        "revert": play_revert,
        "bisect": play_bisect,
        "safety": play_safety,
        "shadow": play_shadow,
        "ramp": play_ramp,
        "rollback": play_rollback,
    }
    if play == "all":
        ended = []
        for name, story in stories.items():
            click.echo(f"\n--- {name} ---")
            async with Stage(port=port, seed=seed) as stage:
                ended.append((await story(stage, click.echo)).told)
        click.echo(json.dumps([told.model_dump(mode="json") for told in ended], sort_keys=True))
        return 0 if all(told.ok for told in ended) else 1
    async with Stage(port=port, seed=seed) as stage:
        click.echo(f"A GitHub on this machine: {stage.home}\n")
        played = await stories[play](stage, click.echo)
        if leave:
            click.echo(json.dumps(played.told.model_dump(mode="json"), sort_keys=True))
            return 0 if played.told.ok else 1
        await _invite(stage, played.scene)
    return 0


async def _your_turn(play: str, *, port: int, seed: int) -> None:
    from bot.demo.stage import Stage
    from bot.demo.stories.bisect import BisectScene
    from bot.demo.stories.providers import provider_scene
    from bot.demo.stories.revert import RevertScene, Transcript
    from bot.demo.stories.safety import SafetyScene

    scenes = {"revert": RevertScene, "bisect": BisectScene, "safety": SafetyScene}
    async with Stage(port=port, seed=seed) as stage:
        click.echo(f"A GitHub on this machine: {stage.home}\n")
        if play in scenes:
            Transcript(stage, click.echo)
            await _invite(stage, scenes[play](stage))
        else:
            await _invite(stage, await provider_scene(stage, click.echo))


async def _invite(stage: Stage, scene: Scene) -> None:
    from bot.demo.stories.invitation import invite

    click.echo(
        f"\nThe cockpit: {stage.bot_url}/ui/ (log in as whom you like)\n"
        f"The bot's API: {stage.bot_url}/api-docs   Stop with Ctrl-C."
    )
    await invite(scene, stage.github.world, click.echo)


@main.command()
@click.option("--repo", type=click.Path(exists=True, path_type=Path), default=Path(), help="Clone.")
@click.option("--commit", required=True, metavar="REV", help="What to revert.")
@click.option("--onto", required=True, metavar="REV", help="On top of what.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def revert(repo: Path, commit: str, onto: str, as_json: bool) -> None:
    """Compute a revert without a work tree; writes nothing but objects."""
    from bot.git.kept import NOTHING_KEPT
    from bot.git.report import open_clone, revert_report
    from bot.playbooks.incidents.own_files import OwnFiles
    from bot.playbooks.planning.repository_config import own_config

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


@audit.command("verify")
@click.option(
    "--anchors",
    type=click.Path(path_type=Path),
    required=True,
    help="A file of anchors, or a clone that has the branch playbooks/records.",
)
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    required=True,
    help="The PEM file that belongs to the signing key.",
)
@click.option("--database", metavar="URL", help="Default: DATABASE_URL, else PLAYBOOKS_DATA's.")
def audit_verify(anchors: Path, public_key: Path, database: str | None) -> None:
    """Verify the chain: 0 intact, 1 could not check, 2 altered, 3 truncated."""
    import os

    from bot.records.audit_chain.verification import audit_verify as verify
    from bot.records.database import url_from

    url = (
        database
        or os.environ.get("DATABASE_URL")
        or url_from(Path(os.environ.get("PLAYBOOKS_DATA", "var")))
    )
    report = asyncio.run(verify(url, anchors, public_key))
    click.echo("\n".join(report.lines()))
    sys.exit(report.code)


@main.command()
@click.option("-e", "--event", required=True, help="The event's name, such as issue_comment.")
@click.option("-p", "--payload", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--url", help="Where the bot listens; default: PLAYBOOKS_HOST and PLAYBOOKS_PORT.")
def receive(event: str, payload: Path, url: str | None) -> None:
    """Sign a payload file and deliver it to the bot that runs here."""
    from bot.operations import deliver

    settings = _settings()
    status, answer = asyncio.run(deliver(settings, event, payload.read_bytes(), url))
    click.echo(f"{status} {answer}")
    sys.exit(0 if status < 400 else 1)


@main.command()
def redeliver() -> None:
    """Ask GitHub for the failed deliveries of the last 3 days, and have them sent again."""
    from bot.operations import redeliver_failed

    settings = _settings()
    sent = asyncio.run(redeliver_failed(settings))
    for line in sent:
        click.echo(line)
    click.echo(f"{len(sent)} deliveries asked for again.")


@main.command()
def doctor() -> None:
    """Check settings, credentials, permissions, events, disk and database."""
    from bot.operations import examine

    settings = _settings()
    findings = asyncio.run(examine(settings))
    for finding in findings:
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject}: {finding.what}")
        if finding.remedy:
            click.echo(f"      → {finding.remedy}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


def _settings() -> Settings:
    try:
        return load_settings()
    except InvalidSettings as error:
        _fail(f"The settings cannot be used:\n{error}", code=2)


def _fail(message: str, code: int = 1) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)
