"""What is said while a proposal is open: each stand and each need in its own words.

The first sentence is always the one next thing to do, and for whom.
"""

from __future__ import annotations

from datetime import datetime

from bot import markdown
from bot.git.reverting import Conflict, PathConflict
from bot.playbooks.checks.green import Tally
from bot.playbooks.incidents.case import Case
from bot.playbooks.proposal.merging import Ask, View, Wait
from bot.playbooks.proposal.preview_text import preview_failed, unreadable
from bot.playbooks.proposal.review_text import (
    awaiting_code_owner,
    awaiting_review,
    changes_wanted,
)
from bot.playbooks.undo.undoing import Undone
from bot.playbooks.words.standing import Standing
from bot.playbooks.words.wording import (
    commit_linked,
    how_to_cancel,
    names,
    offenders_linked,
    proposal_linked,
)

_PATHS_SHOWN = 20


def starting(case: Case) -> Standing:
    """The incident is open, the proposal is being made."""
    return Standing(
        state="working",
        headline=f"Nothing to do for you yet: I am preparing the {case.proposal} for "
        f"{markdown.code(case.base)}.",
    )


def standing_for(
    move: Wait | Ask, view: View, case: Case, deadline: datetime, conflict: Conflict | None
) -> Standing:
    """Choose the words for what comes next."""
    tally = view.tally
    if isinstance(move, Wait):
        if view.queue == "waiting":
            return in_queue(case, tally)
        return verifying(move.missing, tally, deadline, unreadable(view))
    match move.why:
        case "conflict":
            return conflicted(case, conflict)
        case "not cured":
            return not_cured(move.names, case, tally)
        case "red":
            if set(move.names) & set(view.red_otherwise):
                return red_otherwise(move.names, case, tally)
            return red(move.names, case, tally)
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
        case "founder":
            raise ValueError("a Founder is shown the whole plan: see `founder`")
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
            return left_the_queue(case, tally)
        case "merge refused":
            return merge_refused(move.reason, case, tally)


def verifying(
    missing: tuple[str, ...], tally: Tally, deadline: datetime, more: tuple[str, ...] = ()
) -> Standing:
    """Checks are running."""
    return Standing(
        state="working",
        headline=f"Nothing to do for you yet: I am waiting for {names(missing)}.",
        details=(f"I wait until {_moment(deadline)}, then I ask you.", *more),
        checks=tally.shown,
    )


def green(case: Case, tally: Tally) -> Standing:
    """Everything that counts passed, or was approved; the merge is next."""
    word = "green" if tally.verdict == "green" else "approved"
    return Standing(
        state="working",
        headline=f"Nothing to do for you: {proposal_linked(case)} is {word}, and I am merging it.",
        checks=tally.shown,
    )


def in_queue(case: Case, tally: Tally) -> Standing:
    """The merge queue has it."""
    return Standing(
        state="working",
        headline=f"Nothing to do for you: {proposal_linked(case)} is green and stands in the "
        "merge queue.",
        checks=tally.shown,
    )


def conflicted(case: Case, conflict: Conflict | None) -> Standing:
    """The revert needs a person's hands."""
    paths = conflict.paths if conflict else ()
    shown = [_conflicting(case, path) for path in paths[:_PATHS_SHOWN]]
    if len(paths) > _PATHS_SHOWN:
        shown.append(f"- … and {len(paths) - _PATHS_SHOWN} more")
    count = f"{len(paths)} conflicting {'path' if len(paths) == 1 else 'paths'}"
    return Standing(
        state="needs you",
        headline=f"Resolve {count if paths else 'the conflict'} on {markdown.code(case.branch)}, "
        f"then mark {proposal_linked(case)} ready for review.",
        details=(
            f"{markdown.code(case.base)} changed the same lines after {offenders_linked(case)}, "
            "so undoing it needs a decision. Where the branch holds conflict markers, both sides "
            "stand between them.",
            *(("\n".join(shown),) if shown else ()),
            "To do it in a clone: "
            + markdown.code(f"git fetch origin && git switch {case.branch}")
            + ", edit, commit, push. I verify and merge it as soon as it is ready for review.",
            how_to_cancel(case),
        ),
    )


def not_cured(failed: tuple[str, ...], case: Case, tally: Tally) -> Standing:
    """The failure is the one the broken base has: something else is guilty."""
    return Standing(
        state="needs you",
        headline=f"Look for another cause: with {offenders_linked(case)} undone, "
        f"{names(failed)} {_fails(failed)} as before, so this revert did not cure it.",
        details=(
            f"{names(failed)} passed before the incident, failed on {markdown.code(case.base)} "
            f"and fails on the {case.proposal} too: a change beside this one broke it.",
            "I am looking for it by bisect, as an incident of its own. " + how_to_cancel(case)
            if case.looks_further
            else f"To find it: {markdown.code(f'/bisect {case.before[:12]}..{case.base}')}; or "
            "`/revert` the change you suspect. " + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def red(failed: tuple[str, ...], case: Case, tally: Tally) -> Standing:
    """A check fails on the proposal alone: later work may need what is undone."""
    return Standing(
        state="needs you",
        headline=f"Look at {names(failed)}: only on {proposal_linked(case)} "
        f"{'does it fail' if len(failed) == 1 else 'do they fail'}, so I did not merge it.",
        details=(
            f"On {markdown.code(case.base)} it was not red. Perhaps later changes need what is "
            f"undone here: then revert those with it, as in `/revert {_example(case)}`.",
            "If it is a passing fault, run the check again: I go on by myself when it turns "
            "green. " + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def red_otherwise(failed: tuple[str, ...], case: Case, tally: Tally) -> Standing:
    """A check fails on the proposal as on the base, but its report tells of something else."""
    return Standing(
        state="needs you",
        headline=f"Look at {names(failed)}: on {proposal_linked(case)} "
        f"{'it fails' if len(failed) == 1 else 'they fail'} in another way than on "
        f"{markdown.code(case.base)}, so I did not merge it.",
        details=(
            "What the reports complain about differs. Perhaps the first failure is cured and hid "
            "another, or later changes need what is undone here: then revert those with it, as "
            f"in `/revert {_example(case)}`.",
            "If it is a passing fault, run the check again: I go on by myself when it turns "
            "green. " + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def unrelated(failed: tuple[str, ...], case: Case, tally: Tally) -> Standing:
    """What fails had failed before the incident."""
    return Standing(
        state="needs you",
        headline=f"Approve {proposal_linked(case)} with `/approve`, or mend {names(failed)} first: "
        f"{'it was' if len(failed) == 1 else 'they were'} red before the incident already.",
        details=(
            "All else that counts is green, so this failure does not speak against the revert. "
            "Anyone with write access may approve, since the merge can be undone; the approval "
            "holds for this commit only.",
            f"`/reject` or `/cancel` closes {proposal_linked(case)} and deletes its branch.",
        ),
        checks=tally.shown,
        approvable=True,
    )


def broken_off(failed: tuple[str, ...], case: Case, tally: Tally) -> Standing:
    """Checks end without a verdict, again after they were run once more."""
    return Standing(
        state="needs you",
        headline=f"Run {names(failed)} again on {proposal_linked(case)}: "
        f"{'it' if len(failed) == 1 else 'they'} broke off without a verdict.",
        details=(
            "A time-out, a cancellation or a runner that did not start says nothing about the "
            f"{case.proposal}. I asked for one more run where GitHub let me, and that was not "
            "enough.",
            "I go on by myself when the result arrives; `/retry` asks for another run. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def nothing_counts(case: Case, tally: Tally) -> Standing:
    """No check can say whether the proposal is good."""
    return Standing(
        state="needs you",
        headline=f"Look at {proposal_linked(case)}, then `/approve` it: no check says whether it "
        "is good.",
        details=(
            f"No smoke check is configured, none is required on {markdown.code(case.base)}, and "
            "none had passed there before the incident. I never merge what nothing verified "
            "unless a person with write access says so.",
            "To let me do it next time, name your checks in "
            + markdown.code(".github/playbooks.yml")
            + " under `checks: {smoke: […]}`. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
        approvable=True,
    )


def no_evals(case: Case, tally: Tally) -> Standing:
    """Nobody asked in person, and there are no evals."""
    return Standing(
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


def person_decides(case: Case, tally: Tally) -> Standing:
    """It is green, and only a person may have it merged."""
    return Standing(
        state="needs you",
        headline=f"Merge {proposal_linked(case)}, or comment `/approve` and I do: it is green.",
        details=(
            "I merge it by myself only where somebody asked for just this change.",
            how_to_cancel(case),
        ),
        checks=tally.shown,
        approvable=True,
    )


def timed_out(
    missing: tuple[str, ...], case: Case, tally: Tally, more: tuple[str, ...] = ()
) -> Standing:
    """Checks did not report in time."""
    return Standing(
        state="needs you",
        headline=f"Find out why {names(missing)} did not report on {proposal_linked(case)}: my "
        "waiting time is over.",
        details=(
            *more,
            "I go on by myself when the result arrives. `/retry` waits once more. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def changed_by_others(case: Case, tally: Tally) -> Standing:
    """Somebody pushed to its branch."""
    return Standing(
        state="needs you",
        headline=f"Merge {proposal_linked(case)} yourself: it is green, but it holds commits I did "
        "not make.",
        details=("I merge only what I computed and verified myself. " + how_to_cancel(case),),
        checks=tally.shown,
    )


def left_the_queue(case: Case, tally: Tally) -> Standing:
    """The merge queue threw it out."""
    return Standing(
        state="needs you",
        headline=f"Look at the merge queue: {proposal_linked(case)} was taken out of it.",
        details=(
            f"Usually a check failed on what the queue tested: the {case.proposal} together with "
            "what stood before it. `/retry` puts it in again. " + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def merge_refused(why: str, case: Case, tally: Tally) -> Standing:
    """GitHub would not merge it."""
    return Standing(
        state="needs you",
        headline=f"Look at {proposal_linked(case)}: it is verified, but GitHub refuses to merge "
        "it.",
        details=(
            f"GitHub says: {markdown.text(why)}",
            "Somebody who may can merge it by hand; I notice, and finish the records. I try "
            "again by myself now and then, and at once after `/retry`. " + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def broke_off(step: str, why: str, undone: Undone) -> Standing:
    """A step failed, and will not be tried again by itself."""
    return Standing(
        state="needs you",
        headline=f"Mend the cause, then comment `/retry`: “{markdown.text(step)}” did not work.",
        details=(markdown.text(why, limit=1000), *undone.told()),
    )


def _fails(failed: tuple[str, ...]) -> str:
    return "fails" if len(failed) == 1 else "fail"


def _example(case: Case) -> str:
    named = [f"#{o.number}" if o.number else o.sha[:9] for o in case.offenders[:3]]
    return " ".join([*named, "#…"])


def _conflicting(case: Case, path: PathConflict) -> str:
    since = ", ".join(
        f"{markdown.text(commit.author)} in {commit_linked(case, commit.sha)}"
        for commit in path.changed_since[:3]
    )
    return f"- {markdown.code(path.path)} ({', '.join(path.kinds)})" + (
        f", changed since by {since}" if since else ""
    )


def _moment(moment: datetime) -> str:
    return moment.strftime("%H:%M UTC on %-d %B")
