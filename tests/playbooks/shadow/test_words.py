"""Every word a shadow says, side by side: read them aloud when a snapshot changes."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from bot.canary.messages import unproven
from bot.canary.policy import RatioMetric
from bot.playbooks.incident import phrases
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.rollout.messages import joined, status
from bot.playbooks.rollout.workflow import decision
from bot.playbooks.shadow import messages
from bot.records.audit.anchors import Anchor
from tests.playbooks.rollout.facts import BOB, POLICY, START, seen_in_shadow, shadow_case

CASE = shadow_case()
MISSING = (
    "1,200 of 2,000 requests answered by both.",
    unproven("cost", RatioMetric(), 0.7, 2.3),
)
STANDINGS: dict[str, StatusMessage] = {
    "mirroring": messages.mirroring(CASE, ()),
    "something is missing": messages.mirroring(CASE, MISSING),
    "held": messages.held(
        CASE, ("No observation for 12 min: is the mirror still on?",), may_insist=False
    ),
    "held with enough pairs": messages.held(CASE, MISSING[1:], may_insist=True),
    "insisted on": messages.insisted_on(CASE, "bob", MISSING[1:]),
    "within bounds": messages.within_bounds(CASE),
    "out of bounds": messages.out_of_bounds(CASE, ("The candidate costs more than tolerated.",)),
    "too dear": messages.too_dear(
        CASE, ("The candidate's answers cost 51.20 USD; 50 is the cap.",)
    ),
    "cancelled": messages.cancelled(CASE, BOB),
    "given up": messages.given_up(CASE),
    "rolled back": messages.rolled_back(CASE, "answers are *empty*"),
}


@pytest.mark.parametrize("name", STANDINGS)
def test_what_stands_in_the_status_and_in_a_comment(name: str, snapshot: SnapshotAssertion) -> None:
    standing = STANDINGS[name]
    say = phrases.needs_you if standing.state == "needs you" else phrases.final_word
    said = [status(CASE, standing)]
    if standing.state != "working":
        said.append(say(CASE, standing))
    assert "\n\n=====\n\n".join(said) == snapshot


def test_the_issue(snapshot: SnapshotAssertion) -> None:
    picture = "https://bot.example/pictures/evidence/x.svg"
    before = messages.issue(CASE, STANDINGS["mirroring"], None, None)
    after = messages.issue(CASE, STANDINGS["within bounds"], seen_in_shadow(), picture)
    title = messages.title(CASE.capability, CASE.candidate or "")
    assert "\n\n=====\n\n".join([title, before, after]) == snapshot


def test_the_decision_record(snapshot: SnapshotAssertion) -> None:
    anchor = Anchor(repository="1", seq=9, head_hash="f" * 64, time=START, signature="s")
    assert (
        decision(CASE, POLICY, messages.weighed(CASE, POLICY), at=START, audit=anchor) == snapshot
    )


def test_asked_for_twice(snapshot: SnapshotAssertion) -> None:
    assert [joined("shadow", 7, CASE.incident), joined("shadow", None, CASE.incident)] == snapshot
