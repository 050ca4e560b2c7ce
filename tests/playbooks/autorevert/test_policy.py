"""When is a change to blame for a failing check, and what follows? Pure decisions."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.playbooks.autorevert.decide import (
    CERTAIN,
    BisectBetween,
    CheckEvidence,
    LeaveAlone,
    RevertCommit,
    RunAgain,
    SoleSuspect,
    TellPeople,
    decide,
)
from bot.playbooks.checks.streak import CheckRecord, CommitRuns, Streak, find_streak, weigh
from bot.playbooks.run import Wait
from bot.triggers import Autonomy

STEADY = CheckRecord(passes=50)
HOUR = timedelta(hours=1)


def _line(*runs: str) -> list[CommitRuns]:
    """The branch, newest first: `F` failed, `P` passed, `-` no run, `r` records only."""
    return [
        CommitRuns(
            sha=f"{number:040x}",
            fails=each.count("F"),
            passes=each.count("P"),
            is_record="r" in each,
        )
        for number, each in reversed(list(enumerate(reversed(runs))))
    ]


def _names(streak: Streak | None) -> tuple[int | None, list[int], int] | None:
    if streak is None:
        return None
    good = None if streak.good is None else int(streak.good, 16)
    return good, [int(sha, 16) for sha in streak.suspects], int(streak.bad, 16)


def test_no_run_at_all_is_not_a_check_that_passes_again() -> None:
    unseen = decide(CheckEvidence(streak=find_streak(_line("-", "-")), seen=False))
    assert unseen == LeaveAlone(reason="no run of the check is seen on this branch")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (["F", "P", "P"], (1, [2], 2)),
        (["F", "F", "P"], (0, [1], 1)),
        (["-", "F", "P"], (0, [1], 1)),
        (["F", "-", "P"], (0, [1, 2], 2)),
        (["F", "r", "P"], (0, [2], 2)),
        (["F", "FP", "P"], (0, [1, 2], 2)),
        (["FP", "P"], (0, [1], 1)),
        (["P", "F", "P"], None),
        (["P", "FP", "P"], None),
        (["-", "-"], None),
        (["F", "F"], (None, [0], 0)),
        (["F", "FP"], (None, [0, 1], 1)),
        (["F", "FP", "P", "F"], (1, [2, 3], 3)),
        ([], None),
    ],
)
def test_the_streak_names_every_change_that_may_have_begun_it(
    line: list[str], found: object
) -> None:
    assert _names(find_streak(_line(*line))) == found


def test_the_past_of_the_check_is_what_it_did_where_it_passed() -> None:
    streak = find_streak(_line("F", "P", "PP", "FP", "F", "P"))
    assert streak is not None
    assert streak.before == (1, 2)
    assert streak.record == CheckRecord(flakes=1, passes=2)


class TestCertainty:
    def test_one_failure_is_never_enough(self) -> None:
        assert weigh(1, 0, (9,), CheckRecord(passes=10_000)).begun < CERTAIN

    def test_a_check_that_often_flakes_needs_more_failures(self) -> None:
        flaky, steady = CheckRecord(flakes=20, passes=80), CheckRecord(passes=100)
        assert weigh(3, 0, (3,), steady).broken > CERTAIN > weigh(3, 0, (3,), flaky).broken

    def test_a_single_pass_before_may_have_been_luck(self) -> None:
        once, often = weigh(5, 0, (1,), STEADY), weigh(5, 0, (3,), STEADY)
        assert once.broken > CERTAIN
        assert once.begun < CERTAIN < often.begun

    @given(
        fails=st.integers(1, 20),
        passes=st.integers(0, 5),
        before=st.lists(st.integers(1, 5), min_size=1, max_size=10),
        flakes=st.integers(0, 50),
        passed=st.integers(0, 300),
    )
    def test_more_failures_never_make_it_less_broken(
        self, fails: int, passes: int, before: list[int], flakes: int, passed: int
    ) -> None:
        record = CheckRecord(flakes=flakes, passes=4 * flakes + passed)
        less, more = (weigh(n, passes, before, record) for n in (fails, fails + 1))
        assert 0 <= less.begun <= less.broken <= 1
        assert more.broken >= less.broken - 1e-9
        assert weigh(fails, passes + 1, before, record).broken <= less.broken + 1e-9


SUSPECT = SoleSuspect(sha="b" * 40, age=HOUR, pull_request=7, is_self_work=True)
CERTAINLY = Streak(
    good="a" * 40,
    suspects=("b" * 40,),
    bad="b" * 40,
    fails=5,
    passes=0,
    before=(2, 1, 1),
    record=STEADY,
)
SEVERAL = CERTAINLY.model_copy(update={"suspects": ("b" * 40, "c" * 40)})
ONCE = CERTAINLY.model_copy(update={"fails": 1, "before": (1, 1)})


def _evidence(**changed: object) -> CheckEvidence:
    return CheckEvidence(streak=CERTAINLY, suspect=SUSPECT).model_copy(update=changed)


def _suspect(**changed: object) -> SoleSuspect:
    return SUSPECT.model_copy(update=changed)


@pytest.mark.parametrize(
    ("evidence", "decision", "because"),
    [
        (_evidence(), RevertCommit, "failed in 5 of 5 runs"),
        (_evidence(streak=None), LeaveAlone, "passes again"),
        (_evidence(autonomy=Autonomy.OFF), LeaveAlone, "switched off"),
        (_evidence(is_running=True), Wait, ""),
        (_evidence(streak=CERTAINLY.model_copy(update={"good": None})), LeaveAlone, "not passed"),
        (_evidence(streak=CERTAINLY.model_copy(update={"suspects": ()})), LeaveAlone, "records"),
        (_evidence(streak=ONCE), RunAgain, ""),
        (_evidence(streak=ONCE.model_copy(update={"passes": 3})), LeaveAlone, "flaked"),
        (_evidence(streak=ONCE, can_repeat=frozenset()), TellPeople, "may be a flake"),
        (_evidence(streak=ONCE, can_repeat=frozenset(), can_try=True), BisectBetween, "run again"),
        (_evidence(suspect=_suspect(is_opted_out=True)), TellPeople, "opted out"),
        (_evidence(suspect=_suspect(is_reverted=True)), LeaveAlone, "reverted already"),
        (_evidence(suspect=_suspect(is_hotfix=True)), TellPeople, "itself a hotfix"),
        (_evidence(suspect=_suspect(age=25 * HOUR)), BisectBetween, "too old"),
        (_evidence(autonomy=Autonomy.PROPOSE), RevertCommit, "5 of 5"),
        (_evidence(streak=SEVERAL, suspect=None), BisectBetween, "2 changes"),
        (
            _evidence(streak=SEVERAL, suspect=None, autonomy=Autonomy.PROPOSE),
            TellPeople,
            "2 changes",
        ),
        (
            _evidence(
                streak=SEVERAL.model_copy(update={"fails": 1}),
                suspect=None,
                can_repeat=frozenset(),
            ),
            TellPeople,
            "2 changes",
        ),
    ],
)
def test_the_table_of_decisions(evidence: CheckEvidence, decision: type, because: str) -> None:
    decided = decide(evidence)
    assert isinstance(decided, decision), decided
    assert because in getattr(decided, "reason", "")


@pytest.mark.parametrize(
    ("evidence", "autonomy"),
    [
        (_evidence(), "merge"),
        (_evidence(autonomy=Autonomy.OPEN), "open"),
        (
            _evidence(
                streak=CERTAINLY.model_copy(update={"before": (1,)}),
                decides=False,
                can_repeat=frozenset(),
            ),
            "open",
        ),
        (_evidence(suspect=_suspect(is_self_work=False)), "open"),
        (
            _evidence(
                streak=CERTAINLY.model_copy(update={"fails": 3, "before": (1,)}),
                can_repeat=frozenset(),
            ),
            "open",
        ),
    ],
)
def test_only_a_certain_culprit_among_self_work_is_merged_away(
    evidence: CheckEvidence, autonomy: str
) -> None:
    decided = decide(evidence)
    assert isinstance(decided, RevertCommit), decided
    assert decided.autonomy == autonomy


def test_both_ends_are_run_again_at_once() -> None:
    decided = decide(_evidence(streak=ONCE))
    assert isinstance(decided, RunAgain)
    assert decided.shas == ("b" * 40, "a" * 40)


@given(
    runs=st.lists(st.sampled_from(["F", "P", "FP", "-", "r", "FF", "PP"]), max_size=12),
    repeats=st.integers(0, 10),
)
def test_a_merge_always_rests_on_failures_seen_twice_and_a_commit_that_passed(
    runs: list[str], repeats: int
) -> None:
    streak = find_streak(_line(*runs))
    suspect = None
    if streak is not None and streak.suspect is not None:
        suspect = _suspect(sha=streak.suspect)
    decided = decide(CheckEvidence(streak=streak, suspect=suspect, repeats=repeats))
    if isinstance(decided, RevertCommit):
        assert streak is not None
        assert streak.fails >= 2
        assert streak.good is not None
        assert decided.sha == streak.suspect
        if decided.autonomy is Autonomy.MERGE:
            assert evidence_is_certain(streak)


def evidence_is_certain(streak: Streak) -> bool:
    nearest, *further = streak.before
    sure = weigh(streak.fails, streak.passes, (nearest + 1, *further), streak.record)
    return sure.begun >= CERTAIN
