"""How tests of the demo GitHub say what GitHub says."""

from __future__ import annotations

import re

import pytest

from demo.person import Rejected
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from fakegithub.world.world import Event


def refused(status: int, words: str = "") -> pytest.RaisesExc[Rejected]:
    """Expect GitHub to answer `status` with these words."""
    return pytest.raises(Rejected, match=rf"(?s)^{status}: .*{re.escape(words)}")


class Heard:
    """Events of one repository, in order."""

    def __init__(self, github: DemoGitHub, repository: FakeRepository) -> None:
        self.events: list[Event] = []
        self._repository = repository
        github.world.listen(self._hear)

    def _hear(self, event: Event) -> None:
        if event.repository is self._repository:
            self.events.append(event)

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]
