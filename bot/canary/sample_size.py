"""How many pairs a verdict needs, which requests are sampled, and how long it takes yet. Pure.

Evidence grows by the same amount per pair on average, until it reaches the limit. For
events that amount is a relative entropy, for scores half the squared mean over the variance
(the growth rate of the best bet, for small effects).

Requests come at a steady pace, and evidence for a good candidate grows in proportion to them. So
what is missing takes as much longer than what is there as it is more: an estimate, not a promise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import ceil, log
from typing import TYPE_CHECKING

from bot import LazyModule
from bot.canary.baseline import Arms, ArmSummary, midpoints
from bot.canary.eprocess import BETS, RATIOS
from bot.canary.metrics import (
    Comparison,
    Costs,
    Failures,
    LatencyRanks,
    ReturnOnSpend,
    SlowAnswers,
    comparisons,
)
from bot.canary.policy import Policy
from bot.canary.ramp_evidence import Metered, RampEvidence
from bot.canary.shadow_evidence import ShadowEvidence

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

MOST = 1_000_000
SURPLUS = 1.5
"""So many times what is needed on average, since half of all shadows take longer than that."""
_RANK_DIFFERENCE_VARIANCE = 1 / 6
"""Of the difference of two even ranks."""


def pairs_needed(policy: Policy, metric: Metered, arms: Arms) -> int:
    """Say how many pairs show an effect as large as the one observed.

    At least the policy's `min_pairs`, also where the candidate does not look worse; at most a
    million.

    Args:
        policy: the one that the candidate was judged by.
        metric: the metric in which it failed, with the evidence that a breach takes.
        arms: what was observed of the baseline and of the candidate: how large the effect is.
    """
    growth = _growth(metric, arms)
    least = policy.shadow.min_pairs
    if growth <= 0:
        return least
    alternatives = len(BETS if isinstance(metric.comparison, Costs | LatencyRanks) else RATIOS)
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
            ranks = frozen.rank(candidate.latency.quantiles(midpoints()) / ease)
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


ROAS_DROP = 0.3
"""A drop of ROAS that is worth waiting for: how long it takes to see one is said beforehand."""
_RANK_VARIANCE = 1 / 12


def seen_within(policy: Policy, arms: Arms, rate: float) -> dict[str, timedelta]:
    """Say how long it takes, by metric, until a candidate just beyond its margin is seen as worse.

    In eight of ten cases, at the split of the first stage; later stages see it sooner. ROAS: until
    one that is 30% lower is seen, with the time until the first revenue is complete. Metrics of
    which the shadow knows too little are left out.

    Args:
        policy: the ramp's.
        arms: what the shadow observed; the baseline's values are taken for usual.
        rate: requests a second, of both arms together.
    """
    share = policy.phases[0].percent / 100
    copies = max(1, sum(phase.controlled for phase in policy.phases))
    found: dict[str, timedelta] = {}
    for name, comparison in comparisons(policy, arms.baseline.freeze()).items():
        growth = _ramp_growth(comparison, arms.baseline, share)
        if growth <= 0 or rate <= 0:
            continue
        chosen = log(copies * comparison.alternatives)
        seconds = SURPLUS * (chosen - log(comparison.alpha)) / growth / rate
        if seconds > _NEVER:
            continue
        wait = policy.metrics.roas.maturity if policy.metrics.roas and name == "roas" else None
        found[name] = timedelta(seconds=seconds) + (wait or timedelta())
    return found


_NEVER = 3.2e8
"""Seconds; ten years."""


def _ramp_growth(comparison: Comparison, usual: ArmSummary, share: float) -> float:
    """Nats a request, or 0 where nothing is to be seen."""
    even = share * (1 - share)
    worse = comparison.margin.ease / comparison.tolerance.ease
    match comparison:
        case Failures(usual=rate):
            odds = comparison.margin.ratio / comparison.tolerance.ratio * rate / (1 - rate)
            ours = odds / (1 + odds)
            return _of_outcomes(rate, ours, share) + _of_outcomes(1 - rate, 1 - ours, share)
        case SlowAnswers(threshold=threshold):
            theirs = usual.latency.share_above(threshold)
            return _of_outcomes(theirs, usual.latency.share_above(threshold / worse), share)
        case LatencyRanks(frozen=frozen):
            ranks = frozen.rank(usual.latency.quantiles(midpoints()) * worse)
            return even * _of_scores(float(ranks.mean()) - 0.5, _RANK_VARIANCE)
        case Costs():
            return even * _of_scores((worse - 1) * usual.cost.mean(), usual.cost.variance())
        case ReturnOnSpend(frozen=frozen_roas):
            lost = 1 - (1 - ROAS_DROP) * comparison.tolerance.ease
            spread = usual.revenue.variance() + frozen_roas.ratio**2 * usual.spend.variance()
            return even * _of_scores(lost * usual.revenue.mean(), spread)
        case _:
            return 0.0


def _of_outcomes(theirs: float, ours: float, share: float) -> float:
    """The relative entropy of whose a request is that ended so, times how often one does."""
    total = share * ours + (1 - share) * theirs
    if min(theirs, ours) <= 0:
        return 0.0
    return share * ours * log(ours / total) + (1 - share) * theirs * log(theirs / total)


HASH = "sha256(seed|request id)"
"""How reports name the rule."""
_WHOLE = 1 << 64


def sampled(seed: str, request_id: str, rate: float) -> bool:
    """Tell whether a request belongs to the sample.

    The first 64 bits of SHA-256 of `seed|request id`, as a fraction of 2^64, are below `rate`.
    So a larger rate holds every request of a smaller one.

    Args:
        seed: of this shadow; another seed gives another sample.
        request_id: the client's name for the request; the same one is always decided alike.
        rate: the share of all requests that is wanted, 0 to 1.
    """
    digest = hashlib.sha256(f"{seed}|{request_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < rate * _WHOLE


def shadow_left(evidence: ShadowEvidence, *, started: datetime, now: datetime) -> timedelta | None:
    """Estimate when there will be a verdict; None: too little is seen to say.

    Args:
        evidence: of the shadow.
        started: when mirroring began.
        now: the time.
    """
    pairs = evidence.pairs / evidence.policy.shadow.min_pairs
    shares = [pairs, *_proofs(evidence.metrics.values())]
    if not evidence.metrics:
        # During the warm-up nothing is proved yet, and nobody knows how fast it will be.
        shares = [pairs] if pairs < 1 else [0.0]
    return _longest(_left(share, now - started) for share in shares)


def stage_left(
    evidence: RampEvidence, *, entered: datetime, opened: datetime, now: datetime
) -> timedelta | None:
    """Estimate when the stage will have been passed; None: too little is seen to say.

    Args:
        evidence: of the ramp.
        entered: when this stage's split was served first.
        opened: when the ramp began; what is proved is carried from stage to stage.
        now: the time.
    """
    phase, here = evidence.phase, evidence.here
    baked = now - entered
    seen = here.smaller if phase.controlled else here.candidate
    spans = [max(phase.min_bake - baked, timedelta()), _left(seen / phase.min_n, baked)]
    if phase.controlled:
        spans += [_left(each, now - opened) for each in _proofs(evidence.metrics.values())]
    return _longest(spans)


def _proofs(metrics: Iterable[Metered]) -> list[float]:
    """How much of the proof that it is good enough is there, by metric, of 1."""
    return [each.proof / each.within.limit for each in metrics]


def _left(share: float, elapsed: timedelta) -> timedelta | None:
    if share >= 1:
        return timedelta()
    if share <= 0:
        return None
    return elapsed * ((1 - share) / share)


def _longest(spans: Iterable[timedelta | None]) -> timedelta | None:
    longest = timedelta()
    for each in spans:
        if each is None:
            return None
        longest = max(longest, each)
    return longest
