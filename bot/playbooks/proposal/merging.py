"""What to do next with an open proposal: one pure decision from one look at GitHub.

The look is taken anew after every wake-up, so a decision never rests on a stale message; the
order of the rules is the order of what matters most to the person waiting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from bot.playbooks.checks.green import Counting, Row, State, Tally
from bot.triggers import Value

_REVIEW = re.compile(r"\b(?:approving|required) reviews?\b", re.IGNORECASE)
"""In GitHub's refusal, where the App may not read the protection that asks for reviews."""
_JOINING = frozenset({"and", "or", "and/or"})
_OWNERS = re.compile(r"code owner review from (?P<owners>[^\n]{1,1000}?)(?:\.(?:\s|$)|\n|$)")
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)?")
_MOST_OWNERS = 10


def code_owners(refusal: str) -> tuple[str, ...] | None:
    """Whose review GitHub waits for, by its refusal to merge; None: it is not about that.

    It says "Waiting on code owner review from alice, acme/core, and/or bob."
    """
    found = _OWNERS.search(refusal)
    if found is None:
        return None
    named = [name for name in _OWNER.findall(found["owners"]) if name not in _JOINING]
    return tuple(dict.fromkeys(named))[:_MOST_OWNERS]


class View(Value):
    """A hotfix pull request as GitHub shows it now."""

    pull_request: Literal["open", "closed", "merged"]
    merge_sha: str | None = None
    draft: bool
    head: str
    base_head: str
    base_ref: str = ""
    """The branch it goes to, by its present name."""
    conflicts: bool
    tally: Tally
    previews_hidden: bool = False
    """Whether the App may not read deployments, although previews are waited for."""
    red_before: tuple[str, ...] = ()
    """Checks that failed on the base branch already before the incident, in the same way."""
    red_on_base: tuple[str, ...] = ()
    """Checks that failed on the broken base branch in the same way."""
    red_otherwise: tuple[str, ...] = ()
    """Checks that failed there too, but in another way."""
    reviews_required: bool = False
    """As far as the App may read the rules; else GitHub's refusal tells."""
    approvals_missing: int = 0
    code_owners_review: bool = False
    """Whether one of the reviews has to be a code owner's."""
    reviewers: tuple[str, ...] = ()
    changes_wanted_by: tuple[str, ...] = ()
    queue: Literal["none", "required", "waiting"] = "none"
    methods: tuple[str, ...] = ()
    """How the base branch may be merged into, the best first."""
    up_to_date_required: bool = False
    """Whether the rules want the head to contain the newest base."""
    behind: bool = False
    """Whether GitHub says that it does not, and has to."""


Why = Literal[
    "conflict",
    "not cured",
    "red",
    "unrelated",
    "infra",
    "preview",
    "nothing counts",
    "no evals",
    "person",
    "founder",
    "timed out",
    "changed",
    "review",
    "code owner",
    "changes wanted",
    "left the queue",
    "merge refused",
]
APPROVABLE: frozenset[Why] = frozenset(
    {"unrelated", "nothing counts", "no evals", "person", "founder"}
)
"""What a person may wave through: it does not speak against the hotfix itself."""


class Approved(Value):
    """A person's yes to one doubt about one commit; another commit or doubt needs its own."""

    head: str
    why: Why


class Reran(Value):
    """Checks of one commit that were asked to run again."""

    head: str
    old: tuple[Row, ...]
    """What they said then: as long as they say just this, the new run has not ended."""
    agreed: bool
    """Whether GitHub took the request; not every check can be run again from outside."""


class Terms(Value):
    """What was settled before: what we published, on which base, and until when we wait."""

    commit: str
    base: str
    """The base head that the hotfix is known to fit; when it moves, the revert is recomputed."""
    counting: Counting
    deadline: datetime
    conflict: bool = False
    """The revert could not be computed cleanly: a person resolves it."""
    merge_refused: str | None = None
    """Why GitHub last refused to merge this very head, in its words."""
    approved: tuple[Approved, ...] = ()
    reran: Reran | None = None
    left_queue: bool = False
    """The hotfix was in the merge queue and is no longer."""
    evals_wanted: bool = False
    """Nobody asked for this in person: without evals a person has to agree (Decisions 5)."""
    person_wanted: bool = False
    """Nobody asked for this change as such: a person decides whether it is merged."""
    irreversible: tuple[str, ...] = ()
    """Paths of the change that cannot be undone: a Founder decides whether it is merged."""


class Wait(Value):
    """Nothing to do yet; `missing` names what is still awaited."""

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


class Rerun(Value):
    """Checks broke off without a verdict: have them run again, once."""

    action: Literal["rerun"] = "rerun"
    names: tuple[str, ...]


class Ask(Value):
    """Only a person can go on. `why` selects the words."""

    action: Literal["ask"] = "ask"
    why: Why
    names: tuple[str, ...] = ()
    reason: str = ""
    """GitHub's own words, where it refused."""


class Finish(Value):
    """The pull request is closed, merged or not."""

    action: Literal["finish"] = "finish"
    merged: bool
    sha: str | None = None


Move = Annotated[
    Wait | Merge | Enqueue | Refit | Rerun | Ask | Finish,
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
    ours = view.head == terms.commit
    # Of a conflict our own commit holds the markers: never merged, whatever the checks say.
    if terms.conflict and (ours or view.draft or view.conflicts):
        return Ask(why="conflict")
    if ours and (view.base_head != terms.base or view.conflicts or view.behind):
        return Refit(base=view.base_head)
    for doubt in _doubts(view, terms, now):
        approved = isinstance(doubt, Ask) and Approved(head=view.head, why=doubt.why)
        if not approved or approved not in terms.approved:
            return doubt
    return _when_verified(view, terms, ours=ours)


def _doubts(view: View, terms: Terms, now: datetime) -> Iterator[Wait | Rerun | Ask]:
    """What the checks leave to be wished for, most important first."""
    tally = view.tally
    missing = tally.awaited
    match tally.verdict:
        case "nothing counts":
            yield Ask(why="nothing counts")
        case "red":
            yield _when_red(view, terms, now)
        case "waiting" if now >= terms.deadline:
            yield Ask(why="timed out", names=missing)
        case "waiting":
            yield Wait(missing=missing)
        case "green":
            pass
    if terms.evals_wanted and not terms.counting.evals:
        yield Ask(why="no evals")
    if terms.person_wanted:
        yield Ask(why="person")
    if terms.irreversible:
        yield Ask(why="founder", names=terms.irreversible)


def _when_red(view: View, terms: Terms, now: datetime) -> Wait | Rerun | Ask:
    """Whose failure is it (Decisions 6)?"""
    failed = view.tally.named(State.FAILED)
    broken_off = view.tally.named(State.INFRA)
    new = [name for name in failed if name not in view.red_before]
    if persisting := tuple(name for name in new if name in view.red_on_base):
        return Ask(why="not cured", names=persisting)
    if new:
        return Ask(why="red", names=tuple(new))
    if failed_previews := [row.name for row in view.tally.previews if row.state is State.FAILED]:
        return Ask(why="preview", names=tuple(failed_previews))
    if broken_off:
        return _when_broken_off(broken_off, view, terms, now)
    return Ask(why="unrelated", names=failed)


def _when_broken_off(
    names: tuple[str, ...], view: View, terms: Terms, now: datetime
) -> Wait | Rerun | Ask:
    reran = terms.reran
    if reran is None or reran.head != view.head:
        return Rerun(names=names)
    unchanged = all(row in reran.old for row in view.tally.rows if row.name in names)
    if reran.agreed and unchanged and now < terms.deadline:
        return Wait(missing=names)
    return Ask(why="infra", names=names)


def _when_verified(view: View, terms: Terms, *, ours: bool) -> Move:
    if not ours and not terms.conflict:
        # Somebody pushed to the hotfix: what is there now is theirs to answer for.
        return Ask(why="changed")
    if view.changes_wanted_by and (view.reviews_required or terms.merge_refused):
        return Ask(why="changes wanted", names=view.changes_wanted_by)
    if view.approvals_missing:
        return Ask(why="review", names=view.reviewers)
    if view.queue == "waiting":
        return Wait(missing=("merge queue",))
    if (owners := code_owners(terms.merge_refused or "")) is not None:
        return Ask(why="code owner", names=owners)
    if terms.merge_refused is not None and _REVIEW.search(terms.merge_refused):
        return Ask(why="review", names=view.reviewers)
    if terms.merge_refused is not None:
        return Ask(why="merge refused", reason=terms.merge_refused)
    if terms.left_queue:
        return Ask(why="left the queue")
    if view.queue == "required":
        return Enqueue(head=view.head)
    return Merge(head=view.head)
