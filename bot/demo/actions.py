"""GitHub Actions: workflow files whose commands really run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.demo.calls import Routes
from bot.demo.world import Event

if TYPE_CHECKING:
    from bot.demo.server import DemoGitHub

routes = Routes()


class Runner:
    """Runs workflows for pushes, pull requests and dispatches."""

    def __init__(self, github: DemoGitHub) -> None:
        """Remember the GitHub; nothing runs before `start`."""
        self.github = github

    def listen(self, event: Event) -> None:
        """Start what the event triggers."""

    async def start(self) -> None:
        """Begin running."""

    async def stop(self) -> None:
        """Stop what runs."""

    async def settle(self, timeout: float = 60) -> None:  # noqa: ASYNC109
        """Wait until nothing runs."""
