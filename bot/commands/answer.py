"""How one Trigger is answered: a reaction, one comment, or a row that the cockpit shows.

However many commands a comment holds, their answers stand in one comment.

Who is answered at all: strangers once, questions that other bots share once, nobody twice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar
from weakref import WeakValueDictionary

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.commands import replies
from bot.commands.command_context import CommandContext, find_here
from bot.github.calls.issues import Emotion, ReactionSubject
from bot.github.client import RepositoryClient
from bot.playbooks.run import Run, attempt
from bot.playbooks.steps import Step
from bot.records import answered
from bot.records.answered import Scope
from bot.records.database import reading
from bot.safety.admission import AdmissionFacts
from bot.slash_commands import COMMANDS
from bot.triggers import (
    COMMENTS,
    ActorKind,
    ApproveRequest,
    CorrectionRequest,
    RejectRequest,
    Request,
    Role,
    SourceKind,
    Trigger,
    Value,
)

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
        return all(_is_everyday(each.command) for each in request.problems)
    return _is_everyday(request.command) or _is_question(request)


def _is_everyday(command: str | None) -> bool:
    return command is not None and command in COMMANDS and COMMANDS[command].everyday


def _is_question(request: Request) -> bool:
    return request.command in COMMANDS and COMMANDS[request.command].is_question


def tone_of(trigger: Trigger, facts: AdmissionFacts) -> Tone:
    """How much is said, as far as role and configuration decide that. Pure."""
    if trigger.actor.kind is ActorKind.BOT:
        # Some bots answer each comment by closing or opening the issue.
        return Tone.ONCE
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
            return bool(here.live or here.left)
        case "retry":
            return bool(here.live) or here.last_failed is not None
        case "skip":
            return any(run.playbook == "bisect" for run in here.live)
        case "approve" | "reject" if isinstance(request, ApproveRequest | RejectRequest):
            asks = bool(here.pending(request.approval)) or here.asked_before
            return asks or here.is_left
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
        is_question = _is_question(trigger.request)
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


T = TypeVar("T", bound=Request)

log = structlog.get_logger(__name__)

_REACTS = {
    SourceKind.ISSUE_COMMENT: ReactionSubject.ISSUE_COMMENT,
    SourceKind.REVIEW_COMMENT: ReactionSubject.REVIEW_COMMENT,
    # Reviews take no reactions by REST: their pull request takes them instead.
    SourceKind.REVIEW: ReactionSubject.ISSUE,
}

_OUTCOMES = {
    Emotion.SEEN: answered.RequestState.SEEN,
    Emotion.DONE: answered.RequestState.DONE,
    Emotion.REFUSED: answered.RequestState.REFUSED,
}


class Reply(Value):
    """What came of a small request, in Markdown."""

    text: str
    done: bool = True


_SECTIONS = "\n\n---\n\n"


class Writing:
    """Writes the comments; one for each comment that is answered, whatever stands in that."""

    def __init__(
        self, records: AsyncEngine, talk: ReplyPolicy, clock: Callable[[], datetime]
    ) -> None:
        """Prepare; `records` keep what was said so far, `talk` decides who is answered."""
        self.talk = talk
        self._records = records
        self._clock = clock
        self._one_at_a_time: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ensure(
        self, answer: TriggerAnswer, text: str, emotion: Emotion, *, look_first: bool
    ) -> bool:
        """Have `text` said below the subject, once; False where nothing is to be said."""
        trigger, run = answer.trigger, answer.run.id
        subject = trigger.source.subject
        together = await self._answered_together(trigger) or [run]
        of = await self.talk.answer_of(
            trigger,
            answer.tone,
            answer.client,
            run=run,
            first=together[0],
            is_refusal=answer.is_refusal,
        )
        if subject is None or of is None:
            return False
        if of == together[0] and len(together) > 1 and answer.tone is not Tone.ONCE:
            await self._say_together(answer, subject, together, text, emotion)
        elif of == run:
            await answer.client.comments.ensure_comment(
                subject,
                key=f"answer:{run}",
                body=text,
                since=trigger.received_at,
                look_first=look_first,
            )
        else:
            await answer.client.comments.sticky_comment(
                subject,
                key=f"answer:{of}",
                body=text,
                since=trigger.received_at - answered.WHILE,
            )
        return True

    async def _answered_together(self, trigger: Trigger) -> list[str]:
        if trigger.source.kind not in COMMENTS:
            return []
        async with reading(self._records).connect() as conn:
            return await answered.of_same_comment(conn, trigger)

    async def _say_together(
        self, answer: TriggerAnswer, subject: int, together: list[str], text: str, emotion: Emotion
    ) -> None:
        trigger, now = answer.trigger, self._clock()
        async with self._records.begin() as conn:
            await answered.put_result(
                conn,
                answer.run.id,
                repository_id=trigger.repository.id,
                actor=trigger.actor.login,
                outcome=_OUTCOMES[emotion],
                at=now,
                text=text,
            )
        key = f"answer:{together[0]}"
        lock = self._one_at_a_time.setdefault(key, asyncio.Lock())
        async with lock:
            async with reading(self._records).connect() as conn:
                found = [await answered.find_result(conn, run) for run in together]
            await answer.client.comments.sticky_comment(
                subject,
                key=key,
                body=_SECTIONS.join(each.text for each in found if each and each.text),
                since=trigger.received_at,
            )


class TriggerAnswer:
    """What the sender of one Trigger gets to see.

    Attributes:
        tone: how much is said at all; full until it is known who asks.
        is_refusal: whether it was said that this person may not.
    """

    def __init__(
        self, run: Run, trigger: Trigger, client: RepositoryClient, writing: Writing
    ) -> None:
        """Prepare; nothing is said yet.

        Args:
            run: makes what is said durable, and said once.
            trigger: what is answered.
            client: where it is answered.
            writing: puts it there.
        """
        self.run = run
        self.trigger = trigger
        self.client = client
        self.writing = writing
        self.tone = Tone.FULL
        self.is_refusal = False

    def asked(self, kind: type[T]) -> T:
        """What is asked for, which is of this kind."""
        request = self.trigger.request
        if not isinstance(request, kind):
            raise TypeError(f"{request.command} is not what this answers")
        return request

    async def nothing_here(self, text: str = "") -> None:
        """Refuse: nothing that this command could be about is going on here.

        Not a word where another bot may be meant.
        """
        if is_shared(self.trigger):
            return
        actor, command = self.trigger.actor, self.trigger.request.command
        await self.say(text or replies.nothing_here(actor, command), Emotion.REFUSED)

    async def refuse(self, reason: str, remedy: str) -> None:
        """Say why not, and what to do instead."""
        self.is_refusal = True
        command, actor = self.trigger.request.command, self.trigger.actor.login
        log.info("a request was refused", command=command, actor=actor, why=reason)
        await self.say(replies.refusal(self.trigger.actor, reason, remedy), Emotion.REFUSED)

    async def reply(self, reply: Reply) -> None:
        """Say what came of a small request."""
        await self.say(reply.text, Emotion.DONE if reply.done else Emotion.REFUSED)

    async def say(self, text: str, emotion: Emotion = Emotion.DONE) -> None:
        """Say something (Markdown), once, and react."""
        subject, run = self.trigger.source.subject, self.run
        if self.trigger.source.kind is SourceKind.COCKPIT:
            return await self._put(emotion, text)
        if subject is not None:

            async def comment(look_first: bool) -> bool:
                return await self.writing.ensure(self, text, emotion, look_first=look_first)

            what = f"comment on #{subject}"
            said = await attempt(run, Step.ANSWER, bool, comment, what=what, otherwise=None)
            if said is False:
                return None
        return await self.react(emotion)

    async def react(
        self, emotion: Emotion, only_if: Callable[[], Awaitable[bool]] | None = None
    ) -> None:
        """Show receipt, success or refusal without a word, where that is possible.

        `only_if` is asked just before, and may find that nothing is to be shown.
        """
        source = self.trigger.source
        if source.kind is SourceKind.COCKPIT:
            return await self._put(emotion)
        subject = _REACTS.get(source.kind)
        if subject is None:
            return None  # a label or an API request: its id is no comment's
        number = source.subject if source.kind is SourceKind.REVIEW else int(source.object_id)
        if number is None:
            return None

        async def react(_: bool) -> bool:
            if only_if is not None and not await only_if():
                return False
            await self.client.reactions.ensure_reaction(subject, number, emotion)
            return True

        what = "react to the comment"
        await attempt(self.run, Step.REACT.of(emotion), bool, react, what=what, otherwise=False)
        return None

    async def _put(self, emotion: Emotion, text: str = "") -> None:
        run, trigger = self.run, self.trigger
        now = await run.now()

        async def change(conn: AsyncConnection) -> bool:
            await answered.put_result(
                conn,
                run.id,
                repository_id=trigger.repository.id,
                actor=trigger.actor.login,
                outcome=_OUTCOMES[emotion],
                at=now,
                text=text,
            )
            return True

        await run.write(Step.ANSWER_IN_COCKPIT.of(emotion), bool, change)
