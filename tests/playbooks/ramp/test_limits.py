"""What ends or holds a ramp besides failures: too little return, an absolute limit, no verdict."""

from __future__ import annotations

import pytest

from tests.playbooks.providing import CAPABILITY, POLICY, STAGES, Providers, evenly
from tests.playbooks.ramp.test_anomalies import ramped, rolled_back
from tests.shop import Clock


@pytest.mark.thorough
async def test_a_candidate_that_returns_less_for_its_spend(providers: Providers) -> None:
    metrics = POLICY["metrics"] | {
        "error": {"alpha": 0.01, "margin_ratio": 20, "slo_max": 0.9},
        "roas": {"alpha": 0.04, "maturity": "0s"},
    }
    await providers.configure(metrics=metrics)
    issue = await ramped(providers)
    generation = (await providers.flag())["metadata"]["generation"]
    lines = []
    for number in range(1200):
        arm = "candidate" if evenly(number, 0.05) else "baseline"
        bought = {"revenue": 0.5 if arm == "candidate" else 4.0, "spend": 1.0}
        lines.append(providers.line(arm, generation, failed=False, **bought))
    status, answer = await providers.report(lines)
    assert (status, answer["accepted"]) == (202, 1200)
    said = await rolled_back(providers, issue)
    assert "The candidate returns less revenue per spend than tolerated" in said
    report = await providers.file("ramp_reports")
    assert report["metrics"]["roas"]["verdict"] == "breach"
    assert report["metrics"]["roas"]["baseline"] == pytest.approx(4, rel=0.01)
    assert report["metrics"]["roas"]["candidate"] == pytest.approx(0.5, rel=0.01)


@pytest.mark.thorough
async def test_more_failures_than_any_provider_may_have_where_nothing_is_left_to_compare(
    providers: Providers,
) -> None:
    """The candidate serves everything, so there is no baseline to be as good as."""
    stages = [{"percent": each, "min_bake": "0s", "min_n": 20} for each in STAGES]
    stages[-1]["min_n"] = 100_000
    metrics = POLICY["metrics"] | {"error": POLICY["metrics"]["error"] | {"slo_max": 0.5}}
    await providers.configure(stages=stages, metrics=metrics)
    issue = await ramped(providers, 100)
    await providers.serve_until(0, candidate=0.9)
    said = await rolled_back(providers, issue)
    assert "More than 50% of the candidate's requests fail" in said
    assert (await providers.flag())["metadata"]["paused"] is True
    report = await providers.file("ramp_reports")
    assert report["limits"]["error_slo"]["evidence"]["crossed"]
    assert not report["metrics"]["error"]["worse"]["crossed"]
    [incident] = await providers.shop.eventually(providers.shop.incidents)
    assert f"`/shadow {CAPABILITY} provider-b`" in incident["body"]


@pytest.mark.thorough
async def test_evidence_that_stays_unclear_is_held_and_a_person_says_how_to_go_on(
    providers: Providers, clock: Clock
) -> None:
    stages = [{"percent": each, "min_bake": "0s", "max_bake": "5m", "min_n": 20} for each in STAGES]
    stages[-1]["min_n"] = 100_000
    await providers.configure(stages=stages)
    issue = await ramped(providers)
    await providers.served(40)
    clock.forward(minutes=6)
    said = await providers.shop.standing(issue, "it is not clear yet")
    assert "2 of 20 observations of each provider in this stage." in said
    assert await providers.percent() == 5
    await providers.shop.says(issue, "/approve")
    await providers.ramping(25)
    await providers.serve_until(100)
    clock.forward(minutes=6)
    await providers.served()
    await providers.shop.standing(issue, "of 100,000 observations of the candidate in this stage.")
    # After the last stage only the promotion is left.
    await providers.shop.says(issue, "/approve")
    await providers.shop.told(issue, "is the active provider", times=1)
    assert await providers.provider() == "provider-b"
