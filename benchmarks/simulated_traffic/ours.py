"""Our judge on simulated traffic: the product's own evidence, watched at every observation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np

from bot.canary.baseline import Arms, ArmSummary, FrozenBaseline, Rhythm
from bot.canary.judge import Breach, Continue, Hearing, Verdict, judge_ramp
from bot.canary.metrics import SpentBetween
from bot.canary.observations import Columns, Measurements, Observation, measurements
from bot.canary.policy import Metrics, Policy, RatioMetric
from bot.canary.ramp_evidence import RampEvidence
from bot.canary.sample_size import seen_within
from bot.canary.units import ArmTally, FirstEvents
from bot.traffic.evaluation import Awake, RampEvaluation
from simulated_traffic.world import RATE, SHADOW_REQUESTS, Floats, Scene, Traffic, shadow

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


def watch_reports(
    policy: Policy, learned: FrozenBaseline, seen: Traffic, scene: Scene
) -> tuple[Verdict, float]:
    """Judge what clients report, with keys and names of calls, as it comes in.

    The last verdict, and at which second.
    """
    course = RampEvaluation(policy, learned, START)
    arrives = seen.reported(scene)
    generations = np.searchsorted(np.unique(seen.percent), seen.percent)
    percents = dict(enumerate(np.unique(seen.percent).tolist()))
    verdict: Verdict = Continue(())
    phase = 0
    for start in np.arange(0, arrives.max() + EVERY, EVERY):
        rows = np.flatnonzero((arrives >= start) & (arrives < start + EVERY))
        at = START + timedelta(seconds=float(start + EVERY))
        rows = rows[np.argsort(arrives[rows], kind="stable")]
        while len(rows) and phase < generations[rows].max():
            phase += 1
            course.evidence.next_phase()
            begins = seen.times[generations == phase].min()
            course.entered = START + timedelta(seconds=float(begins))
        lines = [_line(seen, scene, row, int(generations[row])) for row in rows.tolist()]
        course.observe(lines, percents, at)
        course.seen = at
        verdict = course.judge(at)
        if isinstance(verdict, Breach):
            return verdict, float(start + EVERY)
    return verdict, float(start + EVERY)


def _line(seen: Traffic, scene: Scene, row: int, generation: int) -> Observation:
    measured = seen.columns.measured
    name = None if seen.keys is None else str(seen.keys[row])
    if scene.named == "key":
        name = str(seen.keys[row] // 3)
    return Observation.model_construct(
        event_id=str(row),
        capability="c",
        arm="candidate" if seen.columns.candidate[row] else "baseline",
        generation=generation,
        time=START + timedelta(seconds=float(seen.times[row])),
        pair_id=name if scene.repeats and scene.named == "pair_id" else None,
        key=name if scene.heavy or scene.sticky or scene.named == "key" else None,
        latency=float(measured.latency[row]),
        error=bool(measured.error[row]),
        cost=float(measured.cost[row]),
        revenue=None,
        spend=None,
    )


def _with_returns(count: int, rng: np.random.Generator) -> Measurements:
    """Requests whose revenue is complete: one in twenty brings any."""
    revenue = np.where(rng.random(count) < 0.05, 0.4 * np.exp(rng.normal(0, 0.5, count)), 0.0)
    return measurements(count, revenue=revenue, spend=0.01 * np.exp(rng.normal(0, 0.3, count)))


def returns_seen(seed: int, factor: float | None, number: int) -> bool:
    """Whether ROAS that is `factor` times the baseline's is seen in the time that was said before.

    None: whether a candidate as good as the baseline is left alone for as long.
    """
    rng = np.random.default_rng([seed, number])
    metrics = dict.fromkeys(Metrics.model_fields) | {"roas": {}}
    policy = Policy.model_validate(
        {"baseline": "provider-a", "candidates": ["provider-b"], "metrics": metrics}
    )
    arms = Arms()
    arms.baseline.add(_with_returns(SHADOW_REQUESTS, rng))
    said = seen_within(policy, arms, RATE)["roas"] - timedelta(hours=24)
    count = int(RATE * said.total_seconds())
    candidate = rng.random(count) < 0.05
    measured = _with_returns(count, rng)
    revenue = measured.revenue * np.where(candidate, factor or 1.0, 1.0)
    columns = Columns(candidate, np.full(count, 0.05), replace(measured, revenue=revenue))
    evidence = RampEvidence(policy, arms.baseline.freeze(), only_breaches=True)
    return bool(evidence.add(columns)) == (factor is not None)


def stuck(seed: int, number: int) -> bool:
    """Whether a candidate that never fails passes the first stage of a baseline that never does."""
    rng = np.random.default_rng([seed, number])
    none = ArmSummary()
    none.add(measurements(SHADOW_REQUESTS, error=np.zeros(SHADOW_REQUESTS)))
    evidence = RampEvidence(single("error"), none.freeze())
    count = RATE * 1200
    candidate = rng.random(count) < 0.05
    evidence.add(
        Columns(candidate, np.full(count, 0.05), measurements(count, error=np.zeros(count)))
    )
    return evidence.metrics["error"].proven


def _judged(evidence: RampEvidence, last: float, now: float, hearing: Hearing) -> Verdict:
    return judge_ramp(
        evidence,
        entered=START,
        last_seen=START + timedelta(seconds=last),
        now=START + timedelta(seconds=now),
        hearing=hearing,
    )


def _is_left_alone(seed: int, night: float, number: int, *, days: int = 1) -> bool:
    """Whether a day of one request a minute, at night one in `night` minutes, is no silence.

    The last two of seven days are like a night, from noon on.
    """
    rng = np.random.default_rng([seed, number])
    rhythm, evidence, last = Rhythm(), RampEvidence(POLICY, frozen(Scene(), rng)), 0.0
    while last < days * 24 * 3600:
        weekend = last >= 5 * 24 * 3600
        dark = 1.0 if weekend else 0.5 - 0.5 * np.cos(2 * np.pi * last / (24 * 3600))
        gap = float(rng.exponential(60 * night**dark))
        if isinstance(
            _judged(evidence, last, last + gap, Hearing(unusual=rhythm.unusual())), Breach
        ):
            return False
        rhythm.add(gap)
        last += gap
    return True


def _is_forgiven(seed: int, number: int) -> bool:
    """Whether 20 s of allowed silence outlive an absence of ours of 25 s to an hour."""
    rng = np.random.default_rng([seed, number])
    policy = POLICY.model_copy(update={"max_silence": timedelta(seconds=20)})
    evidence, away = RampEvidence(policy, frozen(Scene(), rng)), float(rng.uniform(25, 3600))
    awake = Awake()
    for second in (*range(100), 100 + away):
        awake.look(START + timedelta(seconds=second))
    now = 100 + away + float(rng.uniform(0, 15))
    since = awake.since(policy.max_silence, START + timedelta(seconds=now))
    return not isinstance(_judged(evidence, 99, now, Hearing(awake=since)), Breach)


def _is_noticed(seed: int, number: int) -> bool:
    """Whether the end of 20 requests a second is found within two minutes of the limit."""
    rng = np.random.default_rng([seed, number])
    rhythm, evidence = Rhythm(), RampEvidence(POLICY, frozen(Scene(), rng))
    for gap in rng.exponential(0.05, 2000).tolist():
        rhythm.add(gap)
    return isinstance(_judged(evidence, 100, 820, Hearing(unusual=rhythm.unusual())), Breach)


def silences(seed: int) -> dict[str, Callable[[int], bool]]:
    """What is asked about silence, by name."""
    return {
        "one request a minute for a day: left alone": partial(_is_left_alone, seed, 1.0),
        "nights of one in 30 minutes: left alone": partial(_is_left_alone, seed, 30.0),
        "a week, its weekend one in 30 minutes: left alone": partial(
            _is_left_alone, seed, 30.0, days=7
        ),
        "the bot was away, or its clock jumped: forgiven": partial(_is_forgiven, seed),
        "traffic that ends is noticed": partial(_is_noticed, seed),
    }
