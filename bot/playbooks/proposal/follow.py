"""Seeing a proposal through: look, decide, act, wait; until it is merged, closed or given up.

Deliveries only say "look again": everything is decided from what GitHub shows at that moment.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Literal, Protocol

from bot.github.calls.merging import HeadMoved, Merged, NotYet
from bot.github.client import RepositoryClient
from bot.github.errors import Forbidden, NotFound, Unprocessable
from bot.github.models import CheckKind, MergeMethod
from bot.playbooks.checks.green import Counting, Tally
from bot.playbooks.parts import Patience
from bot.playbooks.proposal.hotfix import Hotfix
from bot.playbooks.proposal.looking import look
from bot.playbooks.proposal.merging import (
    APPROVABLE,
    Approved,
    Ask,
    Enqueue,
    Finish,
    Merge,
    Refit,
    Reran,
    Rerun,
    Terms,
    View,
    Wait,
    Why,
    next_move,
)
from bot.playbooks.run import Run, Signal, SignalKind
from bot.playbooks.signals import first, heard
from bot.triggers import Actor, Value

Method = Literal["merge", "squash", "rebase", "queue", "by hand"]
_METHODS: dict[str, Method] = {"merge": "merge", "squash": "squash", "rebase": "rebase"}


class Watched(Value):
    """What is followed, and what was settled about it."""

    pull_request: int
    hotfix: Hotfix
    counting: Counting
    before: str
    """The last commit of the base branch before the incident."""
    preferred: MergeMethod | None
    """The configured merge method; None takes the first the rules allow."""
    checks_may_take: timedelta
    conflict: bool
    """Whether a person has to resolve the change first."""
    evals_wanted: bool
    """Whether a person has to agree where no evals are configured."""
    person_wanted: bool = False
    """Whether a person decides about the merge, however green it is."""
    irreversible: tuple[str, ...] = ()
    """Paths of the change that cannot be undone: a Founder decides about the merge."""


How = Literal["merged", "closed", "cancelled", "rejected", "cured elsewhere", "given up"]


class Followed(Value):
    """How it ended."""

    how: How
    at: datetime
    tally: Tally | None = None
    hotfix: Hotfix | None = None
    sha: str | None = None
    method: Method = "by hand"
    by: Actor | None = None
    approved: bool = False
    """Whether a person waved something through."""


class Fitted(Value):
    """A proposal for the moved base; None where there is nothing left to do."""

    hotfix: Hotfix | None
    conflict: bool = False
    """Whether a person has to resolve it now."""


class MergeAnswer(Value):
    """What came of asking GitHub to merge."""

    sha: str | None = None
    refused: str | None = None


class Owner(Protocol):
    """The playbook whose proposal is followed: it knows the words, and how to compute it again."""

    async def tell(self, move: Wait | Ask, view: View, deadline: datetime) -> None:
        """Tell people where it stands; called for every look that ends in waiting."""

    async def green(self, view: View) -> None:
        """Say on the proposal itself that it is verified; called before it is merged."""

    async def approved(self, why: Why, head: str, by: Actor) -> None:
        """Write down who waved what through."""

    def start_over(self) -> None:
        """Be ready to ask again what was asked before: somebody said `/retry`."""

    async def refit(self, hotfix: Hotfix, view: View) -> Fitted:
        """Make the proposal fit the moved base."""

    def message(self) -> tuple[str, str]:
        """Title and body of the merge commit."""


async def follow(
    run: Run, owner: Owner, github: RepositoryClient, watched: Watched, patience: Patience
) -> Followed:
    """Follow one proposal's pull request to its end.

    Args:
        run: the Run this is part of.
        owner: the playbook.
        github: the repository.
        watched: the proposal.
        patience: how long to wait.
    """
    return await _Following(run, owner, github, watched, patience).to_its_end()


class _Following:
    def __init__(
        self,
        run: Run,
        owner: Owner,
        github: RepositoryClient,
        watched: Watched,
        patience: Patience,
    ) -> None:
        self.run, self.owner, self.github = run, owner, github
        self.watched, self.patience = watched, patience
        self._a_while = patience.look_again.total_seconds()
        self.hotfix = watched.hotfix
        self.conflict = watched.conflict
        self.approved: tuple[Approved, ...] = ()
        self.method: Method = "by hand"
        self.said_green: str | None = None
        self._forget_refusals()

    def _forget_refusals(self) -> None:
        """Begin anew, as `/retry` asks for."""
        self.refused: str | None = None
        self.reran: Reran | None = None
        self.enqueued: str | None = None
        self.seen_out_of_queue = 0

    async def to_its_end(self) -> Followed:
        run = self.run
        began = await run.now()
        self.deadline = began + self.watched.checks_may_take
        while True:
            view = await run.step("look at the pull request", View, self._look)
            now = await run.now()
            self._note_queue(view)
            move = next_move(view, self._terms(), now)
            match move:
                case Finish(merged=merged, sha=sha):
                    return self._ended("merged" if merged else "closed", now, view, sha=sha)
                case Refit():
                    if ended := await self._refit(view, now):
                        return ended
                case Merge() | Enqueue() | Rerun():
                    # A person's word that came meanwhile counts before we act.
                    if ended := await self._listen(0, view, None):
                        return ended
                    pause = await self._act(move, view)
                    if pause and (ended := await self._listen(pause, view, None)):
                        return ended
                case Wait() | Ask():
                    await self.owner.tell(move, view, self.deadline)
                    if ended := await self._listen(self._a_while, view, move):
                        return ended
                    if now - began > self.patience.give_up:
                        return self._ended("given up", now, view)

    async def _look(self, _: bool) -> View:
        watched = self.watched
        return await look(
            self.github,
            watched.pull_request,
            watched.counting,
            before=watched.before,
            broken=watched.hotfix.base_head,
        )

    def _terms(self) -> Terms:
        return Terms(
            commit=self.hotfix.commit,
            base=self.hotfix.base_head,
            counting=self.watched.counting,
            deadline=self.deadline,
            conflict=self.conflict,
            merge_refused=self.refused,
            approved=self.approved,
            reran=self.reran,
            # Seen twice: for a moment a merged one is in neither list.
            left_queue=self.seen_out_of_queue > 1,
            evals_wanted=self.watched.evals_wanted,
            person_wanted=self.watched.person_wanted,
            irreversible=self.watched.irreversible,
        )

    def _note_queue(self, view: View) -> None:
        if self.enqueued != view.head or view.queue == "waiting":
            self.seen_out_of_queue = 0
        elif view.queue == "required":
            self.seen_out_of_queue += 1

    async def _act(self, move: Merge | Enqueue | Rerun, view: View) -> float:
        """Do it, and say how many seconds GitHub needs until its effect can be seen."""
        if isinstance(move, Rerun):
            again = partial(_rerun, self.github, view.head, move.names)
            asked = await self.run.step("run again what broke off", int, again)
            self.reran = Reran(head=view.head, old=view.tally.rows, agreed=asked > 0)
            self.deadline = await self.run.now() + self.watched.checks_may_take
            return 0
        if isinstance(move, Enqueue) and self.enqueued == move.head:
            # Not in the queue a moment after we put it there: it may just have been merged.
            return self._a_while
        if self.said_green != view.head:
            await self.owner.green(view)
            self.said_green = view.head
        if isinstance(move, Enqueue):
            await self._enqueue(move.head)
        else:
            await self._merge(move.head, view)
        return 0

    async def _enqueue(self, head: str) -> None:
        enqueue = partial(_enqueue, self.github, self.watched.pull_request, head)
        answer = await self.run.step(
            self._merging("put the pull request into the merge queue"), MergeAnswer, enqueue
        )
        self.method, self.refused = "queue", answer.refused
        self.enqueued = None if answer.refused else head

    def _merging(self, step: str) -> str:
        """The step's name: one that cannot be undone is declared as such."""
        return f"{step}, for good" if self.watched.irreversible else step

    async def _merge(self, head: str, view: View) -> None:
        method = _method(view.methods, self.watched.preferred)
        number, message = self.watched.pull_request, self.owner.message()
        merge = partial(_merge, self.github, number, head, method, message)
        answer = await self.run.step(self._merging("merge the pull request"), MergeAnswer, merge)
        if answer.sha:
            self.method = _METHODS[method.value]
        self.refused = answer.refused

    async def _refit(self, view: View, now: datetime) -> Followed | None:
        before = self.hotfix
        fitted = await self.owner.refit(before, view)
        if fitted.hotfix is None:
            return self._ended("cured elsewhere", now, view)
        self.hotfix, self.conflict = fitted.hotfix, self.conflict or fitted.conflict
        if self.hotfix.commit != before.commit:
            self.deadline = now + self.watched.checks_may_take
        elif self.hotfix == before and not self.conflict:
            # GitHub has not taken notice of the base's new head yet.
            return await self._listen(self._a_while, view, None)
        return None

    async def _listen(self, seconds: float, view: View, move: Wait | Ask | None) -> Followed | None:
        """Wait for a Signal; the end, where a person wants one."""
        signals = await heard(self.run, seconds)
        if seconds:
            # Whatever GitHub refused before it may grant now.
            self.refused = None
        if not signals:
            return None
        now = await self.run.now()
        if cancel := first(signals, SignalKind.CANCEL):
            return self._ended("cancelled", now, view, by=cancel.actor)
        asked = move.why if isinstance(move, Ask) and move.why in APPROVABLE else None
        about_this = [each for each in signals if each.commit in (None, view.head)]
        if asked and (reject := first(about_this, SignalKind.REJECT)):
            return self._ended("rejected", now, view, by=reject.actor)
        if asked and (approve := first(about_this, SignalKind.APPROVE)):
            await self._approve(asked, view.head, approve)
        if first(signals, SignalKind.RETRY):
            self._forget_refusals()
            self.owner.start_over()
            self.deadline = now + self.watched.checks_may_take
        return None

    async def _approve(self, why: Why, head: str, signal: Signal) -> None:
        self.approved = (*self.approved, Approved(head=head, why=why))
        if signal.actor is not None:
            await self.owner.approved(why, head, signal.actor)

    def _ended(
        self,
        how: How,
        at: datetime,
        view: View,
        *,
        sha: str | None = None,
        by: Actor | None = None,
    ) -> Followed:
        return Followed(
            how=how,
            at=at,
            tally=view.tally,
            hotfix=self.hotfix,
            sha=sha,
            method=self.method,
            by=by,
            approved=any(each.head == view.head for each in self.approved),
        )


def _method(allowed: tuple[str, ...], preferred: MergeMethod | None) -> MergeMethod:
    if preferred is not None and preferred.value in allowed:
        return preferred
    return MergeMethod(allowed[0]) if allowed else MergeMethod.MERGE


async def _merge(
    github: RepositoryClient,
    number: int,
    head: str,
    method: MergeMethod,
    message: tuple[str, str],
    look_first: bool,
) -> MergeAnswer:
    title, body = message
    try:
        outcome = await github.merging.merge(
            number,
            head_sha=head,
            method=method,
            title=f"{title} (#{number})",
            message=body,
            look_first=look_first,
        )
    except (Forbidden, Unprocessable) as refusal:
        return MergeAnswer(refused=str(refusal))
    match outcome:
        case Merged(sha=sha):
            return MergeAnswer(sha=sha)
        case NotYet(reason=reason):
            return MergeAnswer(refused=reason)
        case HeadMoved():
            return MergeAnswer()


async def _enqueue(github: RepositoryClient, number: int, head: str, _: bool) -> MergeAnswer:
    pull = await github.pulls.get(number)
    if pull.is_merged:
        return MergeAnswer()
    try:
        await github.merging.enqueue(pull, head_sha=head)
    except (Forbidden, Unprocessable) as refusal:
        return MergeAnswer(refused=str(refusal))
    return MergeAnswer()


async def _rerun(github: RepositoryClient, head: str, names: tuple[str, ...], _: bool) -> int:
    """Ask for the named checks to run again; how many GitHub agreed to."""
    asked = 0
    for result in await github.checks.results(head):
        if result.name in names and result.kind is CheckKind.CHECK_RUN and result.is_completed:
            try:
                await github.checks.rerun(result)
            except (Forbidden, NotFound, Unprocessable):
                # Another service's check: only its own page can run it again.
                continue
            asked += 1
    return asked
