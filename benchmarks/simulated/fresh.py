"""The fresh runs that check a claim, on a simulated world.

As the playbook makes them, but without a budget, and of commits that can be run.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.culprit.evidence import TrialOutcome
from bot.culprit.fresh_runs import (
    FreshRunPlan,
    FreshRunTally,
    VerificationResult,
    judge,
    open_of,
    plan,
)
from bot.culprit.search import Search
from bot.playbooks.bisect.verify import TURNS

from .world import World

REVERT = "the bad end without the suspect"


@dataclass(frozen=True)
class Check:
    """What fresh runs say of one commit.

    Attributes:
        confirmed: it fails, and its parents pass.
        cured: and so does the bad end once it is reverted there.
        runs: how many it took.
    """

    confirmed: bool
    cured: bool
    runs: int


def check(world: World, search: Search) -> Check:
    """Check the commit that a search names: in turns, until it is decided."""
    graph, suspect = world.graph, search.verdict().culprit or ""
    node = graph.number[suspect]
    parents = [graph.commits[p] for p in graph.parents[node]] or [graph.goods[0]]
    bounds = search.flake_bounds()
    wanted = plan(suspect, [*parents, REVERT], max(bounds))
    plans = [FreshRunPlan(suspect, (*others,), wanted.runs, ()) for others in (parents, [REVERT])]
    tallies = dict.fromkeys(wanted.order, FreshRunTally())
    order, results = wanted.order, [VerificationResult.UNDECIDED]
    runs = 0
    for _ in range(TURNS):
        for sha in order:
            world.moment += 1
            runs += 1
            name = f"fresh-run-{world.moment}"
            out = world.run_without(node) if sha == REVERT else world.run(graph.number[sha], name)
            tallies[sha] = _counted(tallies[sha], out)
        results = [judge(each, tallies, *bounds) for each in plans]
        if VerificationResult.REFUTED in results or VerificationResult.UNDECIDED not in results:
            break
        left = open_of(plans, tallies, bounds)
        order = tuple(sha for sha in wanted.order if sha in left)
    said = [result is VerificationResult.CONFIRMED for result in results]
    return Check(said[0], all(said), runs)


def _counted(tally: FreshRunTally, outcome: TrialOutcome) -> FreshRunTally:
    if outcome is TrialOutcome.FAIL:
        return FreshRunTally(tally.failed + 1, tally.passed)
    return FreshRunTally(tally.failed, tally.passed + (outcome is TrialOutcome.PASS))
