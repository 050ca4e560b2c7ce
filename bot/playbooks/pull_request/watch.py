"""Seeing a proposal through: look, decide, act, wait; until it is merged, closed or given up.

Deliveries only say "look again": everything is decided from what GitHub shows at that moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, Protocol

from bot.github.calls.checks import newest
from bot.github.calls.pulls import HeadMoved, Merged, NotYet
from bot.github.errors import Forbidden, NotFound, Unprocessable
from bot.github.models import CheckKind, MergeMethod
from bot.playbooks.checks.green import CheckTally, Counting, Reran, State
from bot.playbooks.checks.results import names_on_pull_requests
from bot.playbooks.ports import HistoryMirror
from bot.playbooks.pull_request.decide import (
    APPROVABLE,
    LONG_GREEN,
    AskPerson,
    DoubtApproval,
    Enqueue,
    FinishProposal,
    MergeNow,
    MergeTerms,
    Refit,
    Rerun,
    Why,
    next_move,
)
from bot.playbooks.pull_request.ownership import Foreign
from bot.playbooks.pull_request.ports import ProposalGitHub
from bot.playbooks.pull_request.publish import Hotfix
from bot.playbooks.pull_request.reruns import RerunAnswer, run_again
from bot.playbooks.pull_request.snapshot import PullRequestSnapshot, look, patiently
from bot.playbooks.run import Patience, Run, Signal, SignalKind, Wait, first, heard
from bot.playbooks.steps import Patch, Step, WaitPoint
from bot.triggers import Actor, Value

Method = Literal["merge", "squash", "rebase", "queue", "by hand"]
_ANOTHER_SECOND = timedelta(seconds=1)
"""A merge group made within the same second may be the very commit that has just failed."""
_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds until the next look after each refusal in passing; then a person is told."""
_NOT_OURS = "it contains commits that this App did not make; whoever answers for them can merge it"
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
    drafts: bool = True
    """Whether it is shown as a draft until a person has; not every plan has drafts."""
    evals_wanted: bool
    """Whether a person has to agree where no evals are configured."""
    person_wanted: bool = False
    """Whether a person decides about the merge, however green it is."""
    irreversible: tuple[str, ...] = ()
    """Paths of the change that cannot be undone: a Founder decides about the merge."""
    offenders: tuple[int, ...] = ()
    """The pull requests whose work is undone."""


How = Literal["merged", "closed", "cancelled", "rejected", "cured elsewhere", "given up"]


class Followed(Value):
    """How it ended."""

    how: How
    at: datetime
    tally: CheckTally | None = None
    hotfix: Hotfix | None = None
    head: str = ""
    """The last commit of the pull request, whoever pushed it."""
    base: str = ""
    """The branch that it went to in the end, where it is known."""
    before: str = ""
    """The last commit of the base branch before the incident, where it is known."""
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
    pull_request: int
    """Where it is now: another one where the branch of before could not be moved."""
    refused: str = ""
    """Why it could not be made to fit."""


class MergeAnswer(Value):
    """What came of asking GitHub to merge."""

    sha: str | None = None
    refused: str | None = None
    passing: bool = False
    """Whether the refusal is one that GitHub takes back within seconds."""
    group: str | None = None
    """What the merge queue tests, where it was built at once."""


class Reporting(Value):
    """The checks that report on pull requests; None where there is no pull request to tell by."""

    names: frozenset[str] | None


class Owner(Protocol):
    """The playbook whose proposal is followed: it knows the words, and how to compute it again."""

    async def tell(
        self,
        move: Wait | AskPerson,
        view: PullRequestSnapshot,
        deadline: datetime,
        now: datetime,
    ) -> None:
        """Tell people where it stands; called for every look that ends in waiting."""

    async def green(self, view: PullRequestSnapshot) -> None:
        """Say on the proposal itself that it is verified; called before it is merged."""

    async def approved(self, why: Why, head: str, by: Actor, names: tuple[str, ...] = ()) -> None:
        """Write down who waved what through; `names`: of the checks, where it is bound to them."""

    def note_joined(self, signals: Sequence[Signal]) -> None:
        """Take notice of who asked for the same meanwhile: they hear how it ends, too."""

    def start_over(self) -> None:
        """Be ready to ask again what was asked before: somebody said `/retry`."""

    async def whose(self, number: int, head: str) -> Foreign:
        """Read who made the pull request's head, which is not the one that we published.

        It is part of a look, and only reads.
        """

    async def refit(self, hotfix: Hotfix, view: PullRequestSnapshot) -> Fitted:
        """Make the proposal fit the moved base."""

    def message(self) -> tuple[str, str]:
        """Title and body of the merge commit."""


async def follow(
    run: Run,
    owner: Owner,
    github: ProposalGitHub,
    mirror: HistoryMirror,
    watched: Watched,
    patience: Patience,
) -> Followed:
    """Follow one proposal's pull request to its end.

    Args:
        run: the Run this is part of.
        owner: the playbook.
        github: the repository.
        mirror: its history.
        watched: the proposal.
        patience: how long to wait.
    """
    return await _Following(run, owner, github, mirror, watched, patience).to_its_end()


_TO_BE_MERGED: frozenset[Why] = frozenset({"unrelated", "nothing counts", "unstarted", "no evals"})
"""Doubts that `/approve` answers after a look at the change: it is to be merged all the same."""


class _Following:
    def __init__(
        self,
        run: Run,
        owner: Owner,
        github: ProposalGitHub,
        mirror: HistoryMirror,
        watched: Watched,
        patience: Patience,
    ) -> None:
        self.run, self.owner, self.github, self.mirror = run, owner, github, mirror
        self.watched, self.patience = watched, patience
        self.patient = run.patched(Patch.PATIENT_WITH_CHECKS)
        self.asks_about_foreign = run.patched(Patch.FOREIGN_HEADS)
        self.one_yes = run.patched(Patch.ONE_YES)
        self.bound_to_base = run.patched(Patch.BOUND_TO_BASE)
        self.conflicts_pass = run.patched(Patch.PASSING_CONFLICTS)
        self.counting = watched.counting
        self.reporting: Reporting | None = None
        self.knows_who_reports = not self.patient or self.counting.smoke_from != "passed before"
        self._a_while = patience.look_again.total_seconds()
        self.hotfix = watched.hotfix
        self.last: PullRequestSnapshot | None = None
        self.merged: str | None = None
        self.conflict = watched.conflict
        self.approved: tuple[DoubtApproval, ...] = ()
        self.method: Method = "by hand"
        self.said_green: str | None = None
        self.joined: set[Literal["person", "program"]] = set()
        self._forget_refusals()

    def _forget_refusals(self) -> None:
        """Start over, as `/retry` asks for."""
        self.refused: str | None = None
        self.reran: Reran | None = None
        self.enqueued: str | None = None
        self.seen_out_of_queue = 0
        self.out_since: datetime | None = None
        self.tested: tuple[str, ...] = ()
        self.requeued = 0
        self.refused_in_passing = 0

    async def to_its_end(self) -> Followed:
        run = self.run
        began = await run.now()
        self.deadline = began + self.watched.checks_may_take
        while True:
            view = await run.step(
                Step.READ_PULL_REQUEST, PullRequestSnapshot, patiently(self._look)
            )
            self.last = view
            if view.renamed_from:
                # A yes was to this very branch, whatever it is called.
                self.approved = tuple(each.renamed(view) for each in self.approved)
            now = await run.now()
            if await self._sees_who_reports(view, now - began):
                continue
            self._note_queue(view, now)
            move = next_move(view, self._terms(), now)
            match move:
                case FinishProposal(merged=merged, sha=sha):
                    return self._ended("merged" if merged else "closed", now, view, sha=sha)
                case Refit():
                    done = await self._refit(view, now)
                    if isinstance(done, AskPerson):
                        done = await self._tell(done, view, now, began)
                    if done is not None:
                        return done
                case MergeNow() | Enqueue() | Rerun():
                    # A person's word that came meanwhile counts before we act.
                    if ended := await self._listen(0, view, None):
                        return ended
                    pause = await self._act(move, view, now)
                    if pause and (ended := await self._listen(pause, view, None)):
                        return ended
                case Wait() | AskPerson():
                    if ended := await self._tell(move, view, now, began):
                        return ended

    async def _tell(
        self, move: Wait | AskPerson, view: PullRequestSnapshot, now: datetime, began: datetime
    ) -> Followed | None:
        """Tell people, and wait; the end, where a person wants one or nobody ever came."""
        await self.owner.tell(move, view, self.deadline, now)
        if ended := await self._listen(self._a_while, view, move):
            return ended
        return self._ended("given up", now, view) if now - began > self.patience.give_up else None

    async def _look(self, _: bool) -> PullRequestSnapshot:
        watched = self.watched
        if self.merged and self.last:
            # GitHub has just said so itself, in answer to our merge.
            return self.last.model_copy(update={"pull_request": "merged", "merge_sha": self.merged})
        view = await look(
            self.github,
            watched.pull_request,
            self.counting,
            mirror=self.mirror,
            before=watched.before,
            broken=watched.hotfix.base_head,
            tested=self.tested,
            last=self.last,
        )
        ours = view.head == self.hotfix.commit
        if ours or view.pull_request != "open" or not self.asks_about_foreign:
            return view
        foreign = await self.owner.whose(watched.pull_request, view.head)
        return view.model_copy(update={"foreign": foreign})

    async def _sees_who_reports(self, view: PullRequestSnapshot, waited: timedelta) -> bool:
        """Find out what does not report on pull requests, and need not be waited for.

        GitHub is asked once, and only where something is missing that had time to begin.

        Returns:
            Whether less counts than at the look before.
        """
        tally = view.tally
        missing = {*tally.named(State.MISSING)}
        begun = {row.name for row in tally.rows} - missing
        waiting = view.pull_request == "open" and tally.verdict == "waiting" and missing
        if self.knows_who_reports or not waiting:
            return False
        if self.reporting is None:
            if not begun and waited < self.patience.look_again:
                return False
            read = partial(_reporting, self.github, self.watched.offenders, view.base_ref, missing)
            self.reporting = await self.run.step(Step.READ_REPORTING_CHECKS, Reporting, read)
        names = self.reporting.names
        if names is not None and not names | begun and waited < LONG_GREEN:
            # No pull request was ever checked: this one may be the first.
            return False
        self.knows_who_reports = True
        if names is None or names >= missing:
            return False
        self.counting = self.counting.reporting(names | begun)
        return True

    def _terms(self) -> MergeTerms:
        return MergeTerms(
            commit=self.hotfix.commit,
            base=self.hotfix.base_head,
            counting=self.counting,
            patient=self.patient,
            asks_about_foreign=self.asks_about_foreign,
            deadline=self.deadline,
            conflict=self.conflict,
            conflicts_pass=self.conflicts_pass,
            drafts=self.watched.drafts,
            merge_refused=self.refused,
            approved=self.approved,
            reran=self.reran,
            # Seen twice: for a moment a merged one is in neither list.
            left_queue=self.seen_out_of_queue > 1,
            requeued=self.requeued,
            # Who asks for the same later is served as if they had asked first.
            evals_wanted=self.watched.evals_wanted and "person" not in self.joined,
            person_wanted=self.watched.person_wanted and not self.joined,
            irreversible=self.watched.irreversible,
        )

    def _note_queue(self, view: PullRequestSnapshot, now: datetime) -> None:
        if view.queue == "waiting" and view.group:
            self._note_group(view.group.commit)
        if self.enqueued != view.head or view.queue == "waiting":
            self.seen_out_of_queue, self.out_since = 0, None
        elif view.queue == "required":
            self.seen_out_of_queue += 1
            self.out_since = self.out_since or now

    def _note_group(self, commit: str | None) -> None:
        if commit and commit not in self.tested:
            self.tested = (*self.tested, commit)

    async def _act(
        self, move: MergeNow | Enqueue | Rerun, view: PullRequestSnapshot, now: datetime
    ) -> float:
        """Do it, and say how many seconds GitHub needs until its effect can be seen."""
        if isinstance(move, Rerun) and self.patient:
            return await self._rerun(move.names, view)
        if isinstance(move, Rerun):
            again = partial(_rerun, self.github, view.head, move.names)
            asked = await self.run.step(Step.RERUN_CHECKS, int, again)
            self.reran = Reran(head=view.head, old=view.tally.rows, agreed=asked > 0)
            self.deadline = await self.run.now() + self.watched.checks_may_take
            return 0
        if isinstance(move, Enqueue) and self.enqueued == move.head:
            out = now - self.out_since if self.out_since else timedelta()
            if self.seen_out_of_queue < 2 or out <= _ANOTHER_SECOND:
                # Not in the queue a moment after we put it there: it may just have been merged.
                return self._a_while
            self.requeued += 1
        if self.said_green != view.head:
            await self.owner.green(view)
            self.said_green = view.head
        if isinstance(move, Enqueue):
            return await self._enqueue(move.head, view)
        return await self._merge(move.head, view)

    async def _rerun(self, names: tuple[str, ...], view: PullRequestSnapshot) -> float:
        again = partial(run_again, self.github, view.head, names)
        answer = await self.run.step(Step.RERUN_CHECKS, RerunAnswer, again)
        now = await self.run.now()
        before = self.reran if self.reran and self.reran.head == view.head else None
        answer = answer.by(now, self.deadline)
        if asked := tuple(name for name in names if name not in answer.later):
            by = now + self.patience.reruns_begin
            before = before or Reran(head=view.head, old=(), agreed=True)
            self.reran = before.again(asked, view.tally.rows, answer.refused, by)
            self.deadline = now + self.watched.checks_may_take
        return self._a_while if answer.later else 0

    async def _enqueue(self, head: str, view: PullRequestSnapshot) -> float:
        enqueue = self._only_ours(
            head, partial(_enqueue, self.github, self.watched.pull_request, head)
        )
        step = self._merging(
            view, Step.ENQUEUE_PULL_REQUEST, Step.ENQUEUE_PULL_REQUEST_IRREVERSIBLY
        )
        answer = await self.run.step(step, MergeAnswer, enqueue)
        self.method, self.enqueued = "queue", None if answer.refused else head
        self.seen_out_of_queue, self.out_since = 0, None
        self._note_group(answer.group)
        return self._refused(answer)

    def _merging(self, view: PullRequestSnapshot, step: Step, for_good: Step) -> Step:
        """Choose the step: a merge that cannot be undone is declared as such."""
        touched = view.foreign.irreversible if view.foreign else ()
        return for_good if self.watched.irreversible or touched else step

    def _only_ours(
        self, head: str, merge: Callable[[bool], Awaitable[MergeAnswer]]
    ) -> Callable[[bool], Awaitable[MergeAnswer]]:
        """The same, for a head that we made or that somebody answers for, and for no other."""
        answered_for = any((each.head, each.why) == (head, "foreign") for each in self.approved)
        if head == self.hotfix.commit or answered_for:
            return merge

        async def refuse(_: bool) -> MergeAnswer:
            # Reached by Runs alone that began before such heads were asked about.
            return MergeAnswer(refused=_NOT_OURS)

        return refuse

    async def _merge(self, head: str, view: PullRequestSnapshot) -> float:
        method = _method(view, self.watched.preferred)
        number, message = self.watched.pull_request, self.owner.message()
        merge = self._only_ours(head, partial(_merge, self.github, number, head, method, message))
        step = self._merging(view, Step.MERGE_PULL_REQUEST, Step.MERGE_PULL_REQUEST_IRREVERSIBLY)
        answer = await self.run.step(step, MergeAnswer, merge)
        if answer.sha:
            self.method, self.merged = _METHODS[method.value], answer.sha
        return self._refused(answer)

    def _refused(self, answer: MergeAnswer) -> float:
        """Note a refusal, and say how long to wait where it is one in passing."""
        if answer.refused:
            self.github.forget_rules()
        if answer.passing and self.patient and self.refused_in_passing < len(_PAUSES):
            # Nobody need know: GitHub merges it in a moment, or the next look sees what has moved.
            self.refused_in_passing += 1
            return _PAUSES[self.refused_in_passing - 1]
        self.refused_in_passing = 0
        self.refused = answer.refused
        return 0

    async def _refit(self, view: PullRequestSnapshot, now: datetime) -> Followed | AskPerson | None:
        before, was_in_conflict = self.hotfix, self.conflict
        fitted = await self.owner.refit(before, view)
        if fitted.hotfix is None:
            return self._ended("cured elsewhere", now, view)
        if fitted.refused:
            return AskPerson(why="update refused", reason=fitted.refused)
        if fitted.pull_request != self.watched.pull_request:
            self.watched = self.watched.model_copy(update={"pull_request": fitted.pull_request})
            self._forget_refusals()
        lasts = was_in_conflict and not self.conflicts_pass
        self.hotfix, self.conflict = fitted.hotfix, fitted.conflict or lasts
        if self.hotfix.commit != before.commit:
            self.deadline = now + self.watched.checks_may_take
        elif self.hotfix == before and (was_in_conflict or not self.conflict):
            # GitHub has not taken notice of the base's new head yet.
            return await self._listen(self._a_while, view, None)
        return None

    async def _listen(
        self, seconds: float, view: PullRequestSnapshot, move: Wait | AskPerson | None
    ) -> Followed | None:
        """Wait for a Signal; the end, where a person wants one."""
        signals = await heard(self.run, seconds, WaitPoint.PULL_REQUEST)
        if seconds:
            # Whatever GitHub refused before it may grant now.
            self.refused = None
        if not signals:
            return None
        now = await self.run.now()
        self.owner.note_joined(signals)
        if cancel := first(signals, SignalKind.CANCEL):
            return self._ended("cancelled", now, view, by=cancel.actor)
        self.joined.update(each.joins for each in signals if each.joins)
        asked = move.why if isinstance(move, AskPerson) and move.why in APPROVABLE else None
        meant = (view.head,) if self._is_bound(asked) else (None, view.head)
        about_this = [each for each in signals if each.commit in meant]
        if asked and (reject := first(about_this, SignalKind.REJECT)):
            return self._ended("rejected", now, view, by=reject.actor)
        if asked and (approve := first(about_this, SignalKind.APPROVE)):
            names = move.names if isinstance(move, AskPerson) else ()
            await self._approve(asked, view, approve, names)
            self._decide_besides(asked, view)
        elif asked and (joining := self._settles(asked, signals)):
            await self._approve(asked, view, joining)
        if first(signals, SignalKind.RETRY):
            self._forget_refusals()
            self.owner.start_over()
            self.deadline = now + self.watched.checks_may_take
        return None

    def _is_bound(self, asked: Why | None) -> bool:
        """Whether an answer has to name the commit that it is to."""
        return self.asks_about_foreign and asked in ("foreign", "founder")

    def _settles(self, asked: Why, signals: Sequence[Signal]) -> Signal | None:
        """A request for the same that would not have been asked this, had it come first."""
        wanted = {"person": ("person", "program"), "no evals": ("person",)}.get(asked, ())
        return next((each for each in signals if each.joins in wanted), None)

    async def _approve(
        self, why: Why, view: PullRequestSnapshot, signal: Signal, names: tuple[str, ...] = ()
    ) -> None:
        self.approved = (*self.approved, self._yes(why, view, names))
        if signal.actor is not None:
            bound = names if why == "unstarted" else ()
            await self.owner.approved(why, view.head, signal.actor, bound)

    def _yes(
        self, why: Why, view: PullRequestSnapshot, names: tuple[str, ...] = ()
    ) -> DoubtApproval:
        base = view.base_ref if self.bound_to_base else ""
        return DoubtApproval(head=view.head, why=why, names=names, base=base)

    def _decide_besides(self, why: Why, view: PullRequestSnapshot) -> None:
        """Who waves a doubt about a commit through has decided about its merge, too."""
        if self.one_yes and why in _TO_BE_MERGED:
            besides: tuple[Why, ...] = ("no evals", "person")
            self.approved += tuple(self._yes(each, view) for each in besides if each != why)

    def _ended(
        self,
        how: How,
        at: datetime,
        view: PullRequestSnapshot,
        *,
        sha: str | None = None,
        by: Actor | None = None,
    ) -> Followed:
        return Followed(
            how=how,
            at=at,
            tally=view.tally,
            hotfix=self.hotfix,
            head=view.head,
            base=view.base_ref,
            before=self.watched.before,
            sha=sha,
            method=self.method,
            by=by,
            approved=any(each.head == view.head for each in self.approved),
        )


def _method(view: PullRequestSnapshot, preferred: MergeMethod | None) -> MergeMethod:
    allowed = view.methods
    if not view.rebases:
        allowed = tuple(each for each in allowed if each != MergeMethod.REBASE.value) or allowed
    if preferred is not None and preferred.value in allowed:
        return preferred
    return MergeMethod(allowed[0]) if allowed else MergeMethod.MERGE


async def _merge(
    github: ProposalGitHub,
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
    except (Forbidden, NotFound, Unprocessable) as refusal:
        return MergeAnswer(refused=str(refusal))
    match outcome:
        case Merged(sha=sha):
            return MergeAnswer(sha=sha)
        case NotYet(reason=reason, passing=passing):
            return MergeAnswer(refused=reason, passing=passing)
        case HeadMoved():
            return MergeAnswer()


async def _enqueue(github: ProposalGitHub, number: int, head: str, _: bool) -> MergeAnswer:
    pull = await github.pulls.get(number)
    if pull.is_merged:
        return MergeAnswer()
    try:
        entry = await github.merging.enqueue(pull, head_sha=head)
    except (Forbidden, NotFound, Unprocessable) as refusal:
        return MergeAnswer(refused=str(refusal))
    if isinstance(entry, NotYet):
        return MergeAnswer(refused=entry.reason, passing=entry.passing)
    return MergeAnswer(group=entry.head_sha)


async def _reporting(
    github: ProposalGitHub, first: tuple[int, ...], base: str, wanted: set[str], _: bool
) -> Reporting:
    try:
        return Reporting(names=await names_on_pull_requests(github, first, base, wanted))
    except (Forbidden, NotFound, Unprocessable):
        # Then everything is waited for.
        return Reporting(names=None)


async def _rerun(github: ProposalGitHub, head: str, names: tuple[str, ...], _: bool) -> int:
    """Ask for the named checks to run again; how many GitHub agreed to."""
    asked = 0
    for result in newest(await github.checks.results(head)):
        if result.name in names and result.kind is CheckKind.CHECK_RUN and result.is_completed:
            try:
                await github.checks.rerun(result)
            except (Forbidden, NotFound, Unprocessable):
                # Another service's check: only its own page can run it again.
                continue
            asked += 1
    return asked
