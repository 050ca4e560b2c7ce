"""The words of a pull request's end, its previews, its reviews, and how long checks take yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from bot import markdown
from bot.playbooks.checks.green import Awaited, CheckRow, CheckTally, State, TimeLeft, slowest
from bot.playbooks.incident.context import IncidentContext
from bot.playbooks.incident.phrases import (
    StatusMessage,
    about,
    commit_linked,
    how_to_cancel,
    listed,
    moment,
    name_of,
    names,
    offenders_linked,
    proposal_linked,
)
from bot.playbooks.pull_request.snapshot import PullRequestSnapshot
from bot.playbooks.pull_request.watch import Followed
from bot.playbooks.undo import Undone

_MINUTE = timedelta(minutes=1)


def how_long(
    tally: CheckTally, took: Mapping[str, float], base: str, now: datetime
) -> tuple[str, ...]:
    """One sentence on how long it takes until the checks that count have ended; or none.

    Args:
        tally: what they say by now.
        took: seconds that each took before, on the base branch.
        base: the base branch.
        now: the time.
    """
    awaited = [
        Awaited(name=row.name, since=row.since)
        for row in tally.rows
        if row.state in (State.MISSING, State.RUNNING)
    ]
    found = slowest(awaited, took, now)
    return () if found is None else (_said(found, markdown.code(base)),)


def _said(found: TimeLeft, base: str) -> str:
    name = markdown.code(found.name)
    if found.took is None:
        since = f"{name} has been running since {moment(found.since)}" if found.since else ""
        unknown = f"how long it takes is not known, as I have not seen it end on {base}"
        if since:
            return f"{since}; {unknown}."
        return f"{name} has not begun yet; {unknown}."
    took = about(found.took)
    if found.since is None:
        return f"{name} has not begun yet; on {base} it took {took}."
    running = f"{name} has been running since {moment(found.since)}"
    if found.how == "longer":
        return f"{running}, longer than on {base} before: there it took {took}."
    return f"{running}. On {base} it took {took}, so I expect it by {moment(_up(found))}."


def _up(found: TimeLeft) -> datetime:
    """The expected end, up to the next whole minute."""
    end = found.end
    if end is None:
        raise ValueError("it has not begun, so there is no end to name")
    whole = end.replace(second=0, microsecond=0)
    return whole if whole == end else whole + _MINUTE


def preview_failed(
    failed: tuple[str, ...], case: IncidentContext, tally: CheckTally
) -> StatusMessage:
    """The proposal was deployed for a look at it, and that went wrong."""
    return StatusMessage(
        state="needs you",
        headline=f"Look at the {'preview' if len(failed) == 1 else 'previews'} {names(failed)}: "
        f"{proposal_linked(case)} could not be deployed there, so I did not merge it.",
        details=(
            *_logs(row for row in tally.previews if row.name in failed),
            "I will go on by myself when a deployment of the same commit succeeds there. If that "
            f"environment says nothing about the {case.proposal}, merge it yourself. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def unreadable(view: PullRequestSnapshot) -> tuple[str, ...]:
    """That the App may not see what is waited for, and what to do about it."""
    if not view.previews_hidden:
        return ()
    return (
        "I may not read deployments here, so I cannot see any preview: grant the App the "
        "permission `deployments: read`.",
    )


def _logs(failed: Iterable[CheckRow]) -> tuple[str, ...]:
    linked = [markdown.link(f"log of {row.name}", row.url) for row in failed if row.url]
    return (f"What went wrong there: {', '.join(linked)}.",) if linked else ()


def awaiting_review(
    asked: tuple[str, ...], view: PullRequestSnapshot, case: IncidentContext
) -> StatusMessage:
    """The branch asks for reviews."""
    missing = max(view.approvals_missing, 1)
    people = f" Asked: {', '.join(markdown.mention(name) for name in asked)}." if asked else ""
    owners = " One has to be a code owner's." if view.code_owners_review else ""
    return StatusMessage(
        state="needs you",
        headline=f"Review {proposal_linked(case)}: it is green and needs {missing} more "
        f"{'approval' if missing == 1 else 'approvals'}.{people}",
        details=(
            f"{markdown.code(case.base)} asks for a review, and an App cannot approve its own "
            f"work.{owners} I will merge it as soon as the review is in. " + how_to_cancel(case),
        ),
        checks=view.tally.shown,
    )


def awaiting_code_owner(
    owners: tuple[str, ...], case: IncidentContext, tally: CheckTally
) -> StatusMessage:
    """The branch asks for a review by those to whom the changed files belong.

    GitHub names them when it refuses the merge; teams are named, and not notified.
    """
    who = listed([markdown.mention(name) for name in owners], "or")
    named = f": {who}" if owners else ", named in `CODEOWNERS`"
    return StatusMessage(
        state="needs you",
        headline=f"Review {proposal_linked(case)}: it is green and waits for a code owner{named}.",
        details=(
            f"{markdown.code(case.base)} asks for an approval by an owner of the changed files, "
            "and an App cannot approve its own work. I will merge it as soon as the review is in. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def changes_wanted(by: tuple[str, ...], case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """A reviewer said no."""
    people = ", ".join(markdown.code(name) for name in by)
    return StatusMessage(
        state="needs you",
        headline=f"Settle it with {people}, whose review of {proposal_linked(case)} asks for "
        "changes.",
        details=(
            "I will merge as soon as that review is dismissed on the pull request or has become an "
            "approval. Who cannot wait can merge it by hand; I will notice. " + how_to_cancel(case),
        ),
        checks=tally.shown,
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
    done = f"{proposal_linked(case)} is merged into {markdown.code(case.base)}"
    if case.offenders:
        verb = "is" if len(case.offenders) == 1 else "are"
        done = f"{offenders_linked(case)} {verb} reverted on {markdown.code(case.base)}"
    return StatusMessage(
        state="done",
        headline=f"Done: {done} ({commit_linked(case, sha)}).",
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
        headline=f"Merged: the {case.proposal} is on {markdown.code(case.base)} "
        f"({commit_linked(case, sha)}); I am waiting for {names(missing)} there.",
        details=outlook,
        checks=tally.shown,
    )


def run_again_after_merge(
    sha: str, case: IncidentContext, again: tuple[str, ...], tally: CheckTally
) -> StatusMessage:
    """Merged; what is red on the branch may be red by chance, and runs once more."""
    return StatusMessage(
        state="working",
        headline=f"Merged: the {case.proposal} is on {markdown.code(case.base)} "
        f"({commit_linked(case, sha)}); {names(again)} failed there, perhaps by chance, and "
        f"{'runs' if len(again) == 1 else 'run'} once more.",
        details=("I will ask you if it stays red.",),
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
            *((f"{names(again)} ran again, so it is unlikely to be chance.",) if again else ()),
            f"Other changes were merged together with the {case.proposal}; one of them may be the "
            "cause.",
            f"To take the {case.proposal} back: `/revert #{case.pull_request}`.",
            f"I will keep looking: once everything that counts is green on "
            f"{markdown.code(case.base)} again, this incident is resolved. `/cancel` stops that.",
        ),
        checks=tally.shown,
    )


def recovered(sha: str, head: str, case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """The branch was red after the merge, and somebody mended it."""
    return StatusMessage(
        state="done",
        headline=f"Done: {markdown.code(case.base)} is green again "
        f"({commit_linked(case, head)}); the {case.proposal} was merged as "
        f"{commit_linked(case, sha)}.",
        checks=tally.shown,
    )


def left_red(sha: str, case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """The branch was red after the merge, and nobody mended it in all that time."""
    failed = tally.named(State.FAILED, State.INFRA) or tally.named(State.MISSING, State.RUNNING)
    return StatusMessage(
        state="needs you",
        headline=f"Look at {markdown.code(case.base)}: {names(failed)} "
        f"{'has' if len(failed) == 1 else 'have'} not turned green since the {case.proposal} was "
        f"merged as {commit_linked(case, sha)}, and I stopped watching.",
        details=(f"{case.to_resolve.capitalize()} once the branch is green: that resolves it.",),
        checks=tally.shown,
    )


def not_watched(sha: str, case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """`/cancel` came when the proposal was merged already."""
    return StatusMessage(
        state="needs you",
        headline=f"{case.to_resolve.capitalize()} once {markdown.code(case.base)} is green: the "
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
        headline=f"Check that {markdown.code(case.base)} is green, then {case.to_resolve}: "
        f"{done} there by {commit_linked(case, sha)}, and I cannot see its checks.",
        details=(
            markdown.text(why, limit=1000),
            f"To take the {case.proposal} back: `/revert #{case.pull_request}`.",
        ),
    )


def merged_elsewhere(sha: str, case: IncidentContext, broken: str) -> StatusMessage:
    """Somebody gave it another base: it is merged there, and the broken branch is as it was."""
    went = f"{proposal_linked(case)} was merged into {markdown.code(case.base)}"
    return StatusMessage(
        state="needs you",
        headline=f"See to {markdown.code(broken)}, which is as it was: {went} "
        f"({commit_linked(case, sha)}).",
        details=(
            "Somebody changed the base branch of that pull request. "
            f"{case.how_to_start_over} {case.to_resolve.capitalize()} once "
            f"{markdown.code(broken)} is green: that resolves it.",
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
                headline=f"Stopped: {name_of(asker)} {followed.how} this {case.kind}, and {base} "
                "is as it was.",
                details=(done + case.how_to_start_over,),
            )
        case "cured elsewhere":
            return StatusMessage(
                state="stopped",
                headline=f"Done: {offenders_linked(case)} "
                f"{'was' if len(case.offenders) == 1 else 'were'} reverted on {base} by "
                "someone else.",
                details=(f"I closed the {case.proposal}: it would have changed nothing.",),
            )
        case "given up" if case.pull_request is None:
            return StatusMessage(
                state="stopped",
                headline=f"Stopped: nobody approved this {case.kind} in time, and {base} is as it "
                "was.",
                details=(case.how_to_start_over,),
            )
        case "given up":
            return StatusMessage(
                state="stopped",
                headline=f"Merge or close {proposal_linked(case)} yourself: I stopped waiting for "
                "it, and it stays open.",
                details=(case.how_to_start_over,),
            )
        case _:
            return StatusMessage(
                state="stopped",
                headline=f"Stopped: {proposal_linked(case)} was closed without merging, and {base} "
                "is as it was.",
                details=(case.how_to_start_over,),
            )
