"""How each metric is compared between the arms, and the limits it is held to.

An *event* is something bad that happens to some requests (a failure, a slow answer): its rates
are compared. A *score* between -1 and 1 is high where a request went badly (its rank among the
baseline's latencies, its cost, its missing revenue): its means are compared. Either way the
candidate's value is first eased by what is tolerated, so that a candidate exactly that much
worse looks like the baseline.

A counter tells what the requests of an arm cost together, and nothing of a single one. Still there
is a test. Take one reading: with `c` the costs of its requests, `b` their draws (1: the
candidate's, with probability pi, whatever the cost), the candidate's part of the money is

    share = sum(b c) / sum(c)        and        E[share | c] = pi,

if a request would have cost the same with either provider, or followed the same distribution. So
`share / pi - 1` is a score of mean 0 that is never below -1, however heavy the tails, however many
requests there were, and whatever drift or bursts did to the costs. Betting on such scores (Waudby-
Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", as in
`score_ticks`) gives an e-process: 1/alpha is ever reached with probability alpha at most (Ville).
If the candidate's costs, divided by what is tolerated, are stochastically smaller than the
baseline's, the share only falls, and so does the bet. For the promotion gate the same is done with
the baseline's part.

What it takes: each request adds its whole cost once, to a counter that stands beside the other
arm's on the same program, so that both are read at the same instant. What it costs: a reading is a
single bet, whose stake one request might decide; so evidence grows with the number of readings,
and small differences need many of them. What it does not promise: equal means with another shape
are not the null hypothesis; with many requests a reading they come to nearly the same.

Return on spend has no such test. Revenue comes later than the spend it belongs to, often in parts,
after the arm was drawn: what is added in one reading then depends on the draws of readings
before, its mean given the past is not 0, and false alarms are not bounded.

The evidence is again an e-process: against "at most this share of requests is bad".

Latency is judged among successes: a quick failure is not speed, and counts as a failure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum, log, sqrt
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field

from bot import LazyModule
from bot.canary.baseline import (
    QUANTILES,
    Arms,
    FrozenBaseline,
    FrozenCost,
    FrozenRoas,
    Sketch,
)
from bot.canary.eprocess import (
    BETS,
    RATIOS,
    Bools,
    EProcess,
    EProcessState,
    Floats,
    Ints,
    event_ticks,
    grid,
    odds_ticks,
    rate_ticks,
    score_ticks,
)
from bot.canary.observations import Arm, Columns, Measurements, PairColumns, succeeded
from bot.canary.policy import (
    SLO_ALPHA,
    ErrorMetric,
    Policy,
    QuantileMetric,
    RatioMetric,
    StrictValue,
)

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")


class Gain(NamedTuple):
    """Rows that say something, their log likelihood ratios in ticks, and how often each counts."""

    rows: Ints
    increments: Ints
    counts: Ints | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """Where the candidate would be just bad enough.

    Attributes:
        ease: its values divided by this look like the baseline's.
        ratio: its rate of events is so many times the baseline's.
    """

    ease: float = 1.0
    ratio: float = 1.0


class Comparison(ABC):
    """How one metric is compared between the arms.

    Attributes:
        name: the metric.
        alpha: the chance of a false breach.
        tolerance: beyond it, the candidate is worse.
        margin: to be promoted, the candidate must be shown to be better than this.
        alternatives: columns of the increments.
        weights: of the alternatives; None: all the same.
        events: whether it is about something that happens to some requests only.
        unit: what an increment stands for.
    """

    alternatives: int
    weights: Sequence[float] | None = None
    events: bool = False
    unit: str = "observation"

    def __init__(self, name: str, alpha: float, tolerance: Bound, margin: Bound) -> None:
        """Set up for a metric of the policy."""
        self.name = name
        self.alpha = alpha
        self.tolerance = tolerance
        self.margin = margin

    @abstractmethod
    def seen(self, measured: Measurements) -> Bools:
        """Tell which rows carry this metric."""

    @abstractmethod
    def happened(self, measured: Measurements) -> Floats:
        """Tell what happened to each row: 1 for an event, else its score; 0 where nothing did."""

    def negligible(self, measured: Measurements) -> Ints:
        """Evidence from the candidate's requests alone that this is too rare to matter."""
        del measured
        return np.zeros((0, len(RARER)), dtype=np.int64)

    def worse(self, columns: Columns, repeated: Floats | None = None) -> Gain:
        """Evidence that the candidate is worse than tolerated.

        Args:
            columns: of a ramp.
            repeated: the design effect of the split known before each row; None: 1.
        """
        del repeated
        return self._ramped(columns, self.tolerance, 1)

    def within(self, columns: Columns) -> Gain:
        """Evidence that the candidate is not as bad as the margin."""
        return self._ramped(columns, self.margin, -1)

    def worse_pairs(self, pairs: PairColumns) -> Gain:
        """The same as `worse`, from a shadow's pairs."""
        return self._paired(pairs, self.tolerance, 1)

    def within_pairs(self, pairs: PairColumns) -> Gain:
        """The same as `within`, from a shadow's pairs."""
        return self._paired(pairs, self.margin, -1)

    @abstractmethod
    def _ramped(self, columns: Columns, bound: Bound, sign: int) -> Gain: ...

    @abstractmethod
    def _paired(self, pairs: PairColumns, bound: Bound, sign: int) -> Gain: ...


class EventComparison(Comparison):
    """Compares how often something bad happens."""

    alternatives = len(RATIOS)
    events = True

    def happened(self, measured: Measurements) -> Floats:
        """Tell where it happened."""
        return self.bad(measured, 1.0).astype(np.float64)

    @abstractmethod
    def bad(self, measured: Measurements, ease: float | Floats) -> Bools:
        """Tell where it happened, values being divided by `ease`."""

    def _ramped(self, columns: Columns, bound: Bound, sign: int) -> Gain:
        ease = np.where(columns.candidate, bound.ease, 1.0)
        rows = np.flatnonzero(self.bad(columns.measured, ease))
        found = columns.at(rows)
        null = log(bound.ratio)
        increments = event_ticks(found.pi, found.candidate, null, null + sign * grid())
        return Gain(rows, increments, found.counts)

    def _paired(self, pairs: PairColumns, bound: Bound, sign: int) -> Gain:
        """Only pairs of which one went badly say anything; either may, evenly."""
        ours = self.bad(pairs.candidate, bound.ease)
        both = self.seen(pairs.baseline) & self.seen(pairs.candidate)
        rows = np.flatnonzero(both & (ours != self.bad(pairs.baseline, 1.0)))
        null = log(bound.ratio)
        evenly = np.full(len(rows), 0.5)
        return Gain(rows, event_ticks(evenly, ours[rows], null, null + sign * grid()))


class ScoreComparison(Comparison):
    """Compares the means of a score."""

    alternatives = len(BETS)

    def happened(self, measured: Measurements) -> Floats:
        """The score of each row."""
        return np.where(self.seen(measured), self.score(measured, 1.0), 0.0)

    @abstractmethod
    def score(self, measured: Measurements, ease: float | Floats) -> Floats:
        """How badly each request went, -1 to 1, values being divided by `ease`."""

    def _ramped(self, columns: Columns, bound: Bound, sign: int) -> Gain:
        rows = np.flatnonzero(self.seen(columns.measured))
        found = columns.at(rows)
        scores = self.score(found.measured, np.where(found.candidate, bound.ease, 1.0))
        lean = found.candidate - found.pi
        return Gain(rows, score_ticks(sign * scores * lean), found.counts)

    def _paired(self, pairs: PairColumns, bound: Bound, sign: int) -> Gain:
        rows = np.flatnonzero(self.seen(pairs.baseline) & self.seen(pairs.candidate))
        found = pairs.at(rows)
        more = self.score(found.candidate, bound.ease) - self.score(found.baseline, 1.0)
        return Gain(rows, score_ticks(sign * more / 2))


NO_RETURN = (
    "revenue comes later than the spend it belongs to, often in parts, and a counter does not tell "
    "to which request; so nothing bounds its false alarms"
)
"""Why return on spend is not judged by counters."""


class Total(StrictValue):
    """What the requests of one arm and split cost together since the reading before, USD."""

    arm: Arm
    generation: int
    amount: Annotated[float, Field(gt=0)]


@dataclass(frozen=True, slots=True)
class SpentBetween:
    """What was spent between two readings, a row per split.

    Attributes:
        pi: the probability with which a request was the candidate's.
        baseline: USD.
        candidate: USD.
    """

    pi: Floats
    baseline: Floats
    candidate: Floats


def spent_of(totals: Sequence[Total], percents: Mapping[int, int]) -> SpentBetween:
    """Put totals side by side, by generation."""
    generations = sorted({each.generation for each in totals})

    def of(arm: Arm) -> Floats:
        return np.array(
            [
                fsum(t.amount for t in totals if (t.generation, t.arm) == (generation, arm))
                for generation in generations
            ],
            dtype=np.float64,
        )

    pi = np.array([percents[each] / 100 for each in generations], dtype=np.float64)
    return SpentBetween(pi, of("baseline"), of("candidate"))


class TotalCosts(Comparison):
    """Costs, by each arm's part of the money; see the module."""

    alternatives = len(BETS)
    unit = "reading"

    def __init__(self, name: str, metric: RatioMetric) -> None:
        """Compare shares of what was spent."""
        super().__init__(name, metric.alpha, Bound(1 + metric.tolerance), Bound(1 + metric.margin))

    def worse_of(self, spent: SpentBetween) -> Ints:
        """Evidence that the candidate costs more than tolerated; a row per split."""
        pi, share = _shares(spent, self.tolerance.ease)
        return score_ticks(share / pi - 1)

    def within_of(self, spent: SpentBetween) -> Ints:
        """Evidence that it does not cost as much as the margin; a row per split."""
        pi, share = _shares(spent, self.margin.ease)
        return score_ticks((1 - share) / (1 - pi) - 1)

    def seen(self, measured: Measurements) -> Bools:
        """No single cost is known."""
        return np.zeros(len(measured), dtype=np.bool_)

    def happened(self, measured: Measurements) -> Floats:
        """No single cost is known."""
        return np.zeros(len(measured))

    def _ramped(self, columns: Columns, bound: Bound, sign: int) -> Gain:
        del columns, bound, sign
        return _nothing()

    def _paired(self, pairs: PairColumns, bound: Bound, sign: int) -> Gain:
        del pairs, bound, sign
        return _nothing()


def _nothing() -> Gain:
    return Gain(np.zeros(0, dtype=np.int64), np.zeros((0, len(BETS)), dtype=np.int64))


def _shares(spent: SpentBetween, ease: float) -> tuple[Floats, Floats]:
    """The candidate's share where the split left both arms something, and where money was spent."""
    ours = spent.candidate / ease
    rows = (spent.pi > 0) & (spent.pi < 1) & (ours + spent.baseline > 0)
    return spent.pi[rows], ours[rows] / (ours[rows] + spent.baseline[rows])


class LimitState(StrictValue):
    """Saved evidence on one limit; the rest: see `Limit`, None in what was saved before it was."""

    process: EProcessState
    bad: int
    seen: int
    share: float | None = None
    seconds: float | None = None
    usd: float | None = None
    relative: bool = False


@dataclass(slots=True)
class Limit:
    """One limit, once nothing is left to compare with.

    Attributes:
        share: of requests that may fail, or take longer than `seconds`, or cost more than `usd`.
        seconds: of successes; None: it is not about latency.
        usd: None: it is not about cost.
        relative: whether it was learnt from the stages before; else people set it.
        bad: the candidate's requests beyond it.
        seen: the candidate's requests.
    """

    share: float
    seconds: float | None = None
    usd: float | None = None
    relative: bool = False
    process: EProcess = field(default_factory=lambda: EProcess(len(RATIOS), alpha=SLO_ALPHA))
    bad: int = 0
    seen: int = 0

    @property
    def burn_rate(self) -> float | None:
        """How many times faster than allowed the error budget burns; None without requests."""
        return self.bad / self.seen / self.share if self.seen else None

    @property
    def claim(self) -> str:
        """What it means that it is crossed."""
        what = "fail"
        if self.seconds is not None:
            what = f"take longer than {self.seconds:.3g} s"
        elif self.usd is not None:
            what = f"cost more than {self.usd:.3g} USD"
        learnt = ", the limit learnt from the stages before" if self.relative else ""
        return f"More than {100 * self.share:.3g}% of the candidate's requests {what}{learnt}"

    def add(self, columns: Columns) -> int | None:
        """Take in the candidate's requests; tells the row that crossed the limit, if one did."""
        measured = columns.measured
        if self.seconds is not None:
            seen, bad = succeeded(measured), measured.latency > self.seconds
        elif self.usd is not None:
            seen, bad = np.isfinite(measured.cost), measured.cost > self.usd
        else:
            seen, bad = np.isfinite(measured.error), measured.error == 1
        rows = np.flatnonzero(seen)
        found = columns.at(rows)
        self.seen += found.tally().candidate
        self.bad += found.tally(bad[rows]).candidate
        row = self.process.add(rate_ticks(bad[rows], self.share), found.counts)
        return None if row is None else int(rows[row])

    def save(self) -> LimitState:
        """Write the state down."""
        return LimitState(
            process=self.process.save(),
            bad=self.bad,
            seen=self.seen,
            share=self.share,
            seconds=self.seconds,
            usd=self.usd,
            relative=self.relative,
        )

    @classmethod
    def restored(cls, saved: LimitState, before: Limit | None) -> Limit | None:
        """Make it of what `save` wrote; an older release wrote only what differs from `before`."""
        if saved.share is not None:
            found = cls(saved.share, saved.seconds, saved.usd, saved.relative)
        elif before is not None:
            found = cls(before.share, before.seconds, before.usd)
        else:
            return None
        found.process.restore(saved.process)
        found.bad, found.seen = saved.bad, saved.seen
        return found


def absolute_limits(policy: Policy) -> dict[str, Limit]:
    """Set up the limits that people set (`slo_max`), by name."""
    found: dict[str, Limit] = {}
    for name, metric in policy.metrics.chosen():
        if isinstance(metric, ErrorMetric) and metric.slo_max is not None:
            found[f"{name}_slo"] = Limit(metric.slo_max)
        if isinstance(metric, QuantileMetric) and metric.slo_max is not None:
            found[f"{name}_slo"] = Limit(1 - QUANTILES[name], metric.slo_max)
    return found


_DOUBLE = 2.0
"""Odds so many times those of the stages before are beyond a limit learnt from them."""
_HIGH_COST = 0.95
_SURELY_BELOW = 2.0
"""Standard errors."""


def learnt_limits(policy: Policy, metrics: Iterable[Comparison], arms: Arms) -> dict[str, Limit]:
    """Set up the limits of the last stage that nobody set, from what both arms did before it.

    The odds of a failure may be `margin_ratio` times the baseline's; the odds of a slow or dear
    request twice those that the worse arm had, whatever the time of day does to both.

    Args:
        policy: what people set comes first.
        metrics: those that are compared.
        arms: what was observed of both in the stages before.
    """
    found: dict[str, Limit] = {}
    given = absolute_limits(policy)
    for each in metrics:
        name = f"{each.name}_slo"
        if name in given:
            continue
        if isinstance(each, Failures) and arms.baseline.judged:
            usual = _at_most(arms.baseline.failed, arms.baseline.judged)
            found[name] = Limit(_of_odds(usual, each.margin.ratio), relative=True)
        elif isinstance(each, SlowAnswers):
            seconds = each.threshold * each.tolerance.ease
            share = _worse_share(seconds, arms.baseline.latency, arms.candidate.latency)
            if share is not None:
                found[name] = Limit(_of_odds(share, _DOUBLE), seconds=seconds, relative=True)
        elif isinstance(each, Costs):
            sketches = arms.baseline.cost, arms.candidate.cost
            if all(map(len, sketches)):
                usd = each.margin.ease * max(one.quantile(_HIGH_COST) for one in sketches)
                share = _worse_share(usd, *sketches) or 0.0
                found[name] = Limit(_of_odds(share, _DOUBLE), usd=usd, relative=True)
    return found


def _worse_share(value: float, *sketches: Sketch) -> float | None:
    """The larger share above a value, as large as it may well be."""
    shares = [
        _at_most(round(each.share_above(value) * len(each)), len(each))
        for each in sketches
        if len(each)
    ]
    return max(shares, default=None)


def _at_most(bad: int, count: int) -> float:
    """The upper end of Wilson's interval (Wilson 1927) for a share."""
    share, square = bad / count, _SURELY_BELOW**2 / count
    root = sqrt(share * (1 - share) * square + square**2 / 4)
    return min((share + square / 2 + root) / (1 + square), 1 - _RAREST)


def _of_odds(share: float, times: float) -> float:
    odds = times * share / (1 - share)
    return odds / (1 + odds)


class ArmCosts(StrictValue):
    """Saved costs of one arm, billionths of a USD; the largest two. `paid`: what cost anything."""

    count: int = 0
    paid: int = 0
    total: int = 0
    largest: tuple[int, int] = (0, 0)


class CostBudget:
    """A plain rule beside the bets: the candidate may not cost more than twice the baseline.

    Its two largest requests are left out, and none of the baseline's: where costs have heavy tails,
    one or two make the difference by chance, several do not.
    """

    FACTOR = 2.0
    FEWEST = 500
    """Requests of each arm."""
    FEWEST_PAID = 60
    """Of these; where most cost nothing, a few more make the difference by chance."""

    def __init__(self) -> None:
        """Start without costs."""
        self.baseline = ArmCosts()
        self.candidate = ArmCosts()

    def add(self, columns: Columns) -> None:
        """Take in costs."""
        if columns.counts is None:
            known = np.isfinite(columns.measured.cost)
            self.baseline = _added(self.baseline, columns.measured.cost[known & ~columns.candidate])
            self.candidate = _added(
                self.candidate, columns.measured.cost[known & columns.candidate]
            )

    @property
    def times(self) -> float | None:
        """How many times the baseline's mean the candidate's is; None: too little is known."""
        ours, theirs = self.candidate, self.baseline
        if min(ours.count, theirs.count) < self.FEWEST:
            return None
        if min(ours.paid, theirs.paid) < self.FEWEST_PAID:
            return None
        return ((ours.total - sum(ours.largest)) / ours.count) / (theirs.total / theirs.count)


def _added(before: ArmCosts, costs: Floats) -> ArmCosts:
    if len(costs) == 0:
        return before
    new = np.rint(costs * 1e9).astype(np.int64).tolist()
    first, second = sorted([*before.largest, *new])[-2:]
    return ArmCosts(
        count=before.count + len(new),
        paid=before.paid + sum(each > 0 for each in new),
        total=before.total + sum(new),
        largest=(first, second),
    )


NEGLIGIBLE = 0.005
"""A candidate that is shown to fail less often than this may go on, whatever the ratio is."""
RARER = (0.5, 0.2, 0.05, 0.001)
"""Alternatives to it."""
_RAREST = 1e-4
"""A usual failure rate is taken to be at least this, and as far from all."""


class Failures(EventComparison):
    """Failed requests, by their odds.

    Attributes:
        usual: the share of the baseline's requests that failed before those that are judged.
    """

    def __init__(self, name: str, metric: ErrorMetric, usual: float) -> None:
        """Compare failure rates."""
        tolerated = Bound(ratio=1 + metric.tolerance)
        super().__init__(name, metric.alpha, tolerated, Bound(ratio=metric.margin_ratio))
        self.usual = min(max(usual, _RAREST), 1 - _RAREST)

    def seen(self, measured: Measurements) -> Bools:
        """Tell where it was reported whether the request failed."""
        return np.isfinite(measured.error)

    def bad(self, measured: Measurements, ease: float | Floats) -> Bools:  # noqa: ARG002  a failure has no size
        """Tell which requests failed."""
        return np.asarray(measured.error == 1, np.bool_)

    def happened(self, measured: Measurements) -> Floats:
        """Tell where the rarer outcome is: only its clusters tell, the usual one is everywhere."""
        rarer = 1.0 if self.usual <= 0.5 else 0.0
        return np.asarray(measured.error == rarer, np.float64)

    def worse(self, columns: Columns, repeated: Floats | None = None) -> Gain:
        """Evidence that the odds of a failure are worse; where some are tolerated, the rate.

        What usually happens repeats as requests do, though what is rare may not: its part counts
        for so much less.
        """
        if self.tolerance.ratio != 1:
            return super().worse(columns, repeated)
        rows = np.flatnonzero(self.seen(columns.measured))
        found = columns.at(rows)
        failed = self.bad(found.measured, 1.0)
        increments = odds_ticks(found.pi, found.candidate, failed, self.usual)
        if repeated is not None:
            less = np.where(failed == (self.usual <= 0.5), 1.0, repeated[rows])
            increments = np.floor(increments / less[:, None]).astype(np.int64)
        return Gain(rows, increments, found.counts)

    def within(self, columns: Columns) -> Gain:
        """Evidence that the rarer outcome, failure or success, is within the margin."""
        if self.usual <= 0.5:
            return super().within(columns)
        rows = np.flatnonzero(columns.measured.error == 0)
        found = columns.at(rows)
        null = -log(self.margin.ratio)
        return Gain(rows, event_ticks(found.pi, found.candidate, null, null + grid()), found.counts)

    def negligible(self, measured: Measurements) -> Ints:
        """Evidence that less than `NEGLIGIBLE` of the requests fail: none of many says so too."""
        return rate_ticks(measured.error[self.seen(measured)] == 1, NEGLIGIBLE, RARER)


class SlowAnswers(EventComparison):
    """Answers slower than a quantile of the baseline."""

    def __init__(self, name: str, metric: RatioMetric, threshold: float) -> None:
        """Compare how often `threshold` (seconds) is exceeded."""
        super().__init__(name, metric.alpha, *_bounds(metric))
        self.threshold = threshold

    def seen(self, measured: Measurements) -> Bools:
        """Tell which requests succeeded and were timed."""
        return succeeded(measured)

    def bad(self, measured: Measurements, ease: float | Floats) -> Bools:
        """Tell which successes were slower than the threshold."""
        return succeeded(measured) & (measured.latency > self.threshold * ease)


class LatencyRanks(ScoreComparison):
    """Whole distributions of latency: a sequential Mann-Whitney test."""

    def __init__(self, name: str, metric: RatioMetric, frozen: FrozenBaseline) -> None:
        """Rank latencies among the frozen baseline's."""
        super().__init__(name, metric.alpha, *_bounds(metric))
        self.frozen = frozen

    def seen(self, measured: Measurements) -> Bools:
        """Tell which requests succeeded and were timed."""
        return succeeded(measured)

    def score(self, measured: Measurements, ease: float | Floats) -> Floats:
        """The rank: -1 quicker than all of the baseline, 1 slower than all."""
        return 2 * self.frozen.rank(measured.latency / ease) - 1


CLIPS = (4.0, 16.0, 64.0, 256.0)
"""Heights at which large costs are cut, in caps: what is rare and large is a cost too."""
STAKES = (0.1, 0.4, 0.9)
_USUAL_COSTS = 0.75
"""The weight of costs up to the cap."""


class Costs(ScoreComparison):
    """Mean costs: the usual ones, cut at the cap, and rare large ones, cut at several heights.

    A cost cut at a height and divided by it lies between 0 and 1. Times `b / pi - 1`, with the draw
    `b` (1: the candidate's), it has mean 0 where both cost the same, and is never below -1: one
    large cost of a candidate that gets little traffic says much.
    """

    alternatives = len(BETS) + len(CLIPS) * len(STAKES)
    weights = (
        *[_USUAL_COSTS / len(BETS)] * len(BETS),
        *[(1 - _USUAL_COSTS) / len(CLIPS) / len(STAKES)] * (len(CLIPS) * len(STAKES)),
    )

    def __init__(self, name: str, metric: RatioMetric, frozen: FrozenCost) -> None:
        """Compare costs on the frozen scale."""
        super().__init__(name, metric.alpha, *_bounds(metric))
        self.frozen = frozen

    def seen(self, measured: Measurements) -> Bools:
        """Tell which costs were reported."""
        return np.isfinite(measured.cost)

    def score(self, measured: Measurements, ease: float | Floats) -> Floats:
        """The distance from the baseline's mean; 1 at the cap."""
        mean, cap = self.frozen.mean, self.frozen.cap
        return np.clip((np.minimum(measured.cost / ease, cap) - mean) / (cap - mean), -1, 1)

    def _large(self, measured: Measurements, ease: float | Floats) -> Floats:
        """The share of each height that a cost reaches, a column per height."""
        found: Floats = (measured.cost / ease)[:, None] / (np.array(CLIPS) * self.frozen.cap)
        return np.minimum(found, 1.0)

    def _ramped(self, columns: Columns, bound: Bound, sign: int) -> Gain:
        usual = super()._ramped(columns, bound, sign)
        found = columns.at(usual.rows)
        large = self._large(found.measured, np.where(found.candidate, bound.ease, 1.0))
        lean = (found.candidate - found.pi) / (found.pi if sign > 0 else 1 - found.pi)
        bets = [score_ticks(sign * lean * height, STAKES) for height in large.T]
        return Gain(usual.rows, np.hstack([usual.increments, *bets]), found.counts)

    def _paired(self, pairs: PairColumns, bound: Bound, sign: int) -> Gain:
        usual = super()._paired(pairs, bound, sign)
        found = pairs.at(usual.rows)
        more = self._large(found.candidate, bound.ease) - self._large(found.baseline, 1.0)
        bets = [score_ticks(sign * height, STAKES) for height in more.T]
        return Gain(usual.rows, np.hstack([usual.increments, *bets]))


class ReturnOnSpend(ScoreComparison):
    """Revenue short of what the spend should bring at the baseline's ratio."""

    def __init__(self, name: str, metric: RatioMetric, frozen: FrozenRoas) -> None:
        """Compare what is missing, on the frozen scale."""
        tolerated, margin = Bound(1 / (1 - metric.tolerance)), Bound(1 / (1 - metric.margin))
        super().__init__(name, metric.alpha, tolerated, margin)
        self.frozen = frozen

    def seen(self, measured: Measurements) -> Bools:
        """Tell where both revenue and spend were reported."""
        return np.isfinite(measured.revenue) & np.isfinite(measured.spend)

    def score(self, measured: Measurements, ease: float | Floats) -> Floats:
        """The missing revenue; the candidate may bring the tolerated share less."""
        missing = self.frozen.ratio * measured.spend / ease - measured.revenue
        return np.clip(missing / self.frozen.scale, -1, 1)


def _bounds(metric: RatioMetric) -> tuple[Bound, Bound]:
    return Bound(1 + metric.tolerance), Bound(1 + metric.margin)


def comparisons(policy: Policy, frozen: FrozenBaseline) -> dict[str, Comparison]:
    """Set up every metric of the policy that the shadow observed, by name."""
    found: dict[str, Comparison] = {}
    for name, metric in policy.metrics.chosen():
        if isinstance(metric, ErrorMetric):
            if frozen.error_rate is not None:
                usual = (frozen.error_rate * frozen.n + 0.5) / (frozen.n + 1)
                found[name] = Failures(name, metric, usual)
        elif name == "latency":
            if frozen.latency is not None:
                found[name] = LatencyRanks(name, metric, frozen)
        elif name == "cost":
            if frozen.cost == "total":
                found[name] = TotalCosts(name, metric)
            elif frozen.cost is not None:
                found[name] = Costs(name, metric, frozen.cost)
        elif name == "roas":
            if frozen.roas is not None:
                found[name] = ReturnOnSpend(name, metric, frozen.roas)
        elif name in frozen.thresholds:
            found[name] = SlowAnswers(name, metric, frozen.thresholds[name])
    return found
