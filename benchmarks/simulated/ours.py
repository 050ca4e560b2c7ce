"""Our search on a simulated world, exactly as the product runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from bot.culprit.evidence import Purpose, SearchSettings, TrialReport
from bot.culprit.metric import MetricSearch
from bot.culprit.search import Search
from bot.culprit.verdict import SearchStatus, Verdict

from . import fresh
from .peers import Ending
from .world import World


def search(
    world: World,
    settings: SearchSettings,
    at_once: int = 1,
    weights: Sequence[float] | None = None,
) -> Ending:
    """Search until the verdict. The first look at both ends is not counted."""
    state = Search(world.graph, settings, weights=weights)
    end_trials = end_rounds = 0
    while trials := state.next_trials(at_once):
        if trials[0].purpose is Purpose.END:
            end_trials += len(trials)
            end_rounds += 1
        world.moment += 1 + trials[0].pause
        for trial in trials:
            outcome = world.run(world.graph.number[trial.commit], trial.environment)
            state.record(trial, TrialReport(outcome))
    verdict = state.verdict()
    found = Ending(
        is_right(world, verdict),
        verdict.trials - end_trials,
        verdict.rounds - end_rounds,
        verdict.may_act,
    )
    if not verdict.may_act or verdict.status is not SearchStatus.CULPRIT:
        return found
    check = fresh.check(world, state)
    return replace(found, fresh=check.runs, confirmed=check.confirmed, cured=check.cured)


def is_right(world: World, verdict: Verdict) -> bool:
    """Whether a verdict says the truth: the culprit, or the class that holds it."""
    if world.before:
        return verdict.status is SearchStatus.BEFORE_RANGE
    if world.culprit is None:
        return verdict.status is SearchStatus.NO_CULPRIT
    if verdict.status is SearchStatus.CULPRIT:
        return verdict.culprit == world.graph.commits[world.culprit]
    named = {c.sha for c in verdict.candidates}
    return verdict.status is SearchStatus.CLASS and world.graph.commits[world.culprit] in named


@dataclass(frozen=True)
class Noise:
    """How a metric behaves.

    Attributes:
        step: by how much it drops at the culprit, in standard deviations of a run.
        drift: by how much it drops along the whole range, bit by bit.
        uneven: how much the noise of one commit differs from another's (sigma of its logarithm).
        grows: how much noisier it is from the culprit on.
        outliers: share of runs that are 15 standard deviations off.
        alike: correlation of the noise from one run to the next.
    """

    step: float = 2.0
    drift: float = 0.0
    uneven: float = 0.0
    grows: float = 1.0
    outliers: float = 0.0
    alike: float = 0.0

    def of(self, world: World) -> Callable[[int], float]:
        """Give what measures a node of this world."""
        count, rng = len(world.graph), world.rng
        scale = np.exp(rng.normal(0.0, self.uneven, count + 1))
        last = 0.0

        def measured(node: int) -> float:
            nonlocal last
            fresh = rng.normal()
            last = self.alike * last + sqrt(1.0 - self.alike**2) * fresh
            bad, place = world.is_bad(node), (0 if node >= count else node + 1)
            value = 100.0 - self.step * bad - self.drift * place / count
            if rng.random() < self.outliers:
                value += 15.0 * rng.choice([-1.0, 1.0])
            return float(value + last * scale[node] * (self.grows if bad else 1.0))

        return measured


def metric(world: World, noise: Noise) -> Ending:
    """Search for a metric's drop; all runs are counted."""
    state, measured = MetricSearch(world.graph), noise.of(world)
    while names := state.next_runs():
        for name in names:
            state.record(name, measured(world.graph.number[name]))
    verdict = state.verdict()
    truth = None if world.culprit is None else world.graph.commits[world.culprit]
    claimed = verdict.status is SearchStatus.CULPRIT
    right = verdict.culprit == truth if truth else not claimed
    return Ending(right, verdict.runs, verdict.runs, claimed)


def median_bisect(world: World, noise: Noise, repeats: int) -> Ending:
    """`git bisect` by the median of several runs against the middle of the ends' medians."""
    measured = noise.of(world)

    def median(node: int) -> float:
        return sorted(measured(node) for _ in range(repeats))[repeats // 2]

    count = len(world.graph)
    middle = (median(count) + median(count - 1)) / 2
    low, high, runs = 0, count - 1, 2 * repeats
    while low < high:
        cut = (low + high) // 2
        runs += repeats
        if median(cut) < middle:
            high = cut
        else:
            low = cut + 1
    return Ending(low == world.culprit, runs, runs)
