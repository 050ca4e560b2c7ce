"""Evidence as people read it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from bot.canary.evidence import RampEvidence
from bot.canary.reporting import Subject, ramp_report
from bot.canary.reports import CurvePoint, RampReport, Window
from bot.canary.verdict import Continue
from bot.playbooks.evidence import curves, metric_table, sparkline
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
    window = Window(start=START, end=START + timedelta(minutes=12))
    return ramp_report(
        Subject("01j", "llm", "provider-b", window, "0" * 64),
        evidence,
        Continue(()),
        shadow=None,
        salt="7",
        stages=(),
        curve=tuple(points),
    )


def test_a_breach_stands_out_in_table_and_curve(snapshot: SnapshotAssertion) -> None:
    report = watched(errors=0.2)
    said = "\n\n".join([metric_table(report.metrics), curves(report.curve, report.metrics)])
    assert said == snapshot
    assert "BREACH" in said


def test_before_anything_was_seen_there_is_nothing_to_draw() -> None:
    assert metric_table({}) == ""
    assert curves((), watched().metrics) == ""


@given(
    seen=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200),
    limit=st.floats(0.5, 20),
)
def test_only_what_reached_the_limit_is_drawn_full(seen: list[float], limit: float) -> None:
    drawn = sparkline(seen, limit)
    assert len(drawn) == min(40, len(seen))
    assert ("█" in drawn) == (max(seen) >= limit)
