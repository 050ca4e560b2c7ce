"""Where commits are tried: what a bisect asks of the place, wherever that is.

Everything here is called inside recorded steps. A trial is known by its name within the Run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bot.trials.outcome import TrialJudgement
from bot.triggers import Value


class Started(Value):
    """A trial that runs, or why none can: `refused` is plain text.

    `run_id` is the workflow run's id, 0 where there is none. `note` tells people, in Markdown,
    what is not as they might expect. `closed`: none can be started on this bench at all.
    """

    run_id: int = 0
    refused: str | None = None
    note: str | None = None
    closed: bool = False


class Ended(Value):
    """How one trial ended."""

    name: str
    judgement: TrialJudgement
    url: str | None = None


class TrialsLook(Value):
    """What a look at the running trials shows; `head` is the commit their runs hang on."""

    ended: tuple[Ended, ...]
    head: str | None = None


class AwaitedTrial(Value):
    """A trial that is waited for."""

    sha: str
    run_id: int


class TrialRunner(Protocol):
    """A place where commits are tried."""

    @property
    def is_open(self) -> bool:
        """Whether commits can be tried here at all."""

    async def start(self, name: str, sha: str, look_first: bool) -> Started:
        """Start a trial, unless it was started already."""

    async def look(self, waiting: Mapping[str, AwaitedTrial]) -> TrialsLook:
        """See which of these trials have ended."""

    async def stop(self, waiting: Mapping[str, AwaitedTrial]) -> None:
        """End trials; nothing they say counts any more."""

    async def clear(self) -> None:
        """Remove all that was made for trials; none runs any more."""
