"""Who is answered at all: strangers once, questions that other bots share once, nobody twice.

Other bots answer to `/help`, `/approve` or `/cancel` too. Where nothing of ours is going on, the
everyday ones are left to them without a sign; written as `/playbooks …` they are always ours.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.commands.command_context import CommandContext, find_here
from bot.github.client import RepositoryClient
from bot.records import answered
from bot.records.answered import Scope
from bot.records.database import reading
from bot.safety.admission import AdmissionFacts
from bot.slash_commands import COMMANDS
from bot.triggers import (
    ActorKind,
    ApproveRequest,
    CorrectionRequest,
    RejectRequest,
    Request,
    Role,
    SourceKind,
    Trigger,
)

COMMENTS = frozenset({SourceKind.ISSUE_COMMENT, SourceKind.REVIEW_COMMENT, SourceKind.REVIEW})


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
