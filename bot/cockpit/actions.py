"""Actions that visitors ask for, and questions they answer by a button.

What is shown goes by this; whoever presses is judged again when it is carried out.

A form holds one command line. It is read by the parser that reads comments, becomes a Trigger with
the person as its actor, and is admitted as that comment would be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from aiohttp import web
from cachetools import LRUCache, TTLCache
from ulid import ULID
from yarl import URL

from bot.cockpit.permissions import VisibleRepository
from bot.cockpit.preview import Preview
from bot.cockpit.render import ROOT
from bot.cockpit.request import AccessRule, PageRefused, PageRoute, Visit, inside, see_other
from bot.cockpit.scoped_records import ScopedRecords
from bot.command_arguments import CommentPlace
from bot.errors import Passing
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.intake.event_payloads import CommentPosted
from bot.intake.event_triggers import triggers
from bot.intake.inbox import Inbox
from bot.records.answered import CommandResult, RequestState
from bot.records.approvals import Approval
from bot.records.incidents import Incident
from bot.safety.config_in_force import ConfigInForce
from bot.safety.founders import Objection, founders_of, objection_to
from bot.slash_commands import COMMANDS
from bot.triggers import CorrectionRequest, Repository, Request, Role, SourceKind, Trigger

log = structlog.get_logger(__name__)
READ_EVERY = timedelta(minutes=1)
_KEPT = 500
_HOUR_S = 3600.0
MOST_WITHOUT_RIGHT = 10
"""Commands and plans an hour of somebody in one repository where they may only look."""

FoundersOf = Callable[[Repository], Awaitable[Sequence[str]]]


@dataclass(frozen=True)
class VisitorQuestion:
    """A question that is bound to one commit, as one visitor sees it.

    Attributes:
        approval: what is asked.
        founders: who may answer; None where GitHub cannot be asked.
        objection: why this visitor's yes would not count.
        is_expired: whether nobody answered in time.
    """

    approval: Approval
    founders: tuple[str, ...] | None
    objection: Objection | None
    is_expired: bool

    @property
    def is_pending(self) -> bool:
        """Whether an answer is still wanted."""
        return self.approval.state == "pending" and not self.is_expired

    @property
    def needs_founder(self) -> bool:
        """Whether only a Founder answers it."""
        return self.approval.of == "founder"

    @property
    def may_approve(self) -> bool:
        """Whether this visitor's yes would count."""
        return self.objection is None

    @property
    def may_reject(self) -> bool:
        """Whether this visitor's no would count."""
        return self.objection is not Objection.NO_FOUNDER


class Approvals:
    """Knows who the Founders are, for a minute at a time."""

    def __init__(self, founders: FoundersOf) -> None:
        """`founders` asks GitHub who they are."""
        self._founders = founders
        self._known: LRUCache[int, tuple[datetime, tuple[str, ...]]] = LRUCache(_KEPT)

    async def question(
        self, approval: Approval, repository: Repository, login: str, now: datetime
    ) -> VisitorQuestion:
        """Show one approval to one person."""
        if approval.state != "pending":
            return VisitorQuestion(approval, (), Objection.NO_FOUNDER, is_expired=False)
        if approval.of == "person":
            # Who had a part in the commit is read from GitHub when the answer is carried out.
            return VisitorQuestion(approval, (), None, approval.is_expired(now))
        founders = await self._of(repository, now)
        objection = (
            None
            if founders is None
            else objection_to(login, founders, asked_by=approval.requested_by)
        )
        return VisitorQuestion(approval, founders, objection, approval.is_expired(now))

    async def _of(self, repository: Repository, now: datetime) -> tuple[str, ...] | None:
        at, known = self._known.get(repository.id, (now, None))
        if known is not None and now - at < READ_EVERY:
            return known
        try:
            found = tuple(await self._founders(repository))
        except (Passing, GitHubError) as fault:
            # Whoever presses is judged again, so nobody is kept from trying.
            log.warning("who the Founders are cannot be read", why=str(fault))
            return known
        self._known[repository.id] = (now, found)
        return found


def founders_from(github: GitHub, config: ConfigInForce, settled: Sequence[str]) -> FoundersOf:
    """Make the function that tells who the Founders of a repository are; it asks GitHub each time.

    Args:
        github: where roles are read, in the name of the cockpit.
        config: gives each repository's configuration, which may name its Founders.
        settled: `PLAYBOOKS_FOUNDERS` of the process, for repositories that name nobody.
    """

    async def founders(repository: Repository) -> Sequence[str]:
        client = github.repository(repository, playbook="cockpit")
        return await founders_of(client, (await config.of(repository)).config, settled)

    return founders


PLAYS = ("revert", "bisect", "shadow", "ramp", "rollback", "pause", "unpause")
"""Commands that a form offers to start something with."""
LONGEST_LINE = 1_000
LONGEST_REASON = 2_000
_ANSWERED_WITHIN = timedelta(days=1)


@dataclass(frozen=True)
class Shown:
    """A request made here and what became of it so far; `answer` is None while it waits."""

    answer: CommandResult | None

    @property
    def state(self) -> str:
        """One word for it."""
        return str(self.answer.outcome) if self.answer else "waiting"

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self.answer is not None and self.answer.outcome is not RequestState.SEEN


async def answer_to_show(visit: Visit, window: ScopedRecords) -> Shown | None:
    """The answer to the request that led to this page, if one did and it was this visitor's."""
    run = visit.query.get("request", "")
    if not run:
        return None
    answer = await window.answer(run)
    if answer is None:
        return Shown(None) if _is_lately_made(run, visit.now) else None
    return Shown(answer) if answer.actor == visit.who.login else None


def _is_lately_made(run: str, now: datetime) -> bool:
    """Whether this may be a request that waits: else it is none of ours, or long forgotten."""
    try:
        return now - ULID.from_str(run.upper()).datetime < _ANSWERED_WITHIN
    except (ValueError, OverflowError):
        return False


class Actions:
    """`/ui/start`, `/ui/plan` and `/ui/act`."""

    def __init__(
        self,
        inbox: Inbox,
        accept: Callable[[Trigger], Awaitable[str]],
        preview: Callable[[Repository, Request], Awaitable[Preview]],
    ) -> None:
        """Prepare.

        Args:
            inbox: stores a Trigger before it is answered.
            accept: starts the Run of a stored Trigger; its id.
            preview: says what a request would do.
        """
        self._inbox = inbox
        self._accept = accept
        self._preview = preview
        self._without_right: TTLCache[tuple[int, str], int] = TTLCache(_KEPT, _HOUR_S)

    def routes(self) -> tuple[PageRoute, ...]:
        """Their addresses."""
        return (
            PageRoute("GET", "/start", self.start, AccessRule.SIGNED_IN),
            PageRoute("POST", "/plan", self.plan, AccessRule.SIGNED_IN),
            PageRoute("POST", "/act", self.act, AccessRule.SIGNED_IN),
        )

    async def start(self, visit: Visit) -> web.StreamResponse:
        """Offer the playbooks."""
        _, chosen = visit.narrowed()
        play = visit.query.get("play", "revert")
        if play not in PLAYS:
            raise PageRefused(400, f"The playbook must be one of: {', '.join(PLAYS)}.")
        async with visit.window() as window:
            shown = await answer_to_show(visit, window)
        return visit.page(
            "start.html",
            chosen=chosen,
            play=play,
            offered=PLAYS,
            definition=COMMANDS[play],
            line=visit.query.get("line", f"/{play} ")[:LONGEST_LINE],
            problems=(),
            request_answer=shown,
        )

    async def plan(self, visit: Visit) -> web.StreamResponse:
        """Show what a command would do, and offer to do it. Changes nothing."""
        seen = visit.repository(visit.form.get("repo", ""))
        line = command_line(visit.form)
        trigger = self._trigger(visit, seen, line, None)
        if isinstance(trigger.request, CorrectionRequest):
            return self._corrected(visit, seen, line, trigger.request)
        self._refuse_more(visit, seen)
        preview = await self._preview(seen.repository, trigger.request)
        needed = COMMANDS[trigger.request.command].who
        return visit.page(
            "plan.html",
            seen=seen,
            line=line,
            preview=preview,
            play=_play_of(line),
            needed=needed,
            may=seen.may(needed),
        )

    async def act(self, visit: Visit) -> web.StreamResponse:
        """Take a command, as if it stood in a comment."""
        seen, incident = await self._place(visit)
        line = command_line(visit.form)
        trigger = self._trigger(visit, seen, line, incident)
        if isinstance(trigger.request, CorrectionRequest):
            return self._corrected(visit, seen, line, trigger.request)
        self._refuse_more(visit, seen)
        stored = (await self._inbox.put(trigger)).trigger
        run = await self._accept(stored)
        back = URL(inside(visit.form.get("back", f"{ROOT}/")))
        return see_other(str(back.update_query(request=run)))

    def _refuse_more(self, visit: Visit, seen: VisibleRepository) -> None:
        """Whoever may only look is told so a few times.

        A command leaves something behind here, a plan takes of what the repository may ask GitHub.
        """
        if seen.may(Role.WRITE):
            return
        key = (seen.repository.id, visit.who.login)
        said = self._without_right.get(key, 0)
        if said >= MOST_WITHOUT_RIGHT:
            raise PageRefused(
                429,
                f"Commands need write access; you have {seen.role}, and have tried too often.",
                "Ask somebody with write access, or try again in an hour.",
            )
        self._without_right[key] = said + 1

    async def _place(self, visit: Visit) -> tuple[VisibleRepository, Incident | None]:
        """The repository, and the incident the form stood on, if it did."""
        identity = visit.form.get("incident", "")
        if not identity:
            return visit.repository(visit.form.get("repo", "")), None
        async with visit.window() as window:
            incident = await window.incident(identity)
        if incident is None:
            raise PageRefused(404, "There is no such incident among those you can see.")
        return visit.sight.seen[incident.repository_id], incident

    def _trigger(
        self, visit: Visit, seen: VisibleRepository, line: str, incident: Incident | None
    ) -> Trigger:
        repository, login = seen.repository, visit.who.login
        web_address = f"{visit.web_url}/{repository.full_name}"
        # Where issues are switched off, its hotfix does.
        stands_for_it = () if incident is None else (incident.issue, *incident.prs)
        asked = CommentPosted(
            repository=repository,
            here=CommentPlace(repository.full_name, web_address),
            login=login,
            kind=SourceKind.COCKPIT,
            object_id=_identity(login, visit.form.get("once", ""), line),
            subject=next(filter(None, stands_for_it), None),
            is_pull_request=False,
            body=line,
            url=None,
            run=visit.form.get("run") or None,
        )
        found = triggers(asked, visit.now)
        if len(found) != 1:
            raise PageRefused(
                400,
                "That is not a command.",
                "A command begins with a slash, as in /status. Help lists them.",
            )
        return found[0]

    def _corrected(
        self, visit: Visit, seen: VisibleRepository, line: str, correction: CorrectionRequest
    ) -> web.StreamResponse:
        play = _play_of(line)
        return visit.page(
            "start.html",
            status=400,
            chosen=seen,
            play=play,
            offered=PLAYS,
            definition=COMMANDS[play],
            line=line,
            problems=[each.text for each in correction.problems],
        )


def _play_of(line: str) -> str:
    """The form that a command is written in."""
    name = line.partition(" ")[0].removeprefix("/").lower()
    return name if name in PLAYS else PLAYS[0]


def command_line(form: Mapping[str, str]) -> str:
    """Put a form's command and reason on one line, which is all that is read.

    Raises:
        PageRefused: one of them is too long.
    """
    line = " ".join(form.get("line", "").split())
    reason = " ".join(form.get("because", "").split())
    if len(line) > LONGEST_LINE:
        raise PageRefused(400, f"The command is too long: at most {LONGEST_LINE} characters.")
    if len(reason) > LONGEST_REASON:
        raise PageRefused(400, f"The reason is too long: at most {LONGEST_REASON} characters.")
    return f"{line} because {reason}" if reason else line


def _identity(login: str, once: str, line: str) -> int:
    """The same form sent twice is one request; the number stands where a comment's id would."""
    digest = hashlib.sha256(f"{login}\n{once}\n{line}".encode()).digest()
    return int.from_bytes(digest[:7])
