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
from dataclasses import asdict, dataclass, field
from functools import cache
from math import exp, fsum, log, sqrt
from operator import mul
from typing import TYPE_CHECKING, TypeAlias, overload

from bot import LazyModule
from bot.canary.policy import StrictValue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")

Floats: TypeAlias = "NDArray[np.float64]"
Ints: TypeAlias = "NDArray[np.int64]"
Bools: TypeAlias = "NDArray[np.bool_]"

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
    doubted: bool = False


class EProcess:
    """An average over copies and alternatives of products of likelihood ratios.

    Attributes:
        alpha: the chance of ever reaching the limit under the null hypothesis.
        limit: 1/alpha, as its logarithm (nats).
        n: how many observations were added.
        crossing: when the limit was first reached. Never forgotten: what is seen afterwards
            does not undo it.
        doubted: whether the limit was reached by evidence that repeats itself, and is not one.
    """

    def __init__(
        self,
        alternatives: int,
        *,
        copies: int = 1,
        alpha: float,
        weights: Sequence[float] | None = None,
    ) -> None:
        """Start with an evidence of 1.

        Args:
            alternatives: how many columns the increments have.
            copies: how many stretches there will be at most.
            alpha: see there.
            weights: of the alternatives, their sum 1; None: all the same.
        """
        self.alpha = alpha
        self.limit = -log(alpha)
        self.n = 0
        self.crossing: Crossing | None = None
        self.doubted = False
        self._at = 0
        even = (
            np.zeros(alternatives) if weights is None else np.log(np.array(weights) * alternatives)
        )
        self._sums = [ticks(even).tolist() for _ in range(copies)]

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

    def add(
        self, increments: Ints, counts: Ints | None = None, effect: Floats | None = None
    ) -> int | None:
        """Add log likelihood ratios in ticks: a row per observation, a column per alternative.

        Args:
            increments: in the order in which the observations were made.
            counts: a row stands for so many equal observations, as counters report them. In which
                order those were made is not known, so nobody may look in between: all rows are
                one step.
            effect: the design effect known before each row, see `DesignEffect`; the limit is so
                many times as high. None: observations do not repeat.

        Returns:
            The row at which the limit was reached for the first time, if it was.
        """
        if len(increments) == 0:
            return None
        known = np.ones(len(increments)) if effect is None else effect
        if counts is not None:
            return self._add_at_once(increments, counts, float(known[-1]))
        path = np.cumsum(increments, axis=0)
        row = None if self.crossed else self._first_over(path, known)
        if row is not None:
            after = self._after(path[row].tolist())
            self.crossing = Crossing(self.n + row + 1, log_mean_exp(after))
        self._sums = self._after(path[-1].tolist())
        self.n += len(increments)
        return row

    def _add_at_once(self, increments: Ints, counts: Ints, effect: float) -> int | None:
        """Add counted rows as one step; whole numbers of any size, since days may be counted."""
        often = counts.tolist()
        columns = zip(*increments.tolist(), strict=True)
        step = [sum(map(mul, column, often)) for column in columns]
        self._sums = self._after(step)
        self.n += sum(often)
        if self.crossed or self.log_e < self._limit_at(effect):
            self.doubted |= self.log_e >= self.limit
            return None
        self.crossing = Crossing(self.n, self.log_e)
        return 0

    @overload
    def _limit_at(self, effect: float) -> float: ...

    @overload
    def _limit_at(self, effect: Floats) -> Floats: ...

    def _limit_at(self, effect: float | Floats) -> float | Floats:
        """The limit where evidence repeats: each alternative's has to be so many times as large."""
        chosen = log(len(self._sums) * len(self._sums[0]))
        return effect * (self.limit + chosen) - chosen

    def _after(self, plus: Sequence[int]) -> list[list[int]]:
        """What the copies' sums are after a step: running copies take it, later ones do not."""
        return [
            [total + more for total, more in zip(sums, plus, strict=True)]
            if copy <= self._at
            else sums
            for copy, sums in enumerate(self._sums)
        ]

    def _first_over(self, path: Ints, effect: Floats) -> int | None:
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
        over = mean >= self.limit - _SLACK
        self.doubted |= bool((over & (mean < self._limit_at(effect[near]) - _SLACK)).any())
        for row in near[over & (mean >= self._limit_at(effect[near]) - _SLACK)]:
            if log_mean_exp(self._after(path[row].tolist())) >= self._limit_at(float(effect[row])):
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
            doubted=self.doubted,
        )

    def restore(self, saved: EProcessState) -> None:
        """Take over a saved state.

        Raises:
            ValueError: it belongs to another shape of process.
        """
        shape = [len(row) for row in self._sums]
        sums = [list(row) for row in saved.sums]
        if all(len(row) == len(BETS) for row in sums) and shape[0] > len(BETS):
            # An earlier release bet on usual costs only: the other bets begin now.
            sums = [
                [total + weight for total, weight in zip(row, first, strict=False)]
                + first[len(row) :]
                for row, first in zip(sums, self._sums, strict=True)
            ]
        if [len(row) for row in sums] != shape or not 1 <= saved.started <= len(shape):
            raise ValueError("This state belongs to an e-process of another shape.")
        self.n = saved.n
        self._at = saved.started - 1
        self.doubted = saved.doubted
        self._sums = sums
        self.crossing = None
        if saved.crossing is not None:
            self.crossing = Crossing(saved.crossing[0], float.fromhex(saved.crossing[1]))


RATIOS = (1.05, 1.1, 1.2, 1.35, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Alternatives for how many times more often something happens to the candidate."""
BETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Alternatives for bounded scores, as shares of the stake."""
_HIGHEST_RATE = 0.999


@cache
def grid() -> Floats:
    """Logs of `RATIOS`."""
    logs: Floats = np.log(np.array(RATIOS))
    return logs


@cache
def two_sided() -> Floats:
    """Logs of `RATIOS` and of their inverses, in order."""
    return np.concatenate([-grid()[::-1], grid()])


def odds_ticks(pi: Floats, candidate: Bools, failed: Bools, usual: float) -> Ints:
    """Compare failure rates by whose each request was, whether it failed or not.

    Given how a request ended, it is the candidate's with probability `pi l / (1 - pi + pi l)`, `l`
    being how many times likelier the candidate ends so: `p/u` for a failure, `(1-p)/(1-u)` for a
    success, where `u` is the usual rate and `p` the one that odds of `RATIOS` times the usual ones
    make. If the candidate fails no more often than the baseline, each factor has a mean of at most
    1, whatever `u` is; a good one makes the test quick, also where most requests fail.

    Args:
        pi: per request, strictly between 0 and 1.
        candidate: per request.
        failed: per request.
        usual: the baseline's failure rate, known before these requests; strictly between 0 and 1.
    """
    if len(pi) == 0:
        return np.zeros((0, len(RATIOS)), dtype=np.int64)
    odds = np.array(RATIOS) * usual / (1 - usual)
    worse = odds / (1 + odds)
    likelier = np.log(np.stack([(1 - worse) / (1 - usual), worse / usual]))
    splits, which = np.unique(pi, return_inverse=True)
    lean = np.log1p(splits[:, None, None] * np.expm1(likelier))
    table = ticks(np.stack([-lean, likelier - lean], axis=2))
    picked: Ints = table[which, failed.astype(np.intp), candidate.astype(np.intp)]
    return picked


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


def score_ticks(scores: Floats, bets: Sequence[float] = BETS) -> Ints:
    """Bet on scores of at least -1 whose mean is at most 0 under the null hypothesis.

    Betting a share of the stake multiplies it by `1 + share * score` (Waudby-Smith and Ramdas
    2024, "Estimating means of bounded random variables by betting").
    """
    return ticks(np.log1p(scores[:, None] * np.array(bets)))


def rate_ticks(failed: Bools, bound: float, times: Sequence[float] = RATIOS) -> Ints:
    """Compare a failure rate with the highest one allowed; no baseline is needed.

    Alternatives are `bound` times each of `times`, below 1. Where all of those are below 1, it is
    evidence that the rate is below the bound.
    """
    rates = np.minimum(bound * np.array(times), _HIGHEST_RATE)
    if min(times) >= 1:
        rates = np.maximum(rates, bound)
    table = ticks(np.stack([np.log1p(-rates) - log(1 - bound), np.log(rates / bound)]))
    picked: Ints = table[failed.astype(np.intp)]
    return picked


_SMALLEST = 16
"""Rows of the smallest batches; each further level has batches of four of these."""
_LEVELS = 6
_STEP = 4
BLOCK = _STEP * _SMALLEST
"""Rows after which what is known of repeats is brought up to date."""
_UNIT = 1 << 10
_FEWEST_BATCHES = 12
_SURE = 2.0
"""Standard errors: a clustering that is not beyond them is taken for chance."""
_BEYOND_DOUBT = 3.0
"""Standard errors: people are told."""
_MATTERS = 1.2
_AT_FIRST, _EVENTS_WEIGH = 2.0, 6.0
"""Of events, before they show it: the first may be one call that was tried again."""
_PRIOR = 12.0
"""So many draws does it weigh that events which come together are one draw."""


@dataclass(slots=True)
class _Level:
    """Sums over the batches of one level, in whole units; `gathered`: for the next level."""

    batches: int = 0
    happened: int = 0
    squares: int = 0
    pairs: int = 0
    apart: int = 0
    last: int | None = None
    gathered: list[tuple[int, int]] = field(default_factory=list)

    def add(self, happened: int, lean: int) -> None:
        """Add a batch."""
        self.batches += 1
        self.happened += happened
        self.squares += happened * happened
        if self.last is not None:
            self.pairs += 1
            self.apart += (lean - self.last) ** 2
        self.last = lean


class BatchSums(StrictValue):
    """Saved sums over the batches of one level."""

    batches: int
    happened: int
    squares: int
    pairs: int
    apart: int
    last: int | None
    gathered: tuple[tuple[int, int], ...]


class DesignEffectState(StrictValue):
    """Saved: rows of the block begun, sums by level, and the sum of single draws' squares."""

    rows: tuple[tuple[int, int], ...]
    levels: tuple[BatchSums, ...]
    own: int


class DesignEffect:
    """How many times a sum over observations varies more than if each were a draw of its own.

    Where a client tries again and again at the same arm, one draw of the split is observed several
    times. Then sums over neighbouring observations vary `d` times as much (Kish 1965, "Survey
    Sampling", calls it the design effect), and evidence that grows with the square of a sum is `d`
    times too large: it is compared with `d` times the limit.

    It is learnt from batches of 16 rows, and of 4, 16, 64, 256 and 1,024 times as many. Of each:
    half the squared difference to the batch before, against what single draws would give, so that
    a candidate that is really worse does not count as clustering. Events must also come in
    clusters, whosever they are: else nothing is repeated. What is known counts for the rows that
    follow, never for its own.

    Attributes:
        now: what is known, at least 1.
    """

    def __init__(self, *, events: bool) -> None:
        """Start without any sign of repeats; `events`: most rows have none."""
        self._events = events
        self._rows = np.zeros((0, 2), dtype=np.int64)
        self._levels = [_Level() for _ in range(_LEVELS)]
        self._own = 0
        self.now = self._learnt()

    def add(self, happened: Floats, lean: Floats) -> Floats:
        """Take in rows; what was known before each of them.

        Args:
            happened: 1 for an event, 0 for none, or a score.
            lean: `happened`, times whether the candidate was drawn less its probability.
        """
        before = len(self._rows)
        units = np.rint(np.stack([happened, lean], axis=1) * _UNIT).astype(np.int64)
        rows = np.concatenate([self._rows, units])
        blocks = len(rows) // BLOCK
        known = [self.now]
        self._rows = rows[blocks * BLOCK :]
        whole = rows[: blocks * BLOCK].reshape(blocks, _STEP, _SMALLEST, 2)
        own = (whole[..., 1] ** 2).sum(axis=(1, 2)).tolist()
        for squares, batches in zip(own, whole.sum(axis=2).tolist(), strict=True):
            self._own += squares
            for each in batches:
                self._levels[0].add(*each)
            self._carry(1, sum(y for y, _ in batches), sum(x for _, x in batches))
            self.now = self._learnt()
            known.append(self.now)
        return np.repeat(known, BLOCK)[before : before + len(happened)]

    def add_reading(self, happened: Floats, lean: Floats, counts: Ints) -> float:
        """Take in counters that were read at once, a row for so many; what was known before."""
        known = self.now
        self._own += int(np.rint((lean * _UNIT) ** 2 @ counts))
        total, apart = happened @ counts * _UNIT, lean @ counts * _UNIT
        self._levels[0].add(int(np.rint(total)), int(np.rint(apart)))
        self.now = self._learnt()
        return known

    def _carry(self, number: int, happened: int, lean: int) -> None:
        level = self._levels[number]
        level.add(happened, lean)
        if number + 1 < _LEVELS:
            level.gathered.append((happened, lean))
            if len(level.gathered) == _STEP:
                total = sum(y for y, _ in level.gathered), sum(x for _, x in level.gathered)
                level.gathered = []
                self._carry(number + 1, *total)

    def _learnt(self) -> float:
        least = 1.0
        if self._events:
            seen = self._levels[0].happened / _UNIT
            least = (_EVENTS_WEIGH * _AT_FIRST + seen) / (_EVENTS_WEIGH + seen)
        return max([least, *(self._of(number) for number in range(_LEVELS))])

    def _share(self, number: int) -> float:
        """The share of rows that have the event; not known of counters, where it is taken for rare.

        Events of single draws vary as they do in a binomial distribution: the less, the more
        frequent they are.
        """
        if not self._levels[1].batches:
            return 0.0
        level = self._levels[number]
        rows: int = _SMALLEST * _STEP**number
        return level.happened / level.batches / _UNIT / rows

    def _of(self, number: int) -> float:
        level = self._levels[number]
        if level.pairs < _FEWEST_BATCHES or self._own == 0:
            return 1.0
        found = self._ratio(level)
        if not self._events:
            return found if found * (1 - _SURE * sqrt(3 / level.pairs)) > 1 else 1.0
        usual = level.happened / level.batches
        apart = level.squares / level.batches - usual * usual
        single = usual * _UNIT * (1.0 - self._share(number))
        spread = apart / single if single > 0 else 0.0
        if spread < 1 + _SURE * sqrt(2 / level.batches):
            return 1.0
        draws = self._own / (_UNIT * _UNIT)
        return (_PRIOR * spread + draws * found) / (_PRIOR + draws)

    def _ratio(self, level: _Level) -> float:
        """How much more the batches of a level differ than batches of single draws would."""
        single = self._own / level.batches
        return level.apart / 2 / level.pairs / single

    @property
    def certain(self) -> bool:
        """Whether observations repeat beyond doubt."""
        return any(
            self._ratio(level) * (1 - _BEYOND_DOUBT * sqrt(3 / level.pairs)) > _MATTERS
            for level in self._levels
            if level.pairs >= _FEWEST_BATCHES and self._own > 0
        )

    def save(self) -> DesignEffectState:
        """Write the sums down."""
        return DesignEffectState(
            rows=tuple((y, x) for y, x in self._rows.tolist()),
            levels=tuple(BatchSums.model_validate(asdict(each)) for each in self._levels),
            own=self._own,
        )

    def restore(self, saved: DesignEffectState) -> None:
        """Take over what `save` wrote."""
        self._rows = np.array(saved.rows, dtype=np.int64).reshape(-1, 2)
        kept = (each.model_dump() for each in saved.levels)
        self._levels = [_Level(**each | {"gathered": list(each["gathered"])}) for each in kept]
        self._own = saved.own
        self.now = self._learnt()
