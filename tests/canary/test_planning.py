from __future__ import annotations

import numpy as np
import pytest

from bot.canary.policy import Policy
from bot.canary.ramp_evidence import RampEvidence
from bot.canary.sample_size import pairs_needed
from bot.canary.shadow_evidence import ShadowEvidence
from tests.canary.traffic import frozen, policy, ramp_columns, shadow_pairs

WORSE = {
    "error": {"errors": 0.032},
    "latency": {"slower": 1.15},
    "latency_p95": {"slower": 1.25},
    "cost": {"dearer": 1.16},
}
QUICK = policy(shadow={"min_pairs": 100})


def planned(name: str, ruling: Policy = QUICK, **worse: float) -> int:
    evidence = RampEvidence(ruling, frozen())
    evidence.add(ramp_columns(40_000, np.random.default_rng(0), **worse))
    return pairs_needed(ruling, evidence.metrics[name], evidence.arms)


@pytest.mark.parametrize(("name", "effect"), WORSE.items(), ids=WORSE)
def test_so_many_pairs_show_the_effect_more_often_than_not(
    name: str, effect: dict[str, float]
) -> None:
    pairs = planned(name, **effect)
    found = 0
    for seed in range(20):
        shadow = ShadowEvidence(QUICK)
        rng = np.random.default_rng(seed)
        shadow.add_pairs(shadow_pairs(pairs + shadow.warm_up, rng, **effect))
        found += shadow.metrics[name].worse.crossed
    assert pairs > 200
    assert found >= 10


def test_larger_effects_need_fewer_pairs() -> None:
    assert planned("error", errors=0.04) > planned("error", errors=0.1)


def test_without_an_effect_the_policy_decides() -> None:
    assert planned("latency", policy(), slower=0.9) == 2000
