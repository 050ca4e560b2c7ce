"""How evidence is said to people: in percent of a limit, and in how often chance does the same.

Evidence (nats) grows in proportion to what was observed, as long as nothing changes; so its share
of the limit tells about how far along it is. At the limit, chance alone does the same at most
once in `exp(limit)` tries.
"""

from __future__ import annotations

from math import exp

from bot.canary.policy import ErrorMetric, Metric, RatioMetric

NAMES = {
    "error": "errors",
    "latency": "latency (all)",
    "latency_p50": "latency p50",
    "latency_p95": "latency p95",
    "latency_p99": "latency p99",
    "cost": "cost",
    "roas": "ROAS",
    "sample_ratio": "split",
    "error_slo": "errors (absolute)",
    "latency_p50_slo": "p50 (absolute)",
    "latency_p95_slo": "p95 (absolute)",
    "latency_p99_slo": "p99 (absolute)",
    "dropouts": "answers lost",
    "cost_slo": "cost (absolute)",
    "cost_budget": "cost (budget)",
}
"""What is watched, as it is called. Addresses of pictures hold places in this list: only append."""

CLAIMS = {
    "error": "The candidate fails more often than tolerated",
    "latency": "The candidate is slower than tolerated",
    "latency_p50": "The candidate is slower than the baseline's median more often than tolerated",
    "latency_p95": "The candidate's slowest answers (p95) are slower than tolerated",
    "latency_p99": "The candidate's slowest answers (p99) are slower than tolerated",
    "cost": "The candidate costs more than tolerated",
    "roas": "The candidate returns less revenue per spend than tolerated",
}
"""What it means that a metric is beyond its limit."""

_SLOWER = {
    "latency": "it is",
    "latency_p50": "its median answer is",
    "latency_p95": "its slowest answers (p95) are",
    "latency_p99": "its slowest answers (p99) are",
}
_BEYOND_ALL_DOUBT = 13
"""Nats; once in more than 400,000 tries."""


def chance(log_e: float) -> str:
    """How often chance alone gives evidence this strong: `once in 67 tries`.

    By Ville's inequality, at most once in `exp(log_e)`; so evidence below 0 says nothing. `log_e`,
    here and below, is evidence in nats: the natural logarithm of an e-value.
    """
    if log_e > _BEYOND_ALL_DOUBT:
        return "once in more than 400,000 tries"
    return f"once in {exp(max(log_e, 0.0)):,.0f} tries"


def share(log_e: float, limit: float) -> str:
    """How much of what is needed there is: `43%`; never 100% before the limit is reached.

    Both are nats; `limit` is above 0.
    """
    return f"{int(100 * max(log_e, 0.0) / limit) if log_e < limit else 100}%"


def against(log_e: float, limit: float, *, crossed: bool) -> str:
    """How close the candidate is to being taken back: `over its limit`, `43% of its limit`.

    Args:
        log_e: the evidence that it is too bad, in nats.
        limit: the evidence at which it is taken back, in nats; above 0.
        crossed: whether the limit was ever reached; the evidence may have fallen since.

    Returns:
        Words to go on with; `no sign` where the evidence is not above 0.
    """
    if crossed or log_e >= limit:
        return "over its limit"
    return "no sign" if log_e <= 0 else f"{share(log_e, limit)} of its limit"


def unproven(name: str, metric: Metric, log_e: float, limit: float) -> str:
    """What still has to be shown before the candidate may go on; one sentence."""
    return f"Not yet sure that {promise(name, metric)}: {share(log_e, limit)} of the proof needed."


def effect(name: str, metric: Metric, roas_drop: float) -> str:
    """What of a candidate would be seen, as a noun: how much worse it is just beyond its margin.

    Args:
        name: the metric.
        metric: what the policy says of it.
        roas_drop: the drop of ROAS that is spoken of, 0 to 1.
    """
    what = NAMES[name]
    if isinstance(metric, ErrorMetric):
        return f"{what}, odds {metric.margin_ratio:g} times as high"
    if name == "roas":
        return f"{what} {100 * roas_drop:.3g}% lower"
    return f"{what} {100 * metric.margin:.3g}% higher"


def promise(name: str, metric: Metric) -> str:
    """What has to be shown of a metric, as a clause about the candidate."""
    if isinstance(metric, ErrorMetric):
        return f"it fails less than {metric.margin_ratio:g} times as often as the baseline"
    return _ratio_promise(name, metric)


def _ratio_promise(name: str, metric: RatioMetric) -> str:
    margin = f"less than {100 * metric.margin:.3g}%"
    if name == "cost":
        return f"it costs {margin} more than the baseline"
    if name == "roas":
        return f"it returns {margin} less revenue per spend than the baseline"
    whose = "the baseline" if name == "latency" else "the baseline's"
    return f"{_SLOWER[name]} {margin} slower than {whose}"
