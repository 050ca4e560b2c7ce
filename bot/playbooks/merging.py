"""What to do next with an open hotfix: one pure decision from one look at GitHub.

The look is taken anew after every wake-up, so a decision never rests on a stale message; the
order of the rules is the order of what matters most to the person waiting.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from bot.playbooks.checks import Counting, State, Tally
from bot.triggers import Value


class View(Value):
    """A hotfix pull request as GitHub shows it now."""

    pull_request: Literal["open", "closed", "merged"]
    merge_sha: str | None = None
    draft: bool
    head: str
    base_head: str
    conflicts: bool
    tally: Tally
    approvals_missing: int = 0
    reviewers: tuple[str, ...] = ()
    queue: Literal["none", "required", "waiting"] = "none"
    methods: tuple[str, ...] = ()
    """How the base branch may be merged into."""
    up_to_date_required: bool = False
    """Whether the rules want the head to contain the newest base."""


class Terms(Value):
    """What was settled before: what we published, on which base, and until when we wait."""

    commit: str
    base: str
    """The base head that the hotfix is known to fit; when it moves, the revert is recomputed."""
    counting: Counting
    deadline: datetime
    conflict: bool = False
    """The revert could not be computed cleanly: a person resolves it in the draft."""
    merge_refused: str | None = None
    """Why GitHub last refused to merge this very head, in its words."""


class Wait(Value):
    """Nothing to do yet; `since` names what is still awaited."""

    action: Literal["wait"] = "wait"
    missing: tuple[str, ...]


class Merge(Value):
    """Everything holds: merge exactly this head."""

    action: Literal["merge"] = "merge"
    head: str


class Enqueue(Value):
    """Everything holds, and the branch merges through a queue."""

    action: Literal["enqueue"] = "enqueue"
    head: str


class Refit(Value):
    """The base moved: compute the revert again on its new head."""

    action: Literal["refit"] = "refit"
    base: str


class Ask(Value):
    """Only a person can go on. `why` selects the words."""

    action: Literal["ask"] = "ask"
    why: Literal[
        "conflict", "red", "nothing counts", "timed out", "changed", "review", "merge refused"
    ]
    names: tuple[str, ...] = ()
    reason: str = ""
    """GitHub's own words, where it refused."""


class Finish(Value):
    """The pull request is closed, merged or not."""

    action: Literal["finish"] = "finish"
    merged: bool
    sha: str | None = None


Move = Annotated[
    Wait | Merge | Enqueue | Refit | Ask | Finish,
    Field(discriminator="action"),
]


def next_move(view: View, terms: Terms, now: datetime) -> Move:
    """Decide what to do next with an open hotfix.

    Args:
        view: the pull request, its checks and its branch rules, read just now.
        terms: what the Run settled before.
        now: the time, for the visible time-out.
    """
    if view.pull_request == "merged":
        return Finish(merged=True, sha=view.merge_sha)
    if view.pull_request == "closed":
        return Finish(merged=False)
    if terms.conflict and (view.draft or view.conflicts):
        return Ask(why="conflict")
    ours = view.head == terms.commit
    if ours and (view.base_head != terms.base or view.conflicts):
        return Refit(base=view.base_head)
    return _by_checks(view, terms, now, ours=ours)


def _by_checks(view: View, terms: Terms, now: datetime, *, ours: bool) -> Move:
    tally = view.tally
    missing = tally.named(State.MISSING, State.RUNNING)
    match tally.verdict:
        case "nothing counts":
            return Ask(why="nothing counts")
        case "red":
            return Ask(why="red", names=tally.named(State.FAILED, State.INFRA))
        case "waiting" if now >= terms.deadline:
            return Ask(why="timed out", names=missing)
        case "waiting":
            return Wait(missing=missing)
        case "green":
            return _when_green(view, terms, ours=ours)


def _when_green(view: View, terms: Terms, *, ours: bool) -> Move:
    if not ours and not terms.conflict:
        # Somebody pushed to the hotfix: what is there now is theirs to answer for.
        return Ask(why="changed")
    if view.approvals_missing:
        return Ask(why="review", names=view.reviewers)
    if terms.merge_refused is not None:
        return Ask(why="merge refused", reason=terms.merge_refused)
    if view.queue == "waiting":
        return Wait(missing=("merge queue",))
    if view.queue == "required":
        return Enqueue(head=view.head)
    return Merge(head=view.head)
