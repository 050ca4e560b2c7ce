"""What happens next with a hotfix, as a table: what GitHub shows, and the one move it leads to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.playbooks.checks.green import Counting, Row, State, Tally
from bot.playbooks.proposal.merging import (
    Approved,
    Ask,
    Enqueue,
    Finish,
    Merge,
    Move,
    Refit,
    Reran,
    Rerun,
    Terms,
    View,
    Wait,
    code_owners,
    next_move,
)

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
OURS, BASE, OTHER = "a" * 40, "b" * 40, "c" * 40
COUNTING = Counting(smoke=("smoke", "links"), smoke_from="configured", evals=())


def _tally(verdict: str, **states: State) -> Tally:
    rows = tuple(Row(name=name, kind="smoke", state=state) for name, state in states.items())
    return Tally.model_validate({"verdict": verdict, "rows": rows})


GREEN = _tally("green", smoke=State.PASSED, links=State.PASSED)
RED = _tally("red", smoke=State.FAILED, links=State.PASSED)
LINKS_RED = _tally("red", smoke=State.PASSED, links=State.FAILED)
BROKEN_OFF = _tally("red", smoke=State.INFRA, links=State.PASSED)
PREVIEW = Row(name="pr-1", kind="preview", state=State.FAILED)
WAITING = _tally("waiting", smoke=State.RUNNING, links=State.MISSING)
NOTHING = _tally("nothing counts")


def _view(**changes: Any) -> View:
    facts: dict[str, Any] = {
        "pull_request": "open",
        "draft": False,
        "head": OURS,
        "base_head": BASE,
        "conflicts": False,
        "tally": GREEN,
        "methods": ("squash",),
    }
    return View.model_validate(facts | changes)


def _terms(**changes: Any) -> Terms:
    facts: dict[str, Any] = {
        "commit": OURS,
        "base": BASE,
        "counting": COUNTING,
        "deadline": NOW + timedelta(minutes=5),
    }
    return Terms.model_validate(facts | changes)


def _yes(why: str, head: str = OURS) -> tuple[Approved, ...]:
    return (Approved.model_validate({"head": head, "why": why}),)


TABLE: dict[str, tuple[dict[str, Any], dict[str, Any], Move]] = {
    "green is merged at exactly this head": ({}, {}, Merge(head=OURS)),
    "a merged one is finished": (
        {"pull_request": "merged", "merge_sha": OTHER, "tally": RED},
        {},
        Finish(merged=True, sha=OTHER),
    ),
    "a closed one is finished": ({"pull_request": "closed"}, {}, Finish(merged=False)),
    "a moved base is fitted before anything else": (
        {"base_head": OTHER, "tally": RED},
        {},
        Refit(base=OTHER),
    ),
    "a conflict with the base is fitted": ({"conflicts": True}, {}, Refit(base=BASE)),
    "our own conflict markers are never merged": (
        {},
        {"conflict": True},
        Ask(why="conflict"),
    ),
    "a draft a person still works on is left to them": (
        {"head": OTHER, "draft": True},
        {"conflict": True},
        Ask(why="conflict"),
    ),
    "a resolved conflict is merged at the person's head": (
        {"head": OTHER},
        {"conflict": True},
        Merge(head=OTHER),
    ),
    "somebody's own commit on a clean hotfix is theirs to merge": (
        {"head": OTHER},
        {},
        Ask(why="changed"),
    ),
    "running checks are awaited": ({"tally": WAITING}, {}, Wait(missing=("smoke", "links"))),
    "checks past their time are asked about": (
        {"tally": WAITING},
        {"deadline": NOW},
        Ask(why="timed out", names=("smoke", "links")),
    ),
    "nothing that counts is never green": ({"tally": NOTHING}, {}, Ask(why="nothing counts")),
    "a person may say that nothing needs to count": (
        {"tally": NOTHING},
        {"approved": _yes("nothing counts")},
        Merge(head=OURS),
    ),
    "a failure of the hotfix alone is asked about": (
        {"tally": RED},
        {},
        Ask(why="red", names=("smoke",)),
    ),
    "a failure of the hotfix alone cannot be approved": (
        {"tally": RED},
        {"approved": _yes("unrelated")},
        Ask(why="red", names=("smoke",)),
    ),
    "the failure of the broken base is not cured": (
        {"tally": RED, "red_on_base": ("smoke",)},
        {},
        Ask(why="not cured", names=("smoke",)),
    ),
    "a failure older than the incident is unrelated": (
        {"tally": LINKS_RED, "red_on_base": ("links",), "red_before": ("links",)},
        {},
        Ask(why="unrelated", names=("links",)),
    ),
    "a preview that failed is never merged, whatever was approved": (
        {"tally": LINKS_RED.with_previews((PREVIEW,)), "red_before": ("links",)},
        {"approved": _yes("unrelated")},
        Ask(why="preview", names=("pr-1",)),
    ),
    "a preview that is not there yet is awaited beside the checks": (
        {"tally": GREEN.with_previews((PREVIEW.model_copy(update={"state": State.MISSING}),))},
        {},
        Wait(missing=("pr-1",)),
    ),
    "a refusal for want of a code owner names the owners": (
        {},
        {"merge_refused": "Waiting on code owner review from bob."},
        Ask(why="code owner", names=("bob",)),
    ),
    "an unrelated failure may be approved": (
        {"tally": LINKS_RED, "red_before": ("links",)},
        {"approved": _yes("unrelated")},
        Merge(head=OURS),
    ),
    "an approval is of one commit": (
        {"tally": LINKS_RED, "red_before": ("links",)},
        {"approved": _yes("unrelated", OTHER)},
        Ask(why="unrelated", names=("links",)),
    ),
    "what broke off runs again": ({"tally": BROKEN_OFF}, {}, Rerun(names=("smoke",))),
    "what runs again is awaited": (
        {"tally": BROKEN_OFF},
        {"reran": Reran(head=OURS, old=BROKEN_OFF.rows, agreed=True)},
        Wait(missing=("smoke",)),
    ),
    "what cannot be run again is asked about": (
        {"tally": BROKEN_OFF},
        {"reran": Reran(head=OURS, old=BROKEN_OFF.rows, agreed=False)},
        Ask(why="infra", names=("smoke",)),
    ),
    "what broke off once more is asked about": (
        {"tally": BROKEN_OFF},
        {"reran": Reran(head=OURS, old=(), agreed=True)},
        Ask(why="infra", names=("smoke",)),
    ),
    "a program's revert without evals needs a person": (
        {},
        {"evals_wanted": True},
        Ask(why="no evals"),
    ),
    "a program's revert with evals needs nobody": (
        {},
        {"evals_wanted": True, "counting": COUNTING.model_copy(update={"evals": ("quality",)})},
        Merge(head=OURS),
    ),
    "a missing review is awaited": (
        {"approvals_missing": 1, "reviewers": ("bob",)},
        {},
        Ask(why="review", names=("bob",)),
    ),
    "a reviewer who wants changes is named": (
        {"reviews_required": True, "approvals_missing": 1, "changes_wanted_by": ("bob",)},
        {},
        Ask(why="changes wanted", names=("bob",)),
    ),
    "a reviewer who wants changes where no review is required stops nothing": (
        {"changes_wanted_by": ("bob",)},
        {},
        Merge(head=OURS),
    ),
    "a refusal for want of a review is a missing review": (
        {"reviewers": ("bob",)},
        {"merge_refused": "At least 1 approving review is required"},
        Ask(why="review", names=("bob",)),
    ),
    "what GitHub calls behind is fitted": ({"behind": True}, {}, Refit(base=BASE)),
    "GitHub's refusal is passed on": (
        {},
        {"merge_refused": "locked"},
        Ask(why="merge refused", reason="locked"),
    ),
    "a merge queue is joined": ({"queue": "required"}, {}, Enqueue(head=OURS)),
    "in the queue it waits": ({"queue": "waiting"}, {}, Wait(missing=("merge queue",))),
    "thrown out of the queue it asks": (
        {"queue": "required"},
        {"left_queue": True},
        Ask(why="left the queue"),
    ),
}


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
        ("Waiting on code owner review from !", ()),
        ("At least 1 approving review is required.", None),
        ("", None),
    ],
)
def test_whose_review_is_missing_is_read_from_githubs_refusal(
    refusal: str, owners: tuple[str, ...] | None
) -> None:
    assert code_owners(refusal) == owners
