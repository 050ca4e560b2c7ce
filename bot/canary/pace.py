"""About how long a shadow or a stage takes yet, at the pace seen so far. Pure; times are given.

Requests come at a steady pace, and evidence for a good candidate grows in proportion to them. So
what is missing takes as much longer than what is there as it is more: an estimate, not a promise.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from bot.canary.evidence import Metered, RampEvidence
from bot.canary.shadow import ShadowEvidence


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
    return [each.within.log_e / each.within.limit for each in metrics]


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
