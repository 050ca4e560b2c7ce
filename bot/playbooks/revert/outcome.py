"""The last step of a revert: what came of it goes into every record, and people hear of it."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from bot.playbooks import outcome as outcomes
from bot.playbooks.checks import State, Tally, tally
from bot.playbooks.confirming import confirmation
from bot.playbooks.follow import Followed
from bot.playbooks.hotfix import RecordFile
from bot.playbooks.outcome import BroughtHome
from bot.playbooks.revert import endings as endings
from bot.playbooks.revert import records as documents
from bot.playbooks.revert import standings as standings
from bot.playbooks.revert.records import Result
from bot.playbooks.revert.work import Work
from bot.playbooks.run import Ending, SignalKind, StepFailed
from bot.playbooks.signals import first, heard
from bot.playbooks.standing import Standing
from bot.records.artifacts import Merge, Outcome, Verdict
from bot.records.lifecycle import IncidentStatus, RunState
from bot.triggers import Value

_TAKEN_BACK = ("cancelled", "rejected", "cured elsewhere")


class _OnBase(Value):
    """What the base branch shows after the merge."""

    same_tree: bool
    tally: Tally


class _Seen(Value):
    """Whether the base branch is good, and what says so."""

    cured: bool
    unseen: tuple[str, ...] = ()
    tally: Tally
    cancelled: bool = False


async def update_records_with_outcome(work: Work, followed: Followed) -> Ending:
    """Record what came of it, bring the records home, and have the final word."""
    if followed.how in _TAKEN_BACK and (sha := await work.take_back()):
        # Merged a moment before it was closed: then that is what happened.
        followed = followed.model_copy(update={"how": "merged", "sha": sha})
    if followed.how == "merged" and followed.sha is not None:
        return await _merged(work, followed, followed.sha)
    return await _stopped(work, followed)


async def broke_off(work: Work, failed: StepFailed) -> None:
    """Say that a step failed, in every place that can still be reached; `/retry` goes on."""
    try:
        await work.casebook.broke_off(failed.step, str(failed))
        await work.tell(standings.broke_off(failed.step, str(failed)))
    except StepFailed:
        # What broke the step may break the telling; whoever asked is answered separately.
        return


async def _merged(work: Work, followed: Followed, sha: str) -> Ending:
    work.happened(followed.at, "hotfix merged", f"{work.parts.web_url}/commit/{sha}")
    await work.casebook.move(
        "hotfix.merged",
        IncidentStatus.MITIGATED,
        refs={"commit": sha, "method": followed.method},
        watch=sha,
        pull_request=work.case.pull_request,
    )
    seen = await _confirm(work, followed, sha)
    if seen.cured:
        work.happened(await work.run.now(), "incident resolved")
        await work.casebook.move("incident.resolved", IncidentStatus.RESOLVED)
    base = work.case.base
    result = Result(
        status=IncidentStatus.RESOLVED if seen.cured else IncidentStatus.MITIGATED,
        outcome=Outcome.CONFIRMED if seen.cured else Outcome.FAILED,
        tally=followed.tally,
        verdict=_verdict(followed.tally),
        commit=followed.hotfix.commit if followed.hotfix else None,
        base_head=followed.hotfix.base_head if followed.hotfix else work.plan.base_head,
        merge=Merge(sha=sha, method=followed.method, at=followed.at),
        accepted=True,
        said=f"merged as {sha[:12]}; "
        + (f"{base} is what was verified." if seen.cured else f"{base} did not turn green."),
    )
    if seen.cured:
        standing = endings.merged(sha, work.case, seen.tally, seen.unseen)
    elif seen.cancelled:
        standing = endings.not_watched(sha, work.case, seen.tally)
    else:
        standing = endings.red_after_merge(sha, work.case, seen.tally)
    state = RunState.SUCCEEDED if seen.cured else RunState.FAILED
    return await _end(work, result, standing, followed, state)


async def _confirm(work: Work, followed: Followed, sha: str) -> _Seen:
    """See whether the base branch is what was verified; else wait for its own checks."""
    run, verified = work.run, followed.hotfix.tree if followed.hotfix else ""

    async def look(_: bool) -> _OnBase:
        commit = await work.github.git.commit(sha)
        if commit is not None and commit.tree == verified:
            return _OnBase(same_tree=True, tally=Tally(verdict="green", rows=()))
        results = await work.github.checks.results(sha)
        return _OnBase(same_tree=False, tally=tally(work.counting, results))

    began = await run.now()
    patience = timedelta(minutes=work.plan.config.checks.timeout_minutes)
    while True:
        found = await run.step("see what the base branch is now", _OnBase, look)
        now = await run.now()
        said = confirmation(
            same_tree=found.same_tree,
            on_base=found.tally,
            on_hotfix=followed.tally,
            overdue=now - began >= patience,
        )
        shown = followed.tally if found.same_tree and followed.tally else found.tally
        if said != "wait":
            unseen = found.tally.named(State.MISSING) if said == "unseen" else ()
            return _Seen(cured=said != "not cured", unseen=unseen, tally=shown)
        await work.voice.status(work.case, endings.confirming(sha, work.case, found.tally))
        signals = await heard(run, work.parts.patience.look_again.total_seconds())
        if first(signals, SignalKind.CANCEL):
            return _Seen(cured=False, tally=shown, cancelled=True)


async def _stopped(work: Work, followed: Followed) -> Ending:
    """End without a merge."""
    work.happened(followed.at, f"hotfix {followed.how}")
    await work.casebook.move(f"hotfix.{followed.how}", IncidentStatus.DECLINED)
    hotfix = followed.hotfix
    result = Result(
        status=IncidentStatus.DECLINED,
        outcome=Outcome.FAILED,
        tally=followed.tally,
        verdict=_verdict(followed.tally),
        commit=hotfix.commit if hotfix else None,
        base_head=hotfix.base_head if hotfix else work.plan.base_head,
        accepted=False,
        said=f"not merged: {followed.how}.",
    )
    state = RunState.TIMED_OUT if followed.how == "given up" else RunState.CANCELLED
    return await _end(work, result, endings.unmerged(followed, work.case), followed, state)


async def _end(
    work: Work, result: Result, standing: Standing, followed: Followed, state: RunState
) -> Ending:
    run, anchor = work.run, work.casebook.anchor
    work.adr = documents.settled(work.adr, result, await run.now())
    work.know(audit_head=f"{anchor.seq}:{anchor.head_hash[:12]}", severity=work.casebook.severity)
    files = work.record_files(result)
    message = f"Record the outcome of incident {work.case.incident}"
    await run.step(
        "record the outcome",
        str,
        lambda _: outcomes.record(work.github, files, anchor, message),
    )
    work.know(published=True)
    if followed.how == "merged":

        async def bring_home(look_first: bool) -> BroughtHome:
            return await _bring_home(work, files, message, look_first)

        await run.step("bring the records to the default branch", BroughtHome, bring_home)

        async def delete_branch(_: bool) -> bool:
            await work.github.git.delete_branch(work.case.branch)
            return True

        await run.step("delete the hotfix branch", bool, delete_branch)
    await work.tell(standing, followed.hotfix.commit if followed.hotfix else None)
    await work.voice.close_issue(work.case, standing)
    await work.voice.final_word(work.case, standing)
    await work.casebook.finish(state, hashlib.sha256(files[1].content.encode()).hexdigest())
    return Ending(outcome="succeeded" if standing.state == "done" else "stopped")


async def _bring_home(
    work: Work, files: tuple[RecordFile, ...], message: str, look_first: bool
) -> BroughtHome:
    # Read now: it may have another name than when the incident was opened.
    rules = await work.github.branch_rules((await work.github.about()).default_branch)
    return await outcomes.bring_home(
        work.github, files, message, rules=rules, look_first=look_first
    )


def _verdict(result: Tally | None) -> Verdict:
    if result is None:
        return Verdict.PENDING
    if result.verdict == "red" and not result.named(State.FAILED):
        return Verdict.INFRA
    return {
        "green": Verdict.GREEN,
        "red": Verdict.RED,
        "waiting": Verdict.PENDING,
        "nothing counts": Verdict.NO_CHECKS,
    }[result.verdict]
