"""What a ramp does next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.canary.judge import Breach, Continue, Hold, Promote, Verdict
from bot.canary.policy import Policy
from bot.playbooks.ramp.decide import (
    AskAboutRamp,
    Enter,
    PromoteCandidate,
    RollBackRamp,
    StageApproval,
    is_agreed,
    next_move,
)
from bot.playbooks.ramp.plan import check_stage, next_stage
from bot.playbooks.run import Wait

POLICY = Policy(baseline="a", candidates=("b",))
PHASES = POLICY.phases
LAST = len(PHASES) - 1
BREACH = Breach("error", "It fails.")

verdicts = st.one_of(
    st.just(BREACH),
    st.just(Continue(("Wait.",))),
    st.just(Hold(("Unclear.",))),
    st.just(Promote(25)),
)


def asking(**approvals: object) -> Policy:
    return Policy.model_validate(
        {
            "baseline": "a",
            "candidates": ["b"],
            "approvals": {int(name[1:]): who for name, who in approvals.items()},
        }
    )


def test_it_grows_through_5_25_50_95_and_100_percent_and_is_promoted() -> None:
    seen = []
    for index in range(len(PHASES)):
        move = next_move(POLICY, index, Promote(None))
        seen.append(move.phase.percent if isinstance(move, Enter) else move)
    assert seen == [25, 50, 95, 100, PromoteCandidate()]


def test_what_is_missing_is_waited_for() -> None:
    assert next_move(POLICY, 0, Continue(("2 min left.",))) == Wait(missing=("2 min left.",))


def test_what_stays_inconclusive_is_asked_about_and_a_person_may_insist() -> None:
    unclear = Hold(("No verdict after 6 h.",))
    assert next_move(POLICY, 0, unclear) == AskAboutRamp(
        why="inconclusive", stage=25, reasons=unclear.reasons
    )
    assert next_move(POLICY, 0, unclear, insisted={0}) == Enter(PHASES[1])
    assert next_move(POLICY, 1, unclear, insisted={0}) == AskAboutRamp(
        why="inconclusive", stage=50, reasons=unclear.reasons
    )


@given(
    index=st.integers(0, LAST),
    insisted=st.sets(st.integers(0, LAST)),
    stages=st.sets(st.sampled_from([5, 25, 50, 100])),
)
def test_an_anomaly_rolls_back_whatever_people_have_agreed_to(
    index: int, insisted: set[int], stages: set[int]
) -> None:
    approvals = [StageApproval(stage=stage, by="alice", founder=True) for stage in stages]
    policy = asking(_50=2, _100="founder")
    assert next_move(policy, index, BREACH, approvals=approvals, insisted=insisted) == RollBackRamp(
        BREACH
    )


@given(
    index=st.integers(0, LAST),
    verdict=verdicts,
    insisted=st.sets(st.integers(0, LAST)),
)
def test_no_phase_is_ever_skipped(index: int, verdict: Verdict, insisted: set[int]) -> None:
    move = next_move(POLICY, index, verdict, insisted=insisted)
    if isinstance(move, Enter):
        assert move.phase == PHASES[index + 1]
    if isinstance(move, PromoteCandidate):
        assert index == LAST


def test_a_stage_that_needs_two_people_waits_for_two_different_ones() -> None:
    policy = asking(_50=2)
    alice = StageApproval(stage=50, by="alice", founder=True)
    bob = StageApproval(stage=50, by="bob", founder=False)
    assert isinstance(next_move(policy, 1, Promote(50)), AskAboutRamp)
    assert isinstance(next_move(policy, 1, Promote(50), approvals=[alice, alice]), AskAboutRamp)
    assert next_move(policy, 1, Promote(50), approvals=[alice, bob]) == Enter(PHASES[2])


def test_a_founders_stage_takes_a_founders_word_only() -> None:
    policy = asking(_100="founder")
    bob = StageApproval(stage=100, by="bob", founder=False)
    move = next_move(policy, 2, Promote(95), approvals=[bob])
    assert move == AskAboutRamp(
        why="approval",
        stage=100,
        reasons=("The stage of 100% needs a Founder's approval.",),
        founder=True,
    )
    olivia = StageApproval(stage=100, by="olivia", founder=True)
    assert next_move(policy, 2, Promote(95), approvals=[bob, olivia]) == Enter(PHASES[3])
    # From 95% held back to the whole is the same stage: nobody is asked twice.
    assert next_move(policy, 3, Promote(100)) == Enter(PHASES[4])


def test_an_approval_of_one_stage_says_nothing_of_another() -> None:
    policy = asking(_25=1, _50=1)
    assert not is_agreed(policy, 50, [StageApproval(stage=25, by="alice", founder=True)])
    assert is_agreed(policy, 5, [])


@pytest.mark.parametrize(
    ("asked", "serving", "said"),
    [
        (None, None, None),
        (5, None, None),
        (25, None, "Nothing is ramped yet, so 25% would skip a stage."),
        (None, 5, None),
        (25, 5, None),
        (5, 5, "5% is served now, so 5% cannot come again."),
        (5, 50, "50% is served now, so 5% cannot come again."),
        (100, 5, "5% is served now, so 100% would skip a stage."),
        (30, 5, "30% is not a stage of `llm`. Its stages: 5, 25, 50, 100."),
        (None, 100, "The last stage, 100%, is served already."),
    ],
)
def test_stages_come_in_their_order(
    asked: int | None, serving: int | None, said: str | None
) -> None:
    found = check_stage(POLICY, "llm", asked, serving)
    assert (found.reason if found else None) == said
    if found is not None and serving != 100:
        assert f"/ramp llm {next_stage(POLICY, serving)}" in found.remedy
