"""How bad a signal is: the table, line by line."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.safety.severity import (
    BudgetUse,
    BurnRate,
    EvalDrop,
    Labelled,
    SafetyViolation,
    Signal,
    severity_of,
    worst,
)
from bot.triggers import Severity

MINUTES_5, MINUTES_30 = timedelta(minutes=5), timedelta(minutes=30)
HOUR, HOURS_6, DAYS_3 = timedelta(hours=1), timedelta(hours=6), timedelta(days=3)


@pytest.mark.parametrize(
    ("signal", "severity"),
    [
        (BurnRate(rates={HOUR: 14.4, MINUTES_5: 14.4}), "critical"),
        (BurnRate(rates={HOUR: 14.4, MINUTES_5: 14.3}), "medium"),
        (BurnRate(rates={HOUR: 14.4}), "medium"),
        (BurnRate(rates={HOURS_6: 6, MINUTES_30: 7}), "high"),
        (BurnRate(rates={HOURS_6: 5.9, MINUTES_30: 7}), "medium"),
        (BurnRate(rates={DAYS_3: 1, HOURS_6: 1}), "medium"),
        (BurnRate(rates={HOUR: 20, MINUTES_5: 20, DAYS_3: 1, HOURS_6: 1}), "critical"),
        (Labelled(label="critical"), "critical"),
        (Labelled(label=" Page "), "critical"),
        (Labelled(label="error"), "high"),
        (Labelled(label="warning"), "medium"),
        (Labelled(label="info"), "low"),
        (Labelled(label="apocalyptic"), "medium"),
        (SafetyViolation(), "high"),
        (SafetyViolation(label="info"), "high"),
        (SafetyViolation(label="critical"), "critical"),
        (SafetyViolation(irreversible=True), "critical"),
        (SafetyViolation(irreversible=True, label="info"), "critical"),
        (EvalDrop(), "medium"),
        (EvalDrop(beyond="guardrail"), "high"),
        (BudgetUse(share=0.79), None),
        (BudgetUse(share=0.8), "low"),
        (BudgetUse(share=1.0), "medium"),
        (BudgetUse(share=1.2, still_spending=True), "high"),
        (BudgetUse(share=float("nan")), "medium"),
        (BudgetUse(share=float("inf")), "medium"),
        (None, "medium"),
    ],
)
def test_the_table_says_how_bad_a_signal_is(signal: Signal | None, severity: str | None) -> None:
    assert severity_of(signal) == severity


def test_of_several_the_worst_counts() -> None:
    assert worst(Severity.LOW, Severity.CRITICAL, Severity.HIGH) is Severity.CRITICAL
    assert worst() is Severity.MEDIUM
