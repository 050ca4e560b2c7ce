"""Absolute limits, judged where the candidate serves everything and nothing is left to compare.

The evidence is again an e-process: against "at most this share of requests is bad".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bot.canary.columns import Columns, succeeded
from bot.canary.eprocess import EProcess, EProcessState
from bot.canary.facts import StrictValue
from bot.canary.frozen import QUANTILES
from bot.canary.likelihood import RATIOS, rate_ticks
from bot.canary.policy import SLO_ALPHA, ErrorMetric, Policy, QuantileMetric


class LimitState(StrictValue):
    """Saved evidence on one limit."""

    process: EProcessState
    bad: int
    seen: int


@dataclass(slots=True)
class Limit:
    """One limit.

    Attributes:
        share: of requests that may fail, or take longer than `seconds`.
        seconds: None for failures.
        bad: the candidate's requests beyond it.
        seen: the candidate's requests.
    """

    share: float
    seconds: float | None
    process: EProcess = field(default_factory=lambda: EProcess(len(RATIOS), alpha=SLO_ALPHA))
    bad: int = 0
    seen: int = 0

    @property
    def burn_rate(self) -> float | None:
        """How many times faster than allowed the error budget burns; None without requests."""
        return self.bad / self.seen / self.share if self.seen else None

    def add(self, columns: Columns) -> int | None:
        """Take in the candidate's requests; tells the row that crossed the limit, if one did."""
        measured = columns.measured
        if self.seconds is None:
            seen, bad = np.isfinite(measured.error), measured.error == 1
        else:
            seen, bad = succeeded(measured), measured.latency > self.seconds
        rows = np.flatnonzero(seen)
        found = columns.at(rows)
        self.seen += found.tally().candidate
        self.bad += found.tally(bad[rows]).candidate
        row = self.process.add(rate_ticks(bad[rows], self.share), found.counts)
        return None if row is None else int(rows[row])

    def save(self) -> LimitState:
        """Write the state down."""
        return LimitState(process=self.process.save(), bad=self.bad, seen=self.seen)

    def restore(self, saved: LimitState) -> None:
        """Take over a saved state."""
        self.process.restore(saved.process)
        self.bad, self.seen = saved.bad, saved.seen


def absolute_limits(policy: Policy) -> dict[str, Limit]:
    """Set up the policy's limits (`slo_max`), by name."""
    found: dict[str, Limit] = {}
    for name, metric in policy.metrics.chosen():
        if isinstance(metric, ErrorMetric) and metric.slo_max is not None:
            found[f"{name}_slo"] = Limit(metric.slo_max, None)
        if isinstance(metric, QuantileMetric) and metric.slo_max is not None:
            found[f"{name}_slo"] = Limit(1 - QUANTILES[name], metric.slo_max)
    return found
