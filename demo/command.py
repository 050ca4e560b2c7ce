"""The command `playbooks demo`."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

from bot.logs import set_up_logs
from demo.stage import Stage
from demo.stories.bisect import BisectScene, play_bisect
from demo.stories.invitation import Scene, invite
from demo.stories.providers import play_ramp, play_rollback, play_shadow, provider_scene
from demo.stories.revert import RevertScene, Transcript, play_revert
from demo.stories.safety import SafetyScene, play_safety

T = TypeVar("T")
STORIES = {
    "revert": play_revert,
    "bisect": play_bisect,
    "safety": play_safety,
    "shadow": play_shadow,
    "ramp": play_ramp,
    "rollback": play_rollback,
}


@click.command()
@click.option("--play", type=click.Choice([*STORIES, "all"]), default="revert", show_default=True)
@click.option("--exit", "leave", is_flag=True, help="End after the story, with one JSON line.")
@click.option("--skip-story", is_flag=True, help="It is your turn at once.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The demo GitHub's port.")
@click.option("--seed", type=click.IntRange(0), default=20, show_default=True)
def demo(play: str, leave: bool, skip_story: bool, port: int, seed: int) -> None:
    """Play a story on a GitHub on this machine; nothing else is needed.

    Exit codes, with --exit: 0 the story ended as the specification says, 1 it did not.
    """
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
    if play == "all":
        ended = []
        for name, story in STORIES.items():
            click.echo(f"\n--- {name} ---")
            async with Stage(port=port, seed=seed) as stage:
                ended.append((await story(stage, click.echo)).told)
        click.echo(json.dumps([told.model_dump(mode="json") for told in ended], sort_keys=True))
        return 0 if all(told.ok for told in ended) else 1
    async with Stage(port=port, seed=seed) as stage:
        click.echo(f"A GitHub on this machine: {stage.home}\n")
        played = await STORIES[play](stage, click.echo)
        if not leave:
            await _invite(stage, played.scene)
            return 0
    # Only now: while the stage ends, a check may still come to its end and be told of.
    click.echo(json.dumps(played.told.model_dump(mode="json"), sort_keys=True))
    return 0 if played.told.ok else 1


async def _your_turn(play: str, *, port: int, seed: int) -> None:
    scenes = {"revert": RevertScene, "bisect": BisectScene, "safety": SafetyScene}
    async with Stage(port=port, seed=seed) as stage:
        click.echo(f"A GitHub on this machine: {stage.home}\n")
        if play in scenes:
            Transcript(stage, click.echo)
            await _invite(stage, scenes[play](stage))
        else:
            await _invite(stage, await provider_scene(stage, click.echo))


async def _invite(stage: Stage, scene: Scene) -> None:
    click.echo(
        f"\nThe cockpit: {stage.bot_url}/ui/ (log in as whom you like)\n"
        f"The bot's API: {stage.bot_url}/api-docs   Stop with Ctrl-C."
    )
    await invite(scene, stage.github.world, click.echo)
