"""Log likelihood ratios, in ticks, of what one observation says for the alternatives.

`pi` is the probability with which the split gave this request to the candidate; `candidate`
tells whether it did. That draw is the only randomness these tests rely on: load, drift, bursts
and tails may be what they like, as long as they do not know the draw.
"""

from __future__ import annotations

from math import log

import numpy as np

from bot.canary.eprocess import Bools, Floats, Ints, ticks

RATIOS = (1.05, 1.1, 1.2, 1.35, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Alternatives for how many times more often something happens to the candidate."""
GRID: Floats = np.log(np.array(RATIOS))
TWO_SIDED: Floats = np.concatenate([-GRID[::-1], GRID])
BETS: Floats = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8])
"""Alternatives for bounded scores, as shares of the stake."""
_HIGHEST_RATE = 0.999


def event_ticks(pi: Floats, candidate: Bools, null: float, alternatives: Floats) -> Ints:
    """Compare rate ratios by whose an event was.

    Given an event, it is the candidate's with probability `pi r / (1 - pi + pi r)`, `r` being
    the ratio of the two rates.

    Args:
        pi: per event, strictly between 0 and 1.
        candidate: per event.
        null: log of the ratio under the null hypothesis.
        alternatives: logs of the ratios under the alternatives.
    """
    if len(pi) == 0:
        return np.zeros((0, len(alternatives)), dtype=np.int64)
    splits, which = np.unique(pi, return_inverse=True)
    lean = np.log1p(splits[:, None] * np.expm1(alternatives)) - np.log1p(
        splits * np.expm1(null)
    ).reshape(-1, 1)
    table = ticks(np.stack([-lean, (alternatives - null) - lean], axis=1))
    picked: Ints = table[which, candidate.astype(np.intp)]
    return picked


def score_ticks(scores: Floats) -> Ints:
    """Bet on scores between -1 and 1 whose mean is at most 0 under the null hypothesis.

    Betting a share of the stake multiplies it by `1 + share * score` (Waudby-Smith and Ramdas
    2024, "Estimating means of bounded random variables by betting").
    """
    return ticks(np.log1p(scores[:, None] * BETS))


def rate_ticks(failed: Bools, highest: float) -> Ints:
    """Compare a failure rate with the highest one allowed; no baseline is needed.

    Alternatives are `highest` times each of `RATIOS`, below 1.
    """
    rates = np.minimum(highest * np.array(RATIOS), _HIGHEST_RATE)
    rates = np.maximum(rates, highest)
    table = ticks(np.stack([np.log1p(-rates) - log(1 - highest), np.log(rates / highest)]))
    picked: Ints = table[failed.astype(np.intp)]
    return picked
