"""How many pairs a new shadow needs to see again what ended the last ramp.

Evidence grows by the same amount per pair on average, until it reaches the limit. For
events that amount is a relative entropy, for scores half the squared mean over the variance
(the growth rate of the best bet, for small effects).
"""

from __future__ import annotations

from math import ceil, log

import numpy as np

from bot.canary.evidence import Metered
from bot.canary.likelihood import BETS, GRID
from bot.canary.metrics import Costs, Failures, LatencyRanks, SlowAnswers
from bot.canary.policy import Policy
from bot.canary.summary import Arms

MOST = 1_000_000
SURPLUS = 1.5
"""So many times what is needed on average, since half of all shadows take longer than that."""
_SHARES = (np.arange(256) + 0.5) / 256
_RANK_DIFFERENCE_VARIANCE = 1 / 6
"""Of the difference of two even ranks."""


def pairs_needed(policy: Policy, metric: Metered, arms: Arms) -> int:
    """Say how many pairs show an effect as large as the one observed.

    At least the policy's `min_pairs`, also where the candidate does not look worse; at most a
    million.
    """
    growth = _growth(metric, arms)
    least = policy.shadow.min_pairs
    if growth <= 0:
        return least
    alternatives = len(BETS if isinstance(metric.comparison, Costs | LatencyRanks) else GRID)
    needed = SURPLUS * (metric.worse.limit + log(alternatives)) / growth
    return min(MOST, max(least, ceil(needed)))


def _growth(metric: Metered, arms: Arms) -> float:
    """Nats a pair, or 0 where nothing is to be seen."""
    comparison, baseline, candidate = metric.comparison, arms.baseline, arms.candidate
    ease = comparison.tolerance.ease
    match comparison:
        case Failures() if baseline.judged and candidate.judged:
            return _of_events(
                baseline.failed / baseline.judged,
                candidate.failed / candidate.judged,
                comparison.tolerance.ratio,
            )
        case SlowAnswers(threshold=threshold) if len(baseline.latency) and len(candidate.latency):
            return _of_events(
                baseline.latency.share_above(threshold),
                candidate.latency.share_above(threshold * ease),
                1.0,
            )
        case LatencyRanks(frozen=frozen) if len(candidate.latency):
            ranks = frozen.rank(candidate.latency.quantiles(_SHARES) / ease)
            return _of_scores(float(ranks.mean()) - 0.5, _RANK_DIFFERENCE_VARIANCE)
        case Costs() if len(baseline.cost) and len(candidate.cost):
            spread = baseline.cost.variance() + candidate.cost.variance() / ease**2
            return _of_scores(candidate.cost.mean() / ease - baseline.cost.mean(), spread)
        case _:
            return 0.0


def _of_events(theirs: float, ours: float, tolerated: float) -> float:
    only_ours, only_theirs = ours * (1 - theirs), theirs * (1 - ours)
    apart = only_ours + only_theirs
    if apart == 0:
        return 0.0
    share, null = only_ours / apart, tolerated / (1 + tolerated)
    if share <= null:
        return 0.0
    entropy = share * log(share / null)
    if share < 1:
        entropy += (1 - share) * log((1 - share) / (1 - null))
    return apart * entropy


def _of_scores(mean: float, variance: float) -> float:
    return mean**2 / (2 * variance) if mean > 0 and variance > 0 else 0.0
