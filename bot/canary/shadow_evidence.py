"""Everything a shadow has learned so far: pairs of answers to the same requests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import AwareDatetime

from bot import LazyModule
from bot.canary.baseline import FEWEST, Arms, ArmsState, FrozenBaseline
from bot.canary.eprocess import RATIOS, EProcess, EProcessState, event_ticks, two_sided
from bot.canary.metrics import comparisons
from bot.canary.observations import Observation, PairColumns, measurements_of
from bot.canary.policy import SAMPLE_RATIO_ALPHA, Policy, Sha256, StrictValue
from bot.canary.ramp_evidence import Metered, MetricState, metered
from bot.canary.units import ArmCounts, ArmTally

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

PAIR_TIMEOUT = timedelta(minutes=5)
"""An answer whose other half has not come by then is alone for good."""
MOST_WAITING = 50_000
"""Answers waiting for their other half; beyond, the oldest is given up."""
DROPOUTS = "dropouts"
"""How the evidence is named that one arm goes missing more often than the other."""
WARM_UP_SHARE = 4
"""One pair in so many of `min_pairs` sets thresholds and scales; evidence comes from the rest."""


class HalfPair(StrictValue):
    """An answer that waits for its other half, and since when."""

    observation: Observation
    since: AwareDatetime


class ShadowState(StrictValue):
    """Saved evidence of a shadow. `policy`: the digest it belongs to."""

    policy: Sha256
    pairs: int
    alone: ArmCounts
    timeouts: int
    waiting: tuple[HalfPair, ...]
    frozen: FrozenBaseline | None
    metrics: dict[str, MetricState]
    dropouts: EProcessState
    arms: ArmsState
    extra_cost: float


class ShadowEvidence:
    """The evidence of one shadow.

    The first pairs fix thresholds and scales; what comes after is compared. Pairs count in the
    order in which they are completed.

    Attributes:
        pairs: complete ones.
        alone: answers given up waiting, by the arm that did answer.
        timeouts: how many of them waited too long; the others were crowded out.
        metrics: by name; empty during the warm-up.
        dropouts: evidence that one arm goes missing more often than the other.
        arms: what they looked like. The baseline is frozen from it for the ramp.
        extra_cost: of the candidate's answers, USD.
    """

    def __init__(self, policy: Policy) -> None:
        """Start without evidence."""
        self.policy = policy
        self.warm_up = max(2 * FEWEST, policy.shadow.min_pairs // WARM_UP_SHARE)
        self.pairs = 0
        self.alone = ArmTally()
        self.timeouts = 0
        self.frozen: FrozenBaseline | None = None
        self.metrics: dict[str, Metered] = {}
        self.dropouts = EProcess(2 * len(RATIOS), alpha=SAMPLE_RATIO_ALPHA)
        self.arms = Arms()
        self.extra_cost = 0.0
        self._waiting: dict[str, HalfPair] = {}

    @property
    def coverage(self) -> float | None:
        """The share of mirrored requests of which both answers came; None before the first."""
        total = self.pairs + self.alone.baseline + self.alone.candidate
        return self.pairs / total if total else None

    def add(self, observations: Iterable[Observation], now: datetime) -> None:
        """Take in observations in the order in which they were accepted; `now`: when."""
        baseline: list[Observation] = []
        candidate: list[Observation] = []
        for seen in observations:
            if seen.only_revenue:
                arm = self.arms.candidate if seen.arm == "candidate" else self.arms.baseline
                arm.add(measurements_of([seen]))
                continue
            if seen.pair_id is None:
                continue
            other = self._waiting.get(seen.pair_id)
            if other is None:
                self._waiting[seen.pair_id] = HalfPair(observation=seen, since=now)
                self._make_room()
            elif other.observation.arm != seen.arm:
                del self._waiting[seen.pair_id]
                for answer in (seen, other.observation):
                    (candidate if answer.arm == "candidate" else baseline).append(answer)
        self.add_pairs(PairColumns(measurements_of(baseline), measurements_of(candidate)))

    def expire(self, now: datetime) -> None:
        """Give up the answers that have waited too long."""
        for pair_id, waiting in list(self._waiting.items()):
            if now - waiting.since > PAIR_TIMEOUT:
                self.timeouts += 1
                self._give_up(pair_id)

    def add_pairs(self, pairs: PairColumns) -> None:
        """Take in complete pairs."""
        early = np.arange(len(pairs)) < self.warm_up - self.pairs
        for part in (pairs.at(early), pairs.at(~early)):
            if len(part):
                self._take(part)

    def _take(self, pairs: PairColumns) -> None:
        self.arms.add_pairs(pairs)
        self.pairs += len(pairs)
        for cost in pairs.candidate.cost[np.isfinite(pairs.candidate.cost)].tolist():
            self.extra_cost += cost
        for metric in self.metrics.values():
            comparison = metric.comparison
            both = comparison.seen(pairs.baseline) & comparison.seen(pairs.candidate)
            metric.seen.add(ArmTally(int(both.sum()), int(both.sum())))
            metric.worse.add(comparison.worse_pairs(pairs).increments)
            metric.within.add(comparison.within_pairs(pairs).increments)
            rare = comparison.negligible(pairs.candidate)
            if len(rare):
                metric.negligible.add(rare)
        if self.frozen is None and self.pairs >= self.warm_up:
            self._begin(self.arms.baseline.freeze())

    def _begin(self, frozen: FrozenBaseline) -> None:
        """Start comparing. Not revenue: nobody sees the candidate's answers, so they earn none."""
        self.frozen = frozen
        self.metrics = {
            name: metered(comparison)
            for name, comparison in comparisons(self.policy, frozen).items()
            if name != "roas"
        }

    def _make_room(self) -> None:
        if len(self._waiting) > MOST_WAITING:
            self._give_up(next(iter(self._waiting)))

    def _give_up(self, pair_id: str) -> None:
        candidate = self._waiting.pop(pair_id).observation.arm == "candidate"
        self.alone.add(ArmTally(int(not candidate), int(candidate)))
        which = np.array([candidate])
        self.dropouts.add(event_ticks(np.array([0.5]), which, 0.0, two_sided()))

    def save(self) -> ShadowState:
        """Write the state down; no digit is lost."""
        return ShadowState(
            policy=self.policy.digest,
            pairs=self.pairs,
            alone=self.alone.counts,
            timeouts=self.timeouts,
            waiting=tuple(self._waiting.values()),
            frozen=self.frozen,
            metrics={name: metric.save() for name, metric in self.metrics.items()},
            dropouts=self.dropouts.save(),
            arms=self.arms.save(),
            extra_cost=self.extra_cost,
        )

    def restore(self, saved: ShadowState) -> None:
        """Take over a saved state.

        Raises:
            ValueError: the state was gathered under another policy.
        """
        if saved.policy != self.policy.digest:
            raise ValueError("This evidence was gathered under another policy.")
        self.pairs, self.timeouts, self.extra_cost = saved.pairs, saved.timeouts, saved.extra_cost
        self.alone = ArmTally(*saved.alone)
        self._waiting = {
            waiting.observation.pair_id: waiting
            for waiting in saved.waiting
            if waiting.observation.pair_id is not None
        }
        if saved.frozen is not None:
            self._begin(saved.frozen)
        for name, state in saved.metrics.items():
            self.metrics[name].restore(state)
        self.dropouts.restore(saved.dropouts)
        self.arms = Arms.restored(saved.arms)
