"""Words about one thing are carried out in their order, though each has a Run of its own.

`/cancel` below `/revert` is about that revert: it is started once the revert is on record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog
from cachetools import TTLCache

from bot.playbooks.steps import Step
from bot.triggers import ActorKind, Trigger, derived_id

log = structlog.get_logger(__name__)

LONGEST_S = 5.0
"""How long a word waits for the one before it. One that hangs, for GitHub perhaps, is passed by."""

_GLANCE_S = 0.05
_RIGHT_BEFORE_S = 60.0
"""What was said longer ago is under way, or waits for something."""
_ONLY_ASK = {"status", "help"}
"""Nobody waits for these: they change nothing."""
_ABOUT_AN_INCIDENT = {"severity"}
"""These are about what a playbook opens some steps after it is on record."""


class Beginnings:
    """An observer of the engine's steps: which Runs have begun what they were asked for."""

    def __init__(self, finished: Callable[[str], Awaitable[bool]]) -> None:
        """Nothing has begun yet; `finished` tells of a Run whether it has ended."""
        self._finished = finished
        self._former: TTLCache[tuple[int, int], str] = TTLCache(10_000, _RIGHT_BEFORE_S)
        self._begun: TTLCache[str, bool] = TTLCache(10_000, _RIGHT_BEFORE_S)
        self._opened: TTLCache[str, bool] = TTLCache(10_000, _RIGHT_BEFORE_S)

    async def began(self, run: str, step: str) -> None:
        """A step is about to run."""

    async def ended(self, run: str, step: str) -> None:
        """A step's effect is done."""
        if step == Step.BEGIN_RUN.id:
            self._begun[run] = True
        elif step == Step.RECORD_INCIDENT_ISSUE.id:
            self._opened[run] = True

    async def waiting(self, run: str, at: str) -> None:
        """A Run begins to wait."""
        del at
        self._opened[run] = True

    def in_turn(self, trigger: Trigger) -> Callable[[], Awaitable[None]]:
        """Say, in order of arrival, what a Trigger waits for: the last word about the same thing.

        That is until its Run has begun or ended; where the Trigger is about an incident, until that
        is open. It is never longer than `LONGEST_S`.
        """
        subject = trigger.source.subject
        if subject is None or trigger.actor.kind is not ActorKind.PERSON:
            return partial(asyncio.sleep, 0)
        place = (trigger.repository.id, subject)
        former = self._former.get(place)
        command = trigger.request.command
        if command not in _ONLY_ASK:
            self._former[place] = derived_id(trigger.key, trigger.received_at)
        if former is None:
            return partial(asyncio.sleep, 0)
        reached = self._opened if command in _ABOUT_AN_INCIDENT else self._begun
        return partial(self._until, former, reached)

    async def _until(self, run: str, reached: Mapping[str, bool]) -> None:
        try:
            async with asyncio.timeout(LONGEST_S):
                while run not in reached and not await self._finished(run):  # noqa: ASYNC110
                    await asyncio.sleep(_GLANCE_S)
        except TimeoutError:
            log.info("not waited for any longer; the next word goes on", run=run)
        except Exception:
            # The database is away, perhaps: whoever starts the word meets that too, and waits.
            log.warning("nobody knows whether the word before has begun", run=run, exc_info=True)
