"""What is done next with our pull request: wait, merge, ask, give up. Pure.

The look is taken again after every wake-up, so a decision never rests on a stale message; the
order of the rules is the order of what matters most to the person waiting.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from bot.logs import explained
from bot.playbooks.checks.green import CheckTally, Counting, Reran, State, reruns
from bot.playbooks.pull_request.snapshot import PullRequestSnapshot
from bot.playbooks.run import Ask, Wait
from bot.triggers import Value

Confirmation = Literal["cured", "unseen", "not cured", "wait"]


def confirmation(
    *, same_tree: bool, on_base: CheckTally, on_hotfix: CheckTally | None, overdue: bool
) -> Confirmation:
    """Say whether the merged base branch is good.

    Args:
        same_tree: whether its files are exactly those that were verified.
        on_base: what the checks that count say about the merge.
        on_hotfix: what they said about the hotfix; what was waved through there counts no more.
        overdue: whether the time to wait is over.

    Returns:
        "unseen" where nothing reported on the base branch at all: many check only pull requests.
    """
    if same_tree or on_base.verdict == "green":
        return "cured"
    accepted = set(on_hotfix.named(State.FAILED, State.INFRA)) if on_hotfix else set()
    failed = set(on_base.named(State.FAILED, State.INFRA)) - accepted
    waiting = on_base.named(State.MISSING, State.RUNNING)
    if on_base.verdict == "nothing counts":
        return "unseen"
    if waiting and not overdue:
        return "wait"
    if failed or on_base.named(State.RUNNING):
        return "not cured"
    return "unseen" if waiting else "cured"


LONG_GREEN = timedelta(minutes=10)
"""So long after all others passed, a check that has not begun is not about to."""
_REVIEW = re.compile(
    r"\b(?:approving|required) reviews?\b|\brequires? approval from someone other than\b",
    re.IGNORECASE,
)
"""In GitHub's refusal, where the App may not read the protection that asks for reviews; the second
where whoever pushed last may not approve (flutter/cocoon#5017)."""
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
    "unstarted",
    "foreign",
    "timed out",
    "changed",
    "review",
    "code owner",
    "changes wanted",
    "left the queue",
    "merge refused",
    "update refused",
]
APPROVABLE: frozenset[Why] = frozenset(
    {"unrelated", "nothing counts", "unstarted", "no evals", "person", "founder", "foreign"}
)
"""What a person may wave through: it does not speak against the hotfix itself."""


class DoubtApproval(Value):
    """A person's yes to one doubt about one commit; another commit or doubt needs its own."""

    head: str
    why: Why
    names: tuple[str, ...] = ()
    """What was shown: checks that had not begun, or paths of a head that is not ours.

    A yes to those holds for no others.
    """
    base: str = ""
    """The branch that it went to; empty of a Run that began before this was looked at."""

    def renamed(self, view: PullRequestSnapshot) -> DoubtApproval:
        """The same, by the new name of the branch, where that is the one that has one."""
        is_it = bool(self.base) and self.base == view.renamed_from
        return self.model_copy(update={"base": view.base_ref}) if is_it else self

    def covers(self, doubt: AskPerson, view: PullRequestSnapshot) -> bool:
        """Tell whether it answers this doubt about this commit, on its way to this branch."""
        if (self.head, self.why) != (view.head, doubt.why):
            return False
        if self.base and self.base != view.base_ref:
            return False
        bound = doubt.why in ("unstarted", "foreign")
        return not bound or {*doubt.names} <= {*self.names}


class MergeTerms(Value):
    """What was settled before: what we published, on which base, and until when we wait."""

    commit: str
    base: str
    """The base head that the hotfix is known to fit; when it moves, the revert is recomputed."""
    counting: Counting
    deadline: datetime
    conflict: bool = False
    """The revert could not be computed cleanly: a person resolves it."""
    conflicts_pass: bool = True
    """Whether the change is computed again where the base moves on; older Runs do not."""
    drafts: bool = True
    """Whether marking it ready can say that it is resolved; not every plan has drafts."""
    patient: bool = True
    """Whether it is a Run that runs again what may have failed by chance; older ones do not."""
    asks_about_foreign: bool = True
    """Whether a head that we did not make is asked about; Runs begun before merge none at all."""
    merge_refused: str | None = None
    """Why GitHub last refused to merge this very head, in its words."""
    approved: tuple[DoubtApproval, ...] = ()
    reran: Reran | None = None
    left_queue: bool = False
    """The hotfix was in the merge queue and is no longer."""
    requeued: int = 0
    """How often it was put in again since a check failed there, perhaps by chance."""
    evals_wanted: bool = False
    """Nobody asked in person: without evals a person has to agree (docs/decisions/0005)."""
    person_wanted: bool = False
    """Nobody asked for this change as such: a person decides whether it is merged."""
    irreversible: tuple[str, ...] = ()
    """Paths of the change that cannot be undone: a Founder decides whether it is merged."""


class MergeNow(Value):
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
    """Checks broke off without a verdict, or may have failed by chance: have them run again."""

    action: Literal["rerun"] = "rerun"
    names: tuple[str, ...]


class AskPerson(Ask):
    """Only a person can go on. `why` selects the words."""

    why: Why
    names: tuple[str, ...] = ()
    reason: str = ""
    """GitHub's own words, where it refused."""
    reran: int = 0
    """How often the checks that are named were run again, at most."""
    cannot: tuple[str, ...] = ()
    """Checks among them that GitHub could not run again."""


class FinishProposal(Value):
    """The pull request is closed, merged or not."""

    action: Literal["finish"] = "finish"
    merged: bool
    sha: str | None = None


Move = Annotated[
    Wait | MergeNow | Enqueue | Refit | Rerun | AskPerson | FinishProposal,
    Field(discriminator="action"),
]


@explained
def next_move(view: PullRequestSnapshot, terms: MergeTerms, now: datetime) -> Move:
    """Decide what to do next with an open hotfix.

    Args:
        view: the pull request, its checks and its branch rules, read just now.
        terms: what the Run settled before.
        now: the time, for the visible time-out.
    """
    if view.pull_request == "merged":
        return FinishProposal(merged=True, sha=view.merge_sha)
    if view.pull_request == "closed":
        return FinishProposal(merged=False)
    ours = view.head == terms.commit
    if terms.conflict and terms.conflicts_pass and ours and view.base_head != terms.base:
        # What was in the way may be gone, or somebody has undone it all by hand.
        return Refit(base=view.base_head)
    # Of a conflict our own commit holds the markers: never merged, whatever the checks say.
    if terms.conflict and (ours or view.draft or view.conflicts):
        return AskPerson(why="conflict")
    if ours and (view.base_head != terms.base or view.conflicts or view.behind):
        return Refit(base=view.base_head)
    # What a person has to merge anyway is not asked about: that is their answer.
    foreign = not ours and terms.asks_about_foreign and not (terms.conflict and not terms.drafts)
    if foreign:
        touched = view.foreign.irreversible if view.foreign else ()
        question = AskPerson(why="foreign", names=touched)
        if not any(each.covers(question, view) for each in terms.approved):
            return question
    for doubt in _doubts(view, terms, now, answered_for=foreign):
        if not isinstance(doubt, AskPerson):
            return doubt
        if not any(each.covers(doubt, view) for each in terms.approved):
            return doubt
    return _when_verified(view, terms, ours=ours or foreign)


def _doubts(
    view: PullRequestSnapshot, terms: MergeTerms, now: datetime, *, answered_for: bool
) -> Iterator[Wait | Rerun | AskPerson]:
    """What the checks leave to be wished for, most important first.

    A person who answers for this very commit has answered whether anybody shall decide about it.
    """
    tally = view.tally
    missing = tally.awaited
    match tally.verdict:
        case "nothing counts":
            yield AskPerson(why="nothing counts")
        case "red" if terms.patient:
            yield _when_red_once_more(view, terms, now)
        case "red":
            yield _when_red(view, terms, now)
        case "waiting" if terms.patient and _never_begun(view, terms, now):
            yield AskPerson(why="unstarted", names=missing)
        case "waiting" if now >= terms.deadline:
            yield AskPerson(why="timed out", names=missing)
        case "waiting":
            yield Wait(missing=missing)
        case "green":
            pass
    if answered_for:
        return
    if terms.evals_wanted and not terms.counting.evals:
        yield AskPerson(why="no evals")
    if terms.person_wanted:
        yield AskPerson(why="person")
    if terms.irreversible:
        yield AskPerson(why="founder", names=terms.irreversible)


def _never_begun(view: PullRequestSnapshot, terms: MergeTerms, now: datetime) -> bool:
    """Tell whether all that is awaited are checks that do not even begin, without a reason to.

    Without what the branch requires GitHub merges nothing, whatever a person says here.
    """
    tally = view.tally
    missing = tally.named(State.MISSING)
    if not missing or tally.awaited != missing or {*missing} & {*view.required}:
        return False
    others = [row for row in tally.rows if row.state is not State.MISSING]
    if any(row.state not in (State.PASSED, State.SKIPPED) for row in others):
        return False
    last = max((row.at for row in others if row.at), default=None)
    return now >= terms.deadline or (last is not None and now - last >= LONG_GREEN)


def _when_red_once_more(
    view: PullRequestSnapshot, terms: MergeTerms, now: datetime
) -> Wait | Rerun | AskPerson:
    """Run again what may be red by chance; only then is it anybody's failure."""
    reran = terms.reran if terms.reran and terms.reran.head == view.head else None
    again = reruns(view.tally, view.chances, reran, now)
    if again.are_worth_it:
        return Rerun(names=again.wanted)
    if again.are_awaited:
        return Wait(missing=tuple(sorted(again.begins)))
    asked = _when_red(view, terms, now, passed_over=again.begins if again.is_certain else ())
    if not isinstance(asked, AskPerson):
        return asked
    not_again = again.stuck | {*view.only_statuses}
    cannot = tuple(name for name in asked.names if name in not_again)
    most = max((again.rounds.get(name, 0) for name in asked.names if name not in cannot), default=0)
    return asked.model_copy(update={"reran": most, "cannot": cannot})


def _when_red(
    view: PullRequestSnapshot, terms: MergeTerms, now: datetime, passed_over: Collection[str] = ()
) -> Wait | Rerun | AskPerson:
    """Whose failure is it (docs/decisions/0006)?"""
    failed = tuple(n for n in view.tally.named(State.FAILED) if n not in passed_over)
    broken_off = tuple(n for n in view.tally.named(State.INFRA) if n not in passed_over)
    new = [name for name in failed if name not in view.red_before]
    if persisting := tuple(name for name in new if name in view.red_on_base):
        return AskPerson(why="not cured", names=persisting)
    if new:
        return AskPerson(why="red", names=tuple(new))
    if failed_previews := [row.name for row in view.tally.previews if row.state is State.FAILED]:
        return AskPerson(why="preview", names=tuple(failed_previews))
    if broken_off:
        return _when_broken_off(broken_off, view, terms, now)
    return AskPerson(why="unrelated", names=failed)


def _when_broken_off(
    names: tuple[str, ...], view: PullRequestSnapshot, terms: MergeTerms, now: datetime
) -> Wait | Rerun | AskPerson:
    reran = terms.reran
    if terms.patient:
        return AskPerson(why="infra", names=names)
    if reran is None or reran.head != view.head:
        return Rerun(names=names)
    unchanged = all(row in reran.old for row in view.tally.rows if row.name in names)
    if reran.agreed and unchanged and now < terms.deadline:
        return Wait(missing=names)
    return AskPerson(why="infra", names=names)


def _left_by_chance(view: PullRequestSnapshot, terms: MergeTerms) -> bool:
    return view.group is not None and view.group.is_worth_another(terms.requeued)


def _when_verified(view: PullRequestSnapshot, terms: MergeTerms, *, ours: bool) -> Move:
    if not ours and not (terms.conflict and terms.drafts):
        # Somebody pushed to the hotfix: what is there now is theirs to answer for. Without drafts
        # nobody says when a conflict is resolved.
        return AskPerson(why="changed")
    is_queued = view.queue == "waiting" and not view.reviews_required
    heeded = view.changes_hold or view.reviews_required or terms.merge_refused
    if view.changes_wanted_by and heeded and not is_queued:
        return AskPerson(why="changes wanted", names=view.changes_wanted_by)
    if view.approvals_missing:
        return AskPerson(why="review", names=view.reviewers)
    if view.queue == "waiting":
        return Wait(missing=("merge queue",))
    if (owners := code_owners(terms.merge_refused or "")) is not None:
        return AskPerson(why="code owner", names=owners)
    if terms.merge_refused is not None and _REVIEW.search(terms.merge_refused):
        return AskPerson(why="review", names=view.reviewers)
    if terms.merge_refused is not None:
        return AskPerson(why="merge refused", reason=terms.merge_refused)
    if terms.left_queue and not _left_by_chance(view, terms):
        red = view.group.red if view.group else ()
        return AskPerson(why="left the queue", names=red, reran=terms.requeued)
    if view.queue == "required":
        return Enqueue(head=view.head)
    return MergeNow(head=view.head)
