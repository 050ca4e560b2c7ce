from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bot.canary.baseline import GROWTH, ArmSummary, Sketch
from bot.canary.interval import generator, mean_ratio, quantile_ratio, rate_ratio
from bot.canary.judge import Breach, Promote
from bot.canary.observations import measurements
from bot.canary.ramp_evidence import RampEvidence, RampState
from bot.canary.report import (
    CurvePoint,
    RampReport,
    ReportSubject,
    ShadowDiffReport,
    StageReport,
    WatchedSpan,
    ramp_report,
    shadow_report,
)
from bot.canary.sample_size import sampled
from bot.canary.shadow_evidence import ShadowEvidence
from bot.records.documents.artifacts import canonical_bytes
from tests.canary.traffic import frozen, policy, ramp_columns, shadow_pairs

START = datetime(2026, 1, 1, tzinfo=UTC)
SUBJECT = ReportSubject(
    "01jabc",
    "llm.summarize",
    "provider-b",
    WatchedSpan(start=START, end=START + timedelta(hours=1)),
    "0" * 64,
)


def described(evidence: RampEvidence) -> bytes:
    stage = StageReport(stage=5, percent=5, entered=START, left=None, n=(1, 1), ended="breach")
    report = ramp_report(
        SUBJECT,
        evidence,
        Breach("error", "It fails more often.", 5.0, 4.2, ("cost",)),
        shadow="01jaaa",
        salt="7",
        stages=(stage,),
        curve=(CurvePoint(at=START, log_e={"error": 5.0}),),
    )
    return canonical_bytes(report)


def test_a_ramp_report_is_the_same_to_the_byte_after_a_restart() -> None:
    columns = ramp_columns(2000, np.random.default_rng(0), errors=0.1)
    at_once, resumed = RampEvidence(policy(), frozen()), RampEvidence(policy(), frozen())
    at_once.add(columns)
    resumed.add(columns.at(np.arange(777)))
    saved = resumed.save().model_dump_json()
    resumed = RampEvidence(policy(), frozen())
    resumed.restore(RampState.model_validate_json(saved))
    resumed.add(columns.at(np.arange(777, 2000)))
    assert described(resumed) == described(at_once)


def test_a_ramp_report_says_what_was_seen() -> None:
    evidence = RampEvidence(policy(), frozen())
    evidence.add(ramp_columns(4000, np.random.default_rng(0), errors=0.1))
    report = RampReport.model_validate_json(described(evidence))
    error = report.metrics["error"]
    assert report.schema_ == "incident-playbooks/ramp/1"
    assert error.verdict == "breach"
    assert error.comparison is not None
    assert 2 < error.comparison.low < error.comparison.ratio < error.comparison.high
    assert error.bootstrap_seed == ("0", 0)
    assert report.metrics["latency_p95"].tau == pytest.approx(0.46, rel=0.1)
    assert report.reasons == ("It fails more often.", "cost crossed its limit too.")


def test_a_shadow_report_says_what_was_seen() -> None:
    evidence = ShadowEvidence(policy(seed="42"))
    evidence.add_pairs(shadow_pairs(6000, np.random.default_rng(0)))
    written = canonical_bytes(shadow_report(SUBJECT, evidence, Promote(5)))
    report = ShadowDiffReport.model_validate_json(written)
    assert report.pairs.n == 6000
    assert report.coverage == 1
    assert report.seed == "42"
    assert report.not_observed == ("roas",)
    assert report.metrics["cost"].verdict == "within margin"
    assert report.sampling.hash == "sha256(seed|request id)"
    assert written == canonical_bytes(shadow_report(SUBJECT, evidence, Promote(5)))


def test_a_report_of_nothing_can_be_written() -> None:
    report = shadow_report(SUBJECT, ShadowEvidence(policy()), Promote(5))
    assert report.coverage is None
    canonical_bytes(report)
    canonical_bytes(
        ramp_report(
            SUBJECT,
            RampEvidence(policy(), frozen()),
            Promote(None),
            shadow=None,
            salt="1",
            stages=(),
            curve=(),
        )
    )


def sketch(values: np.ndarray) -> Sketch:
    found = Sketch()
    found.add(values)
    return found


def test_quantiles_of_a_sketch_are_near_the_exact_ones() -> None:
    values = np.random.default_rng(0).lognormal(0, 2, 20_000)
    shares = np.array([0.01, 0.5, 0.95, 0.99, 0.999])
    exact = np.quantile(values, shares, method="inverted_cdf")
    assert sketch(values).quantiles(shares) == pytest.approx(exact, rel=GROWTH - 1)
    assert sketch(values).mean() == pytest.approx(values.mean(), rel=GROWTH - 1)


def test_zeros_and_an_empty_sketch_are_no_trouble() -> None:
    assert sketch(np.zeros(10)).quantile(0.5) == 0
    with pytest.raises(ValueError, match="No values"):
        Sketch().quantile(0.5)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    held = {"quantile": 0, "rate": 0, "mean": 0}
    for index in range(200):
        ours = sketch(1.2 * rng.lognormal(0, 0.5, 400))
        theirs = sketch(rng.lognormal(0, 0.5, 400))
        found = quantile_ratio(theirs, ours, 0.9, generator("1", index))
        mean = mean_ratio(theirs, ours)
        events = int(rng.binomial(2000, 0.03)), int(rng.binomial(2000, 0.05))
        rate = rate_ratio((events[0], 2000), (events[1], 2000), generator("2", index))
        assert found
        assert mean
        assert rate
        held["quantile"] += found.low <= 1.2 <= found.high
        held["mean"] += mean.low <= 1.2 <= mean.high
        held["rate"] += rate.low <= 5 / 3 <= rate.high
    assert all(0.90 <= count / 200 <= 0.99 for count in held.values())


def test_the_same_seed_gives_the_same_interval() -> None:
    values = sketch(np.random.default_rng(0).lognormal(0, 1, 500))
    first, again, other = (
        quantile_ratio(values, values, 0.5, generator("9", index)) for index in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_without_observations_there_is_no_interval() -> None:
    assert quantile_ratio(Sketch(), Sketch(), 0.5, generator("1", 0)) is None
    assert mean_ratio(Sketch(), Sketch()) is None
    assert rate_ratio((0, 0), (0, 0), generator("1", 0)) is None


def test_the_sample_is_the_share_asked_for_and_nested() -> None:
    few = {n for n in range(20_000) if sampled("7", str(n), 0.1)}
    more = {n for n in range(20_000) if sampled("7", str(n), 0.3)}
    assert few < more
    assert len(few) == pytest.approx(2000, rel=0.1)
    assert few != {n for n in range(20_000) if sampled("8", str(n), 0.1)}


def test_a_baseline_hardly_seen_is_not_frozen() -> None:
    summary = ArmSummary()
    summary.add(measurements(99, latency=np.ones(99)))
    learned = summary.freeze()
    assert learned.latency is None
    assert learned.error_rate is None
    assert not learned.thresholds
