"""What a ramp's observations say so far, metric by metric, as state that can be stored."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bot.canary.baseline import Arms, ArmsState, ArmState, ArmSummary, FrozenBaseline, FrozenRoas
from bot.canary.eprocess import TWO_SIDED, Bools, EProcess, EProcessState, event_ticks
from bot.canary.metrics import (
    Comparison,
    LimitState,
    SpentBetween,
    TotalCosts,
    absolute_limits,
    comparisons,
)
from bot.canary.observations import Columns, Measurements
from bot.canary.policy import GATE_ALPHA, SAMPLE_RATIO_ALPHA, Phase, Policy, Sha256, StrictValue
from bot.canary.units import ArmCounts, ArmTally

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


SAMPLE_RATIO = "sample_ratio"
"""How breaches name a split that is not the configured one."""


class MetricState(StrictValue):
    """Saved evidence on one metric."""

    worse: EProcessState
    within: EProcessState
    seen: ArmCounts
    here: ArmCounts


class RampState(StrictValue):
    """Saved evidence of a ramp. `policy` and `frozen`: the digests it belongs to."""

    policy: Sha256
    frozen: Sha256
    phase: int
    assigned: ArmCounts
    here: ArmCounts
    sample_ratio: EProcessState
    metrics: dict[str, MetricState]
    limits: dict[str, LimitState]
    arms: ArmsState
    revenue: RevenueState
    spent: tuple[float, float] = (0.0, 0.0)


@dataclass(slots=True)
class Metered:
    """One metric: its comparison, and the evidence for a breach and for a promotion.

    `seen` counts the observations of the whole ramp, `here` those of this phase.
    """

    comparison: Comparison
    worse: EProcess
    within: EProcess
    seen: ArmTally = field(default_factory=ArmTally)
    here: ArmTally = field(default_factory=ArmTally)


def metered(comparison: Comparison, copies: int = 1) -> Metered:
    """Start without evidence; `copies`: for what goes wrong late."""
    return Metered(
        comparison,
        EProcess(comparison.alternatives, copies=copies, alpha=comparison.alpha),
        EProcess(comparison.alternatives, alpha=GATE_ALPHA),
    )


class RampEvidence:
    """The evidence of one ramp.

    Attributes:
        metrics: by name; only what the shadow observed.
        sample_ratio: evidence that the split is not the configured one.
        limits: absolute ones, by name.
        assigned: requests by arm, in the whole ramp.
        here: requests by arm, in this phase.
        arms: what they looked like, for people.
        spent: where only sums of costs are known: of the baseline, of the candidate, USD.
        revenue: what is known of it, where the shadow saw none.
    """

    def __init__(
        self, policy: Policy, frozen: FrozenBaseline, *, only_breaches: bool = False
    ) -> None:
        """Start without evidence.

        Args:
            policy: the one the ramp started with.
            frozen: what the shadow taught.
            only_breaches: gather nothing for promotions and reports (simulations).

        Raises:
            ValueError: the shadow observed none of the policy's metrics.
        """
        self.policy = policy
        self._phases = policy.phases
        self._phase = 0
        self._only_breaches = only_breaches
        self._frozen = frozen
        self._copies = max(1, sum(phase.controlled for phase in self._phases))
        self.metrics = {
            name: metered(comparison, self._copies)
            for name, comparison in comparisons(policy, frozen).items()
        }
        if not (self.metrics or self.awaits_revenue):
            raise ValueError("The shadow observed none of the policy's metrics.")
        self.sample_ratio = EProcess(len(TWO_SIDED), copies=self._copies, alpha=SAMPLE_RATIO_ALPHA)
        self.limits = absolute_limits(policy)
        self.assigned = ArmTally()
        self.here = ArmTally()
        self.arms = Arms()
        self.spent = (0.0, 0.0)
        self.revenue = RevenueWarmUp()

    @property
    def phase(self) -> Phase:
        """The phase of the ramp."""
        return self._phases[self._phase]

    @property
    def last(self) -> bool:
        """Whether this is the last phase: the candidate serves everything."""
        return self._phase == len(self._phases) - 1

    @property
    def awaits_revenue(self) -> bool:
        """Whether revenue is wanted, but too little of it is known to compare it."""
        return self.policy.metrics.roas is not None and "roas" not in self.metrics

    def add(self, columns: Columns) -> dict[str, int]:
        """Take in observations, in the order in which they were accepted.

        Returns:
            For each metric or limit that crossed for the first time: the row that did it.
        """
        crossed: dict[str, int] = {}
        start = 0
        while self.awaits_revenue and start < len(columns):
            rest = columns.at(np.arange(start, len(columns)))
            used = self.revenue.add(rest)
            found = self._add(rest.at(np.arange(used)))
            crossed |= {name: start + row for name, row in found.items()}
            self._begin_revenue()
            start += used
        found = self._add(columns.at(np.arange(start, len(columns))))
        return crossed | {name: start + row for name, row in found.items()}

    def add_spent(self, spent: SpentBetween, requests: ArmTally) -> set[str]:
        """Take in what was spent between two readings of counters.

        Args:
            spent: by split.
            requests: those of this reading, by arm.

        Returns:
            The metrics that crossed for the first time.
        """
        baseline, candidate = float(spent.baseline.sum()), float(spent.candidate.sum())
        self.spent = self.spent[0] + baseline, self.spent[1] + candidate
        counted = ArmTally(
            requests.baseline if baseline else 0, requests.candidate if candidate else 0
        )
        crossed = set()
        for name, metric in self.metrics.items():
            if isinstance(metric.comparison, TotalCosts):
                metric.seen.add(counted)
                metric.here.add(counted)
                if metric.worse.add(metric.comparison.worse_of(spent)) is not None:
                    crossed.add(name)
                metric.within.add(metric.comparison.within_of(spent))
        return crossed

    def _begin_revenue(self) -> None:
        if self.awaits_revenue and self.revenue.frozen is not None:
            frozen = self._frozen.model_copy(update={"roas": self.revenue.frozen})
            found = metered(comparisons(self.policy, frozen)["roas"], self._copies)
            for _ in range(sum(phase.controlled for phase in self._phases[1 : self._phase + 1])):
                found.worse.restart()
            self.metrics["roas"] = found

    def _add(self, columns: Columns) -> dict[str, int]:
        crossed: dict[str, int] = {}
        requests = self._requests(columns.measured)
        tally = columns.tally(requests)
        self.assigned.add(tally)
        self.here.add(tally)
        if not self._only_breaches:
            self.arms.add(columns)
        for metric in self.metrics.values():
            tally = columns.tally(metric.comparison.seen(columns.measured))
            metric.seen.add(tally)
            metric.here.add(tally)
        drawn = np.flatnonzero((columns.pi > 0) & (columns.pi < 1))
        if len(drawn):
            found = self._compare(columns.at(drawn), requests[drawn])
            crossed |= {name: int(drawn[row]) for name, row in found.items()}
        alone = np.flatnonzero((columns.pi >= 1) & columns.candidate)
        if len(alone):
            for name, limit in self.limits.items():
                row = limit.add(columns.at(alone))
                if row is not None:
                    crossed[name] = int(alone[row])
        return crossed

    def _compare(self, columns: Columns, requests: Bools) -> dict[str, int]:
        crossed: dict[str, int] = {}
        rows = np.flatnonzero(requests)
        split = columns.at(rows)
        increments = event_ticks(split.pi, split.candidate, 0.0, TWO_SIDED)
        row = self.sample_ratio.add(increments, split.counts)
        if row is not None:
            crossed[SAMPLE_RATIO] = int(rows[row])
        for name, metric in self.metrics.items():
            gain = metric.comparison.worse(columns)
            row = metric.worse.add(gain.increments, gain.counts)
            if row is not None:
                crossed[name] = int(gain.rows[row])
            if not self._only_breaches:
                within = metric.comparison.within(columns)
                metric.within.add(within.increments, within.counts)
        return crossed

    def _requests(self, measured: Measurements) -> Bools:
        """Tell which rows stand for a request: revenue reported a day later does not."""
        if {name for name, _ in self.policy.metrics.chosen()} == {"roas"}:
            return np.ones(len(measured), dtype=np.bool_)
        values = (measured.error, measured.latency, measured.cost)
        return np.asarray(np.isfinite(values).any(axis=0), np.bool_)

    def next_phase(self) -> None:
        """The split grew: count anew, and start the next copies.

        Raises:
            ValueError: this is the last phase.
        """
        if self.last:
            raise ValueError("The last phase has no next one.")
        self._phase += 1
        self.here = ArmTally()
        for metric in self.metrics.values():
            metric.here = ArmTally()
        if self.phase.controlled:
            self.sample_ratio.restart()
            for metric in self.metrics.values():
                metric.worse.restart()

    def save(self) -> RampState:
        """Write the state down; no digit is lost."""
        return RampState(
            policy=self.policy.digest,
            frozen=self._frozen.digest,
            phase=self._phase,
            assigned=self.assigned.counts,
            here=self.here.counts,
            sample_ratio=self.sample_ratio.save(),
            metrics={
                name: MetricState(
                    worse=metric.worse.save(),
                    within=metric.within.save(),
                    seen=metric.seen.counts,
                    here=metric.here.counts,
                )
                for name, metric in self.metrics.items()
            },
            limits={name: limit.save() for name, limit in self.limits.items()},
            arms=self.arms.save(),
            revenue=self.revenue.save(),
            spent=self.spent,
        )

    def restore(self, saved: RampState) -> None:
        """Take over a saved state.

        Raises:
            ValueError: the state was gathered under another policy or after another shadow.
        """
        if saved.policy != self.policy.digest:
            raise ValueError("This evidence was gathered under another policy.")
        if saved.frozen != self._frozen.digest:
            raise ValueError("This evidence was gathered after another shadow.")
        self._phase = saved.phase
        self.revenue = RevenueWarmUp.restored(saved.revenue)
        self._begin_revenue()
        self.assigned = ArmTally(*saved.assigned)
        self.here = ArmTally(*saved.here)
        self.sample_ratio.restore(saved.sample_ratio)
        for name, state in saved.metrics.items():
            metric = self.metrics[name]
            metric.worse.restore(state.worse)
            metric.within.restore(state.within)
            metric.seen, metric.here = ArmTally(*state.seen), ArmTally(*state.here)
        for name, kept in saved.limits.items():
            self.limits[name].restore(kept)
        self.arms = Arms.restored(saved.arms)
        self.spent = saved.spent
