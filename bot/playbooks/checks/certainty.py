"""How sure is it that one change broke a check? Pure.

The same runs have three explanations, weighed by Bayes' rule. The code is healthy and the check
flakes: how often is unknown, learnt from this check's own past. Or the suspect broke it. Or an
earlier change had broken it already, and the check passed by luck until now: then the suspect is
innocent. Runs are Bernoulli trials whose rates are integrated out, so that every weight has a
closed form (beta-binomial; Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from bot.triggers import Value

CERTAIN = 0.999
"""From here on a change is reverted: at most one revert in a thousand is unjust."""
LIKELY = 0.9
"""From here on it is a suspect: its revert is prepared and verified, and a person merges it."""
MOST = 6
"""Times that runs are asked for again before what is known has to do."""

BROKEN_BEFOREHAND = 0.05
"""The share of merges that break something, before anything is seen."""
FLAKE = (1.0, 19.0)
"""Failing and passing runs a check with no past is thought to have had: it flakes 1 in 20."""
ALWAYS_FAILS = 0.8
"""The share of breakages on which the check fails every time."""
UNSTEADY = (4.0, 1.0)
"""Failing and passing runs that the other breakages are thought to have had."""


class CheckRecord(Value):
    """What a check did on commits known to be healthy: how often it flaked, how often it passed."""

    flakes: int = Field(default=0, ge=0)
    passes: int = Field(default=0, ge=0)


class Certainty(Value):
    """Probabilities, of 1.

    Attributes:
        broken: the code is broken, and the check did not just flake.
        begun: the suspect broke it, and nothing before it.
    """

    broken: float
    begun: float


def weigh(fails: int, passes: int, before: Sequence[int], record: CheckRecord) -> Certainty:
    """Weigh what the runs of a check say about a suspect.

    Args:
        fails: failing runs on commits that hold the suspect.
        passes: passing runs on them.
        before: how often it passed on each commit before the suspect, the nearest first, as far
            back as it did nothing but pass.
        record: what the check did further back on healthy commits.
    """
    flake = (FLAKE[0] + record.flakes, FLAKE[1] + record.passes)
    total = sum(before)
    flaked = (1 - BROKEN_BEFOREHAND) * _weight(fails, passes + total, *flake)
    began = BROKEN_BEFOREHAND * _broken(fails, passes) * _weight(0, total, *flake)
    earlier, lucky = 0.0, 0
    for passed in before:
        lucky += passed
        healthy = _weight(0, total - lucky, *flake)
        earlier += BROKEN_BEFOREHAND * _broken(fails, passes + lucky) * healthy
    everything = flaked + began + earlier
    return Certainty(broken=(began + earlier) / everything, begun=began / everything)


def _broken(fails: int, passes: int) -> float:
    """The chance of just these runs on broken code."""
    always = 0.0 if passes else 1.0
    return ALWAYS_FAILS * always + (1 - ALWAYS_FAILS) * _weight(fails, passes, *UNSTEADY)


def _weight(fails: int, passes: int, a: float, b: float) -> float:
    """The chance of just these runs, over all rates of failing that a Beta(a, b) allows."""
    return math.exp(_log_beta(a + fails, b + passes) - _log_beta(a, b))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
