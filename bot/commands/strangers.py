"""What people without write access say: one cheap answer, and nothing that stays.

Who may is looked at before anything is begun. Whoever may not gets one answer an hour and place;
their words are neither kept nor carried out by a Run. An answer may be lost with the process. What
cannot be told (GitHub does not say who they are) is no reason to lose a word: it is begun as any
other, or waits.

A Run that leaves nothing behind: for answers that may be lost together with the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import structlog
from cachetools import LRUCache, TTLCache
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.errors import Passing
from bot.github.errors import GitHubError
from bot.intake.event_payloads import CommentPosted
from bot.playbooks.run import Effect, Run, Signal, StepFailed, Untold
from bot.playbooks.steps import AnyStep, Patch, WaitPoint
from bot.records import answered
from bot.records.database import reading
from bot.records.outages import in_public
from bot.safety.admission_facts import AdmissionReader
from bot.triggers import (
    ActorKind,
    Role,
    SourceKind,
    Trigger,
    derived_id,
)

T = TypeVar("T")


class UnrecordedRun:
    """Does steps once, at once, and writes none of them down. Nothing resumes it."""

    def __init__(self, run: str, records: AsyncEngine, clock: Callable[[], datetime]) -> None:
        """Prepare; `run` is the id that a Run of the same Trigger would have."""
        self.id = run
        self.untold = Untold()
        self._records = records
        self._clock = clock

    async def step(self, step: AnyStep, returns: type[T], effect: Effect[T]) -> T:
        """As `Run.step`; no fault is waited out."""
        del returns
        try:
            return await effect(False)
        except Exception as error:
            raise StepFailed(step, in_public(error)) from error

    async def write(
        self, step: AnyStep, returns: type[T], change: Callable[[AsyncConnection], Awaitable[T]]
    ) -> T:
        """As `Run.write`."""
        del returns
        try:
            async with self._records.begin() as conn:
                return await change(conn)
        except Exception as error:
            raise StepFailed(step, in_public(error)) from error

    async def wait(self, seconds: float, at: WaitPoint) -> Signal | None:
        """Refuse: whatever waits has to survive a restart.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"{at} would wait {seconds} s for news that nobody sends here")

    def patched(self, change: Patch) -> bool:
        """As `Run.patched`: it begins and ends under the code of today."""
        del change
        return True

    async def now(self) -> datetime:
        """As `Run.now`."""
        return self._clock()


log = structlog.get_logger(__name__)


MOST_ANSWERS = 32
"""Answers under way at once; who asks beyond them hears nothing."""
_PATIENCE_S = 5.0
"""Seconds that looking up a role may hold up what was said."""
_REMEMBERED = 10_000
"""Places, and people, that are remembered."""
MOST_UNKNOWN = 5
"""Comments of one person that wait while it is not known who they are."""
_WHILE_S = 60.0
"""Seconds in which a comment that was let in is decided about."""
_SPOKEN = frozenset(
    {
        SourceKind.ISSUE_COMMENT,
        SourceKind.REVIEW_COMMENT,
        SourceKind.REVIEW,
        SourceKind.LABEL,
        SourceKind.ISSUE,
        SourceKind.CHECK_RUN,
    }
)
"""The ways in which people ask on GitHub."""

AnswerStranger = Callable[[Run, Trigger, Role], Awaitable[None]]
"""Says to somebody without write access what there is to say."""

_Place = tuple[int, int]


class RoleUnknown(Passing):
    """GitHub has not said yet who it is; it may be asked again."""

    def __init__(self) -> None:
        """Say how long it was waited for."""
        super().__init__(f"GitHub did not say within {_PATIENCE_S:.0f} s what they may do here")


class Strangers:
    """Tells people without write access apart, and answers them."""

    def __init__(
        self,
        admission_reader: AdmissionReader,
        answer: AnswerStranger,
        records: AsyncEngine,
        clock: Callable[[], datetime],
        make_way: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare.

        Args:
            admission_reader: tell what people may do.
            answer: says what there is to say.
            records: know who was answered where.
            clock: tells the time (UTC).
            make_way: waits while people with rights are being served.
        """
        self._admission_reader = admission_reader
        self._answer = answer
        self._records = records
        self._clock = clock
        self._make_way = make_way
        self._answered: LRUCache[_Place, datetime] = LRUCache(_REMEMBERED)
        self._coming: TTLCache[_Place, None] = TTLCache(_REMEMBERED, _WHILE_S)
        self._unknown: TTLCache[tuple[int, str], int] = TTLCache(_REMEMBERED, _WHILE_S)
        self._answering: dict[_Place, asyncio.Task[None]] = {}

    @property
    def is_answering(self) -> bool:
        """Whether an answer is under way."""
        return bool(self._answering)

    def turns_away(self, comment: CommentPosted) -> bool:
        """Tell whether a comment need not even be read: without asking anybody, from memory.

        Its author was seen to have no write access a moment ago, and the answer that people
        without it get in that place is given, or on its way. Or nobody knows yet who they are,
        and they have said enough for now: should they have rights after all, what they said is
        found among the comments that no delivery told.
        """
        here = comment.repository.id
        if self._admission_reader.is_without_rights(here, comment.login):
            place = (here, comment.subject or 0)
            if place in self._coming or place in self._answering or self._is_answered(place):
                return True
            self._coming[place] = None
            return False
        if not comment.by_outsider:
            return False
        said = self._unknown.get((here, comment.login), 0)
        if said < MOST_UNKNOWN:
            self._unknown[here, comment.login] = said + 1
        return said >= MOST_UNKNOWN

    async def heard(self, trigger: Trigger, *, must_know: bool) -> bool:
        """Hear somebody without write access out; False where it is somebody else.

        Args:
            trigger: what was said.
            must_know: raise where GitHub does not tell who it is, instead of letting it through.

        Raises:
            GitHubError, Passing: it could not be told, and must be.
        """
        if trigger.actor.kind is not ActorKind.PERSON or trigger.source.kind not in _SPOKEN:
            return False
        try:
            async with asyncio.timeout(_PATIENCE_S):
                role = await self._admission_reader.role_of(trigger, as_stranger=must_know)
        except (GitHubError, Passing, TimeoutError) as error:
            if not must_know:
                return False
            if isinstance(error, TimeoutError):
                raise RoleUnknown from error
            raise
        self._unknown.pop((trigger.repository.id, trigger.actor.login), None)
        if role.at_least(Role.WRITE):
            return False
        place = (trigger.repository.id, trigger.source.subject or 0)
        if (
            place not in self._answering
            and not self._is_answered(place)
            and len(self._answering) < MOST_ANSWERS
        ):
            answering = asyncio.create_task(self._say(place, trigger, role), name="stranger")
            self._answering[place] = answering
        return True

    async def close(self) -> None:
        """Break off what is being said."""
        under_way = list(self._answering.values())
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def _is_answered(self, place: _Place) -> bool:
        at = self._answered.get(place)
        return at is not None and self._clock() - at < answered.WHILE

    async def _say(self, place: _Place, trigger: Trigger, role: Role) -> None:
        run = UnrecordedRun(
            derived_id(trigger.key, trigger.received_at), self._records, self._clock
        )
        try:
            await self._make_way()
            if (await self._claimed_at(place)) is None:
                await self._answer(run, trigger, role)
            if (at := await self._claimed_at(place)) is not None:
                self._answered[place] = at
        except (GitHubError, Passing) as error:
            log.warning("somebody without rights got no answer", why=str(error))
        except Exception:
            log.exception("somebody without rights got no answer")
        finally:
            del self._answering[place]

    async def _claimed_at(self, place: _Place) -> datetime | None:
        async with reading(self._records).connect() as conn:
            return await answered.claimed_at(
                conn, *place, answered.Scope.OUTSIDERS, now=self._clock()
            )
