"""About how long a shadow or a stage takes yet, from what is seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from bot.canary.ramp_evidence import RampEvidence
from bot.canary.sample_size import shadow_left, stage_left
from bot.canary.shadow_evidence import ShadowEvidence
from tests.canary.traffic import frozen, only, policy, ramp_columns, shadow_pairs

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def shadow(pairs: int) -> ShadowEvidence:
    evidence = ShadowEvidence(policy())
    evidence.add_pairs(shadow_pairs(pairs, np.random.default_rng(0)))
    return evidence


def test_before_anything_is_seen_nothing_is_promised() -> None:
    assert shadow_left(shadow(0), started=START, now=START + HOUR) is None


def test_during_the_warm_up_only_the_requests_are_counted() -> None:
    # 100 of 2,000 in an hour.
    assert shadow_left(shadow(100), started=START, now=START + HOUR) == 19 * HOUR


def test_an_estimate_leads_to_the_verdict() -> None:
    """Whatever it says, the verdict has come by twice as much."""
    for pairs in range(1000, 4000, 500):
        left = shadow_left(shadow(pairs), started=START, now=START + HOUR)
        if left is None:
            continue
        there = round(pairs * (1 + 2 * (left / HOUR)))
        assert shadow_left(shadow(there), started=START, now=START + HOUR) == timedelta()


def stage(seen: int, *, bake: str, least: int) -> RampEvidence:
    stages = [{"percent": each, "min_bake": bake, "min_n": least} for each in (25, 50, 100)]
    evidence = RampEvidence(policy(stages=stages, metrics=only("error", margin_ratio=20)), frozen())
    evidence.add(ramp_columns(seen, np.random.default_rng(0), percent=25))
    return evidence


def test_a_stage_takes_its_planned_time_at_least() -> None:
    enough = stage(4000, bake="2h", least=100)
    left = stage_left(enough, entered=START, opened=START, now=START + HOUR / 2)
    assert left == 1.5 * HOUR


def test_a_stage_that_was_watched_long_enough_waits_for_requests() -> None:
    few = stage(4000, bake="0s", least=4000)
    left = stage_left(few, entered=START, opened=START, now=START + HOUR)
    assert left is not None
    # A quarter of 4,000 in an hour, and 4,000 are needed: three hours more.
    assert 2.7 * HOUR < left < 3.3 * HOUR


def test_a_stage_without_a_request_promises_nothing() -> None:
    none = RampEvidence(policy(), frozen())
    assert stage_left(none, entered=START, opened=START, now=START + HOUR) is None
