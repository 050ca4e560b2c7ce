"""Our judge on simulated traffic: the product's own evidence, watched at every observation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from bot.canary.baseline import ArmSummary, FrozenBaseline
from bot.canary.judge import Breach, Continue, Verdict
from bot.canary.metrics import SpentBetween
from bot.canary.observations import Columns, Observation
from bot.canary.policy import Metrics, Policy, RatioMetric
from bot.canary.ramp_evidence import RampEvidence
from bot.canary.units import ArmTally, FirstEvents
from bot.traffic.evaluation import RampEvaluation
from simulated_traffic.world import Floats, Scene, Traffic, shadow

START = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy.model_validate({"baseline": "provider-a", "candidates": ["provider-b"]})
"""The defaults."""


@dataclass(frozen=True)
class Alarm:
    """Who raised it, and the observation at which."""

    metric: str
    at: int


def frozen(scene: Scene, rng: np.random.Generator) -> FrozenBaseline:
    """What a shadow of 2,000 requests teaches."""
    summary = ArmSummary()
    summary.add(shadow(scene, rng))
    return summary.freeze()


def watch(
    policy: Policy, learned: FrozenBaseline, seen: Traffic, *, by_key: bool = False
) -> Alarm | None:
    """Go through the ramp stage by stage and stop at the first breach."""
    evidence = RampEvidence(policy, learned, only_breaches=True)
    rows, pi = _draws(seen) if by_key else (np.arange(len(seen.columns)), seen.columns.pi)
    columns = Columns(seen.columns.candidate[rows], pi, seen.columns.measured.at(rows))
    stages = seen.percent[rows]
    for number, percent in enumerate(np.unique(seen.percent)):
        if number:
            evidence.next_phase()
        here = np.flatnonzero(stages == percent)
        crossed = evidence.add(columns.at(here))
        if crossed:
            metric = min(crossed, key=lambda name: crossed[name])
            return Alarm(metric, int(rows[here[crossed[metric]]]))
    return None


def watch_sums(policy: Policy, seen: Traffic, every: float) -> float | None:
    """The second at which sums of costs, read every so many seconds, are too bad; None: never."""
    evidence = RampEvidence(policy, FrozenBaseline(n=0, cost="total"), only_breaches=True)
    reading = (seen.times / every).astype(np.intp)
    cost, candidate = seen.columns.measured.cost, seen.columns.candidate
    baseline = np.bincount(reading, np.where(candidate, 0.0, cost))
    ours = np.bincount(reading, np.where(candidate, cost, 0.0))
    percents = seen.percent[np.searchsorted(reading, np.arange(len(ours)))]
    for number, percent in enumerate(percents.tolist()):
        if number and percent != percents[number - 1]:
            evidence.next_phase()
        at = slice(number, number + 1)
        spent = SpentBetween(np.array([percent / 100]), baseline[at], ours[at])
        if evidence.add_spent(spent, ArmTally()):
            return (number + 1.0) * every
    return None


def only_costs(tolerance: float) -> Policy:
    """The defaults, but costs have all of the 5% for themselves."""
    chosen: dict[str, object] = dict.fromkeys(Metrics.model_fields)
    chosen["cost"] = {"alpha": 0.05, "tolerance": tolerance}
    return Policy.model_validate(
        {"baseline": "provider-a", "candidates": ["provider-b"], "metrics": chosen}
    )


def _draws(seen: Traffic) -> tuple[np.ndarray, Floats]:
    """The events that are new draws of the split, and their probabilities."""
    first = FirstEvents()
    found = [
        (row, pi)
        for row, (key, percent, candidate) in enumerate(
            zip(seen.keys, seen.percent.tolist(), seen.columns.candidate.tolist(), strict=True)
        )
        if (pi := first.draw(str(key), percent, candidate=candidate)) is not None
    ]
    return np.array([row for row, _ in found]), np.array([pi for _, pi in found])


def single(metric: str) -> Policy:
    """A policy that watches one metric at alpha .01 through one stage of 50%."""
    chosen: dict[str, object] = dict.fromkeys(Metrics.model_fields)
    default = getattr(Metrics(), metric)
    chosen[metric] = default.model_copy(update={"alpha": 0.01})
    if isinstance(default, RatioMetric):
        chosen[metric] = chosen[metric].model_copy(update={"tolerance": 0.0})
    return Policy.model_validate(
        {
            "baseline": "provider-a",
            "candidates": ["provider-b"],
            "stages": [{"percent": 50}, {"percent": 100}],
            "metrics": {
                name: None if value is None else value.model_dump(mode="json")
                for name, value in chosen.items()
            },
        }
    )


EVERY = 10.0
"""Seconds between two entries of observations."""


def watch_reports(policy: Policy, learned: FrozenBaseline, seen: Traffic, scene: Scene) -> Verdict:
    """Judge what clients report, with keys and names of calls, as it comes in; the last verdict."""
    course = RampEvaluation(policy, learned, START)
    late = seen.columns.candidate == (scene.late_arm == "candidate")
    arrives = seen.times + np.where(late, scene.lag, 0.0)
    generations = np.searchsorted(np.unique(seen.percent), seen.percent)
    percents = dict(enumerate(np.unique(seen.percent).tolist()))
    verdict: Verdict = Continue(())
    phase = 0
    for start in np.arange(0, arrives.max() + EVERY, EVERY):
        rows = np.flatnonzero((arrives >= start) & (arrives < start + EVERY))
        at = START + timedelta(seconds=float(start + EVERY))
        rows = rows[np.argsort(arrives[rows], kind="stable")]
        lines = [_line(seen, scene, row, int(generations[row])) for row in rows.tolist()]
        course.observe(lines, percents, at)
        course.seen = at
        while len(rows) and phase < generations[rows].max():
            phase += 1
            course.evidence.next_phase()
        verdict = course.judge(at)
        if isinstance(verdict, Breach):
            return verdict
    return verdict


def _line(seen: Traffic, scene: Scene, row: int, generation: int) -> Observation:
    measured = seen.columns.measured
    name = None if seen.keys is None else str(seen.keys[row])
    return Observation.model_construct(
        event_id=str(row),
        capability="c",
        arm="candidate" if seen.columns.candidate[row] else "baseline",
        generation=generation,
        time=START + timedelta(seconds=float(seen.times[row])),
        pair_id=name if scene.repeats else None,
        key=name if scene.heavy else None,
        latency=float(measured.latency[row]),
        error=bool(measured.error[row]),
        cost=float(measured.cost[row]),
        revenue=None,
        spend=None,
    )
