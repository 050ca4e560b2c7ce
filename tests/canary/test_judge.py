from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from bot.canary.baseline import FrozenBaseline, Rhythm
from bot.canary.judge import Breach, Continue, Hearing, Hold, Promote, Verdict, judge_ramp
from bot.canary.ramp_evidence import RampEvidence
from bot.traffic.evaluation import Awake
from tests.canary.traffic import frozen, only, policy, ramp_columns

START = datetime(2026, 1, 1, tzinfo=UTC)
FROZEN = frozen()


def after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def ramp(count: int = 0, *, percent: int = 50, **worse: float) -> RampEvidence:
    """A ramp that watches failures and costs only, so that few observations decide."""
    metrics = only("error", alpha=0.02) | {"cost": {"alpha": 0.02}}
    evidence = RampEvidence(policy(metrics=metrics), FROZEN)
    if count:
        evidence.add(ramp_columns(count, np.random.default_rng(0), percent=percent, **worse))
    return evidence


def judged(evidence: RampEvidence, minutes: float, *, quiet: float = 0) -> Verdict:
    return judge_ramp(evidence, entered=START, last_seen=after(minutes - quiet), now=after(minutes))


def test_a_good_candidate_is_promoted_once_it_has_baked() -> None:
    evidence = ramp(12_000)
    assert judged(evidence, 9) == Continue(("It is watched for at least 1 min more.",))
    assert judged(evidence, 10) == Promote(25)


def test_too_few_observations_are_waited_for() -> None:
    verdict = judged(ramp(100), 60)
    assert isinstance(verdict, Continue)
    assert "of 500 observations of each provider" in verdict.waiting[0]


def test_both_arms_need_their_observations() -> None:
    for percent in (5, 95):
        verdict = judged(ramp(3000, percent=percent), 60)
        assert isinstance(verdict, Continue)
        assert "of 500 observations of each provider" in verdict.waiting[0]


def test_inconclusive_evidence_is_held_after_the_longest_bake() -> None:
    verdict = judged(ramp(1200, errors=0.035), 6 * 60)
    assert isinstance(verdict, Hold)
    assert verdict.reasons[0] == "No verdict after 6 h at 5%."
    assert "Not yet sure that it fails less than" in verdict.reasons[1]


def test_held_evidence_may_still_end_in_a_promotion() -> None:
    evidence = ramp(1200, errors=0.035)
    assert isinstance(judged(evidence, 6 * 60), Hold)
    evidence.add(ramp_columns(12_000, np.random.default_rng(1)))
    assert judged(evidence, 6 * 60 + 1) == Promote(25)


def test_inconclusive_evidence_rolls_back_where_the_policy_says_so() -> None:
    evidence = RampEvidence(policy(on_inconclusive="rollback"), FROZEN)
    evidence.add(ramp_columns(600, np.random.default_rng(0)))
    verdict = judge_ramp(evidence, entered=START, last_seen=after(2000), now=after(2000))
    assert isinstance(verdict, Breach)
    assert verdict.metric == "inconclusive"


def test_a_breach_is_told_with_its_evidence() -> None:
    verdict = judged(ramp(4000, errors=0.2), 1)
    assert isinstance(verdict, Breach)
    assert verdict.metric == "error"
    assert verdict.log_e is not None
    assert verdict.limit is not None
    assert verdict.log_e >= verdict.limit
    assert verdict.evidence.startswith("The candidate fails more often than tolerated")
    assert "the limit: once in 50 tries" in verdict.evidence


def test_a_breach_stays_one_whatever_comes_later() -> None:
    """Also while a person's approval is waited for: judging is the same."""
    evidence = ramp(4000, errors=0.2)
    evidence.add(ramp_columns(50_000, np.random.default_rng(2)))
    assert isinstance(judged(evidence, 120), Breach)


def test_several_breaches_are_all_named() -> None:
    verdict = judged(ramp(6000, errors=0.2, dearer=2), 1)
    assert isinstance(verdict, Breach)
    assert verdict.also == ("cost",)


def test_a_wrong_split_is_named_before_the_comparisons_it_spoils() -> None:
    evidence = ramp()
    columns = ramp_columns(6000, np.random.default_rng(0), percent=50, errors=0.3)
    columns.pi[:] = 0.05
    evidence.add(columns)
    verdict = judged(evidence, 1)
    assert isinstance(verdict, Breach)
    assert verdict.metric == "sample_ratio"
    assert "5% for the candidate" in verdict.evidence


def test_silence_in_a_ramp_is_an_anomaly() -> None:
    evidence = ramp(12_000)
    assert isinstance(judged(evidence, 10, quiet=10), Promote)
    verdict = judged(evidence, 11, quiet=10.5)
    assert verdict == Breach("silence", "No observation for 10 min 30 s; 10 min is the limit.")


def test_a_ramp_that_never_saw_anything_is_silent_too() -> None:
    verdict = judge_ramp(ramp(), entered=START, last_seen=None, now=after(11))
    assert isinstance(verdict, Breach)
    assert verdict.metric == "silence"


def test_a_metric_that_is_no_longer_reported_is_waited_for() -> None:
    evidence = ramp(12_000)
    evidence.next_phase()
    columns = ramp_columns(12_000, np.random.default_rng(1))
    columns.measured.cost[:] = np.nan
    evidence.add(columns)
    verdict = judged(evidence, 20)
    assert isinstance(verdict, Continue)
    assert verdict.waiting == ("Nobody reported cost in this stage.",)


def in_last_phase(errors: float) -> RampEvidence:
    evidence = ramp(12_000)
    while not evidence.last:
        evidence.next_phase()
    columns = ramp_columns(3000, np.random.default_rng(3), percent=100, errors=errors)
    evidence.add(columns)
    return evidence


def test_alone_the_candidate_is_held_to_the_absolute_limit() -> None:
    assert judged(in_last_phase(0.01), 10) == Promote(None)
    verdict = judged(in_last_phase(0.08), 1)
    assert isinstance(verdict, Breach)
    assert verdict.metric == "error_slo"
    assert "requests fail, the limit learnt from the stages before" in verdict.evidence


def test_the_soak_is_as_long_as_configured() -> None:
    evidence = ramp(12_000)
    for _ in range(3):
        evidence.next_phase()
    evidence.add(ramp_columns(20_000, np.random.default_rng(1), percent=95))
    assert evidence.phase.percent == 95
    assert judged(evidence, 59) == Continue(("It is watched for at least 1 min more.",))
    assert judged(evidence, 60) == Promote(100)


def test_no_failure_in_either_arm_is_proof_enough() -> None:
    evidence = RampEvidence(policy(metrics=only("error")), FROZEN)
    few, many = (ramp_columns(count, np.random.default_rng(4), errors=0) for count in (800, 2000))
    for columns in (few, many):
        columns.measured.error[:] = 0
    evidence.add(few)
    assert isinstance(judged(evidence, 10), Continue)
    evidence.add(many)
    assert judged(evidence, 10) == Promote(25)


def test_a_silence_of_ours_is_not_theirs() -> None:
    evidence = ramp(12_000)
    back = Hearing(awake=after(30))

    def heard(minutes: float) -> Verdict:
        return judge_ramp(
            evidence, entered=START, last_seen=after(9), now=after(minutes), hearing=back
        )

    assert isinstance(heard(39), Promote)
    verdict = heard(41)
    assert isinstance(verdict, Breach)
    assert verdict.evidence == "No observation for 11 min; 10 min is the limit."
    waiting = judge_ramp(ramp(), entered=START, last_seen=None, now=after(31), hearing=back)
    assert isinstance(waiting, Continue)
    assert waiting.notices == ("I was away myself until 00:30:00 UTC: silence counts from then.",)


def test_silence_is_judged_by_the_rhythm_of_the_traffic() -> None:
    """One request a minute, by chance, for a week; and then none."""
    rng = np.random.default_rng(5)
    rhythm, at = Rhythm(), 0.0
    for gap in rng.exponential(60, 7 * 24 * 60).tolist():
        assert gap <= max(600, rhythm.unusual())
        rhythm.add(gap)
        at += gap
    quiet = Hearing(unusual=rhythm.unusual())
    last = START + timedelta(seconds=at)
    for hours, silent in ((0.25, False), (1, True)):
        verdict = judge_ramp(
            ramp(12_000),
            entered=START,
            last_seen=last,
            now=last + timedelta(hours=hours),
            hearing=quiet,
        )
        assert isinstance(verdict, Breach) == silent


def test_a_silence_seen_twice_is_usual_and_a_single_one_is_not() -> None:
    rhythm = Rhythm()
    for gap in [1.0, 7200.0, *[1.0] * 400]:
        rhythm.add(gap)
    assert rhythm.unusual() < 1800
    for gap in [3600.0, *[1.0] * 400]:
        rhythm.add(gap)
    assert rhythm.unusual() == 5400


def test_an_evening_is_followed_within_a_few_requests() -> None:
    rhythm = Rhythm()
    for gap in [60.0] * 1000 + [600.0] * 8:
        rhythm.add(gap)
    assert rhythm.unusual() > 20 * 300


def test_a_night_that_the_shadow_saw_is_no_silence() -> None:
    night = FROZEN.model_copy(update={"gap": 0.5, "longest_gap": 8 * 3600.0})
    rhythm = Rhythm()
    rhythm.add(0.05)
    assert rhythm.unusual(night) == 12 * 3600
    assert FROZEN.digest == FrozenBaseline.model_validate(FROZEN.model_dump()).digest
    assert "gap" not in FROZEN.model_dump()


def test_a_process_that_did_not_look_was_not_listening() -> None:
    awake, limit = Awake(), timedelta(seconds=20)
    assert awake.since(limit, after(0)) == after(0)
    for second in range(60):
        awake.look(START + timedelta(seconds=second))
    assert awake.since(limit, after(1)) == START
    back = START + timedelta(seconds=95)
    awake.look(back)
    assert awake.since(limit, back) == back
    assert awake.since(timedelta(hours=1), back) == START
    jumped = back - timedelta(hours=1)
    awake.look(jumped)
    assert awake.since(limit, jumped) == jumped
