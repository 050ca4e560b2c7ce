"""What is believed of each commit: rates of flakes, and the posterior over culprits.

Neither rate is known, so both are integrated out. Each has a two-component Beta mixture as its
prior: mostly rare, sometimes frequent. The integral is a sum over a fixed grid of rates, even in
log-odds, where the integrand is smooth and the trapezoid rule is accurate far beyond need.

Hypotheses are numbered: each commit of the range, then `no culprit` (every commit is good), then
`before range` (every commit is bad, the good ends too). Under a hypothesis every tried commit is
either good or bad, so hypotheses that agree on all tried commits share one likelihood: only as
many likelihoods are computed as there are such groups.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from math import lgamma

import numpy as np
from numpy.typing import NDArray

from bot.culprit.graph import Ancestry

Floats = NDArray[np.float64]

_LOG_ODDS = np.linspace(-11.0, 7.0, 64)
RATES: Floats = 1.0 / (1.0 + np.exp(-_LOG_ODDS))
"""The grid of rates, from 0.002% to 99.9%."""
LOG_RATES: Floats = np.log(RATES)
LOG_OTHERWISE: Floats = np.log1p(-RATES)

WORST_FLAKE = 0.5
"""A good commit fails at most so often; a signal that lies more is no signal."""
RAREST_FAILURE = 0.8
"""A broken commit passes at most so often. A rarer failure drowns in flakes: it is taken for one,
or no number of runs could ever say that the bad end is fine.
"""

HISTORY_CAP = 50.0
"""Past runs count as at most so many: this regression need not flake like the last one."""


@dataclass(frozen=True, slots=True)
class Beta:
    """One component of a mixture: Beta(a, b) with a weight."""

    weight: float
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class Mixture:
    """A mixture of Betas over a rate up to a limit, and the runs seen since.

    `hits` of them lied, `misses` did not.
    """

    parts: tuple[Beta, ...]
    limit: float = 1.0
    hits: float = 0.0
    misses: float = 0.0

    def on_grid(self) -> Floats:
        """Give the probability of each rate in `RATES`, summing to 1."""
        density = np.zeros_like(RATES)
        for part in self.parts:
            scale = lgamma(part.a + part.b) - lgamma(part.a) - lgamma(part.b)
            # d rate = rate (1 - rate) d log-odds, hence a and b without the usual minus one.
            density += part.weight * np.exp(scale + part.a * LOG_RATES + part.b * LOG_OTHERWISE)
        density *= np.exp(self.hits * LOG_RATES + self.misses * LOG_OTHERWISE)
        density[self.limit < RATES] = 0.0
        probability: Floats = density / density.sum()
        return probability

    def seen(self, hits: int, misses: int) -> Mixture:
        """Learn from past runs, counted as `HISTORY_CAP` at most."""
        scale = min(1.0, HISTORY_CAP / max(1, hits + misses))
        return replace(self, hits=self.hits + hits * scale, misses=self.misses + misses * scale)


@dataclass(frozen=True, slots=True)
class History:
    """Past runs of the signal on commits whose state is known.

    Green runs teach the rate of false failures only; how often a broken commit passes is taught
    by runs on commits known to be broken.
    """

    good_passed: int = 0
    good_failed: int = 0
    bad_failed: int = 0
    bad_passed: int = 0


@dataclass(frozen=True, slots=True)
class RatePriors:
    """What is believed of both rates before the search.

    The weights and widths were settled by measuring (benchmarks/culprit.py): a broader tail of
    false passes costs runs at 20% flakes, a thinner one accuracy at 30% false passes.
    """

    false_fail: Mixture = Mixture((Beta(0.8, 1, 19), Beta(0.2, 1, 3)), limit=WORST_FLAKE)
    false_pass: Mixture = Mixture((Beta(0.7, 1, 19), Beta(0.3, 1, 3)), limit=RAREST_FAILURE)

    def after(self, history: History) -> RatePriors:
        """Fit the priors to the signal's own history."""
        return RatePriors(
            self.false_fail.seen(history.good_failed, history.good_passed),
            self.false_pass.seen(history.bad_passed, history.bad_failed),
        )


@dataclass(slots=True)
class Cell:
    """The results of one tree in one environment."""

    fails: int = 0
    passes: int = 0

    @property
    def agrees(self) -> bool:
        """Whether no run contradicts another."""
        return self.fails == 0 or self.passes == 0

    @property
    def repeated(self) -> bool:
        """Whether there was more than one run."""
        return self.fails + self.passes > 1


def cell_likelihood(cell: Cell, agreement: float) -> tuple[Floats, Floats]:
    """Give the log-likelihood of a cell for each rate, if its commit is good and if it is bad.

    With probability `agreement` a cell is stuck: whatever it said first it says again, so that
    repeats that agree add little, and any number of them stays below a bound. Repeats that
    disagree prove that the cell is not stuck, and count in full.

    Args:
        cell: the results.
        agreement: probability that repeats agree whatever the truth, 0 to 1.

    Returns:
        For each rate of false failures, the log-likelihood if good; and for each rate of false
        passes, the log-likelihood if bad.
    """
    if_good = cell.fails * LOG_RATES + cell.passes * LOG_OTHERWISE
    if_bad = cell.passes * LOG_RATES + cell.fails * LOG_OTHERWISE
    if cell.repeated and cell.agrees:
        first_good, first_bad = (
            (LOG_RATES, LOG_OTHERWISE) if cell.fails else (LOG_OTHERWISE, LOG_RATES)
        )
        if_good = either(agreement, first_good, if_good)
        if_bad = either(agreement, first_bad, if_bad)
    return if_good, if_bad


def either(probability: float, first: Floats | float, second: Floats) -> Floats:
    """Log of the mixture `probability`·exp(first) + (1 - `probability`)·exp(second)."""
    with np.errstate(divide="ignore"):
        mixed: Floats = np.logaddexp(np.log(probability) + first, np.log1p(-probability) + second)
    return mixed


Bools = NDArray[np.bool_]

PERSON_ERRS = 0.001
"""How often a person's word on a commit is wrong."""


@dataclass(frozen=True, slots=True)
class Beliefs:
    """The posterior, and what it predicts.

    Attributes:
        probability: of each hypothesis, summing to 1.
        fails_if_good: under each hypothesis, the chance that a good commit fails when tried.
        fails_if_bad: under each hypothesis, the chance that a bad commit fails when tried.
        false_fail: the probability of each rate in `RATES` of false failures.
        false_pass: the same of false passes.
    """

    probability: Floats
    fails_if_good: Floats
    fails_if_bad: Floats
    false_fail: Floats
    false_pass: Floats

    def upper(self, level: float = 0.95) -> tuple[float, float]:
        """Bound the rates of false failures and false passes from above, each at `level`."""
        return _quantile(self.false_fail, level), _quantile(self.false_pass, level)


class Posterior:
    """Beliefs over the culprit, updated result by result. Nodes are commits, then good ends."""

    def __init__(
        self,
        ancestry: Ancestry,
        prior: Floats,
        rates: RatePriors,
        *,
        agreement: float,
        no_culprit: float,
        before_range: float,
    ) -> None:
        """Start from a prior.

        Args:
            ancestry: of the range.
            prior: weight of each commit; any positive scale.
            rates: beliefs on the signal's flakes.
            agreement: probability that repeats in one environment agree whatever the truth.
            no_culprit: prior probability that no commit is guilty.
            before_range: prior probability that the good end is bad already.
        """
        self.ancestry = ancestry
        self.commits = len(ancestry.graph)
        rest = 1.0 - no_culprit - before_range
        self.prior = np.append(prior / prior.sum() * rest, [no_culprit, before_range])
        self.agreement = agreement
        self._false_fail = rates.false_fail.on_grid()
        self._false_pass = rates.false_pass.on_grid()
        self._group: NDArray[np.intp] = np.zeros(self.commits + 2, np.intp)
        self._bad_in_group: Bools = np.zeros((1, 0), np.bool_)
        self._row: dict[int, int] = {}
        self._cells: dict[int, dict[Hashable, Cell]] = {}
        self._disagreements: dict[Hashable, int] = {}
        self._rulings: dict[int, list[bool]] = {}
        self._doubts: dict[int, float] = {}
        self._chance = self._false_fail
        self._if_good: list[Floats] = []
        self._if_bad: list[Floats] = []
        self._beliefs: Beliefs | None = None

    @property
    def no_culprit(self) -> int:
        """The number of the hypothesis that no commit is guilty."""
        return self.commits

    @property
    def before_range(self) -> int:
        """The number of the hypothesis that the good end is bad already."""
        return self.commits + 1

    def makes_bad(self, node: int) -> Bools:
        """Mark the hypotheses under which a node is bad."""
        marks = np.zeros(self.commits + 2, np.bool_)
        if node < self.commits:
            marks[: self.commits] = self.ancestry.of(node)
        marks[self.before_range] = True
        return marks

    def add(self, node: int, environment: Hashable, *, failed: bool) -> None:
        """Learn the result of one run."""
        self._row_of(node)
        cell = self._cells.setdefault(node, {}).setdefault(environment, Cell())
        agreed = cell.agrees
        if failed:
            cell.fails += 1
        else:
            cell.passes += 1
        if agreed and not cell.agrees:
            self._reconsider(environment)
        self._weigh(node)

    def stuck(self, environment: Hashable) -> float:
        """Probability that repeats in an environment agree whatever the truth.

        Each cell seen to disagree with itself counts against it, by the rule of succession.
        """
        return self.agreement * 2.0 / (2.0 + self._disagreements.get(environment, 0))

    def freshness(self, node: int, environment: Hashable) -> float:
        """What one more run of a node there is worth, from 0 to 1 for a first one.

        Ever less while its runs agree; in full once they have disagreed.
        """
        cell = self._cells.get(node, {}).get(environment)
        if cell is None or not cell.agrees:
            return 1.0
        return (1.0 - self.stuck(environment)) ** (cell.fails + cell.passes)

    def _reconsider(self, environment: Hashable) -> None:
        """Weigh an environment's cells anew after repeats in it disagreed."""
        self._disagreements[environment] = self._disagreements.get(environment, 0) + 1
        for node, cells in self._cells.items():
            if environment in cells and cells[environment].repeated:
                self._weigh(node)

    def retract(self, node: int) -> int:
        """Unlearn every run of a node, as it cannot be tried; a person's word on it stays.

        Returns:
            How many of its runs failed.
        """
        cells = self._cells.pop(node, {})
        if cells:
            self._weigh(node)
        return sum(cell.fails for cell in cells.values())

    def doubt(self, shares: Mapping[int, float], chance: Floats) -> None:
        """Learn which nodes may be untestable although they failed.

        Such a failure either is honest, or came by chance before the commit was tried at all and
        says nothing of it: its likelihood is a mixture of both.

        Args:
            shares: of nodes that have only failed, the probability, but for that failure, of
                being untestable. Nodes left out are not doubted.
            chance: the probability of each rate in `RATES` of failures of untestable commits.
        """
        before, self._doubts = self._doubts, {n: s for n, s in shares.items() if s > 0.0}
        self._chance = chance
        for node in before.keys() | self._doubts.keys():
            self._weigh(node)

    def only_failed(self, node: int) -> bool:
        """Whether the node was tried and never passed."""
        cells = self._cells.get(node, {}).values()
        return bool(cells) and not any(cell.passes for cell in cells)

    def rule(self, node: int, *, good: bool) -> None:
        """Learn a person's word on a node."""
        self._row_of(node)
        self._rulings.setdefault(node, []).append(good)
        self._weigh(node)

    def _weigh(self, node: int) -> None:
        """Work out a node's likelihoods from all that is known of it."""
        if_good, if_bad = np.zeros_like(RATES), np.zeros_like(RATES)
        fails = 0
        for environment, cell in self._cells.get(node, {}).items():
            good, bad = cell_likelihood(cell, self.stuck(environment))
            if_good, if_bad = if_good + good, if_bad + bad
            fails += cell.fails
        share = self._doubts.get(node, 0.0)
        if share and self.only_failed(node):
            untried = float(np.log(self._chance @ RATES**fails))
            if_good, if_bad = either(share, untried, if_good), either(share, untried, if_bad)
        right, wrong = np.log1p(-PERSON_ERRS), np.log(PERSON_ERRS)
        for good_says in self._rulings.get(node, ()):
            if_good = if_good + (right if good_says else wrong)
            if_bad = if_bad + (wrong if good_says else right)
        row = self._row[node]
        self._if_good[row], self._if_bad[row] = if_good, if_bad
        self._beliefs = None

    def runs(self, node: int, environment: Hashable) -> int:
        """Count the runs of a node in an environment."""
        cell = self._cells.get(node, {}).get(environment)
        return cell.fails + cell.passes if cell else 0

    @property
    def tried_nodes(self) -> tuple[int, ...]:
        """The nodes that have a result."""
        return tuple(self._cells)

    def total_runs(self, node: int) -> int:
        """Count the runs of a node anywhere."""
        return sum(c.fails + c.passes for c in self._cells.get(node, {}).values())

    def tried(self, node: int) -> bool:
        """Whether the node has a result."""
        return node in self._cells

    @property
    def beliefs(self) -> Beliefs:
        """The posterior given everything learnt so far."""
        if self._beliefs is None:
            self._beliefs = self._infer()
        return self._beliefs

    def _row_of(self, node: int) -> int:
        """Give the row of a node among the tried ones, splitting the groups if it is new."""
        if node in self._row:
            return self._row[node]
        self._row[node] = row = len(self._row)
        marks = self.makes_bad(node)
        split = self._group * 2 + marks
        present = np.flatnonzero(np.bincount(split, minlength=2 * len(self._bad_in_group)))
        renumbered = np.zeros(2 * len(self._bad_in_group), np.intp)
        renumbered[present] = np.arange(len(present))
        self._group = renumbered[split]
        self._bad_in_group = np.column_stack(
            [self._bad_in_group[present // 2], (present % 2).astype(np.bool_)]
        )
        self._if_good.append(np.zeros_like(RATES))
        self._if_bad.append(np.zeros_like(RATES))
        return row

    def _infer(self) -> Beliefs:
        if not self._row:
            even = np.ones(self.commits + 2)
            return Beliefs(
                self.prior.copy(),
                even * float(self._false_fail @ RATES),
                even * (1.0 - float(self._false_pass @ RATES)),
                self._false_fail,
                self._false_pass,
            )
        bad = self._bad_in_group.astype(np.float64)
        log_good = (1.0 - bad) @ np.array(self._if_good)
        log_bad = bad @ np.array(self._if_bad)
        top_good, top_bad = log_good.max(axis=1), log_bad.max(axis=1)
        good = np.exp(log_good - top_good[:, None]) * self._false_fail
        bads = np.exp(log_bad - top_bad[:, None]) * self._false_pass
        sum_good, sum_bad = good.sum(axis=1), bads.sum(axis=1)
        log_evidence = np.log(sum_good) + np.log(sum_bad) + top_good + top_bad
        evidence = np.exp(log_evidence - log_evidence.max())
        fails_if_good = (good @ RATES) / sum_good
        fails_if_bad = 1.0 - (bads @ RATES) / sum_bad
        weight = self.prior * evidence[self._group]
        probability = weight / weight.sum()
        mass = np.bincount(self._group, probability, len(evidence))
        return Beliefs(
            probability,
            fails_if_good[self._group],
            fails_if_bad[self._group],
            (mass / sum_good) @ good,
            (mass / sum_bad) @ bads,
        )


def _quantile(weights: Floats, level: float) -> float:
    return float(RATES[min(int(np.searchsorted(np.cumsum(weights), level)), len(RATES) - 1)])
