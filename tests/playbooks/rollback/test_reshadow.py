"""Whether a candidate has to be shadowed anew after it was rolled back, and how bad that was."""

from __future__ import annotations

import numpy as np
import pytest

from bot.canary.ramp_evidence import RampEvidence
from bot.playbooks.rollback.plan import plan_reshadow, severity_of
from bot.records.documents.reports import Anomaly, Reshadow
from bot.triggers import Severity
from tests.canary.traffic import frozen, policy, ramp_columns

FROZEN = frozen()
POLICY = policy()


def seen(count: int = 4000, **worse: float) -> RampEvidence:
    evidence = RampEvidence(POLICY, FROZEN)
    evidence.add(ramp_columns(count, np.random.default_rng(0), percent=50, **worse))
    return evidence


def plan(evidence: RampEvidence | None, metric: str | None, kind: str = "breach") -> Reshadow:
    anomaly = Anomaly.model_validate({"kind": kind, "metric": metric, "said": "It was odd."})
    return plan_reshadow("llm", "provider-b", POLICY, anomaly, evidence, FROZEN, salt="8")


def test_a_candidate_that_fails_more_often_is_shadowed_again_long_enough_to_see_it() -> None:
    mild, grave = plan(seen(errors=0.05), "error"), plan(seen(errors=0.5), "error")
    assert mild.needed
    assert mild.failing_metric == "error"
    assert mild.command == "/shadow llm provider-b"
    assert mild.salt == "8"
    assert mild.reason.startswith("The candidate fails more often than tolerated")
    assert (mild.min_pairs or 0) >= (grave.min_pairs or 0) >= POLICY.shadow.min_pairs


@pytest.mark.parametrize("metric", ["sample_ratio", "silence"])
def test_broken_data_says_nothing_of_the_candidate(metric: str) -> None:
    found = plan(seen(), metric)
    assert not found.needed
    assert found.command == "/ramp llm"
    assert found.min_pairs is None


def test_when_both_failed_the_cause_lies_elsewhere() -> None:
    evidence = RampEvidence(POLICY, FROZEN)
    columns = ramp_columns(4000, np.random.default_rng(0), percent=50)
    columns.measured.error[:] = (np.random.default_rng(1).random(4000) < 0.4).astype(float)
    evidence.add(columns)
    found = plan(evidence, None, "alert")
    assert not found.needed
    assert found.reason.startswith("The baseline failed as well")


def test_an_absolute_limit_counts_as_the_metric_it_is_of() -> None:
    assert plan(seen(errors=0.2), "error_slo").failing_metric == "error"


@pytest.mark.parametrize("evidence", [None, seen()])
def test_a_persons_word_asks_for_the_usual_shadow(evidence: RampEvidence | None) -> None:
    found = plan(evidence, None, "person")
    assert found.needed
    assert found.failing_metric is None
    assert found.min_pairs == POLICY.shadow.min_pairs


@pytest.mark.parametrize(
    ("percent", "severity"),
    [(0, "low"), (5, "medium"), (25, "high"), (50, "critical"), (95, "critical")],
)
def test_it_is_as_bad_as_many_users_could_see_it(percent: int, severity: str) -> None:
    assert severity_of(percent) == Severity(severity)
