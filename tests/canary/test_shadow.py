from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.canary.judge import Breach, Continue, Hold, Promote, Verdict, judge_shadow
from bot.canary.observations import Observation
from bot.canary.shadow_evidence import ShadowEvidence, ShadowState
from tests.canary.traffic import policy, shadow_pairs

START = datetime(2026, 1, 1, tzinfo=UTC)


def after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def shadow(count: int, seed: int = 0, **worse: float) -> ShadowEvidence:
    evidence = ShadowEvidence(policy())
    evidence.add_pairs(shadow_pairs(count, np.random.default_rng(seed), **worse))
    return evidence


def judged(evidence: ShadowEvidence, minutes: float = 60, *, quiet: float = 0) -> Verdict:
    return judge_shadow(
        evidence, started=START, last_seen=after(minutes - quiet), now=after(minutes)
    )


def seen(pair: str, arm: str, **fields: Any) -> Observation:
    whole = {
        "event_id": f"{pair}-{arm}",
        "capability": "llm.summarize",
        "arm": arm,
        "generation": 1,
        "time": START,
        "pair_id": pair,
        "latency": 0.2,
        "error": False,
    }
    return Observation.model_validate(whole | fields)


def test_a_good_candidate_leads_to_a_proposed_ramp() -> None:
    assert judged(shadow(8000)) == Promote(5)


def test_the_least_number_of_pairs_is_waited_for() -> None:
    verdict = judged(shadow(300))
    assert isinstance(verdict, Continue)
    assert verdict.waiting[0] == "300 of 2,000 requests answered by both."


def test_a_candidate_that_fails_more_often_is_a_breach() -> None:
    verdict = judged(shadow(8000, errors=0.06))
    assert isinstance(verdict, Breach)
    assert verdict.metric == "error"


def test_a_shadow_without_verdict_is_held_after_its_time() -> None:
    verdict = judged(shadow(300), 24 * 60)
    assert isinstance(verdict, Hold)
    assert verdict.reasons[0] == "No verdict after 24 h of mirroring."


def test_silence_in_a_shadow_is_held_and_forgotten_when_it_ends() -> None:
    evidence = shadow(8000)
    verdict = judged(evidence, quiet=11)
    assert isinstance(verdict, Hold)
    assert verdict.reasons == ("No observation for 11 min: is the mirror still on?",)
    assert isinstance(judged(evidence), Promote)


def test_costs_beyond_the_cap_are_held() -> None:
    verdict = judged(costly())
    assert isinstance(verdict, Hold)
    assert "50 is the cap" in verdict.reasons[0]


def costly() -> ShadowEvidence:
    evidence = ShadowEvidence(policy())
    pairs = shadow_pairs(8000, np.random.default_rng(0))
    pairs.baseline.cost[:] *= 10
    pairs.candidate.cost[:] *= 10
    evidence.add_pairs(pairs)
    return evidence


def test_answers_are_paired_whichever_comes_first() -> None:
    evidence = ShadowEvidence(policy())
    evidence.add([seen("a", "candidate"), seen("b", "baseline")], after(0))
    evidence.add([seen("b", "candidate"), seen("a", "baseline")], after(1))
    assert evidence.pairs == 2
    assert evidence.coverage == 1


def test_answers_that_stay_alone_lower_the_coverage_and_show_which_side_is_missing() -> None:
    evidence = shadow(8000)
    evidence.add([seen(str(number), "baseline") for number in range(400)], after(0))
    evidence.expire(after(4))
    assert evidence.coverage == 1
    evidence.expire(after(6))
    assert evidence.timeouts == 400
    verdict = judged(evidence)
    assert isinstance(verdict, Hold)
    assert "answered by the candidate only, 400 by the baseline only" in verdict.reasons[0]
    assert "95.2% of mirrored requests have both answers" in verdict.reasons[1]


def test_revenue_in_a_shadow_teaches_and_does_not_wait_for_a_pair() -> None:
    evidence = ShadowEvidence(policy())
    paid = {"latency": None, "error": None, "revenue": 1.0, "spend": 0.5}
    evidence.add([seen(str(n), "baseline", **paid) for n in range(200)], after(0))
    assert evidence.arms.baseline.freeze().roas is not None
    assert evidence.coverage is None


@settings(max_examples=15)
@given(st.integers(0, 1200), st.integers(0, 1200))
def test_batches_and_restarts_change_no_digit(first: int, second: int) -> None:
    pairs = shadow_pairs(1200, np.random.default_rng(1), slower=1.2)
    at_once = ShadowEvidence(policy())
    at_once.add_pairs(pairs)
    resumed = ShadowEvidence(policy())
    ends = [0, *sorted((first, second)), 1200]
    for start, end in itertools.pairwise(ends):
        resumed.add_pairs(pairs.at(np.arange(start, end)))
        written = resumed.save().model_dump_json()
        resumed = ShadowEvidence(policy())
        resumed.restore(ShadowState.model_validate_json(written))
    assert resumed.save() == at_once.save()


def test_waiting_answers_survive_a_restart() -> None:
    evidence = ShadowEvidence(policy())
    evidence.add([seen("a", "candidate")], after(0))
    resumed = ShadowEvidence(policy())
    resumed.restore(ShadowState.model_validate_json(evidence.save().model_dump_json()))
    resumed.add([seen("a", "baseline")], after(1))
    assert resumed.pairs == 1


def test_a_good_shadow_raises_few_alarms() -> None:
    alarms = sum(isinstance(judged(shadow(2000, seed)), Breach) for seed in range(60))
    assert alarms <= 3
