"""The last step of every playbook that proposes a change: its outcome goes into every record.

And people hear of it: the issue is closed, the requester gets the final word, the Run ends.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal

from bot import markdown
from bot.git.errors import GitError
from bot.playbooks.checks.green import CheckTally, State, tally
from bot.playbooks.incident import record_files
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.record_files import BroughtHome, RecordFile
from bot.playbooks.incident.recorder import undone_refs
from bot.playbooks.incident.report_base import Result
from bot.playbooks.incident.workflow import IncidentWorkflow
from bot.playbooks.ports import HistoryMirror
from bot.playbooks.pull_request import messages, status_messages
from bot.playbooks.pull_request.decide import confirmation
from bot.playbooks.pull_request.messages import how_long
from bot.playbooks.pull_request.publish import with_records
from bot.playbooks.pull_request.recovery import recovery
from bot.playbooks.pull_request.snapshot import patiently
from bot.playbooks.pull_request.watch import Followed
from bot.playbooks.pull_request.workflow import ProposalWorkflow
from bot.playbooks.run import Ending, NotAllowed, SignalKind, StepFailed, attempt, first, heard
from bot.playbooks.steps import AnyStep, Step, WaitPoint
from bot.playbooks.undo import Undone, see_what_to_undo, undo
from bot.records.documents.artifacts import DecisionOutcome, HotfixRefs, MergeRecord
from bot.records.lifecycle import IncidentStatus, RunState
from bot.triggers import Value

_TAKEN_BACK = ("cancelled", "rejected", "cured elsewhere")

AnyIncident = IncidentWorkflow[Any, Any]
AnyProposal = ProposalWorkflow[Any, Any]


class _OnBase(Value):
    """What the base branch shows after the merge."""

    same_tree: bool
    tally: CheckTally
    elsewhere: bool = False
    """Whether it was merged into another branch, and the broken one is as it was."""


class _Seen(Value):
    """Whether the base branch is good, and what says so.

    It is what was `verified`, or `recovered` later at the commit `head`, or it is `unread` since
    GitHub does not show it, or what was merged went `elsewhere`; else it was red and is watched no
    longer.
    """

    how: Literal["verified", "recovered", "red", "cancelled", "given up", "unread", "elsewhere"]
    unseen: tuple[str, ...] = ()
    tally: CheckTally
    head: str = ""
    why: str = ""
    """Why it could not be read."""


async def followed_to_its_end(work: AnyProposal, followed: Followed) -> Ending:
    """Record what came of the proposal, bring the records home, and have the final word."""
    undone = Undone()
    if followed.how in _TAKEN_BACK:
        undone = await undo(await see_what_to_undo(work))
        if undone.merged is not None:
            # Merged a moment before it was closed: then that is what happened.
            followed = followed.model_copy(update={"how": "merged", "sha": undone.merged})
    if followed.how == "merged" and followed.sha is not None:
        return await _merged(work, followed, followed.sha)
    return await _stopped(work, followed, undone)


async def broke_off(work: AnyProposal, failed: StepFailed) -> Ending | None:
    """A step failed: undo what was done, newest first, and say so wherever that can be said.

    `/retry` starts over. What had been merged meanwhile stays, and that is how it ends then; else
    None.
    """
    try:
        merged = await _undone_and_told(work, failed)
        if merged is None:
            return None
        followed = Followed(how="merged", at=await work.run.now(), sha=merged)
        return await _merged(work, followed, merged)
    except StepFailed:
        # Our own records refused it; whoever asked is answered separately.
        return None


async def rollout_broke_off(work: AnyIncident, failed: StepFailed) -> None:
    """A step of what proposes nothing failed: undo what was done, newest first, and say so."""
    with suppress(StepFailed):
        await _undone_and_told(work, failed)


async def _undone_and_told(work: AnyIncident, failed: StepFailed) -> str | None:
    """Undo what was done; the merge that came first, of which nothing is said here, if one did."""
    step, why = failed.step, str(failed)
    wanted = await see_what_to_undo(work)
    if wanted:
        await work.recorder.undoing(step, why)
    undone = await undo(wanted)
    if undone.merged is not None:
        return undone.merged
    failed.aftermath = undone.told()
    await work.recorder.broke_off(step, why, undone)
    await _keep_papers(work, step, undone)
    await work.tell(status_messages.broke_off(step, why, undone))
    if work.publisher.is_unheard:
        await work.recorder.call_founder(step, why)
    return None


async def _keep_papers(work: AnyIncident, step: AnyStep, undone: Undone) -> None:
    """What stood only on a branch that is gone now is kept on the records branch."""
    if undone.taken and work.adr:
        files = work.record_files(Result(stopped=f"broke off: {step.label}"))
        message = f"Report on incident {work.case.incident}"
        published = await work.record(Step.KEEP_RECORD_FILES, files, message)
        work.case = work.case.model_copy(update={"published": published})


async def conclude(
    work: AnyIncident,
    result: Result,
    standing: StatusMessage,
    state: RunState,
    *,
    head: str | None = None,
    home: bool = False,
) -> Ending:
    """End the Run: the records are final, people are told, the issue is closed.

    Args:
        work: the incident.
        result: what became of it; where it was merged, its records go to the default branch too.
        standing: the last thing said.
        state: how the Run ends.
        head: the proposal's commit, where there is one.
        home: whether the records go to the default branch in any case.
    """
    report = await _publish(work, result, home=home)
    await work.tell(standing, head, last=True)
    await work.publisher.close_issue(work.case, standing)
    work.case = work.case.model_copy(update={"untold": work.run.untold.left})
    await work.publisher.final_word(work.case, standing)
    digest = None if report is None else hashlib.sha256(report.content.encode()).hexdigest()
    await work.recorder.finish(state, digest)
    return Ending(outcome="succeeded" if standing.state == "done" else "stopped")


async def _publish(work: AnyIncident, result: Result, *, home: bool = False) -> RecordFile | None:
    """Put the records where they belong as they are now; the report, where there is one."""
    run = work.run
    files = work.settle(result, await run.now())
    message = f"Record the outcome of incident {work.case.incident}"
    published = await work.record(Step.RECORD_OUTCOME, files, message)
    work.case = work.case.model_copy(update={"published": published})
    if home or result.merge is not None:

        async def bring_home(look_first: bool) -> BroughtHome:
            return await _bring_home(work, files, message, look_first)

        await attempt(
            run,
            Step.COPY_RECORDS_TO_DEFAULT_BRANCH,
            BroughtHome,
            bring_home,
            what="bring the records to the default branch",
            otherwise=None,
        )
    if result.merge is not None:
        await work.brought_home()
    return files[1] if len(files) > 1 else None


async def _merged(work: AnyProposal, followed: Followed, sha: str) -> Ending:
    name = work.case.proposal
    # Where it goes is anybody's to change who may write here, up to the merge itself.
    base = followed.base or work.case.base
    work.case = work.case.model_copy(update={"merged": True, "base": base})
    work.happened(followed.at, f"{name} merged", f"{work.parts.web_url}/commit/{sha}")
    await work.recorder.move(
        f"{name}.merged",
        IncidentStatus.MITIGATED,
        refs={"commit": sha, "method": followed.method},
        watch=sha,
        pull_request=work.case.pull_request,
    )
    seen = await _watched(work, followed, sha)
    cured = seen.how in ("verified", "recovered")
    if cured:
        work.happened(await work.run.now(), "incident resolved")
        await work.recorder.move("incident.resolved", IncidentStatus.RESOLVED)
    match seen.how:
        case "verified":
            standing = messages.merged(sha, work.case, seen.tally, seen.unseen)
        case "recovered":
            standing = messages.recovered(sha, seen.head, work.case, seen.tally)
        case "cancelled":
            standing = messages.not_watched(sha, work.case, seen.tally)
        case "unread":
            standing = messages.unread(sha, work.case, seen.why)
        case "elsewhere":
            standing = messages.merged_elsewhere(sha, work.case, work.plan.base)
        case _:
            standing = messages.left_red(sha, work.case, seen.tally)
    state = RunState.SUCCEEDED if cured or seen.how == "unread" else RunState.FAILED
    result = _result(work, followed, sha, seen)
    return await conclude(work, result, standing, state, head=_head(followed))


async def _watched(work: AnyProposal, followed: Followed, sha: str) -> _Seen:
    """See what came of the merge. It is done, whatever GitHub shows or hides afterwards."""
    try:
        seen = await _confirm(work, followed, sha)
        return await _see_recover(work, followed, sha, seen) if seen.how == "red" else seen
    except StepFailed as hidden:
        shown = followed.tally or CheckTally(verdict="nothing counts", rows=())
        return _Seen(how="unread", tally=shown, why=str(hidden))


async def _see_recover(work: AnyProposal, followed: Followed, sha: str, seen: _Seen) -> _Seen:
    """Record that the merge did not do, and go on watching: somebody may mend the branch."""

    async def red() -> None:
        work.happened(await work.run.now(), f"{work.case.base} is red after the merge")
        await _publish(work, _result(work, followed, sha, seen))

    found = await recovery(work, followed, sha, seen.tally, red=red)
    how: Literal["recovered", "cancelled", "given up"]
    how = "recovered" if found.how == "green" else found.how
    return _Seen(how=how, tally=found.tally, head=found.head)


def _result(work: AnyProposal, followed: Followed, sha: str, seen: _Seen) -> Result:
    """What the records say of a merged proposal."""
    base, merged = work.case.base, f"merged as {sha[:12]}; "
    said = {
        "verified": f"{merged}{base} is what was verified.",
        "recovered": f"{merged}{base} is green since {seen.head[:12]}.",
        "unread": f"{merged}what became of {base} could not be read.",
        "elsewhere": f"{merged}that is on {base}, and {work.plan.base} is as it was.",
    }.get(seen.how, f"{merged}{base} did not turn green.")
    cured = seen.how in ("verified", "recovered")
    return Result(
        status=IncidentStatus.RESOLVED if cured else IncidentStatus.MITIGATED,
        outcome=_outcome(seen),
        tally=followed.tally,
        refs=_refs(work, followed),
        merge=MergeRecord(sha=sha, method=followed.method, at=followed.at),
        accepted=True,
        said=said,
    )


def _outcome(seen: _Seen) -> DecisionOutcome:
    if seen.how == "unread":
        return DecisionOutcome.PENDING
    return (
        DecisionOutcome.CONFIRMED
        if seen.how in ("verified", "recovered")
        else DecisionOutcome.FAILED
    )


async def _stopped(work: AnyProposal, followed: Followed, undone: Undone) -> Ending:
    """End without a merge."""
    name = work.case.proposal
    work.happened(followed.at, f"{name} {followed.how}")
    refs = undone_refs(undone) if followed.how in _TAKEN_BACK else None
    await work.recorder.move(f"{name}.{followed.how}", IncidentStatus.DECLINED, refs=refs)
    result = Result(
        status=IncidentStatus.DECLINED,
        outcome=DecisionOutcome.FAILED,
        stopped=followed.how,
        tally=followed.tally,
        refs=_refs(work, followed),
        accepted=False,
        said=f"not merged: {followed.how}.",
    )
    state = RunState.TIMED_OUT if followed.how == "given up" else RunState.CANCELLED
    if not undone.is_whole:
        state = RunState.ROLLBACK_FAILED
    standing = messages.unmerged(followed, work.case, undone)
    return await conclude(work, result, standing, state, head=_head(followed))


async def _confirm(work: AnyProposal, followed: Followed, sha: str) -> _Seen:
    """See whether the base branch is what was verified; else wait for its own checks."""
    run, verified = work.run, followed.hotfix.tree if followed.hotfix else ""

    async def look(_: bool) -> _OnBase:
        broken = work.plan.base
        # Another name may be the same branch's new one: then there is none of the old name.
        if work.case.base != broken and await work.github.git.branch(broken) is not None:
            nothing = CheckTally(verdict="nothing counts", rows=())
            return _OnBase(same_tree=False, elsewhere=True, tally=nothing)
        commit = await work.github.git.commit(sha)
        if commit is not None and commit.tree == verified and _is_good(work, followed):
            return _OnBase(same_tree=True, tally=CheckTally(verdict="green", rows=()))
        results = await work.github.checks.results(sha)
        return _OnBase(same_tree=False, tally=tally(work.counting, results))

    began = await run.now()
    patience = timedelta(minutes=work.plan.config.checks.timeout_minutes)
    while True:
        found = await run.step(Step.READ_BASE_AFTER_MERGE, _OnBase, patiently(look))
        now = await run.now()
        if found.elsewhere:
            return _Seen(how="elsewhere", tally=followed.tally or found.tally)
        said = confirmation(
            same_tree=found.same_tree,
            on_base=found.tally,
            on_hotfix=followed.tally,
            overdue=now - began >= patience,
        )
        shown = followed.tally if found.same_tree and followed.tally else found.tally
        if said != "wait":
            unseen = found.tally.named(State.MISSING) if said == "unseen" else ()
            how: Literal["verified", "red"] = "red" if said == "not cured" else "verified"
            return _Seen(how=how, unseen=unseen, tally=shown)
        outlook = how_long(found.tally, work.counting.took, work.case.base, now)
        await work.watching(messages.confirming(sha, work.case, found.tally, outlook))
        signals = await heard(
            run, work.parts.patience.look_again.total_seconds(), WaitPoint.BASE_AFTER_MERGE
        )
        if first(signals, SignalKind.CANCEL):
            return _Seen(how="cancelled", tally=shown)


def _is_good(work: AnyProposal, followed: Followed) -> bool:
    """Whether what was merged was verified, or a person stands for it."""
    green = followed.tally is not None and followed.tally.verdict == "green"
    return green or followed.approved or work.merging_vouches


async def _bring_home(
    work: AnyIncident, files: tuple[RecordFile, ...], message: str, look_first: bool
) -> BroughtHome:
    # Asked now: it may have another name than when the incident was opened.
    rules = await work.github.branch_rules(await work.github.default_branch())
    fitting = await _fitting(work.parts.mirror, rules.branch, files)
    if fitting:
        brought = await record_files.bring_home(
            work.github, work.parts.store, fitting, message, rules=rules, look_first=look_first
        )
        if fitting == files:
            return brought
    [path, *_] = [file.path for file in files if file not in fitting]
    raise NotAllowed(f"{markdown.code(path)} has no room: no folder stands where its own would be")


async def _fitting(
    mirror: HistoryMirror, branch: str, files: tuple[RecordFile, ...]
) -> tuple[RecordFile, ...]:
    """Those for which nothing else on the branch would have to give way."""
    try:
        head = await mirror.branch_head(branch)
        return (await mirror.read(lambda git: with_records(git, head, files)))[1]
    except GitError:
        # What was merged already is told and recorded all the same.
        return files


def _refs(work: AnyProposal, followed: Followed) -> HotfixRefs:
    hotfix = followed.hotfix
    return HotfixRefs(
        base_branch=work.case.base,
        base=hotfix.base_head if hotfix else work.plan.base_head,
        branch=work.case.branch,
        commit=hotfix.commit if hotfix else None,
        tree=hotfix.tree if hotfix else None,
    )


def _head(followed: Followed) -> str | None:
    return followed.head or (followed.hotfix.commit if followed.hotfix else None)
