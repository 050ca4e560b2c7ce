"""What others do, simulated on the same worlds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bot.culprit.evidence import TrialOutcome

from .world import World


@dataclass(frozen=True)
class Ending:
    """How one search ended.

    `right`: it named the truth (or a class that holds it). `claimed`: it claims 99% or more.
    `fresh`: runs that checked the one commit it names; 0: nothing was checked. `confirmed`: they
    show that it is the first that fails: a fix is proposed. `cured`: and that the bad end passes
    without it: where that is allowed, it is merged.
    """

    right: bool
    runs: int
    rounds: int
    claimed: bool = True
    fresh: int = 0
    confirmed: bool = False
    cured: bool = False


def git_bisect(world: World, repeats: int = 1) -> Ending:
    """`git bisect`: halve the suspects; each step is decided by a majority of runs.

    A majority of 3 stops after two that agree, of 5 after three. An untestable commit is
    skipped for the next best one, and what cannot be told apart is reported together.
    """
    graph = world.graph
    suspects = np.ones(len(graph), np.bool_)
    skipped: set[int] = set()
    runs = 0
    while suspects.sum() > 1:
        size = int(suspects.sum())
        reached = world.ancestry.sums(suspects[:, None].astype(np.float64))[:, 0]
        value = np.minimum(reached, size - reached)
        value[list(skipped)] = 0
        value[~suspects] = 0
        best = int(value.argmax())
        if value[best] <= 0:
            break
        fails = passes = 0
        while max(fails, passes) <= repeats // 2:
            outcome = world.run(best)
            world.moment += 1
            runs += 1
            if outcome is TrialOutcome.UNTESTABLE:
                break
            fails += outcome is TrialOutcome.FAIL
            passes += outcome is TrialOutcome.PASS
        if outcome is TrialOutcome.UNTESTABLE:
            skipped.add(best)
        elif fails > passes:
            suspects &= world.ancestry.of(best)
        else:
            suspects &= ~world.ancestry.of(best)
    right = world.culprit is not None and bool(suspects[world.culprit])
    return Ending(right, runs, runs)


def git_k_ary(world: World, at_once: int) -> Ending:
    """Cut a chain into equal parts, `at_once` trials a round; the first failing cut decides."""
    low, high = 0, len(world.graph) - 1
    runs = rounds = 0
    while low < high:
        size = high - low + 1
        cuts = sorted(
            {low + (size * (i + 1)) // (at_once + 1) - 1 for i in range(at_once)} - {high, low - 1}
        )
        results = [(cut, world.run(cut)) for cut in cuts]
        runs += len(cuts)
        rounds += 1
        first = next((cut for cut, outcome in results if outcome is TrialOutcome.FAIL), None)
        if first is None:
            low = cuts[-1] + 1
        else:
            low = max([low, *(cut + 1 for cut in cuts if cut < first)])
            high = first
    return Ending(low == world.culprit, runs, rounds)


SURE = 0.99


def bayes(world: World, most: int = 200) -> Ending:
    """Bayes on a chain with the world's flake rates known, stopping at 99%.

    It tries where the culprit is as likely before as behind. It knows nothing of rates that change,
    of storms or of earlier breaks, and takes a culprit in the range for granted.
    """
    count = len(world.graph)
    false_fail = min(max(world.flakes.false_fail, 0.01), 0.5)
    false_pass = min(max(world.flakes.false_pass, 0.01), 0.5)
    chance = np.full(count, 1.0 / count)
    runs = 0
    while chance.max() < SURE and runs < most:
        bad = np.cumsum(chance)
        best = int(np.abs(bad - 0.5).argmin())
        outcome = world.run(best)
        world.moment += 1
        runs += 1
        failed = outcome is TrialOutcome.FAIL
        if_bad, if_good = (1.0 - false_pass, false_fail) if failed else (false_pass, 1 - false_fail)
        chance *= np.where(np.arange(count) <= best, if_bad, if_good)
        chance /= chance.sum()
    return Ending(int(chance.argmax()) == world.culprit, runs, runs, bool(chance.max() >= SURE))
