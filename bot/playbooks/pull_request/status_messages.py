"""What is said while a proposal is open: each stand and each need in its own words.

The first sentence is always the one next thing to do, and for whom.
"""

from __future__ import annotations

from datetime import datetime

from bot import markdown
from bot.git.revert import PathConflict, RevertConflict
from bot.playbooks.checks.green import CheckTally, State
from bot.playbooks.incident.context import IncidentContext
from bot.playbooks.incident.phrases import (
    StatusMessage,
    about,
    commit_linked,
    how_to_cancel,
    moment,
    names,
    offenders_linked,
    proposal_linked,
)
from bot.playbooks.pull_request.decide import AskPerson
from bot.playbooks.pull_request.messages import (
    awaiting_code_owner,
    awaiting_review,
    changes_wanted,
    preview_failed,
    unreadable,
)
from bot.playbooks.pull_request.snapshot import PullRequestSnapshot
from bot.playbooks.run import Wait
from bot.playbooks.steps import AnyStep
from bot.playbooks.undo import Undone

_PATHS_SHOWN = 20


def starting(case: IncidentContext) -> StatusMessage:
    """The incident is open, the proposal is being made."""
    return StatusMessage(
        state="working",
        headline=f"In progress: I am preparing the {case.proposal} for {markdown.code(case.base)}.",
    )


def standing_for(
    move: Wait | AskPerson,
    view: PullRequestSnapshot,
    case: IncidentContext,
    deadline: datetime,
    conflict: RevertConflict | None,
    outlook: tuple[str, ...] = (),
) -> StatusMessage:
    """Choose the words for what comes next; `outlook` says how long checks take yet."""
    tally = view.tally
    if isinstance(move, Wait):
        if view.queue == "waiting":
            return in_queue(case, view)
        return verifying(move.missing, tally, deadline, (*outlook, *unreadable(view)))
    match move.why:
        case "conflict":
            return conflicted(case, conflict)
        case "not cured":
            return with_reruns(not_cured(move.names, case, tally), move)
        case "red":
            if set(move.names) & set(view.red_otherwise):
                return with_reruns(red_otherwise(move.names, case, tally), move)
            unseen = tuple(name for name in move.names if name in view.unseen_on_base)
            return with_reruns(red(move.names, case, tally, unseen), move)
        case "unrelated":
            return unrelated(move.names, case, tally)
        case "infra":
            return broken_off(move.names, case, tally)
        case "preview":
            return preview_failed(move.names, case, tally)
        case "nothing counts":
            return nothing_counts(case, tally)
        case "no evals":
            return no_evals(case, tally)
        case "person":
            return person_decides(case, tally)
        case "founder" | "foreign":
            raise ValueError("they are shown the whole plan: see `founder`")
        case "unstarted":
            return unstarted(move.names, case, tally)
        case "timed out":
            return timed_out(move.names, case, tally, unreadable(view))
        case "changed":
            return changed_by_others(case, tally)
        case "review":
            return awaiting_review(move.names, view, case)
        case "code owner":
            return awaiting_code_owner(move.names, case, tally)
        case "changes wanted":
            return changes_wanted(move.names, case, tally)
        case "left the queue":
            return with_reruns(left_the_queue(move.names, case, tally), move)
        case "update refused":
            return update_refused(move.reason, case, tally)
        case "merge refused":
            only_rebases = not view.rebases and view.methods == ("rebase",)
            return merge_refused(move.reason, case, tally, cannot_rebase=only_rebases)


def verifying(
    missing: tuple[str, ...], tally: CheckTally, deadline: datetime, more: tuple[str, ...] = ()
) -> StatusMessage:
    """Checks are running."""
    return StatusMessage(
        state="working",
        headline=f"In progress: I am waiting for {names(missing)}.",
        details=(*more, f"I will wait until {moment(deadline)}, then ask you."),
        checks=tally.shown,
    )


def green(case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """Everything that counts passed, or was approved; the merge is next."""
    word = "green" if tally.verdict == "green" else "approved"
    return StatusMessage(
        state="working",
        headline=f"In progress: {proposal_linked(case)} is {word}, and I am merging it.",
        checks=tally.shown,
    )


def in_queue(case: IncidentContext, view: PullRequestSnapshot) -> StatusMessage:
    """The merge queue has it."""
    takes = view.queue_takes_yet
    expected = (
        "GitHub does not say yet how long it takes"
        if takes is None
        else f"GitHub expects to merge it in {about(takes)}"
    )
    since = view.queued_since
    said = [f"It has been there since {moment(since)}; {expected}." if since else f"{expected}."]
    if view.changes_wanted_by:
        people = ", ".join(markdown.code(name) for name in view.changes_wanted_by)
        said.append(f"{people} asked for changes; GitHub's queue goes on unless you take it out.")
    return StatusMessage(
        state="working",
        headline=f"In progress: {proposal_linked(case)} is green and in the merge queue.",
        details=tuple(said),
        checks=view.tally.shown,
    )


def conflicted(case: IncidentContext, conflict: RevertConflict | None) -> StatusMessage:
    """The revert needs a person's hands."""
    paths = conflict.paths if conflict else ()
    shown = [_conflicting(case, path) for path in paths[:_PATHS_SHOWN]]
    if len(paths) > _PATHS_SHOWN:
        shown.append(f"- … and {len(paths) - _PATHS_SHOWN} more")
    count = f"{len(paths)} conflicting {'path' if len(paths) == 1 else 'paths'}"
    return StatusMessage(
        state="needs you",
        headline=f"Resolve {count if paths else 'the conflict'} on {markdown.code(case.branch)}, "
        + (
            f"then mark {proposal_linked(case)} ready for review."
            if case.has_drafts
            else f"then merge {proposal_linked(case)} yourself."
        ),
        details=(
            f"{markdown.code(case.base)} changed the same lines after {offenders_linked(case)}, "
            "so undoing it needs a decision. Where the branch holds conflict markers, both sides "
            "stand between them.",
            *(("\n".join(shown),) if shown else ()),
            "To do it in a clone: "
            + markdown.code(f"git fetch origin && git switch {case.branch}")
            + ", edit, commit, push. "
            + (
                "When it is ready for review I will ask somebody else to approve that commit, then "
                "verify and merge it."
                if case.has_drafts
                else "This repository has no drafts, so I won't merge it; I will see when you do."
            ),
            how_to_cancel(case),
        ),
    )


def not_cured(failed: tuple[str, ...], case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """The failure is the one the broken base has: something else is guilty."""
    bisect = markdown.code(f"/bisect {case.before[:12]}..{case.base}")
    return StatusMessage(
        state="needs you",
        headline=f"Look for another cause: with {offenders_linked(case)} undone, "
        f"{names(failed)} {_fails(failed)} as before, so this revert did not fix it.",
        details=(
            f"{names(failed)} passed before the incident, failed on {markdown.code(case.base)} "
            f"and fails on the {case.proposal} too: another change broke it.",
            "I asked for a bisect, an incident of its own: its issue will say what it finds. If "
            f"there is none, because a cap is reached: {bisect}. " + how_to_cancel(case)
            if case.looks_further
            else f"To find it: {bisect}; or `/revert` the change you suspect. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def with_reruns(standing: StatusMessage, move: AskPerson) -> StatusMessage:
    """The same, saying how often it was run again by then, or that it could not be."""
    said = []
    if move.reran:
        times = "once more" if move.reran == 1 else f"{move.reran} times more"
        said.append(f"I had it run {times}, in case it failed by chance; it stayed red.")
    if move.cannot:
        said.append(
            f"GitHub cannot run {names(move.cannot)} again for me: do that where "
            f"{'it runs' if len(move.cannot) == 1 else 'they run'}."
        )
    if not said:
        return standing
    return standing.model_copy(update={"details": (" ".join(said), *standing.details)})


def unstarted(missing: tuple[str, ...], case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """Everything else is green, and these do not even begin."""
    one = len(missing) == 1
    rest = (
        "Every other check that counts has been green for a while"
        if tally.named(State.PASSED)
        else "Nothing ran"
    )
    return StatusMessage(
        state="needs you",
        headline=f"Approve {proposal_linked(case)} without {names(missing)}: `/approve`, or find "
        f"out why {'it does' if one else 'they do'} not begin.",
        details=(
            f"{rest}, and {names(missing)} did not even start on the {case.proposal}: perhaps "
            f"{'it runs' if one else 'they run'} on {markdown.code(case.base)} only. Anyone with "
            "write access may approve; the approval holds for this commit and "
            f"{'this check' if one else 'these checks'} only.",
            "I will go on by myself when "
            f"{'its result arrives' if one else 'their results arrive'}. "
            "So that I don't wait next time, name other checks in "
            + markdown.code(".github/playbooks.yml")
            + " under `checks: {smoke: […]}`. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
        approvable=True,
    )


def red(
    failed: tuple[str, ...], case: IncidentContext, tally: CheckTally, unseen: tuple[str, ...] = ()
) -> StatusMessage:
    """A check fails on the proposal alone: later work may need what is undone."""
    base = markdown.code(case.base)
    before = f"On {base} {'it was' if len(failed) == 1 else 'they were'} not red."
    if unseen:
        before = f"Of {names(unseen)} there is no result on {base} to compare with."
    return StatusMessage(
        state="needs you",
        headline=f"Look at {names(failed)}: only on {proposal_linked(case)} "
        f"{'does it fail' if len(failed) == 1 else 'do they fail'}, so I did not merge it.",
        details=(
            f"{before} Perhaps later changes need what is undone here: then revert those with it, "
            f"as in `/revert {_example(case)}`.",
            "If it failed by chance, run the check again: I will go on by myself when it turns "
            "green. " + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def red_otherwise(
    failed: tuple[str, ...], case: IncidentContext, tally: CheckTally
) -> StatusMessage:
    """A check fails on the proposal as on the base, but its report tells of something else."""
    return StatusMessage(
        state="needs you",
        headline=f"Look at {names(failed)}: on {proposal_linked(case)} "
        f"{'it fails' if len(failed) == 1 else 'they fail'} differently than on "
        f"{markdown.code(case.base)}, so I did not merge it.",
        details=(
            "The reports complain about something else. Perhaps the first failure is gone and "
            "had hidden another, or later changes need what is undone here: then revert those "
            f"with it, as in `/revert {_example(case)}`.",
            "If it failed by chance, run the check again: I will go on by myself when it turns "
            "green. " + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def unrelated(failed: tuple[str, ...], case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """What fails had failed before the incident."""
    return StatusMessage(
        state="needs you",
        headline=f"Approve {proposal_linked(case)} with `/approve`, or fix {names(failed)} first: "
        f"{'it was' if len(failed) == 1 else 'they were'} already red before the incident.",
        details=(
            "Every other check that counts is green, so this failure says nothing against the "
            "revert. "
            "Anyone with write access may approve, since the merge can be undone; the approval "
            "holds for this commit only.",
            f"`/reject` or `/cancel` closes {proposal_linked(case)} and deletes its branch.",
        ),
        checks=tally.shown,
        approvable=True,
    )


def broken_off(failed: tuple[str, ...], case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """Checks end without a verdict, again after they were run once more."""
    return StatusMessage(
        state="needs you",
        headline=f"Run {names(failed)} again on {proposal_linked(case)}: "
        f"{'it' if len(failed) == 1 else 'they'} broke off without a verdict.",
        details=(
            "A time-out, a cancellation or a runner that did not start says nothing about the "
            f"{case.proposal}. I asked for another run where GitHub let me, and that did not help.",
            "I will go on by myself when the result arrives; `/retry` asks for another run. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def nothing_counts(case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """No check can say whether the proposal is good."""
    return StatusMessage(
        state="needs you",
        headline=f"Look at {proposal_linked(case)}, then `/approve` it: no check says whether it "
        "is good.",
        details=(
            f"No smoke check is configured, none is required on {markdown.code(case.base)}, and "
            "none that reports on pull requests had passed there before the incident. I won't "
            "merge what nothing has verified unless a person with write access says so.",
            "To let me do it next time, name your checks in "
            + markdown.code(".github/playbooks.yml")
            + " under `checks: {smoke: […]}`. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
        approvable=True,
    )


def no_evals(case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """Nobody asked in person, and there are no evals."""
    return StatusMessage(
        state="needs you",
        headline=f"Look at {proposal_linked(case)}, then `/approve` it: smoke is green, and evals "
        "are not configured.",
        details=(
            "A program asked for this revert. Without evals a person decides; anyone with write "
            "access may. " + how_to_cancel(case),
        ),
        checks=tally.shown,
        approvable=True,
    )


def person_decides(case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """It is green, and only a person may have it merged."""
    return StatusMessage(
        state="needs you",
        headline=f"Merge {proposal_linked(case)}, or comment `/approve` and I will: it is green.",
        details=(
            "I merge by myself only when somebody asked for exactly this change.",
            how_to_cancel(case),
        ),
        checks=tally.shown,
        approvable=True,
    )


def timed_out(
    missing: tuple[str, ...], case: IncidentContext, tally: CheckTally, more: tuple[str, ...] = ()
) -> StatusMessage:
    """Checks did not report in time."""
    return StatusMessage(
        state="needs you",
        headline=f"Find out why {names(missing)} did not report on {proposal_linked(case)}: I "
        f"have stopped waiting for {'it' if len(missing) == 1 else 'them'}.",
        details=(
            *more,
            "I will go on by myself when the result arrives. `/retry` waits once more. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def changed_by_others(case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """Somebody pushed to its branch."""
    return StatusMessage(
        state="needs you",
        headline=f"Merge {proposal_linked(case)} yourself: it is green, but it contains commits I "
        "did not make.",
        details=("I merge only what I made and verified myself. " + how_to_cancel(case),),
        checks=tally.shown,
    )


def left_the_queue(red: tuple[str, ...], case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """The merge queue threw it out; `red` failed there, where that is known."""
    failed = f"{names(red)} failed" if red else "Usually a check failed"
    return StatusMessage(
        state="needs you",
        headline=f"Look at the merge queue: {proposal_linked(case)} was taken out of it.",
        details=(
            f"{failed} on what the queue tested: the {case.proposal} together with "
            "what stood before it. `/retry` puts it in again. " + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def merge_refused(
    why: str, case: IncidentContext, tally: CheckTally, *, cannot_rebase: bool = False
) -> StatusMessage:
    """GitHub would not merge it; `cannot_rebase`: nobody can, since only a rebase is allowed."""
    by_hand = "Somebody who is allowed to can merge it by hand; I will notice, and finish the "
    way_on = f"{by_hand}records."
    if cannot_rebase:
        way_on = (
            f"{markdown.code(case.base)} takes rebases only, and since it has moved a rebase of "
            f"the {case.proposal} would not give what I verified. Comment `/cancel`, then "
            f"{markdown.code(case.to_start_over)}: that makes one on the newest commit. Or allow "
            "another merge method."
        )
    return StatusMessage(
        state="needs you",
        headline=f"Look at {proposal_linked(case)}: it is verified, but GitHub refuses to merge "
        "it.",
        details=(
            f"GitHub says: {markdown.text(why)}",
            f"{way_on} I will try again now and then, and at once after `/retry`. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def update_refused(why: str, case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """The base branch has moved, and the proposal can neither be moved nor made once more."""
    return StatusMessage(
        state="needs you",
        headline=f"Merge {proposal_linked(case)} yourself, or let me make it fit: "
        f"{markdown.code(case.base)} has moved since.",
        details=(
            markdown.text(why),
            "Merged as it is it may leave some of what it undoes; I will notice, and see what the "
            "checks say then. I will try again now and then, and at once after `/retry`. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def replaced(case: IncidentContext, by: int) -> StatusMessage:
    """Said on a proposal whose place another one has taken."""
    return StatusMessage(
        state="stopped",
        headline=f"Stopped: #{by} takes the place of this {case.proposal}, which could not be made "
        f"to fit {markdown.code(case.base)} as that moved.",
    )


def broke_off(step: AnyStep, why: str, undone: Undone) -> StatusMessage:
    """A step failed, and will not be tried again by itself."""
    return StatusMessage(
        state="needs you",
        headline=f"Fix the cause, then comment `/retry`: the step “{step.label}” failed.",
        details=(markdown.text(why, limit=1000), *undone.told()),
    )


def _fails(failed: tuple[str, ...]) -> str:
    return "fails" if len(failed) == 1 else "fail"


def _example(case: IncidentContext) -> str:
    named = [f"#{o.number}" if o.number else o.sha[:7] for o in case.offenders[:3]]
    return " ".join([*named, "#…"])


def _conflicting(case: IncidentContext, path: PathConflict) -> str:
    since = ", ".join(
        f"{markdown.text(commit.author)} in {commit_linked(case, commit.sha)}"
        for commit in path.changed_since[:3]
    )
    return f"- {markdown.code(path.path)} ({', '.join(path.kinds)})" + (
        f", changed since by {since}" if since else ""
    )
