"""The command `playbooks demo`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

from bot.logs import set_up_logs

T = TypeVar("T")
STORIES = ("revert", "bisect", "safety", "shadow", "ramp", "rollback")


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
    # Only now: whoever asks what commands there are does not wait for a whole GitHub.
    from demo.play import play_story, your_turn

    set_up_logs("error", "console")
    try:
        if not skip_story:
            sys.exit(
                asyncio.run(_until_stopped(play_story(play, leave=leave, port=port, seed=seed)))
            )
        if leave or play == "all":
            raise click.UsageError("--skip-story leaves nothing to play: name one play, no --exit.")
        asyncio.run(_until_stopped(your_turn(play, port=port, seed=seed)))
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
