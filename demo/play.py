"""Each story, played to its end; then it is the visitor's turn."""

from __future__ import annotations

import json

import click

from demo.stage import Stage
from demo.stories.bisect import BisectScene, play_bisect
from demo.stories.invitation import Scene, invite
from demo.stories.providers import play_ramp, play_rollback, play_shadow, provider_scene
from demo.stories.revert import RevertScene, Transcript, play_revert
from demo.stories.safety import SafetyScene, play_safety

STORIES = {
    "revert": play_revert,
    "bisect": play_bisect,
    "safety": play_safety,
    "shadow": play_shadow,
    "ramp": play_ramp,
    "rollback": play_rollback,
}


async def play_story(play: str, *, leave: bool, port: int, seed: int) -> int:
    """Play one story, or all; the exit code.

    Args:
        play: a name of `STORIES`, or "all".
        leave: end after the story, with one JSON line; else the visitor goes on.
        port: the demo GitHub's; 0: any that is free.
        seed: decides what the story leaves to chance.
    """
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


async def your_turn(play: str, *, port: int, seed: int) -> None:
    """Set a story's scene, and leave it to the visitor.

    Args:
        play: a name of `STORIES`.
        port: the demo GitHub's; 0: any that is free.
        seed: decides what the scene leaves to chance.
    """
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
        f"The bot's API: {stage.bot_url}/api-docs, with the token {stage.api_token}\n"
        "Stop with Ctrl-C."
    )
    await invite(scene, stage.github.world, click.echo)
