"""What is said of a proposal at its end: each ending in its own words, what to do next first."""

from __future__ import annotations

from bot import markdown
from bot.playbooks.checks.green import CheckTally, State
from bot.playbooks.incidents.case import IncidentContext
from bot.playbooks.proposal.follow import Followed
from bot.playbooks.undo.undoing import Undone
from bot.playbooks.words.standing import StatusMessage
from bot.playbooks.words.wording import (
    commit_linked,
    name_of,
    names,
    offenders_linked,
    proposal_linked,
)

_NOTHING = Undone()


def merged(
    sha: str, case: IncidentContext, tally: CheckTally, unseen: tuple[str, ...] = ()
) -> StatusMessage:
    """Done."""
    details = (
        (f"{markdown.code(case.base)} itself had no result of {names(unseen)} in time.",)
        if unseen
        else ()
    )
    done = f"{proposal_linked(case)} is merged into {markdown.code(case.base)} as"
    if case.offenders:
        verb = "is" if len(case.offenders) == 1 else "are"
        done = f"{offenders_linked(case)} {verb} reverted on {markdown.code(case.base)} by"
    return StatusMessage(
        state="done",
        headline=f"Nothing to do: {done} {commit_linked(case, sha)}.",
        details=details,
        checks=tally.shown,
    )


def confirming(
    sha: str, case: IncidentContext, tally: CheckTally, outlook: tuple[str, ...] = ()
) -> StatusMessage:
    """Merged, but onto a base that had moved: the result is watched once more."""
    missing = tally.named(State.MISSING, State.RUNNING)
    return StatusMessage(
        state="working",
        headline=f"Nothing to do for you: the {case.proposal} is merged as "
        f"{commit_linked(case, sha)}; I am waiting for {names(missing)} on "
        f"{markdown.code(case.base)}.",
        details=outlook,
        checks=tally.shown,
    )


def run_again_after_merge(
    sha: str, case: IncidentContext, again: tuple[str, ...], tally: CheckTally
) -> StatusMessage:
    """Merged; what is red on the branch may be red by chance, and runs once more."""
    return StatusMessage(
        state="working",
        headline=f"Nothing to do for you: the {case.proposal} is merged as "
        f"{commit_linked(case, sha)}; {names(again)} failed on {markdown.code(case.base)}, perhaps "
        "by chance, and runs once more.",
        details=("You hear from me if it stays red.",),
        checks=tally.shown,
    )


def red_after_merge(
    sha: str, case: IncidentContext, tally: CheckTally, again: tuple[str, ...] = ()
) -> StatusMessage:
    """Merged, yet the branch is not green; `again` names what was run once more."""
    failed = tally.named(State.FAILED, State.INFRA) or tally.named(State.MISSING, State.RUNNING)
    return StatusMessage(
        state="needs you",
        headline=f"Look at {markdown.code(case.base)}: the {case.proposal} is merged as "
        f"{commit_linked(case, sha)}, but {names(failed)} did not turn green there.",
        details=(
            *((f"{names(again)} ran again to rule out chance.",) if again else ()),
            f"Other changes landed together with the {case.proposal}; one of them may be the "
            "cause.",
            f"To take the {case.proposal} back: `/revert #{case.pull_request}`.",
            f"I keep looking: once everything that counts is green on {markdown.code(case.base)} "
            "again, this incident is resolved. `/cancel` stops that.",
        ),
        checks=tally.shown,
    )


def recovered(sha: str, head: str, case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """The branch was red after the merge, and somebody mended it."""
    return StatusMessage(
        state="done",
        headline=f"Nothing to do: {markdown.code(case.base)} is green again at "
        f"{commit_linked(case, head)}; the {case.proposal} was merged as "
        f"{commit_linked(case, sha)}.",
        checks=tally.shown,
    )


def left_red(sha: str, case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """The branch was red after the merge, and nobody mended it in all that time."""
    failed = tally.named(State.FAILED, State.INFRA) or tally.named(State.MISSING, State.RUNNING)
    return StatusMessage(
        state="needs you",
        headline=f"Look at {markdown.code(case.base)}: {names(failed)} did not turn green since "
        f"the {case.proposal} was merged as {commit_linked(case, sha)}, and I stopped watching.",
        details=("Close this incident's issue once the branch is well: that resolves it.",),
        checks=tally.shown,
    )


def not_watched(sha: str, case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """`/cancel` came when the proposal was merged already."""
    return StatusMessage(
        state="needs you",
        headline=f"Close this incident's issue once {markdown.code(case.base)} is well: the "
        f"{case.proposal} was merged as {commit_linked(case, sha)} before you cancelled, and I "
        "stopped watching.",
        details=(f"To take the {case.proposal} back: `/revert #{case.pull_request}`.",),
        checks=tally.shown,
    )


def unread(sha: str, case: IncidentContext, why: str) -> StatusMessage:
    """Merged, and GitHub does not show what became of the branch."""
    done = f"{proposal_linked(case)} is merged"
    if case.offenders:
        verb = "is" if len(case.offenders) == 1 else "are"
        done = f"{offenders_linked(case)} {verb} reverted"
    return StatusMessage(
        state="needs you",
        headline=f"Look whether {markdown.code(case.base)} is green, then close this incident's "
        f"issue: {done} there by {commit_linked(case, sha)}, and I cannot see its checks.",
        details=(
            markdown.text(why, limit=1000),
            f"To take the {case.proposal} back: `/revert #{case.pull_request}`.",
        ),
    )


def unmerged(followed: Followed, case: IncidentContext, undone: Undone = _NOTHING) -> StatusMessage:
    """Ended without a merge; what could not be undone needs somebody's hands."""
    standing = _unmerged(followed, case)
    if undone.is_whole:
        return standing
    return StatusMessage(
        state="needs you",
        headline=f"Undo the rest of {proposal_linked(case)} by hand: I could not.",
        details=(standing.headline, *undone.told()),
    )


def _unmerged(followed: Followed, case: IncidentContext) -> StatusMessage:
    asker = followed.by or case.requested_by
    base = markdown.code(case.base)
    match followed.how:
        case "cancelled" | "rejected":
            done = (
                f"{proposal_linked(case).capitalize()} is closed and its branch deleted. "
                if case.pull_request
                else f"No {case.proposal} was opened. "
            )
            return StatusMessage(
                state="stopped",
                headline=f"Nothing to do: {name_of(asker)} {followed.how} this {case.kind}; "
                f"{base} is as it was.",
                details=(done + case.how_to_begin_anew,),
            )
        case "cured elsewhere":
            return StatusMessage(
                state="stopped",
                headline=f"Nothing to do: {offenders_linked(case)} "
                f"{'was' if len(case.offenders) == 1 else 'were'} reverted on {base} by "
                "someone else meanwhile.",
                details=(f"I closed the {case.proposal}, since it would change nothing any more.",),
            )
        case "given up" if case.pull_request is None:
            return StatusMessage(
                state="stopped",
                headline=f"Nothing was done: nobody had this {case.kind} begin in time.",
                details=(case.how_to_begin_anew,),
            )
        case "given up":
            return StatusMessage(
                state="stopped",
                headline=f"Merge or close {proposal_linked(case)} yourself: I stopped waiting for "
                "it, and it stays open.",
                details=(case.how_to_begin_anew,),
            )
        case _:
            return StatusMessage(
                state="stopped",
                headline=f"Nothing to do: {proposal_linked(case)} was closed without merging; "
                f"{base} is as it was.",
                details=(case.how_to_begin_anew,),
            )
