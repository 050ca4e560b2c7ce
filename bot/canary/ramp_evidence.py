"""What a ramp's observations say so far, metric by metric, as state that can be stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bot import LazyModule
from bot.canary.baseline import (
    Arms,
    ArmsState,
    ArmState,
    ArmSummary,
    FrozenBaseline,
    FrozenCost,
    FrozenRoas,
    Sketch,
)
from bot.canary.eprocess import (
    RATIOS,
    Bools,
    DesignEffect,
    DesignEffectState,
    EProcess,
    EProcessState,
    Floats,
    event_ticks,
    two_sided,
)
from bot.canary.metrics import (
    RARER,
    ArmCosts,
    Comparison,
    CostBudget,
    Limit,
    LimitState,
    SpentBetween,
    TotalCosts,
    absolute_limits,
    comparisons,
    learnt_limits,
)
from bot.canary.observations import LONGEST_LAG, Columns, Measurements, Observation
from bot.canary.policy import GATE_ALPHA, SAMPLE_RATIO_ALPHA, Phase, Policy, Sha256, StrictValue
from bot.canary.units import ArmCounts, ArmTally

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

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


RENEWED_FIRST, RENEWED_EVERY = 250, 2000
"""So many of the baseline's requests renew thresholds and scales: at first, and at most."""


class RenewalState(StrictValue):
    """What a saved ramp learnt of its own baseline arm; `size`: of the block begun."""

    block: ArmState
    size: int
    frozen: FrozenBaseline | None


class Renewal:
    """Renews what the shadow froze from the ramp's own baseline arm, a block at a time.

    A shadow may have seen other hours than the ramp. What a block teaches counts for the requests
    after it, so a threshold never knows the draws that it judges, and tests stay valid.
    """

    def __init__(self) -> None:
        """Start with what the shadow froze."""
        self.frozen: FrozenBaseline | None = None
        self._block = ArmSummary()
        self._size = RENEWED_FIRST

    def room(self, columns: Columns) -> int:
        """How many of these rows the block takes, at least one; what was read at once stays so."""
        if columns.counts is not None:
            return len(columns)
        filled = self._block.n + np.cumsum(~columns.candidate)
        return min(int(np.searchsorted(filled, self._size)) + 1, len(columns))

    def add(self, columns: Columns, before: FrozenBaseline) -> bool:
        """Take in what `room` gave; tells whether `frozen` was renewed.

        Args:
            columns: the rows.
            before: what was frozen until now; what a block did not see stays.
        """
        rows = columns.at(~columns.candidate)
        self._block.add(rows.measured, rows.counts)
        if self._block.n < self._size:
            return False
        new = self._block.freeze()
        self._block, self._size = ArmSummary(), min(2 * self._size, RENEWED_EVERY)
        update: dict[str, object] = {}
        if new.error_rate is not None and before.error_rate is not None:
            update |= {"error_rate": new.error_rate, "n": new.n}
        # The edges of a counter's buckets stay where they are.
        if columns.counts is None and new.latency is not None and before.latency is not None:
            update |= {"latency": new.latency, "thresholds": new.thresholds}
        if new.cost is not None and isinstance(before.cost, FrozenCost):
            update["cost"] = new.cost
        self.frozen = FrozenBaseline.model_validate(dict(before) | update)
        return True

    def save(self) -> RenewalState:
        """Write the state down."""
        return RenewalState(block=self._block.save(), size=self._size, frozen=self.frozen)

    @classmethod
    def restored(cls, saved: RenewalState) -> Renewal:
        """Make it of what `save` wrote."""
        found = cls()
        found._block = ArmSummary.restored(saved.block)
        found._size, found.frozen = saved.size, saved.frozen
        return found


SAMPLE_RATIO = "sample_ratio"
"""How breaches name a split that is not the configured one."""


class MetricState(StrictValue):
    """Saved evidence on one metric."""

    worse: EProcessState
    within: EProcessState
    seen: ArmCounts
    here: ArmCounts
    negligible: EProcessState | None = None
    effect: DesignEffectState | None = None


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
    effect: DesignEffectState | None = None
    renewal: RenewalState | None = None
    budget: tuple[ArmCosts, ArmCosts] = (ArmCosts(), ArmCosts())


@dataclass(slots=True)
class Metered:
    """One metric: its comparison, and the evidence for a breach and for a promotion.

    `seen` counts the observations of the whole ramp, `here` those of this phase. `negligible`:
    evidence that the candidate has so little of it that no ratio matters.
    """

    comparison: Comparison
    worse: EProcess
    within: EProcess
    negligible: EProcess
    effect: DesignEffect
    seen: ArmTally = field(default_factory=ArmTally)
    here: ArmTally = field(default_factory=ArmTally)

    @property
    def proof(self) -> float:
        """The evidence, nats, that the candidate is good enough; repeats are taken off."""
        best = max(self.within.log_e, self.negligible.log_e)
        return best / self.effect.now if best > 0 else best

    @property
    def proven(self) -> bool:
        """Whether that is enough."""
        return self.proof >= self.within.limit

    def take(self, columns: Columns, repeated: Floats, *, within: bool = True) -> int | None:
        """Take in a ramp's rows; tells the one at which it became too bad.

        Args:
            columns: the rows.
            repeated: the design effect of the split known before each of them.
            within: whether to gather evidence for a promotion.
        """
        happened = self.comparison.happened(columns.measured)
        known = design_effects(self.effect, happened, columns)
        gain = self.comparison.worse(columns, repeated)
        row = self.worse.add(gain.increments, gain.counts, known[gain.rows])
        if within:
            proof = self.comparison.within(columns)
            self.within.add(proof.increments, proof.counts)
            self._take_alone(columns.at(columns.candidate))
        return None if row is None else int(gain.rows[row])

    def _take_alone(self, ours: Columns) -> None:
        rare = self.comparison.negligible(ours.measured)
        if len(rare):
            counts = ours.counts
            seen = self.comparison.seen(ours.measured)
            self.negligible.add(rare, None if counts is None else counts[seen])

    def save(self) -> MetricState:
        """Write the state down."""
        return MetricState(
            worse=self.worse.save(),
            within=self.within.save(),
            seen=self.seen.counts,
            here=self.here.counts,
            negligible=self.negligible.save(),
            effect=self.effect.save(),
        )

    def restore(self, saved: MetricState) -> None:
        """Take over a saved state."""
        self.worse.restore(saved.worse)
        self.within.restore(saved.within)
        self.seen, self.here = ArmTally(*saved.seen), ArmTally(*saved.here)
        if saved.negligible is not None:
            self.negligible.restore(saved.negligible)
        if saved.effect is not None:
            self.effect.restore(saved.effect)


def design_effects(effect: DesignEffect, happened: Floats, columns: Columns) -> Floats:
    """Let a design effect learn from a ramp's rows; what was known before each of them."""
    lean = happened * (columns.candidate - columns.pi)
    if columns.counts is None:
        return effect.add(happened, lean)
    return np.full(len(columns), effect.add_reading(happened, lean, columns.counts))


_TRIES = 4.0
"""So often a call is assumed to be tried, until it would have shown that it is not."""
_TRIES_WEIGH = 6400
"""Requests."""


def _assumed(before: int, split: Columns) -> Floats:
    """The design effect that a split is held to before it is learnt; nobody is in haste there."""
    seen = np.full(len(split), float(before))
    if split.counts is None:
        seen += np.arange(len(split))
    effect: Floats = (_TRIES_WEIGH * _TRIES + seen) / (_TRIES_WEIGH + seen)
    return effect


def metered(comparison: Comparison, copies: int = 1) -> Metered:
    """Start without evidence; `copies`: for what goes wrong late."""
    columns, weights = comparison.alternatives, comparison.weights
    return Metered(
        comparison,
        EProcess(columns, copies=copies, alpha=comparison.alpha, weights=weights),
        EProcess(columns, alpha=GATE_ALPHA, weights=weights),
        EProcess(len(RARER), alpha=GATE_ALPHA),
        DesignEffect(events=comparison.events),
    )


_TELLS_SPEED = 5
"""So many requests tell how quick a candidate is."""
_FAR_QUICKER = 1.5


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
        effect: how far requests repeat, so that a draw of the split is seen several times.
        budget: of single costs.
        revenue: what is known of it, where the shadow saw none.
    """

    def __init__(
        self, policy: Policy, frozen: FrozenBaseline, *, only_breaches: bool = False
    ) -> None:
        """Start without evidence.

        Args:
            policy: the one the ramp started with.
            frozen: what the shadow taught.
            only_breaches: gather nothing for promotions (simulations).

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
        self.sample_ratio = EProcess(2 * len(RATIOS), copies=self._copies, alpha=SAMPLE_RATIO_ALPHA)
        self.limits = absolute_limits(policy)
        self.effect = DesignEffect(events=False)
        self.budget = CostBudget()
        self._renewal = Renewal()
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
        while start < len(columns):
            rest = columns.at(np.arange(start, len(columns)))
            used = self._renewal.room(rest)
            if self.awaits_revenue:
                used = self.revenue.add(rest.at(np.arange(used)))
            part = rest.at(np.arange(used))
            for name, row in self._add(part).items():
                crossed.setdefault(name, start + row)
            self._begin_revenue()
            self._renew(part)
            start += used
        return crossed

    @property
    def repeats(self) -> bool:
        """Whether one draw of the split is observed several times, beyond doubt."""
        known = (each.effect for each in self.metrics.values() if not each.comparison.events)
        return self.effect.certain or any(each.certain for each in known)

    @property
    def doubted(self) -> tuple[str, ...]:
        """What would be beyond its limit, if observations did not repeat."""
        processes = {SAMPLE_RATIO: self.sample_ratio} | {
            name: each.worse for name, each in self.metrics.items()
        }
        return tuple(name for name, each in processes.items() if each.doubted and not each.crossed)

    def settles_in(self, candidate: Sequence[Observation]) -> float:
        """How long from a stage's beginning one provider's answers are missing, seconds.

        Args:
            candidate: what comes from the candidate now.

        Returns:
            0 where both are about as quick, or too little is known.
        """
        if self._frozen.latency is None:
            return 0.0
        known = self.arms.candidate.latency
        if len(known) < _TELLS_SPEED:
            known = Sketch()
            known.add(np.array([s.latency for s in candidate if s.latency and not s.error]))
        if len(known) < _TELLS_SPEED:
            return 0.0
        quick, slow = sorted(
            (known.quantile(0.5), self._frozen.latency[len(self._frozen.latency) // 2])
        )
        if slow < _FAR_QUICKER * quick:
            return 0.0
        return min(max(known.quantile(0.99), self._frozen.latency[-3]), LONGEST_LAG.total_seconds())

    def _renew(self, columns: Columns) -> None:
        """Learn from the baseline's requests, while there are any."""
        before = self._renewal.frozen or self._frozen
        if self._renewal.add(columns, before) and self._renewal.frozen is not None:
            self._compare_with(self._renewal.frozen)

    def _compare_with(self, frozen: FrozenBaseline) -> None:
        for name, comparison in comparisons(self.policy, frozen).items():
            if name in self.metrics and name != "roas":
                self.metrics[name].comparison = comparison

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
        self.arms.add(columns)
        self.budget.add(columns)
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
        increments = event_ticks(split.pi, split.candidate, 0.0, two_sided())
        known = design_effects(self.effect, np.ones(len(split)), split)
        careful = np.maximum(known, _assumed(self.sample_ratio.n, split))
        row = self.sample_ratio.add(increments, split.counts, careful)
        if row is not None:
            crossed[SAMPLE_RATIO] = int(rows[row])
        repeated = np.ones(len(columns))
        repeated[rows] = known
        for name, metric in self.metrics.items():
            row = metric.take(columns, repeated, within=not self._only_breaches)
            if row is not None:
                crossed[name] = row
        return crossed

    def _requests(self, measured: Measurements) -> Bools:
        """Tell which rows stand for a request: revenue reported a day later does not."""
        if {name for name, _ in self.policy.metrics.chosen()} == {"roas"}:
            return np.ones(len(measured), dtype=np.bool_)
        values = (measured.error, measured.latency, measured.cost)
        return np.asarray(np.isfinite(values).any(axis=0), np.bool_)

    def next_phase(self) -> None:
        """The split grew: count again, and start the next copies.

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
        else:
            compared = [metric.comparison for metric in self.metrics.values()]
            self.limits |= learnt_limits(self.policy, compared, self.arms)

    def save(self) -> RampState:
        """Write the state down; no digit is lost."""
        return RampState(
            policy=self.policy.digest,
            frozen=self._frozen.digest,
            phase=self._phase,
            assigned=self.assigned.counts,
            here=self.here.counts,
            sample_ratio=self.sample_ratio.save(),
            metrics={name: metric.save() for name, metric in self.metrics.items()},
            limits={name: limit.save() for name, limit in self.limits.items()},
            arms=self.arms.save(),
            revenue=self.revenue.save(),
            spent=self.spent,
            effect=self.effect.save(),
            renewal=self._renewal.save(),
            budget=(self.budget.baseline, self.budget.candidate),
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
            self.metrics[name].restore(state)
        for name, kept in saved.limits.items():
            limit = Limit.restored(kept, self.limits.get(name))
            if limit is not None:
                self.limits[name] = limit
        if saved.effect is not None:
            self.effect.restore(saved.effect)
        if saved.renewal is not None:
            self._renewal = Renewal.restored(saved.renewal)
            if self._renewal.frozen is not None:
                self._compare_with(self._renewal.frozen)
        self.budget.baseline, self.budget.candidate = saved.budget
        self.arms = Arms.restored(saved.arms)
        self.spent = saved.spent
