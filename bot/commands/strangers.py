"""What people without write access say: one cheap answer, and nothing that stays.

Other bots answer to `/help`, `/approve` or `/cancel` too. Where nothing of ours is going on, the
everyday ones are left to them without a sign; written as `/playbooks …` they are always ours.

Who may is looked at before anything is begun. Whoever may not gets one answer an hour and place;
their words are neither kept nor carried out by a Run. An answer may be lost with the process. What
cannot be told (GitHub does not say who they are) is no reason to lose a word: it is begun as any
other, or waits.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from cachetools import LRUCache, TTLCache
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.commands.status import CommandContext, find_here
from bot.commands.unrecorded_run import UnrecordedRun
from bot.errors import Passing
from bot.github.client import RepositoryClient
from bot.github.errors import GitHubError
from bot.intake.event_payloads import CommentPosted
from bot.playbooks.run import Run
from bot.records import answered
from bot.records.answered import Scope
from bot.records.database import reading
from bot.safety.admission import AdmissionFacts
from bot.safety.admission_facts import AdmissionReader
from bot.triggers import (
    ActorKind,
    ApproveRequest,
    CorrectionRequest,
    RejectRequest,
    Role,
    SourceKind,
    Trigger,
    derived_id,
)

log = structlog.get_logger(__name__)
COMMENTS = frozenset({SourceKind.ISSUE_COMMENT, SourceKind.REVIEW_COMMENT, SourceKind.REVIEW})
STEERING = frozenset({"approve", "reject", "cancel", "retry", "skip"})
"""What people say to other bots every day: ours only where something of ours waits for it."""
QUESTIONS = frozenset({"help", "status"})
_SLACK = timedelta(minutes=1)
"""How far GitHub's clock and ours may be apart."""
_BOT = re.compile(r"bot(?:\[bot\])?$", re.IGNORECASE)
"""Some bots are people to GitHub, such as `k8s-ci-robot`."""


class Tone(StrEnum):
    """How much is said to whoever asked."""

    FULL = "full"
    """Every answer."""
    SHARED = "shared"
    """One comment an hour and place, kept up to date; none where another bot answers."""
    ONCE = "once"
    """One answer an hour and place, then silence."""
    NOTHING = "nothing"
    """Not a word and no sign: it is not for us."""


def is_shared(trigger: Trigger) -> bool:
    """Whether another bot may be meant: an everyday word in a comment, without our name."""
    if trigger.source.kind not in COMMENTS or trigger.source.addressed:
        return False
    request = trigger.request
    if isinstance(request, CorrectionRequest):
        return all(each.command in STEERING for each in request.problems)
    return request.command in STEERING | QUESTIONS


def tone_of(trigger: Trigger, facts: AdmissionFacts) -> Tone:
    """How much is said, as far as role and configuration decide that. Pure."""
    if trigger.actor.kind is not ActorKind.PERSON or trigger.source.kind is SourceKind.COCKPIT:
        return Tone.FULL
    is_comment = trigger.source.kind in COMMENTS
    if is_comment and facts.prefix_only and not trigger.source.addressed:
        return Tone.NOTHING
    if not facts.role.at_least(Role.WRITE):
        return Tone.ONCE
    return Tone.SHARED if is_shared(trigger) else Tone.FULL


def is_awaited(trigger: Trigger, here: CommandContext) -> bool:
    """Whether something of ours is here that this could be about. Pure."""
    request = trigger.request
    match request.command:
        case "cancel":
            return bool(here.live) or here.is_left
        case "retry":
            return bool(here.live) or here.last_failed is not None
        case "skip":
            return any(run.playbook == "bisect" for run in here.live)
        case "approve" | "reject" if isinstance(request, ApproveRequest | RejectRequest):
            return bool(here.pending(request.approval)) or here.is_left
        case _:
            return bool(here.live) or any(each.is_open for each in here.incidents)


class ReplyPolicy:
    """Decides about one answer, by what was said in that place before."""

    def __init__(
        self, records: AsyncEngine, clock: Callable[[], datetime], other_bots: timedelta
    ) -> None:
        """Prepare; `other_bots` is how long another bot has for answering first."""
        self._records = records
        self._clock = clock
        self._other_bots = other_bots

    async def is_awaited(self, trigger: Trigger) -> bool:
        """Look whether something of ours is here that a Trigger could be about."""
        here = await find_here(reading(self._records), trigger.repository.id, trigger.source)
        return is_awaited(trigger, here)

    async def shows_receipt(self, trigger: Trigger, role: Role) -> bool:
        """Whether a command is acknowledged before it is known what comes of it."""
        if not role.at_least(Role.WRITE):
            return False
        return not is_shared(trigger) or await self.is_awaited(trigger)

    async def answer_of(
        self,
        trigger: Trigger,
        tone: Tone,
        client: RepositoryClient,
        *,
        run: str,
        first: str,
        is_refusal: bool,
    ) -> str | None:
        """Which Run's comment says the answer; None: nobody's, nothing is said.

        Idempotent: whoever was let to answer still is when it tries again.

        Args:
            trigger: what is answered.
            tone: how much is said.
            client: where.
            run: the Run that answers.
            first: the first Run of the same comment, whose comment has the answers of them all.
            is_refusal: whether the answer is that this person may not.
        """
        subject = trigger.source.subject
        if tone is Tone.NOTHING or subject is None:
            return None
        if tone is Tone.FULL:
            return first
        is_question = trigger.request.command in QUESTIONS
        passed_by = is_shared(trigger) and not await self.is_awaited(trigger)
        says_no = is_refusal or isinstance(trigger.request, CorrectionRequest)
        if passed_by and not is_question and (tone is Tone.ONCE or says_no):
            return None
        if tone is Tone.SHARED and not (passed_by and is_question):
            return first
        if tone is Tone.ONCE and await self._claim(trigger, Scope.OUTSIDERS, run) != run:
            return None
        if passed_by and await self._another_answers(trigger, subject, client):
            return None
        if tone is Tone.SHARED:
            return await self._claim(trigger, Scope.QUESTIONS, first)
        if is_question and await self._claim(trigger, Scope.QUESTIONS, run) != run:
            return None
        return run

    async def _claim(self, trigger: Trigger, scope: Scope, run: str) -> str:
        async with self._records.begin() as conn:
            return await answered.claim_reply(
                conn,
                trigger.repository.id,
                trigger.source.subject or 0,
                scope,
                run=run,
                now=self._clock(),
            )

    async def _another_answers(
        self, trigger: Trigger, subject: int, client: RepositoryClient
    ) -> bool:
        """Give other bots their time, then see whether one has commented since."""
        until = trigger.received_at + self._other_bots
        await asyncio.sleep(max(0.0, (until - self._clock()).total_seconds()))
        us = (await client.app()).bot_login
        is_id = trigger.source.kind is SourceKind.ISSUE_COMMENT
        asked = int(trigger.source.object_id) if is_id else 0
        since = trigger.received_at - _SLACK
        return any(
            [
                True
                async for comment in client.comments.list(subject, since=since)
                if comment.id > asked
                and comment.created_at <= until + _SLACK
                and comment.user.login != us
                and (comment.user.is_bot or _BOT.search(comment.user.login))
            ]
        )


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


class Strangers:
    """Tells people without write access apart, and answers them."""

    def __init__(
        self,
        circumstances: AdmissionReader,
        answer: AnswerStranger,
        records: AsyncEngine,
        clock: Callable[[], datetime],
        make_way: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare.

        Args:
            circumstances: tell what people may do.
            answer: says what there is to say.
            records: know who was answered where.
            clock: tells the time (UTC).
            make_way: waits while people with rights are being served.
        """
        self._circumstances = circumstances
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
        if self._circumstances.is_without_rights(here, comment.login):
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
            GitHubError, TimeoutError: it could not be told, and must be.
        """
        if trigger.actor.kind is not ActorKind.PERSON or trigger.source.kind not in _SPOKEN:
            return False
        try:
            async with asyncio.timeout(_PATIENCE_S):
                role = await self._circumstances.role_of(trigger, as_stranger=must_know)
        except (GitHubError, Passing, TimeoutError):
            if must_know:
                raise
            return False
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
