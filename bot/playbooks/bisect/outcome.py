"""How a bisect ends: the outcome goes into every record, and people hear of it."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Literal

from bot.playbooks import hotfix as hotfixes
from bot.playbooks import outcome as outcomes
from bot.playbooks.bisect import records as documents
from bot.playbooks.bisect.fix import Fix
from bot.playbooks.bisect.records import BisectResult
from bot.playbooks.bisect.work import BisectWork
from bot.playbooks.checks import State, Tally, tally
from bot.playbooks.confirming import confirmation
from bot.playbooks.follow import Followed
from bot.playbooks.hotfix import RecordFile
from bot.playbooks.outcome import BroughtHome
from bot.playbooks.revert import endings as endings
from bot.playbooks.revert import standings as standings
from bot.playbooks.revert.work import TakenBack
from bot.playbooks.run import Ending, SignalKind, StepFailed
from bot.playbooks.signals import first, heard
from bot.playbooks.standing import Standing
from bot.records.artifacts import HotfixRefs, Merge, Outcome
from bot.records.lifecycle import IncidentStatus, RunState
from bot.triggers import Value

_TAKEN_BACK = ("cancelled", "rejected", "cured elsewhere")


class _OnBase(Value):
    """What the base branch shows after the merge."""

    same_tree: bool
    tally: Tally


async def ended(work: BisectWork, standing: Standing, how: str) -> Ending:
    """End without a fix: nothing was found, or nobody wants it any more."""
    wanted = how not in ("cancelled", "given up")
    work.happened(await work.run.now(), how)
    await work.casebook.move(f"bisect.{how}", IncidentStatus.DECLINED)
    result = BisectResult(
        status=IncidentStatus.DECLINED,
        outcome=Outcome.FAILED,
        stopped=how,
        accepted=False,
        said=f"no fix was proposed: {how}.",
    )
    state = {
        "cancelled": RunState.CANCELLED,
        "given up": RunState.TIMED_OUT,
    }.get(how, RunState.CANCELLED)
    ending = await _end(work, result, standing, state, home=False)
    # To have found that there is nothing to find is an answer too.
    return ending.model_copy(update={"outcome": "succeeded"}) if wanted else ending


async def broke_off(work: BisectWork, failed: StepFailed) -> None:
    """Say that a step failed, in every place that can still be reached; `/retry` goes on."""
    try:
        await work.casebook.broke_off(failed.step, str(failed))
        await work.tell(standings.broke_off(failed.step, str(failed)))
    except StepFailed:
        # What broke the step may break the telling; whoever asked is answered separately.
        return


async def followed_to_its_end(work: BisectWork, fix: Fix, followed: Followed) -> Ending:
    """Record what came of the fix, bring the records home, and have the final word."""
    if followed.how in _TAKEN_BACK and (sha := await _take_back(work)):
        # Merged a moment before it was closed: then that is what happened.
        followed = followed.model_copy(update={"how": "merged", "sha": sha})
    if followed.how == "merged" and followed.sha is not None:
        return await _merged(work, fix, followed, followed.sha)
    work.happened(followed.at, f"fix {followed.how}")
    await work.casebook.move(f"fix.{followed.how}", IncidentStatus.DECLINED)
    result = BisectResult(
        status=IncidentStatus.DECLINED,
        outcome=Outcome.FAILED,
        stopped=followed.how,
        fix=_refs(work, followed),
        spec=fix.spec,
        accepted=False,
        said=f"the fix was not merged: {followed.how}.",
    )
    state = RunState.TIMED_OUT if followed.how == "given up" else RunState.CANCELLED
    return await _end(work, result, endings.unmerged(followed, work.case), state, home=False)


async def _merged(work: BisectWork, fix: Fix, followed: Followed, sha: str) -> Ending:
    work.happened(followed.at, "fix merged", f"{work.parts.web_url}/commit/{sha}")
    await work.casebook.move(
        "fix.merged",
        IncidentStatus.MITIGATED,
        refs={"commit": sha, "method": followed.method},
        watch=sha,
        pull_request=work.case.pull_request,
    )
    seen, shown = await _confirm(work, fix, followed, sha)
    cured = seen in ("cured", "unseen")
    if cured:
        work.happened(await work.run.now(), "incident resolved")
        await work.casebook.move("incident.resolved", IncidentStatus.RESOLVED)
    base = work.case.base
    result = BisectResult(
        status=IncidentStatus.RESOLVED if cured else IncidentStatus.MITIGATED,
        outcome=Outcome.CONFIRMED if cured else Outcome.FAILED,
        fix=_refs(work, followed),
        spec=fix.spec,
        merge=Merge(sha=sha, method=followed.method, at=followed.at),
        accepted=True,
        said=f"merged as {sha[:12]}; "
        + (f"{base} is what was verified." if cured else f"{base} did not turn green."),
    )
    unseen = shown.named(State.MISSING) if seen == "unseen" else ()
    standing = (
        endings.merged(sha, work.case, shown, unseen)
        if cured
        else endings.red_after_merge(sha, work.case, shown)
    )
    state = RunState.SUCCEEDED if cured else RunState.FAILED
    return await _end(work, result, standing, state, home=True, fix=fix)


async def _confirm(
    work: BisectWork, fix: Fix, followed: Followed, sha: str
) -> tuple[Literal["cured", "unseen", "not cured"], Tally]:
    """See whether the base branch is good now; waits for its own checks."""
    run = work.run
    verified = followed.hotfix.tree if followed.hotfix else ""
    was_green = followed.tally is not None and followed.tally.verdict == "green"

    async def look(_: bool) -> _OnBase:
        commit = await work.github.git.commit(sha)
        same = was_green and commit is not None and commit.tree == verified
        results = await work.github.checks.results(sha)
        return _OnBase(same_tree=same, tally=tally(work.counting, results))

    began = await run.now()
    patience = timedelta(minutes=work.plan.config.checks.timeout_minutes)
    while True:
        found = await run.step("see what the base branch is now", _OnBase, look)
        said = confirmation(
            same_tree=found.same_tree,
            on_base=found.tally,
            on_hotfix=followed.tally,
            overdue=await run.now() - began >= patience,
        )
        shown = followed.tally if found.same_tree and followed.tally else found.tally
        if said != "wait":
            return said, shown
        await fix.say(endings.confirming(sha, work.case, found.tally))
        signals = await heard(run, work.look_again.total_seconds())
        if first(signals, SignalKind.CANCEL):
            return "not cured", shown


async def _take_back(work: BisectWork) -> str | None:
    async def undo(_: bool) -> TakenBack:
        number = work.case.pull_request
        merged = await hotfixes.take_back(work.github, work.case.branch, number)
        return TakenBack(merged=merged)

    return (await work.run.step("take the fix back", TakenBack, undo)).merged


async def _end(
    work: BisectWork,
    result: BisectResult,
    standing: Standing,
    state: RunState,
    *,
    home: bool,
    fix: Fix | None = None,
) -> Ending:
    run, anchor = work.run, work.casebook.anchor
    work.adr = documents.settled(work.adr, result, await run.now())
    work.know(audit_head=f"{anchor.seq}:{anchor.head_hash[:12]}", severity=work.casebook.severity)
    files = work.record_files(result)
    message = f"Record the outcome of incident {work.case.incident}"
    await work.record("record the outcome", files, message)
    if home:

        async def bring_home(look_first: bool) -> BroughtHome:
            return await _bring_home(work, files, message, look_first)

        await run.step("bring the records to the default branch", BroughtHome, bring_home)

        async def delete_branch(_: bool) -> bool:
            await work.github.git.delete_branch(work.case.branch)
            return True

        await run.step("delete the fix branch", bool, delete_branch)
    await (fix.say(standing) if fix else work.tell(standing))
    await work.voice.close_issue(work.case, standing)
    await work.voice.final_word(work.case, standing)
    await work.casebook.finish(state, hashlib.sha256(files[1].content.encode()).hexdigest())
    return Ending(outcome="succeeded" if standing.state == "done" else "stopped")


async def _bring_home(
    work: BisectWork, files: tuple[RecordFile, ...], message: str, look_first: bool
) -> BroughtHome:
    # Read now: it may have another name than when the incident was opened.
    rules = await work.github.branch_rules((await work.github.about()).default_branch)
    return await outcomes.bring_home(
        work.github, files, message, rules=rules, look_first=look_first
    )


def _refs(work: BisectWork, followed: Followed) -> HotfixRefs:
    hotfix = followed.hotfix
    return HotfixRefs(
        base_branch=work.case.base,
        base=hotfix.base_head if hotfix else work.plan.base_head,
        branch=work.case.branch,
        commit=hotfix.commit if hotfix else None,
        tree=hotfix.tree if hotfix else None,
    )
