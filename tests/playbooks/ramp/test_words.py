"""Every word a ramp says, side by side: read them aloud when a snapshot changes."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from bot.canary.judge import Breach
from bot.playbooks.incident import phrases
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.ramp import messages
from bot.playbooks.ramp.decide import AskAboutRamp, StageApproval, missing_agreement
from bot.playbooks.ramp.plan import check_stage
from bot.playbooks.rollout.messages import joined, status
from bot.playbooks.rollout.workflow import decision
from bot.records.audit.anchors import Anchor
from tests.canary.traffic import policy
from tests.playbooks.rollout.facts import BOB, BREACH, POLICY, START, ramp_case, seen_in_ramp

CASE = ramp_case()
ASKING = policy(approvals={25: 2, 100: "founder"})
PHASES = POLICY.phases
LATE = AskAboutRamp(
    why="inconclusive",
    stage=50,
    reasons=(
        "No verdict after 6 h at 25%.",
        "600 of 5,000 observations of each provider in this stage.",
    ),
)
GIVEN = (StageApproval(stage=25, by="bob", founder=False),)
STANDINGS: dict[str, StatusMessage] = {
    "starting": messages.starting(CASE),
    "asking to begin": messages.asking_to_begin(missing_agreement(ASKING, 25, ())),
    "serving": messages.serving(CASE, PHASES[0], ("It is watched for at least 9 min 30 s more.",)),
    "held back": messages.serving(CASE, PHASES[3], ()),
    "the last look": messages.serving(CASE, PHASES[4], ()),
    "asking for approvals": messages.asking(CASE, PHASES[0], missing_agreement(ASKING, 25, GIVEN)),
    "asking the Founder": messages.asking(CASE, PHASES[2], missing_agreement(ASKING, 100, ())),
    "inconclusive": messages.asking(CASE, PHASES[1], LATE),
    "promoted": messages.promoted(CASE),
    "rolled back": messages.rolled_back(CASE, BREACH),
    "rolled back by a person": messages.rolled_back(
        CASE, Breach("reported", "answers are *empty*")
    ),
    "cancelled": messages.cancelled(CASE, BOB),
    "cancelled before it began": messages.cancelled(CASE, BOB, began=False),
    "taken back elsewhere": messages.cancelled(CASE, None),
    "given up": messages.given_up(CASE),
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
    changed = ramp_case(policy_changed=True)
    picture = "https://bot.example/pictures/evidence/x.svg"
    said = [
        messages.title(CASE.capability, CASE.candidate or ""),
        messages.issue(CASE, STANDINGS["starting"], None, None),
        messages.issue(changed, STANDINGS["serving"], seen_in_ramp(), None),
        messages.issue(CASE, STANDINGS["rolled back"], seen_in_ramp(errors=0.3), picture),
    ]
    assert "\n\n=====\n\n".join(said) == snapshot


def test_the_decision_record(snapshot: SnapshotAssertion) -> None:
    anchor = Anchor(repository="1", seq=9, head_hash="f" * 64, time=START, signature="s")
    assert (
        decision(CASE, POLICY, messages.weighed(CASE, POLICY), at=START, audit=anchor) == snapshot
    )


def test_what_is_asked_for_out_of_order(snapshot: SnapshotAssertion) -> None:
    asked = ((25, None), (5, 25), (25, 25), (100, 25), (30, 5), (None, 100))
    said = [check_stage(POLICY, "llm.summarize", wanted, serving) for wanted, serving in asked]
    assert said == snapshot


def test_asked_for_twice(snapshot: SnapshotAssertion) -> None:
    said = [joined("ramp", 7, CASE.incident), joined("ramp", None, CASE.incident)]
    said.append(messages.going_on(7, CASE.incident, 25))
    assert said == snapshot
