"""How tests of the demo GitHub say what GitHub says."""

from __future__ import annotations

import re

import pytest

from bot.demo.github.server import DemoGitHub
from bot.demo.github.world.model import Repository
from bot.demo.github.world.world import Event
from bot.demo.person import Rejected


def refused(status: int, words: str = "") -> pytest.RaisesExc[Rejected]:
    """Expect GitHub to answer `status` with these words."""
    return pytest.raises(Rejected, match=rf"(?s)^{status}: .*{re.escape(words)}")


class Heard:
    """Events of one repository, in order."""

    def __init__(self, github: DemoGitHub, repository: Repository) -> None:
        self.events: list[Event] = []
        self._repository = repository
        github.world.listen(self._hear)

    def _hear(self, event: Event) -> None:
        if event.repository is self._repository:
            self.events.append(event)

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]
