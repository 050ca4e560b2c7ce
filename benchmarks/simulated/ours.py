"""Our search on a simulated world, exactly as the product runs it."""

from __future__ import annotations

from collections.abc import Sequence

from bot.culprit.evidence import Purpose, SearchSettings, TrialReport
from bot.culprit.metric import MetricSearch
from bot.culprit.search import Search
from bot.culprit.verdict import SearchStatus, Verdict

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
    return Ending(
        is_right(world, verdict),
        verdict.trials - end_trials,
        verdict.rounds - end_rounds,
        verdict.may_act,
    )


def is_right(world: World, verdict: Verdict) -> bool:
    """Whether a verdict says the truth: the culprit, or the class that holds it."""
    if world.culprit is None:
        return verdict.status is SearchStatus.NO_CULPRIT
    if verdict.status is SearchStatus.CULPRIT:
        return verdict.culprit == world.graph.commits[world.culprit]
    named = {c.sha for c in verdict.candidates}
    return verdict.status is SearchStatus.CLASS and world.graph.commits[world.culprit] in named


def metric(world: World, deviations: float) -> Ending:
    """Search for a metric's drop, in standard deviations of a run; all runs are counted."""
    state = MetricSearch(world.graph)
    while names := state.next_runs():
        for name in names:
            level = -deviations if world.is_bad(world.graph.number[name]) else 0.0
            state.record(name, float(world.rng.normal(100.0 + level)))
    verdict = state.verdict()
    truth = None if world.culprit is None else world.graph.commits[world.culprit]
    return Ending(verdict.culprit == truth, verdict.runs, verdict.runs, verdict.culprit is not None)


def median_bisect(world: World, deviations: float, repeats: int) -> Ending:
    """`git bisect` by the median of several runs against the middle of the ends' medians."""

    def median(node: int) -> float:
        level = -deviations if world.is_bad(node) else 0.0
        return float(sorted(world.rng.normal(100.0 + level, 1.0, repeats))[repeats // 2])

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
