"""Every word a revert says, side by side: read them aloud when a snapshot changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from syrupy.assertion import SnapshotAssertion

from bot.git.history import CommitInfo
from bot.git.revert import PathConflict, RevertConflict
from bot.playbooks.checks.green import CheckRow, CheckTally, Counting, State
from bot.playbooks.incident import phrases
from bot.playbooks.incident.context import IncidentContext, Offender
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.pull_request import messages, status_messages
from bot.playbooks.pull_request.approval import (
    founder_decides,
    founders_plan,
    others_pushed,
    plan_of_others,
)
from bot.playbooks.pull_request.decide import AskPerson, Why
from bot.playbooks.pull_request.ownership import Foreign
from bot.playbooks.pull_request.snapshot import PullRequestSnapshot
from bot.playbooks.pull_request.watch import Followed, How
from bot.playbooks.revert import messages as words
from bot.playbooks.run import Wait
from bot.playbooks.steps import Step
from bot.playbooks.undo import Left, Undone
from bot.triggers import Actor, ActorKind, Severity

AT = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
ALICE = Actor(kind=ActorKind.PERSON, login="alice")
BOB = Actor(kind=ActorKind.PERSON, login="bob")
COUNTING = Counting(smoke=("smoke", "links"), smoke_from="configured", evals=())
CASE = IncidentContext(
    kind="revert",
    proposal="hotfix",
    incident="01k0000000000000000000000a",
    repository="acme/shop",
    repository_url="https://github.example/acme/shop",
    requested_by=ALICE,
    reason="totals are zero",
    severity=Severity.MEDIUM,
    base="main",
    offenders=(
        Offender(number=12, title="Faster totals", sha="1" * 40, commits=("1" * 40,)),
        Offender(number=None, title="Straight to main", sha="2" * 40, commits=("2" * 40,)),
    ),
    branch="hotfix/revert-01k0000000000000000000000a",
    adr="docs/decisions/20260501-01k0000000000000000000000a-revert.md",
    artifact="apps/orchestrator/orchestrator/incidents/revert-01k0000000000000000000000a.json",
    records_branch="playbooks/records",
    before="8" * 40,
    issue=13,
    pull_request=14,
)
TALLY = CheckTally(
    verdict="red",
    rows=(
        CheckRow(name="smoke", kind="smoke", state=State.PASSED, url="https://ci.example/1"),
        CheckRow(name="links", kind="smoke", state=State.FAILED),
    ),
)
PREVIEWED = CheckTally(
    verdict="red",
    rows=TALLY.rows[:1],
    previews=(
        CheckRow(name="docs", kind="preview", state=State.PASSED, url="https://docs.example/"),
        CheckRow(name="pr-14", kind="preview", state=State.FAILED, url="https://ci.example/2"),
    ),
)
GREEN = CheckTally(verdict="green", rows=TALLY.rows[:1])
CONFLICT = RevertConflict(
    commit="1" * 40,
    onto="3" * 40,
    tree="4" * 40,
    paths=(
        PathConflict(
            path="shop.py",
            kinds=("contents",),
            in_base=True,
            in_ours=True,
            in_theirs=True,
            changed_since=(
                CommitInfo(
                    sha="5" * 40,
                    parents=(),
                    subject="Later",
                    body="",
                    author="Bob *the* Builder",
                    email="bob@example.com",
                    authored_at=AT,
                    committed_at=AT,
                ),
            ),
        ),
    ),
)
NAMES: dict[Why, tuple[str, ...]] = {
    "review": ("bob",),
    "changes wanted": ("bob",),
    "code owner": ("bob", "acme/core"),
    "preview": ("pr-14",),
}


def _view(tally: CheckTally = TALLY, **more: object) -> PullRequestSnapshot:
    facts = {
        "pull_request": "open",
        "draft": False,
        "head": "6" * 40,
        "base_head": "3" * 40,
        "conflicts": False,
        "tally": tally,
    }
    return PullRequestSnapshot.model_validate(facts | more)


def _ask(why: Why) -> StatusMessage:
    if why == "founder":
        plan = founders_plan(CASE, "6" * 40, ("migrations/0007.sql",), timedelta(days=1))
        return founder_decides(CASE, plan, GREEN)
    if why == "foreign":
        head = Foreign(head="6" * 40, makers=("bob", "ci[bot]"), irreversible=("migrations/7.sql",))
        return others_pushed(
            CASE, plan_of_others(CASE, head, timedelta(days=1)), _view(GREEN, foreign=head)
        )
    move = AskPerson(why=why, names=NAMES.get(why, ("links",)), reason="It is *locked*")
    view = _view(PREVIEWED if why == "preview" else TALLY)
    return status_messages.standing_for(move, view, CASE, AT, CONFLICT)


WHYS = list(Why.__args__)  # type: ignore[attr-defined]
HOWS = [how for how in How.__args__ if how != "merged"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("why", WHYS)
def test_what_is_asked_of_a_person(why: Why, snapshot: SnapshotAssertion) -> None:
    assert phrases.needs_you(CASE, _ask(why)) == snapshot


@pytest.mark.parametrize("why", WHYS)
def test_the_next_step_comes_first(why: Why) -> None:
    headline = _ask(why).headline
    # Whose step it is stands before it, where it is not that of whoever asked.
    first = headline.removeprefix("A Founder decides: ").split()[0].capitalize()
    assert first in {
        "Approve", "Find", "Look", "Merge", "Read", "Resolve", "Review", "Run", "Settle",
    }, headline  # fmt: skip
    assert len(headline) < 200


@pytest.mark.parametrize("how", HOWS)
def test_how_it_ends_without_a_merge(how: How, snapshot: SnapshotAssertion) -> None:
    standing = messages.unmerged(Followed(how=how, at=AT, by=BOB), CASE)
    assert phrases.final_word(CASE, standing) == snapshot


def test_the_status_while_checks_run(snapshot: SnapshotAssertion) -> None:
    running = CheckTally(
        verdict="waiting",
        rows=(*GREEN.rows, CheckRow(name="links", kind="smoke", state=State.RUNNING)),
    )
    move = Wait(missing=("links",))
    standing = status_messages.standing_for(
        move, _view(running), CASE, AT + timedelta(hours=1), None
    )
    assert phrases.status(CASE, standing) == snapshot


@pytest.mark.parametrize("takes_yet", [None, timedelta(seconds=400)], ids=["unknown", "known"])
def test_the_status_in_the_merge_queue(
    snapshot: SnapshotAssertion, takes_yet: timedelta | None
) -> None:
    view = _view(GREEN, queue="waiting", queued_since=AT, queue_takes_yet=takes_yet)
    standing = status_messages.standing_for(Wait(missing=("merge queue",)), view, CASE, AT, None)
    assert phrases.status(CASE, standing) == snapshot


def test_the_final_word_after_a_merge(snapshot: SnapshotAssertion) -> None:
    done = CASE.model_copy(update={"published": True, "audit_head": "9:0123456789ab"})
    standing = messages.merged("7" * 40, done, GREEN)
    assert phrases.final_word(done, standing) == snapshot


def test_what_is_asked_where_the_failure_is_another_one(snapshot: SnapshotAssertion) -> None:
    standing = status_messages.red_otherwise(("smoke",), CASE, TALLY)
    assert phrases.needs_you(CASE, standing) == snapshot


def test_what_is_asked_where_the_base_is_red_after_the_merge(snapshot: SnapshotAssertion) -> None:
    standing = messages.red_after_merge("7" * 40, CASE, TALLY)
    assert phrases.needs_you(CASE, standing) == snapshot


def test_the_final_word_where_the_base_was_red_and_recovered(snapshot: SnapshotAssertion) -> None:
    standing = messages.recovered("7" * 40, "8" * 40, CASE, GREEN)
    assert phrases.final_word(CASE, standing) == snapshot


def test_the_final_word_where_watching_the_red_base_was_cancelled(
    snapshot: SnapshotAssertion,
) -> None:
    standing = messages.not_watched("7" * 40, CASE, TALLY)
    assert phrases.final_word(CASE, standing) == snapshot


def test_the_time_out_where_the_app_may_not_see_previews(snapshot: SnapshotAssertion) -> None:
    view = _view(PREVIEWED, previews_hidden=True)
    move = AskPerson(why="timed out", names=("pr-14",))
    assert (
        phrases.needs_you(CASE, status_messages.standing_for(move, view, CASE, AT, None))
        == snapshot
    )


def test_the_final_word_where_the_base_stayed_red(snapshot: SnapshotAssertion) -> None:
    standing = messages.left_red("7" * 40, CASE, TALLY)
    assert phrases.final_word(CASE, standing) == snapshot


def test_the_incident_issue_when_a_step_broke_off(snapshot: SnapshotAssertion) -> None:
    standing = status_messages.broke_off(
        Step.POST_FINAL_COMMENT,
        "It lacks issues=write.",
        Undone(
            taken=(Step.OPEN_HOTFIX_PULL_REQUEST,),
            left=(Left(step=Step.PUBLISH_HOTFIX, why="It's locked.", by_hand="delete `x`"),),
        ),
    )
    assert words.issue_body(CASE, standing) == snapshot


def test_the_section_in_the_hotfix_pull_request(snapshot: SnapshotAssertion) -> None:
    case = CASE.model_copy(update={"config_fault": "line 3: 'artefacts' is not known."})
    section = words.pull_request_section(case, COUNTING, _ask("conflict"))
    assert section == snapshot


def test_titles_and_the_commit_message(snapshot: SnapshotAssertion) -> None:
    titles = [words.issue_title(CASE), words.pull_request_title(CASE)]
    assert [*titles, words.commit_message(CASE, ("1" * 40, "2" * 40))] == snapshot
