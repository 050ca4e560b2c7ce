"""How bad is it? From what a signal says to a severity, by one table. Pure.

Burn rates are those of Google's SRE Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts":
how many times faster than allowed the error budget is spent, over a long and a short window.
"""

from __future__ import annotations

import math
from datetime import timedelta
from operator import attrgetter
from typing import Literal

from pydantic import Field

from bot.triggers import UNKNOWN_SEVERITY, Severity, Value

_BURN_RATES = (
    (14.4, timedelta(hours=1), timedelta(minutes=5), Severity.CRITICAL),
    (6.0, timedelta(hours=6), timedelta(minutes=30), Severity.HIGH),
    (1.0, timedelta(days=3), timedelta(hours=6), Severity.MEDIUM),
)
_LABELS = {
    "critical": Severity.CRITICAL,
    "page": Severity.CRITICAL,
    "error": Severity.HIGH,
    "high": Severity.HIGH,
    "warning": Severity.MEDIUM,
    "medium": Severity.MEDIUM,
    "info": Severity.LOW,
    "low": Severity.LOW,
}


class BurnRate(Value):
    """An error budget is spent `rate` times faster than allowed, in each of these windows."""

    kind: Literal["burn rate"] = "burn rate"
    rates: dict[timedelta, float] = Field(min_length=1)
    """By window: 14.4 within an hour and 14.4 within five minutes is critical."""


class Labelled(Value):
    """Somebody wrote the severity down, as a label of an alert does."""

    kind: Literal["label"] = "label"
    label: str


class SafetyViolation(Value):
    """Something that must not happen happened."""

    kind: Literal["safety violation"] = "safety violation"
    irreversible: bool = False
    label: str | None = None


class EvalDrop(Value):
    """An eval scores lower than it did: beyond what chance explains, or beyond a guardrail."""

    kind: Literal["eval drop"] = "eval drop"
    beyond: Literal["interval", "guardrail"] = "interval"


class BudgetUse(Value):
    """How much of a budget is spent (1.0 is all of it), and whether spending goes on after that."""

    kind: Literal["budget use"] = "budget use"
    share: float
    still_spending: bool = False


Signal = BurnRate | Labelled | SafetyViolation | EvalDrop | BudgetUse


def severity_of(signal: Signal | None) -> Severity | None:
    """Say how bad a signal is; None where it is no incident at all (a budget used below 80%).

    Args:
        signal: what is known; None stands for a failure nobody has classified.
    """
    match signal:
        case None:
            return UNKNOWN_SEVERITY
        case BurnRate(rates=rates):
            return _of_burn_rate(rates)
        case Labelled(label=label):
            return _LABELS.get(label.strip().lower(), UNKNOWN_SEVERITY)
        case SafetyViolation(irreversible=True):
            return Severity.CRITICAL
        case SafetyViolation(label=label):
            labelled = _LABELS.get((label or "").strip().lower(), Severity.HIGH)
            return worst(Severity.HIGH, labelled)
        case EvalDrop(beyond=beyond):
            return Severity.HIGH if beyond == "guardrail" else Severity.MEDIUM
        case BudgetUse(share=share, still_spending=still_spending):
            return _of_budget(share, still_spending=still_spending)


def severity_of_check(purpose: Literal["smoke", "evals", "slo", "safety"]) -> Severity:
    """Say how bad a failing check is, by what it is for: it does not tell by how much it failed."""
    known: dict[str, Signal] = {"evals": EvalDrop(), "safety": SafetyViolation()}
    return severity_of(known.get(purpose)) or UNKNOWN_SEVERITY


def worst(*severities: Severity) -> Severity:
    """Give the worst of several; of none, what is unknown."""
    return max(severities, key=attrgetter("rank"), default=UNKNOWN_SEVERITY)


def _of_burn_rate(rates: dict[timedelta, float]) -> Severity:
    """The highest line both windows of which are over; one window alone may be a blip or a past."""
    for limit, long, short, severity in _BURN_RATES:
        if rates.get(long, 0.0) >= limit and rates.get(short, 0.0) >= limit:
            return severity
    return UNKNOWN_SEVERITY


def _of_budget(share: float, *, still_spending: bool) -> Severity | None:
    if math.isnan(share):
        return UNKNOWN_SEVERITY
    if share >= 1.0:
        return Severity.HIGH if still_spending else Severity.MEDIUM
    return Severity.LOW if share >= 0.8 else None
