"""A base branch that is red after the merge: watched until it is green, whoever mends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.github.errors import NotFound
from bot.playbooks.checks.green import Tally, tally
from bot.playbooks.checks.results import checked
from bot.playbooks.proposal import endings
from bot.playbooks.proposal.confirming import confirmation
from bot.playbooks.proposal.follow import Followed
from bot.playbooks.run import SignalKind
from bot.playbooks.signals import first, heard
from bot.playbooks.work import Work
from bot.records.recovery import runs
from bot.triggers import Value


class Recovery(Value):
    """How watching ended, and what the branch's head showed then."""

    how: Literal["green", "cancelled", "given up"]
    head: str
    tally: Tally


class _Head(Value):
    """The base branch now; `head` is its newest commit but for records.

    There is none while the branch has another name than we know.
    """

    head: str | None
    tally: Tally


async def recovery(
    work: Work[Any, Any],
    followed: Followed,
    sha: str,
    on_merge: Tally,
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
    while True:
        found = await run.step("see whether the base branch is green", _Head, _look(work))
        if found.head is not None and found.head != watched:
            watched = found.head
            await _watch(work, watched)
        said = confirmation(
            same_tree=False, on_base=found.tally, on_hotfix=followed.tally, overdue=False
        )
        if found.head is not None and said == "cured":
            return Recovery(how="green", head=watched, tally=found.tally)
        if not called:
            called = True
            await red()
        if found.tally.verdict == "red":
            shown = found.tally
        standing = endings.red_after_merge(sha, work.case, shown)
        await work.tell(standing)
        await work.voice.ask(work.case, standing, "red after merge")
        signals = await heard(run, patience.look_later.total_seconds())
        if first(signals, SignalKind.CANCEL):
            return Recovery(how="cancelled", head=watched, tally=shown)
        if first(signals, SignalKind.RETRY):
            work.voice.start_over()
        if await run.now() - began > patience.give_up:
            return Recovery(how="given up", head=watched, tally=shown)


def _look(work: Work[Any, Any]) -> Callable[[bool], Awaitable[_Head]]:
    async def look(_: bool) -> _Head:
        try:
            found = await checked(work.github, await work.github.git.head(work.case.base))
        except NotFound:
            return _Head(head=None, tally=Tally(verdict="waiting", rows=()))
        return _Head(head=found.sha, tally=tally(work.counting, found.results))

    return look


async def _watch(work: Work[Any, Any], head: str) -> None:
    """From now on deliveries about this commit wake the Run."""
    now, run = await work.run.now(), work.run.id

    async def change(conn: AsyncConnection) -> bool:
        await runs.watch(conn, run, at=now, head_sha=head, pull_request=work.case.pull_request)
        return True

    await work.run.write("watch the base branch", bool, change)
