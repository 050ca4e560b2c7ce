"""Evidence as people read it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from bot.canary.judge import Continue
from bot.canary.ramp_evidence import RampEvidence
from bot.canary.report import (
    CurvePoint,
    RampReport,
    ReportSubject,
    StageReport,
    WatchedSpan,
    ramp_report,
)
from bot.playbooks.rollout.evidence import chart_of, curves, metric_table, sparkline
from tests.canary.traffic import frozen, policy, ramp_columns

START = datetime(2026, 1, 1, tzinfo=UTC)


def watched(**worse: float) -> RampReport:
    """Twelve looks at a ramp."""
    evidence, rng = RampEvidence(policy(), frozen()), np.random.default_rng(0)
    points = []
    for minute in range(12):
        evidence.add(ramp_columns(300, rng, **(worse if minute > 5 else {})))
        log_e = {name: metric.worse.log_e for name, metric in evidence.metrics.items()}
        points.append(CurvePoint(at=START + timedelta(minutes=minute), log_e=log_e))
    window = WatchedSpan(start=START, end=START + timedelta(minutes=12))
    return ramp_report(
        ReportSubject("01j", "llm", "provider-b", window, "0" * 64),
        evidence,
        Continue(()),
        shadow=None,
        salt="7",
        stages=tuple(
            StageReport(
                stage=percent,
                percent=percent,
                entered=START + timedelta(minutes=minute),
                left=None,
                n=(0, 0),
                ended=None,
            )
            for percent, minute in ((5, 0), (25, 6))
        ),
        curve=tuple(points),
    )


def test_a_breach_stands_out_in_table_and_curve(snapshot: SnapshotAssertion) -> None:
    report = watched(errors=0.2)
    said = "\n\n".join([metric_table(report.metrics), curves(report, None)])
    assert said == snapshot
    assert "OVER ITS LIMIT" in said


def test_before_anything_was_seen_there_is_nothing_to_draw() -> None:
    assert metric_table({}) == ""
    nothing_yet = watched().model_copy(update={"curve": ()})
    assert curves(nothing_yet, None) == ""
    assert chart_of(nothing_yet) is None


def test_the_picture_shows_what_the_text_says() -> None:
    report = watched(errors=0.2)
    chart = chart_of(report)
    assert chart is not None
    shown = {row.name: row for row in chart.rows}
    assert {name for name, row in shown.items() if row.crossed} == {
        name for name, metric in report.metrics.items() if metric.worse.crossed
    }
    highest = max(point.log_e["error"] for point in report.curve)
    course = [share for share in shown["error"].course if share is not None]
    assert max(course) == highest / report.metrics["error"].worse.limit
    assert len(course) == len(report.curve)
    assert [mark.percent for mark in chart.stages] == [5, 25]
    [first, second] = chart.stages
    assert (first.at, second.at) == (0, 0.5)


def test_a_picture_stands_before_the_text_that_says_the_same() -> None:
    said = curves(watched(), "https://bot.example/pictures/evidence/x.svg")
    before, _, after = said.partition("![the same as the text below]")
    assert before.startswith("Evidence against the candidate")
    assert "(https://bot.example/pictures/evidence/x.svg)" in after
    assert "no sign" in after


@given(
    seen=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200),
    limit=st.floats(0.5, 20),
)
def test_only_what_reached_the_limit_is_drawn_full(seen: list[float], limit: float) -> None:
    drawn = sparkline(seen, limit)
    assert len(drawn) == min(40, len(seen))
    assert ("█" in drawn) == (max(seen) >= limit)
