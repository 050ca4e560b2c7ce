"""What happens next with a hotfix, as a table: what GitHub shows, and the one move it leads to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.playbooks.checks.green import CheckRow, CheckTally, Counting, Reran, State
from bot.playbooks.checks.streak import MOST, Chance
from bot.playbooks.pull_request.decide import (
    AskPerson,
    DoubtApproval,
    Enqueue,
    FinishProposal,
    MergeNow,
    MergeTerms,
    Move,
    Refit,
    Rerun,
    code_owners,
    next_move,
)
from bot.playbooks.pull_request.snapshot import PullRequestSnapshot, QueueGroup
from bot.playbooks.run import Wait

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
OURS, BASE, OTHER = "a" * 40, "b" * 40, "c" * 40
COUNTING = Counting(smoke=("smoke", "links"), smoke_from="configured", evals=())


def _tally(verdict: str, **states: State) -> CheckTally:
    rows = tuple(CheckRow(name=name, kind="smoke", state=state) for name, state in states.items())
    return CheckTally.model_validate({"verdict": verdict, "rows": rows})


GREEN = _tally("green", smoke=State.PASSED, links=State.PASSED)
RED = _tally("red", smoke=State.FAILED, links=State.PASSED)
LINKS_RED = _tally("red", smoke=State.PASSED, links=State.FAILED)
BROKEN_OFF = _tally("red", smoke=State.INFRA, links=State.PASSED)
PREVIEW = CheckRow(name="pr-1", kind="preview", state=State.FAILED)
WAITING = _tally("waiting", smoke=State.RUNNING, links=State.MISSING)
NOTHING = _tally("nothing counts")


def _view(**changes: Any) -> PullRequestSnapshot:
    facts: dict[str, Any] = {
        "pull_request": "open",
        "draft": False,
        "head": OURS,
        "base_head": BASE,
        "conflicts": False,
        "tally": GREEN,
        "methods": ("squash",),
    }
    return PullRequestSnapshot.model_validate(facts | changes)


def _terms(**changes: Any) -> MergeTerms:
    facts: dict[str, Any] = {
        "commit": OURS,
        "base": BASE,
        "counting": COUNTING,
        "deadline": NOW + timedelta(minutes=5),
    }
    return MergeTerms.model_validate(facts | changes)


def _group(broken: float) -> QueueGroup:
    """What the merge queue tested, where `smoke` is red for sure or not."""
    chance = Chance(name="smoke", broken=broken)
    return QueueGroup(commit="e" * 40, red=("smoke",), chances=(chance,))


def _yes(why: str, head: str = OURS) -> tuple[DoubtApproval, ...]:
    return (DoubtApproval.model_validate({"head": head, "why": why}),)


TABLE: dict[str, tuple[dict[str, Any], dict[str, Any], Move]] = {
    "green is merged at exactly this head": ({}, {}, MergeNow(head=OURS)),
    "a merged one is finished": (
        {"pull_request": "merged", "merge_sha": OTHER, "tally": RED},
        {},
        FinishProposal(merged=True, sha=OTHER),
    ),
    "a closed one is finished": ({"pull_request": "closed"}, {}, FinishProposal(merged=False)),
    "a moved base is fitted before anything else": (
        {"base_head": OTHER, "tally": RED},
        {},
        Refit(base=OTHER),
    ),
    "a conflict with the base is fitted": ({"conflicts": True}, {}, Refit(base=BASE)),
    "our own conflict markers are never merged": (
        {},
        {"conflict": True},
        AskPerson(why="conflict"),
    ),
    "a draft a person still works on is left to them": (
        {"head": OTHER, "draft": True},
        {"conflict": True},
        AskPerson(why="conflict"),
    ),
    "a resolved conflict is merged at the person's head once somebody answers for it": (
        {"head": OTHER},
        {"conflict": True, "approved": _yes("foreign", OTHER)},
        MergeNow(head=OTHER),
    ),
    "a resolved conflict is asked about": (
        {"head": OTHER},
        {"conflict": True},
        AskPerson(why="foreign"),
    ),
    "somebody's own commit on a clean hotfix is asked about before its checks": (
        {"head": OTHER, "tally": WAITING},
        {},
        AskPerson(why="foreign"),
    ),
    "what a Run that began before makes of somebody's own commit": (
        {"head": OTHER},
        {"asks_about_foreign": False},
        AskPerson(why="changed"),
    ),
    "running checks are awaited": ({"tally": WAITING}, {}, Wait(missing=("smoke", "links"))),
    "checks past their time are asked about": (
        {"tally": WAITING},
        {"deadline": NOW},
        AskPerson(why="timed out", names=("smoke", "links")),
    ),
    "nothing that counts is never green": ({"tally": NOTHING}, {}, AskPerson(why="nothing counts")),
    "a person may say that nothing needs to count": (
        {"tally": NOTHING},
        {"approved": _yes("nothing counts")},
        MergeNow(head=OURS),
    ),
    "a failure of the hotfix alone is asked about": (
        {"tally": RED},
        {},
        AskPerson(why="red", names=("smoke",)),
    ),
    "a failure of the hotfix alone cannot be approved": (
        {"tally": RED},
        {"approved": _yes("unrelated")},
        AskPerson(why="red", names=("smoke",)),
    ),
    "the failure of the broken base is not cured": (
        {"tally": RED, "red_on_base": ("smoke",)},
        {},
        AskPerson(why="not cured", names=("smoke",)),
    ),
    "a failure older than the incident is unrelated": (
        {"tally": LINKS_RED, "red_on_base": ("links",), "red_before": ("links",)},
        {},
        AskPerson(why="unrelated", names=("links",)),
    ),
    "a preview that failed is never merged, whatever was approved": (
        {"tally": LINKS_RED.with_previews((PREVIEW,)), "red_before": ("links",)},
        {"approved": _yes("unrelated")},
        AskPerson(why="preview", names=("pr-1",)),
    ),
    "a preview that is not there yet is awaited beside the checks": (
        {"tally": GREEN.with_previews((PREVIEW.model_copy(update={"state": State.MISSING}),))},
        {},
        Wait(missing=("pr-1",)),
    ),
    "a refusal for want of a code owner names the owners": (
        {},
        {"merge_refused": "Waiting on code owner review from bob."},
        AskPerson(why="code owner", names=("bob",)),
    ),
    "an unrelated failure may be approved": (
        {"tally": LINKS_RED, "red_before": ("links",)},
        {"approved": _yes("unrelated")},
        MergeNow(head=OURS),
    ),
    "an approval is of one commit": (
        {"tally": LINKS_RED, "red_before": ("links",)},
        {"approved": _yes("unrelated", OTHER)},
        AskPerson(why="unrelated", names=("links",)),
    ),
    "what broke off runs again": ({"tally": BROKEN_OFF}, {}, Rerun(names=("smoke",))),
    "what runs again is awaited": (
        {"tally": BROKEN_OFF},
        {"patient": False, "reran": Reran(head=OURS, old=BROKEN_OFF.rows, agreed=True)},
        Wait(missing=("smoke",)),
    ),
    "what cannot be run again is asked about": (
        {"tally": BROKEN_OFF},
        {"patient": False, "reran": Reran(head=OURS, old=BROKEN_OFF.rows, agreed=False)},
        AskPerson(why="infra", names=("smoke",)),
    ),
    "what broke off once more is asked about": (
        {"tally": BROKEN_OFF},
        {"patient": False, "reran": Reran(head=OURS, old=(), agreed=True)},
        AskPerson(why="infra", names=("smoke",)),
    ),
    "a program's revert without evals needs a person": (
        {},
        {"evals_wanted": True},
        AskPerson(why="no evals"),
    ),
    "a program's revert with evals needs nobody": (
        {},
        {"evals_wanted": True, "counting": COUNTING.model_copy(update={"evals": ("quality",)})},
        MergeNow(head=OURS),
    ),
    "a missing review is awaited": (
        {"approvals_missing": 1, "reviewers": ("bob",)},
        {},
        AskPerson(why="review", names=("bob",)),
    ),
    "a reviewer who wants changes is named": (
        {"reviews_required": True, "approvals_missing": 1, "changes_wanted_by": ("bob",)},
        {},
        AskPerson(why="changes wanted", names=("bob",)),
    ),
    "a reviewer who wants changes is heeded where no review is required": (
        {"changes_wanted_by": ("bob",), "changes_hold": True},
        {},
        AskPerson(why="changes wanted", names=("bob",)),
    ),
    "a reviewer who wants changes does not take it out of the queue": (
        {"changes_wanted_by": ("bob",), "changes_hold": True, "queue": "waiting"},
        {},
        Wait(missing=("merge queue",)),
    ),
    "a look that does not say whether a wish for changes holds is read as it was": (
        {"changes_wanted_by": ("bob",)},
        {},
        MergeNow(head=OURS),
    ),
    "a refusal for want of a review is a missing review": (
        {"reviewers": ("bob",)},
        {"merge_refused": "At least 1 approving review is required"},
        AskPerson(why="review", names=("bob",)),
    ),
    "a refusal because we pushed last is a missing review": (
        {"reviewers": ("bob",)},
        {
            "merge_refused": "Pull request New changes require approval from someone other than "
            "playbooks because they were the last pusher."
        },
        AskPerson(why="review", names=("bob",)),
    ),
    "what GitHub calls behind is fitted": ({"behind": True}, {}, Refit(base=BASE)),
    "GitHub's refusal is passed on": (
        {},
        {"merge_refused": "locked"},
        AskPerson(why="merge refused", reason="locked"),
    ),
    "a merge queue is joined": ({"queue": "required"}, {}, Enqueue(head=OURS)),
    "in the queue it waits": ({"queue": "waiting"}, {}, Wait(missing=("merge queue",))),
    "thrown out of the queue it asks": (
        {"queue": "required"},
        {"left_queue": True},
        AskPerson(why="left the queue"),
    ),
    "thrown out by what may be chance it goes in again": (
        {"queue": "required", "group": _group(0.5)},
        {"left_queue": True},
        Enqueue(head=OURS),
    ),
    "thrown out by what is none it asks": (
        {"queue": "required", "group": _group(0.95)},
        {"left_queue": True, "requeued": 1},
        AskPerson(why="left the queue", names=("smoke",), reran=1),
    ),
    "thrown out by nothing that is red there it asks": (
        {"queue": "required", "group": QueueGroup(commit="e" * 40)},
        {"left_queue": True},
        AskPerson(why="left the queue"),
    ),
}


SOON = NOW + timedelta(minutes=1)
DOUBTFUL, SURE = Chance(name="smoke", broken=0.5), Chance(name="smoke", broken=0.95)
BOTH_RED = _tally("red", smoke=State.FAILED, links=State.FAILED)


def _reran(tally: CheckTally, **more: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"rounds": {"smoke": 1}, "begins_by": SOON, "agreed": True}
    return {"reran": Reran.model_validate({"head": OURS, "old": tally.rows, **facts, **more})}


def _quiet(minutes: int, **states: State) -> CheckTally:
    """Smoke passed so many minutes ago, and links never began."""
    at = NOW - timedelta(minutes=minutes)
    rows = [
        CheckRow(name=name, kind="smoke", state=state, at=None if state is State.MISSING else at)
        for name, state in ({"smoke": State.PASSED, "links": State.MISSING} | states).items()
    ]
    return CheckTally(verdict="waiting", rows=tuple(rows))


UNSTARTED = AskPerson(why="unstarted", names=("links",))
WAITED_FOR = Wait(missing=("links",))
PATIENT: dict[str, tuple[dict[str, Any], dict[str, Any], Move]] = {
    "what may be red by chance runs again": (
        {"tally": RED, "chances": (DOUBTFUL,)}, {}, Rerun(names=("smoke",)),
    ),
    "also where the broken base fails alike": (
        {"tally": RED, "chances": (DOUBTFUL,), "red_on_base": ("smoke",)},
        {},
        Rerun(names=("smoke",)),
    ),
    "an older Run asks at once, as when it began": (
        {"tally": RED, "chances": (DOUBTFUL,)},
        {"patient": False},
        AskPerson(why="red", names=("smoke",)),
    ),
    "what is red for sure is asked about": (
        {"tally": RED, "chances": (SURE,)}, {}, AskPerson(why="red", names=("smoke",)),
    ),
    "what was run again and is red for sure says so": (
        {"tally": RED, "chances": (SURE,)},
        _reran(_tally("red"), rounds={"smoke": 2}),
        AskPerson(why="red", names=("smoke",), reran=2),
    ),
    "not cured is said after the reruns": (
        {"tally": RED, "chances": (SURE,), "red_on_base": ("smoke",)},
        _reran(_tally("red")),
        AskPerson(why="not cured", names=("smoke",), reran=1),
    ),
    "a run that was asked for may be about to begin": (
        {"tally": RED, "chances": (DOUBTFUL,)}, _reran(RED), Wait(missing=("smoke",)),
    ),
    "a run that was asked for and never began is asked about": (
        {"tally": RED, "chances": (DOUBTFUL,)},
        _reran(RED, begins_by=NOW),
        AskPerson(why="red", names=("smoke",), cannot=("smoke",)),
    ),
    "what GitHub refuses to run again is asked about at once": (
        {"tally": RED, "chances": (DOUBTFUL,)},
        _reran(RED, refused=("smoke",)),
        AskPerson(why="red", names=("smoke",), cannot=("smoke",)),
    ),
    "a commit status is asked about at once": (
        {"tally": RED, "only_statuses": ("smoke",)},
        {},
        AskPerson(why="red", names=("smoke",), cannot=("smoke",)),
    ),
    "what stays in doubt is run again a few times, not for ever": (
        {"tally": RED, "chances": (DOUBTFUL,)},
        _reran(_tally("red"), rounds={"smoke": MOST}),
        AskPerson(why="red", names=("smoke",), reran=MOST),
    ),
    "a new head is run again anew": (
        {"tally": RED, "chances": (DOUBTFUL,)},
        _reran(RED, head=OTHER),
        Rerun(names=("smoke",)),
    ),
    "beside one that is red for sure others are run again once": (
        {"tally": BOTH_RED, "chances": (DOUBTFUL,), "only_statuses": ("links",)},
        {},
        Rerun(names=("smoke",)),
    ),
    "and then the sure one is asked about": (
        {"tally": BOTH_RED, "chances": (DOUBTFUL,), "only_statuses": ("links",)},
        _reran(BOTH_RED),
        AskPerson(why="red", names=("links",), cannot=("links",)),
    ),
    "what broke off is awaited until it begins": (
        {"tally": BROKEN_OFF}, _reran(BROKEN_OFF), Wait(missing=("smoke",)),
    ),
    "what broke off and does not begin again is asked about": (
        {"tally": BROKEN_OFF},
        _reran(BROKEN_OFF, begins_by=NOW),
        AskPerson(why="infra", names=("smoke",), cannot=("smoke",)),
    ),
    "what broke off twice is asked about": (
        {"tally": BROKEN_OFF}, _reran(_tally("red")),
        AskPerson(why="infra", names=("smoke",), reran=1),
    ),
    "an older failure that is likely the same is not run again": (
        {
            "tally": RED,
            "chances": (SURE,),
            "red_before": ("smoke",),
        },
        {},
        AskPerson(why="unrelated", names=("smoke",)),
    ),
    "what does not begin is awaited a while": ({"tally": _quiet(3)}, {}, WAITED_FOR),
    "what does not begin long after the others may be waved through": (
        {"tally": _quiet(10)}, {}, UNSTARTED,
    ),
    "or when the time is over": (
        {"tally": _quiet(3)}, {"deadline": NOW}, UNSTARTED,
    ),
    "where nothing began at all, when the time is over": (
        {"tally": _tally("waiting", links=State.MISSING)}, {"deadline": NOW}, UNSTARTED,
    ),
    "not while another one runs": (
        {"tally": _quiet(30, more=State.RUNNING)}, {}, Wait(missing=("links", "more")),
    ),
    "not beside a failure": (
        {"tally": _quiet(30, more=State.FAILED)}, {}, WAITED_FOR,
    ),
    "not where the branch requires it": (
        {"tally": _quiet(30), "required": ("links",)}, {}, WAITED_FOR,
    ),
    "not while a preview is awaited": (
        {"tally": _quiet(30).with_previews((PREVIEW.model_copy(update={"state": State.MISSING}),))},
        {},
        Wait(missing=("links", "pr-1")),
    ),
    "with a yes it is merged": (
        {"tally": _quiet(10)},
        {"approved": (DoubtApproval(head=OURS, why="unstarted", names=("links",)),)},
        MergeNow(head=OURS),
    ),
    "a yes holds for the checks it named": (
        {"tally": _quiet(10)},
        {"approved": (DoubtApproval(head=OURS, why="unstarted", names=("other",)),)},
        UNSTARTED,
    ),
    "and for the commit": (
        {"tally": _quiet(10)},
        {"approved": (DoubtApproval(head=OTHER, why="unstarted", names=("links",)),)},
        UNSTARTED,
    ),
    "with a yes, what begins after all is awaited": (
        {"tally": _quiet(10, links=State.RUNNING)},
        {"approved": (DoubtApproval(head=OURS, why="unstarted", names=("links",)),)},
        WAITED_FOR,
    ),
    "a yes to it is none to other doubts": (
        {"tally": _quiet(10)},
        {
            "approved": (DoubtApproval(head=OURS, why="unstarted", names=("links",)),),
            "person_wanted": True,
        },
        AskPerson(why="person"),
    ),
}  # fmt: skip
TABLE |= PATIENT


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_next_move(case: tuple[dict[str, Any], dict[str, Any], Move]) -> None:
    view, terms, expected = case
    assert next_move(_view(**view), _terms(**terms), NOW) == expected


@pytest.mark.parametrize(
    ("refusal", "owners"),
    [
        ("Waiting on code owner review from alice.", ("alice",)),
        ("Waiting on code owner review from acme/core and/or bob", ("acme/core", "bob")),
        (
            "Repository rule violations found\n\nWaiting on code owner review from "
            "a-b, acme/x.y_z, and/or c.\n\n",
            ("a-b", "acme/x.y_z", "c"),
        ),
        ("Waiting on code owner review from alice. 3 of 4 checks are expected.", ("alice",)),
        ("Pull request Waiting on code owner review from acme/core.", ("acme/core",)),
        ("Waiting on code owner review from !", ()),
        ("At least 1 approving review is required.", None),
        ("", None),
    ],
)
def test_whose_review_is_missing_is_read_from_githubs_refusal(
    refusal: str, owners: tuple[str, ...] | None
) -> None:
    assert code_owners(refusal) == owners
