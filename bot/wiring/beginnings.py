"""Words about one thing are carried out in their order, though each has a Run of its own.

`/cancel` below `/revert` is about that revert: it is started once the revert is on record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import structlog
from cachetools import TTLCache

from bot.playbooks.steps import Step
from bot.triggers import ActorKind, Trigger, derived_id

log = structlog.get_logger(__name__)

LONGEST_S = 15.0
"""How long a word waits for the one before it. One that hangs, for GitHub perhaps, is passed by."""

_GLANCE_S = 0.25
"""That a Run has ended is not told, but looked for in the database."""
_RIGHT_BEFORE_S = 60.0
"""What was said longer ago is under way, or waits for something."""
_BEGIN = {"revert", "bisect", "rollback", "shadow", "ramp", "retry"}
_WAITS_FOR = {
    "cancel": _BEGIN, "severity": _BEGIN, "approve": _BEGIN, "reject": _BEGIN,
    "pause": {"unpause"}, "unpause": {"pause"},
}  # fmt: skip
"""What each word is about. Words that bring main back wait for none."""
_ABOUT_AN_INCIDENT = {"severity"}
"""These are about what a playbook opens some steps after it is on record."""


class Beginnings:
    """An observer of the engine's steps: which Runs have begun what they were asked for."""

    def __init__(self, finished: Callable[[str], Awaitable[bool]]) -> None:
        """Nothing has begun yet; `finished` tells of a Run whether it has ended."""
        self._finished = finished
        self._former: TTLCache[tuple[int, int, str], str] = TTLCache(10_000, _RIGHT_BEFORE_S)
        self._begun: TTLCache[str, bool] = TTLCache(10_000, _RIGHT_BEFORE_S)
        self._opened: TTLCache[str, bool] = TTLCache(10_000, _RIGHT_BEFORE_S)
        self._not_started: TTLCache[str, bool] = TTLCache(10_000, _RIGHT_BEFORE_S)

    async def began(self, run: str, step: str) -> None:
        """A step is about to run."""
        del step
        self._not_started.pop(run, None)

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

    def in_turn(self, trigger: Trigger) -> Callable[[], Awaitable[None]] | None:
        """Say, in order of arrival, what a Trigger waits for: what was said before and it is about.

        That is until those Runs have begun or ended; where the Trigger is about an incident, until
        that is open. It is never longer than `LONGEST_S`. None: it waits for nothing.
        """
        subject, command = trigger.source.subject, trigger.request.command
        if subject is None or trigger.actor.kind is not ActorKind.PERSON:
            return None
        place = (trigger.repository.id, subject)
        former = [
            known
            for word in sorted(_WAITS_FOR.get(command, ()))
            if (known := self._former.get((*place, word))) is not None
        ]
        run = derived_id(trigger.key, trigger.received_at)
        self._former[*place, command] = run
        if not former:
            return None
        self._not_started[run] = True
        reached = self._opened if command in _ABOUT_AN_INCIDENT else self._begun
        return partial(self._until, former, reached)

    async def _until(self, runs: Sequence[str], reached: Mapping[str, bool]) -> None:
        try:
            async with asyncio.timeout(LONGEST_S):
                for run in runs:
                    while not (run in reached or await self._is_over(run)):  # noqa: ASYNC110
                        await asyncio.sleep(_GLANCE_S)
        except TimeoutError:
            log.info("not waited for any longer; the next word goes on", runs=runs)
        except Exception:
            # The database is away, perhaps: whoever starts the word meets that too, and waits.
            log.warning("nobody knows whether the word before has begun", runs=runs, exc_info=True)

    async def _is_over(self, run: str) -> bool:
        return run not in self._not_started and await self._finished(run)
