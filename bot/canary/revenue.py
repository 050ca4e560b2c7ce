"""Revenue comes a day late, so a shadow seldom sees it: the ramp learns its scale by itself."""

from __future__ import annotations

import numpy as np

from bot.canary.columns import Columns
from bot.canary.facts import StrictValue
from bot.canary.frozen import FrozenRoas
from bot.canary.summary import ArmState, ArmSummary

ENOUGH = 500
"""So many of the baseline's requests with known revenue fix ratio and scale; if all of them
brought nothing, twice as many, and so on."""


class RevenueState(StrictValue):
    """What a saved ramp knows of revenue."""

    summary: ArmState
    frozen: FrozenRoas | None


class RevenueWarmUp:
    """Watches the baseline's revenue until ratio and scale can be fixed.

    They are fixed before the first observation that they judge, so tests stay valid.

    Attributes:
        frozen: once fixed.
    """

    def __init__(self) -> None:
        """Start without revenue."""
        self.frozen: FrozenRoas | None = None
        self._summary = ArmSummary()

    @property
    def seen(self) -> int:
        """The baseline's requests with known revenue so far."""
        return len(self._summary.spend)

    def add(self, columns: Columns) -> int:
        """Watch until it may be enough; returns how many rows that took, at least one."""
        enough = ENOUGH
        while enough <= self.seen:
            enough *= 2
        measured = columns.measured
        rows = ~columns.candidate & np.isfinite(measured.revenue) & np.isfinite(measured.spend)
        counts = np.ones(len(columns), np.int64) if columns.counts is None else columns.counts
        total = self.seen + np.cumsum(np.where(rows, counts, 0))
        used = min(int(np.searchsorted(total, enough)) + 1, len(columns))
        first = columns.at(np.flatnonzero(rows[:used]))
        self._summary.add(first.measured, first.counts)
        if self.seen >= enough:
            self.frozen = self._summary.freeze().roas
        return used

    def save(self) -> RevenueState:
        """Write the state down."""
        return RevenueState(summary=self._summary.save(), frozen=self.frozen)

    @classmethod
    def restored(cls, saved: RevenueState) -> RevenueWarmUp:
        """Make it of what `save` wrote."""
        found = cls()
        found._summary = ArmSummary.restored(saved.summary)
        found.frozen = saved.frozen
        return found
