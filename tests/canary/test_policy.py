from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from bot.canary.policy import Policy
from tests.canary.traffic import PROVIDERS, only, policy


def test_two_providers_are_enough() -> None:
    assert [phase.percent for phase in policy().phases] == [5, 25, 50, 95, 100]
    assert policy().phases[3].min_bake == timedelta(hours=1)
    assert policy().phases[3].stage == 100
    assert sum(metric.alpha for _, metric in policy().metrics.chosen()) == pytest.approx(0.05)


def test_the_example_of_the_specification_is_the_default() -> None:
    written = {
        "seed": 20260101,
        "unit": "request",
        "shadow": {"sample_rate": 0.1, "min_pairs": 2000, "max_hours": 24, "min_coverage": 0.98},
        "stages": [
            {"percent": 5, "min_bake": "10m", "max_bake": "6h", "min_n": 500},
            {"percent": 25},
            {"percent": 50},
            {"percent": 100, "holdback": 5, "soak": "1h"},
        ],
        "metrics": {
            "error": {"alpha": 0.015, "tolerance": 0, "margin_ratio": 2.0},
            "latency": {"alpha": 0.01, "tolerance": 0.05, "margin": 0.20},
            "latency_p95": {"alpha": 0.01, "tolerance": 0.05, "margin": 0.20},
            "latency_p99": {"alpha": 0.005, "tolerance": 0.05, "margin": 0.50},
            "cost": {"alpha": 0.005, "tolerance": 0.05, "margin": 0.15},
            "roas": {"alpha": 0.005, "tolerance": 0.05, "margin": 0.05, "maturity": "24h"},
        },
        "max_silence": "10m",
        "approvals": {},
    }
    assert policy(**written).digest == policy(seed="20260101").digest


def test_the_digest_changes_with_every_setting_and_not_with_its_spelling() -> None:
    assert policy(max_silence="600s").digest == policy(max_silence="10m").digest
    assert policy(max_silence="11m").digest != policy().digest
    assert policy(seed=5).digest == policy(seed="5").digest
    assert Policy.model_validate(policy().model_dump(mode="json")) == policy()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "alphas that add up to more than .05": (
        {"metrics": {"error": {"alpha": 0.03}}},
        "the alphas add up to 0.065; together at most 0.05",
    ),
    "no metric at all": ({"metrics": only("none")}, "at least one metric"),
    "a misspelt metric": ({"metrics": {"latenci": {}}}, "latenci"),
    "a margin below the tolerance": (
        {"metrics": {"cost": {"tolerance": 0.2, "margin": 0.1}}},
        "margin must not be below tolerance",
    ),
    "stages that shrink": (
        {"stages": [{"percent": 50}, {"percent": 25}, {"percent": 100}]},
        "stages must grow",
    ),
    "stages that do not end with everything": ({"stages": [{"percent": 50}]}, "end with 100"),
    "a holdback before the end": (
        {"stages": [{"percent": 50, "holdback": 5}, {"percent": 100}]},
        "100 percent only",
    ),
    "a bake longer than allowed": (
        {"stages": [{"percent": 100, "min_bake": "7h"}]},
        "max_bake must not be shorter",
    ),
    "a length of time without a unit": ({"max_silence": 10}, "such as 10m"),
    "a length of time beyond all reason": ({"max_silence": "999999999d"}, "less than or equal"),
    "an approval for a stage that does not exist": ({"approvals": {30: 1}}, "approvals name 30"),
    "the baseline as its own candidate": ({"candidates": ["provider-a"]}, "also a candidate"),
    "a provider with a line break": ({"baseline": "a\nb"}, "baseline"),
    "a number that is not one": ({"metrics": {"error": {"alpha": float("nan")}}}, "finite"),
}


@pytest.mark.parametrize(("fields", "said"), WRONG.values(), ids=WRONG)
def test_it_refuses(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Policy.model_validate(PROVIDERS | fields)
