"""E-processes: evidence that may be looked at at any time, and the likelihoods it grows by.

An e-process starts at 1 and, while its null hypothesis holds, its expectation stays at most 1
whenever one stops looking; so it exceeds 1/alpha with probability alpha at most (Ville's
inequality; Ramdas, Grünwald, Vovk and Shafer 2023, "Game-theoretic statistics and safe anytime-
valid inference"). Here each is an average over alternatives, and over copies started one after
the other so that what goes wrong late is not drowned in what went well before. An average of
e-processes is one too; a copy not yet started stands at 1.

Logarithms are summed as whole ticks of 2^-40, rounded down. So sums are exact: the same
observations give the same digits in one batch or one by one, before and after a restart, and
rounding never adds evidence.

`pi` is the probability with which the split gave this request to the candidate; `candidate`
tells whether it did. That draw is the only randomness these tests rely on: load, drift, bursts
and tails may be what they like, as long as they do not know the draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, log
from operator import mul

import numpy as np
from numpy.typing import NDArray

from bot.canary.policy import StrictValue

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TICK = 2.0**-40
"""Nats."""
_SLACK = 1e-6
"""Nats. Rows so near to the limit are looked at exactly."""


def ticks(logs: Floats) -> Ints:
    """Round log likelihood ratios (nats) down to whole ticks."""
    return np.floor(logs / TICK).astype(np.int64)


def log_mean_exp(rows: list[list[int]]) -> float:
    """Log of the mean of exp over sums given in ticks; nats. One order of operations only."""
    values = [tick * TICK for row in rows for tick in row]
    top = max(values)
    return top + log(fsum(exp(value - top) for value in values)) - log(len(values))


@dataclass(frozen=True, slots=True)
class Crossing:
    """The first time that the evidence reached its limit.

    Attributes:
        n: how many increments had been added then.
        log_e: the evidence then, nats.
    """

    n: int
    log_e: float


class EProcessState(StrictValue):
    """A saved e-process: sums in ticks; the evidence at the crossing is a hexadecimal float."""

    n: int
    started: int
    sums: tuple[tuple[int, ...], ...]
    crossing: tuple[int, str] | None


class EProcess:
    """An average over copies and alternatives of products of likelihood ratios.

    Attributes:
        alpha: the chance of ever reaching the limit under the null hypothesis.
        limit: 1/alpha, as its logarithm (nats).
        n: how many observations were added.
        crossing: when the limit was first reached. Never forgotten: what is seen afterwards
            does not undo it.
    """

    def __init__(self, alternatives: int, *, copies: int = 1, alpha: float) -> None:
        """Start with an evidence of 1.

        Args:
            alternatives: how many columns the increments have.
            copies: how many stretches there will be at most.
            alpha: see there.
        """
        self.alpha = alpha
        self.limit = -log(alpha)
        self.n = 0
        self.crossing: Crossing | None = None
        self._at = 0
        self._sums = [[0] * alternatives for _ in range(copies)]

    @property
    def log_e(self) -> float:
        """The evidence now, nats."""
        return log_mean_exp(self._sums)

    @property
    def crossed(self) -> bool:
        """Whether the limit was ever reached."""
        return self.crossing is not None

    def restart(self) -> None:
        """Start the next copy, if one is left. Earlier ones go on."""
        self._at = min(self._at + 1, len(self._sums) - 1)

    def add(self, increments: Ints, counts: Ints | None = None) -> int | None:
        """Add log likelihood ratios in ticks: a row per observation, a column per alternative.

        Args:
            increments: in the order in which the observations were made.
            counts: a row stands for so many equal observations, as counters report them. In which
                order those were made is not known, so nobody may look in between: all rows are
                one step.

        Returns:
            The row at which the limit was reached for the first time, if it was.
        """
        if len(increments) == 0:
            return None
        if counts is not None:
            return self._add_at_once(increments, counts)
        path = np.cumsum(increments, axis=0)
        row = None if self.crossed else self._first_over(path)
        if row is not None:
            after = self._after(path[row].tolist())
            self.crossing = Crossing(self.n + row + 1, log_mean_exp(after))
        self._sums = self._after(path[-1].tolist())
        self.n += len(increments)
        return row

    def _add_at_once(self, increments: Ints, counts: Ints) -> int | None:
        """Add counted rows as one step; whole numbers of any size, since days may be counted."""
        often = counts.tolist()
        columns = zip(*increments.tolist(), strict=True)
        step = [sum(map(mul, column, often)) for column in columns]
        self._sums = self._after(step)
        self.n += sum(often)
        if self.crossed or self.log_e < self.limit:
            return None
        self.crossing = Crossing(self.n, self.log_e)
        return 0

    def _after(self, plus: Sequence[int]) -> list[list[int]]:
        """What the copies' sums are after a step: running copies take it, later ones do not."""
        return [
            [total + more for total, more in zip(sums, plus, strict=True)]
            if copy <= self._at
            else sums
            for copy, sums in enumerate(self._sums)
        ]

    def _first_over(self, path: Ints) -> int | None:
        """Find the first row whose evidence reaches the limit.

        The largest sum bounds the average, so most batches are dismissed by their maxima alone.
        Floating point only narrows the choice down; the exact sums decide.
        """
        running = np.array(self._sums[: self._at + 1], dtype=np.float64) * TICK
        top = running.max(axis=0)
        if (path.max(axis=0) * TICK + top).max() < self.limit - _SLACK:
            return None
        walk = path * TICK
        near = np.flatnonzero((walk + top).max(axis=1) >= self.limit - _SLACK)
        sums = walk[near, None, :] + running
        high = sums.max(axis=(1, 2), initial=0.0)
        waiting = (len(self._sums) - len(running)) * path.shape[1]
        total = np.exp(sums - high[:, None, None]).sum(axis=(1, 2)) + waiting * np.exp(-high)
        mean = high + np.log(total) - log(len(self._sums) * path.shape[1])
        for row in near[mean >= self.limit - _SLACK]:
            if log_mean_exp(self._after(path[row].tolist())) >= self.limit:
                return int(row)
        return None

    def save(self) -> EProcessState:
        """Write the state down; no digit is lost."""
        crossing = self.crossing
        return EProcessState(
            n=self.n,
            started=self._at + 1,
            sums=tuple(tuple(row) for row in self._sums),
            crossing=None if crossing is None else (crossing.n, crossing.log_e.hex()),
        )

    def restore(self, saved: EProcessState) -> None:
        """Take over a saved state.

        Raises:
            ValueError: it belongs to another shape of process.
        """
        shape = [len(row) for row in self._sums]
        if [len(row) for row in saved.sums] != shape or not 1 <= saved.started <= len(shape):
            raise ValueError("This state belongs to an e-process of another shape.")
        self.n = saved.n
        self._at = saved.started - 1
        self._sums = [list(row) for row in saved.sums]
        self.crossing = None
        if saved.crossing is not None:
            self.crossing = Crossing(saved.crossing[0], float.fromhex(saved.crossing[1]))


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
