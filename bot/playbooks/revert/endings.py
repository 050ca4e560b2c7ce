"""What a revert says at its end: each ending in its own words, what to do next first."""

from __future__ import annotations

from bot import markdown
from bot.playbooks.checks import State, Tally
from bot.playbooks.follow import Followed
from bot.playbooks.revert.text import (
    Case,
    commit_linked,
    hotfix_linked,
    name_of,
    names,
    offenders_linked,
)
from bot.playbooks.run import Ending
from bot.playbooks.standing import Standing

_ANEW = "Comment `/revert` again to start anew."


def merged(sha: str, case: Case, tally: Tally, unseen: tuple[str, ...] = ()) -> Standing:
    """Done."""
    details = (
        (f"{markdown.code(case.base)} itself had no result of {names(unseen)} in time.",)
        if unseen
        else ()
    )
    verb = "is" if len(case.offenders) == 1 else "are"
    return Standing(
        state="done",
        headline=f"Nothing to do: {offenders_linked(case)} {verb} reverted on "
        f"{markdown.code(case.base)} by {commit_linked(case, sha)}.",
        details=details,
        checks=tally.rows,
    )


def confirming(sha: str, case: Case, tally: Tally) -> Standing:
    """Merged, but onto a base that had moved: the result is watched once more."""
    missing = tally.named(State.MISSING, State.RUNNING)
    return Standing(
        state="working",
        headline=f"Nothing to do for you: the hotfix is merged as {commit_linked(case, sha)}; "
        f"I am waiting for {names(missing)} on {markdown.code(case.base)}.",
        checks=tally.rows,
    )


def red_after_merge(sha: str, case: Case, tally: Tally) -> Standing:
    """Merged, yet the branch is not green."""
    failed = tally.named(State.FAILED, State.INFRA) or tally.named(State.MISSING, State.RUNNING)
    return Standing(
        state="needs you",
        headline=f"Look at {markdown.code(case.base)}: the hotfix is merged as "
        f"{commit_linked(case, sha)}, but {names(failed)} did not turn green there.",
        details=(
            "Other changes landed together with the hotfix; one of them may be the cause.",
            f"To take the hotfix back: `/revert #{case.pull_request}`.",
        ),
        checks=tally.rows,
    )


def not_watched(sha: str, case: Case, tally: Tally) -> Standing:
    """`/cancel` came when the hotfix was merged already."""
    return Standing(
        state="stopped",
        headline=f"The hotfix was merged as {commit_linked(case, sha)} before you cancelled; "
        f"I stopped watching {markdown.code(case.base)}.",
        details=(f"To take the hotfix back: `/revert #{case.pull_request}`.",),
        checks=tally.rows,
    )


def unmerged(followed: Followed, case: Case) -> Standing:
    """Ended without a merge."""
    asker = followed.by or case.requested_by
    base = markdown.code(case.base)
    match followed.how:
        case "cancelled" | "rejected":
            done = (
                f"{hotfix_linked(case).capitalize()} is closed and its branch deleted. "
                if case.pull_request
                else "No hotfix was opened. "
            )
            return Standing(
                state="stopped",
                headline=f"Nothing to do: {name_of(asker)} {followed.how} this revert; "
                f"{base} is as it was.",
                details=(done + _ANEW,),
            )
        case "cured elsewhere":
            return Standing(
                state="stopped",
                headline=f"Nothing to do: {offenders_linked(case)} "
                f"{'was' if len(case.offenders) == 1 else 'were'} reverted on {base} by "
                "someone else meanwhile.",
                details=("I closed the hotfix, since it would change nothing any more.",),
            )
        case "given up":
            return Standing(
                state="stopped",
                headline=f"Merge or close {hotfix_linked(case)} yourself: I stopped waiting for "
                "it, and it stays open.",
                details=(_ANEW,),
            )
        case _:
            return Standing(
                state="stopped",
                headline=f"Nothing to do: {hotfix_linked(case)} was closed without merging; "
                f"{base} is as it was.",
                details=(_ANEW,),
            )


def joined(issue: int | None, incident: str) -> Ending:
    """Somebody asked for the same before."""
    where = f"#{issue}" if issue else markdown.code(incident)
    return Ending(
        outcome="joined",
        reason=f"This is being reverted already, as incident {where}.",
        remedy="`/status` says where it stands.",
    )
