"""How long a bisect will take yet, from what is still open and how long trials took. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

_TOLD_BY_A_TRIAL = 0.75
"""Bits a trial tells before any has been seen to: less than one, since signals may lie."""
_TAKEN_FOR_GRANTED = 4
_LEAST_TOLD = 0.25
_CHECKING = 2
"""Rounds at the end, when the culprit and its parents are run afresh."""


def seconds_left(
    probabilities: Sequence[float], trials: int, seconds: Sequence[float], jobs: int
) -> float | None:
    """Guess how many seconds a search takes yet; None before a trial has ended.

    Args:
        probabilities: of each commit in question.
        trials: trials that told something.
        seconds: how long each trial took.
        jobs: trials at once. So many split what is open into one part more, at best.
    """
    if not seconds:
        return None
    total = sum(probabilities) or 1.0
    shares = [each / total for each in probabilities if each > 0]
    bits = -sum(share * math.log2(share) for share in shares)
    told = max(0.0, math.log2(max(2, len(probabilities))) - bits)
    each = (told + _TOLD_BY_A_TRIAL * _TAKEN_FOR_GRANTED) / (trials + _TAKEN_FOR_GRANTED)
    rounds = bits / (max(_LEAST_TOLD, each) * math.log2(jobs + 1))
    checking = math.ceil(_CHECKING / jobs)
    return (max(1.0, rounds) + checking) * sum(seconds) / len(seconds)


def in_words(seconds: float) -> str:
    """Say a span of time roughly."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
