"""A base branch that is red after the merge: watched until it is green, whoever mends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.github.errors import NotFound
from bot.playbooks.checks.green import CheckTally, Reran, State, reruns, tally
from bot.playbooks.checks.results import checked
from bot.playbooks.checks.streak import Chance
from bot.playbooks.pull_request import messages
from bot.playbooks.pull_request.decide import confirmation
from bot.playbooks.pull_request.ports import runs
from bot.playbooks.pull_request.reruns import RerunAnswer, chances, run_again, run_by_app
from bot.playbooks.pull_request.snapshot import patiently
from bot.playbooks.pull_request.watch import Followed
from bot.playbooks.pull_request.workflow import ProposalWorkflow
from bot.playbooks.run import SignalKind, first, heard
from bot.playbooks.steps import Patch, Step, WaitPoint
from bot.triggers import Value


class Recovery(Value):
    """How watching ended, and what the branch's head showed then."""

    how: Literal["green", "cancelled", "given up"]
    head: str
    tally: CheckTally


class BranchHead(Value):
    """The base branch now; `head` is its newest commit but for records.

    There is none while the branch has another name than we know.
    """

    head: str | None
    tally: CheckTally
    chances: tuple[Chance, ...] = ()
    """How sure each failure is that may be run again, where it is asked."""


async def recovery(
    work: ProposalWorkflow[Any, Any],
    followed: Followed,
    sha: str,
    on_merge: CheckTally,
    *,
    red: Callable[[], Awaitable[None]],
) -> Recovery:
    """Watch the base branch until what counts is green on its head.

    Missing results are not recovery: every check that counts must have reported there.

    Args:
        work: the incident.
        followed: how its proposal was merged; what was waved through there counts no more.
        sha: the merge.
        on_merge: what the checks said of it.
        red: called once, unless the head is green already.
    """
    run, patience = work.run, work.parts.patience
    began, watched, shown, called = await run.now(), sha, on_merge, False
    weighs_chance = bool(followed.before) and run.patched(Patch.CHANCE_AFTER_MERGE)
    look = _look(work, followed.before if weighs_chance else "")
    reran: Reran | None = None
    while True:
        found = await run.step(Step.READ_BASE_CHECKS, BranchHead, patiently(look))
        if found.head is not None and found.head != watched:
            watched = found.head
            await watch_branch(work, watched)
        said = confirmation(
            same_tree=False, on_base=found.tally, on_hotfix=followed.tally, overdue=False
        )
        if found.head is not None and said == "cured":
            return Recovery(how="green", head=watched, tally=found.tally)
        # Reading the clock is a step of its own, which Runs begun before did not take here.
        now = await run.now() if weighs_chance else began
        reran, later = reran if reran and reran.head == watched else None, False
        again = reruns(found.tally, found.chances, reran, now)
        if weighs_chance and again.are_worth_it:
            deadline = began + _checks_may_take(work)
            reran, later = await _run_again(
                work, watched, again.wanted, found.tally, reran, deadline
            )
            if not later:
                continue
        # A new run of what may have failed by chance is looked at before anybody is woken.
        waits = not called and (
            later
            or again.are_awaited
            or (
                reran is not None
                and found.tally.verdict == "waiting"
                and now - began < _checks_may_take(work)
            )
        )
        if waits:
            runs = tuple(again.rounds) or again.wanted
            standing = messages.run_again_after_merge(sha, work.case, runs, found.tally)
            await work.tell(standing)
            pause = patience.look_again
        else:
            if not called:
                called = True
                await red()
            if found.tally.verdict == "red":
                shown = found.tally
            standing = messages.red_after_merge(sha, work.case, shown, (*again.rounds,))
            await work.tell(standing)
            await work.publisher.ask(work.case, standing, "red after merge")
            pause = patience.look_later
        signals = await heard(run, pause.total_seconds(), WaitPoint.BASE_RECOVERY)
        if first(signals, SignalKind.CANCEL):
            return Recovery(how="cancelled", head=watched, tally=shown)
        if first(signals, SignalKind.RETRY):
            work.publisher.start_over()
        if await run.now() - began > patience.give_up:
            return Recovery(how="given up", head=watched, tally=shown)


async def _run_again(
    work: ProposalWorkflow[Any, Any],
    head: str,
    names: tuple[str, ...],
    tally: CheckTally,
    before: Reran | None,
    deadline: datetime,
) -> tuple[Reran | None, bool]:
    """Ask for it; also say whether it is too early for some, which is not so for ever."""
    again = partial(run_again, work.github, head, names)
    answer = await work.run.step(Step.RERUN_CHECKS, RerunAnswer, again)
    now = await work.run.now()
    answer = answer.by(now, deadline)
    if asked := tuple(name for name in names if name not in answer.later):
        by = now + work.parts.patience.reruns_begin
        before = before or Reran(head=head, old=(), agreed=True)
        before = before.again(asked, tally.rows, answer.refused, by)
    return before, bool(answer.later)


def _checks_may_take(work: ProposalWorkflow[Any, Any]) -> timedelta:
    return timedelta(minutes=work.plan.config.checks.timeout_minutes)


def _look(work: ProposalWorkflow[Any, Any], before: str) -> Callable[[bool], Awaitable[BranchHead]]:
    """Look at the base branch; where `before` is known, how sure its failures are, too."""

    async def look(_: bool) -> BranchHead:
        try:
            found = await checked(work.github, await work.github.git.head(work.case.base))
        except NotFound:
            return BranchHead(head=None, tally=CheckTally(verdict="waiting", rows=()))
        shown = tally(work.counting, found.results)
        if not before or shown.verdict != "red":
            return BranchHead(head=found.sha, tally=shown)
        failed = run_by_app(found.results, shown.named(State.FAILED))
        weighed = await chances(
            work.github, work.parts.mirror, failed, found.results, (found.sha,), before
        )
        return BranchHead(head=found.sha, tally=shown, chances=weighed)

    return look


async def watch_branch(work: ProposalWorkflow[Any, Any], head: str) -> None:
    """From now on deliveries about this commit wake the Run."""
    now, run = await work.run.now(), work.run.id

    async def change(conn: AsyncConnection) -> bool:
        await runs.watch(conn, run, at=now, head_sha=head, pull_request=work.case.pull_request)
        return True

    await work.run.write(Step.WATCH_BASE_BRANCH, bool, change)
