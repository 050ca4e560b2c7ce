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

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from bot import LazyModule
from bot.culprit.flake_rates import (
    RAREST_FAILURE,
    Beta,
    Cell,
    FurtherChanges,
    Mixture,
    RatePriors,
    cell_likelihood,
    either,
    rates,
)
from bot.culprit.graph import Ancestry
from bot.culprit.rivals import (
    EarlierBreak,
    RatesBelieved,
    Rows,
    Storms,
    TimedRun,
    changed_rate,
    doubtful,
    earlier_break,
    log_mean,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LazyModule("numpy")

Floats: TypeAlias = "NDArray[np.float64]"


MOST_FLAKY = 0.55
"""A good commit of a signal that became flaky fails at most so often."""
CHANGES_SURELY = 0.8
"""From this share of the posterior on, trials are chosen to find where a rate changed, too."""
MENDED_SURELY = 0.5
"""From here on the culprit is looked for behind the mended stretch, as anywhere."""
NOT_PLAINLY = 0.4
"""Where nobody is guilty, neither storms nor plain flakes are the reason for so much of it."""
LOCATED = 0.3
"""From this probability of one hypothesis on, the rival explanations are weighed."""


Bools: TypeAlias = "NDArray[np.bool_]"

PERSON_ERRS = 0.001
"""How often a person's word on a commit is wrong."""


@dataclass(frozen=True, slots=True)
class Explanations:
    """What the rivals say: log-evidence of groups, and by commit where the line was broken before.

    Attributes:
        plain: of each group, flakes being independent.
        good_changed: group of the culprit by group of the commit where false failures changed.
        bad_changed: the same for false passes.
        stormy: of each group.
        broken_before: along the line of commits, where every tried commit is on it.
        order: the tried nodes, good ends first, then along the line.
        line: the commits of the line.
        gap: of each commit of the line, its gap.
        by_commit: of each commit of the range, the log-evidence that it was the last of two breaks.
    """

    plain: Floats
    good_changed: Floats
    bad_changed: Floats
    stormy: Floats
    broken_before: EarlierBreak | None
    order: tuple[int, ...]
    line: NDArray[np.intp]
    gap: NDArray[np.intp]
    by_commit: Floats | None


@dataclass(frozen=True, slots=True)
class Beliefs:
    """The posterior, and what it predicts.

    Attributes:
        probability: of each hypothesis, summing to 1.
        fails_if_good: under each hypothesis, the chance that a good commit fails when tried.
        fails_if_bad: under each hypothesis, the chance that a bad commit fails when tried.
        false_fail: the probability of each rate in `rates` of false failures.
        false_pass: the same of false passes.
        storm: how likely there was a storm at the last run.
        broken_before: how likely it had been broken and mended before.
        why: what the rival explanations say; None while the posterior is still wide.
    """

    probability: Floats
    fails_if_good: Floats
    fails_if_bad: Floats
    false_fail: Floats
    false_pass: Floats
    storm: float = 0.0
    broken_before: float = 0.0
    why: Explanations | None = None

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
        rivals: bool = True,
        storms: float = 0.2,
        changes: FurtherChanges | None = None,
    ) -> None:
        """Start from a prior.

        Args:
            ancestry: of the range.
            prior: weight of each commit; any positive scale.
            rates: beliefs on the signal's flakes.
            agreement: probability that repeats in one environment agree whatever the truth.
            no_culprit: prior probability that no commit is guilty.
            before_range: prior probability that the good end is bad already.
            rivals: weigh rival explanations too; without, flakes are taken for independent.
            storms: prior probability that there are outages or bursts of failures.
            changes: prior probabilities of further changes along the range.
        """
        self._with_rivals = rivals
        self._stormy_share = storms
        self._changes = changes = changes or FurtherChanges()
        self._plain_share = 1.0 - changes.good - changes.bad - storms
        self._nobody_plainly = 1.0 - storms - NOT_PLAINLY
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
        self._usable = np.ones(self.commits)
        self._runs: list[TimedRun] = []
        self._storms: Storms | None = self._calm_start()
        self._good_rate = RatesBelieved(
            self._false_fail, _changed(changes.good_becomes, MOST_FLAKY)
        )
        self._bad_rate = RatesBelieved(
            self._false_pass, _changed(changes.bad_becomes, RAREST_FAILURE)
        )

    def _calm_start(self) -> Storms:
        return Storms(self._false_fail, self._false_pass)

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

    def add(self, node: int, environment: Hashable, *, failed: bool, at: int | None = None) -> None:
        """Learn the result of one run; `at` is the moment it was made, None if nobody knows."""
        row = self._row_of(node)
        run = TimedRun(row, at, failed, self.freshness(node, environment))
        late = at is not None and any(r.at is not None and r.at > at for r in self._runs[-8:])
        self._runs.append(run)
        if late:
            self._storms = None
        elif self._storms is not None:
            self._storms.learn(run, self._bad_in_group[:, row])
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
        """Weigh an environment's cells again after repeats in it disagreed."""
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
            self._runs = [run for run in self._runs if run.row != self._row[node]]
            self._storms = None
            self._weigh(node)
        return sum(cell.fails for cell in cells.values())

    def doubt(self, shares: Mapping[int, float], chance: Floats) -> None:
        """Learn which nodes may be untestable although they failed.

        Such a failure either is honest, or came by chance before the commit was tried at all and
        says nothing of it: its likelihood is a mixture of both.

        Args:
            shares: of nodes that have only failed, the probability, but for that failure, of
                being untestable. Nodes left out are not doubted.
            chance: the probability of each rate in `rates` of failures of untestable commits.
        """
        before, self._doubts = self._doubts, {n: s for n, s in shares.items() if s > 0.0}
        self._chance = chance
        for node in before.keys() | self._doubts.keys():
            self._weigh(node)

    def leave_out(self, untestable: Iterable[int]) -> None:
        """Learn which nodes cannot be tried, or must not be."""
        usable = np.ones(self.commits)
        usable[[node for node in untestable if node < self.commits]] = 0.0
        if (usable != self._usable).any():
            self._usable, self._beliefs = usable, None

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
        if_good, if_bad = np.zeros_like(rates()), np.zeros_like(rates())
        fails = 0
        for environment, cell in self._cells.get(node, {}).items():
            good, bad = cell_likelihood(cell, self.stuck(environment))
            if_good, if_bad = if_good + good, if_bad + bad
            fails += cell.fails
        share = self._doubts.get(node, 0.0)
        if share and self.only_failed(node):
            untried = float(np.log(self._chance @ rates() ** fails))
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
        self._if_good.append(np.zeros_like(rates()))
        self._if_bad.append(np.zeros_like(rates()))
        if self._storms is not None:
            self._storms.split(present // 2)
        return row

    def _infer(self) -> Beliefs:
        if not self._row:
            even = np.ones(self.commits + 2)
            return Beliefs(
                self.prior.copy(),
                even * float(self._false_fail @ rates()),
                even * (1.0 - float(self._false_pass @ rates())),
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
        fails_if_good = (good @ rates()) / sum_good
        fails_if_bad = 1.0 - (bads @ rates()) / sum_bad
        weight = self.prior * evidence[self._group]
        probability = weight / weight.sum()
        storm, before, why = 0.0, 0.0, None
        # Where nothing was run, people's words are taken at their word.
        if self._with_rivals and self._runs and probability.max() >= LOCATED:
            why = self._explain(log_evidence)
            probability, storm, before, plainly = self._mix(why)
            fails_if_good = _shrunk(fails_if_good, plainly, probability, self._group)
            fails_if_bad = _shrunk(fails_if_bad, plainly, probability, self._group)
        mass = np.bincount(self._group, probability, len(evidence))
        return Beliefs(
            probability,
            fails_if_good[self._group],
            fails_if_bad[self._group],
            (mass / sum_good) @ good,
            (mass / sum_bad) @ bads,
            storm,
            before,
            why,
        )

    def _explain(self, plain: Floats) -> Explanations:
        """Weigh the rival explanations."""
        if_good, if_bad = np.array(self._if_good), np.array(self._if_bad)
        bad = self._bad_in_group.astype(np.float64)
        share = np.bincount(self._group[: self.commits], minlength=len(bad)) / self.commits
        rows = Rows(bad, if_good, if_bad, share)
        good_changed, bad_changed = changed_rate(
            rows, self._good_rate, self._bad_rate, self._changes.rising, self._changes.at_limit
        )
        line = np.array(self.ancestry.graph.first_parent_line)
        gap = np.zeros(len(line), np.intp)
        before, by_commit = None, None
        order: tuple[int, ...] = ()
        place = {int(commit): i for i, commit in enumerate(line)} if len(self._row) < 200 else {}
        nodes = [n for n in self._row if n < self.commits]
        if nodes and all(n in place for n in nodes):
            goods = [n for n in self._row if n >= self.commits]
            nodes.sort(key=lambda n: place[n])
            order = (*goods, *nodes)
            rows_in_order = [self._row[n] for n in order]
            places = np.array([place[n] for n in nodes])
            gap = np.searchsorted(places, np.arange(len(line))) + len(goods)
            sizes = np.bincount(gap, minlength=len(rows_in_order) + 1).astype(np.float64)
            before = earlier_break(
                if_good[rows_in_order],
                if_bad[rows_in_order],
                sizes,
                self._false_fail,
                self._false_pass,
                np.bincount(gap, self._usable[line], len(rows_in_order) + 1).astype(np.float64),
            )
            by_commit = np.full(self.commits, -np.inf)
            with np.errstate(divide="ignore", invalid="ignore"):
                by_commit[line] = (before.culprit - np.log(sizes))[gap]
        return Explanations(
            plain,
            good_changed,
            bad_changed,
            self._stormy(plain),
            before,
            order,
            line,
            gap,
            by_commit,
        )

    def _stormy(self, plain: Floats) -> Floats:
        """Evidence of each group if there are storms; where commits are doubted, not asked."""
        if self._doubts:
            return plain
        if self._storms is None:
            self._storms = self._calm_start()
            self._storms.split(np.zeros(len(self._bad_in_group), np.intp))
            for run in sorted(self._runs, key=lambda r: -1 if r.at is None else r.at):
                self._storms.learn(run, self._bad_in_group[:, run.row])
        said = self._storms.evidence
        for node, rulings in self._rulings.items():
            bad = self._bad_in_group[:, self._row[node]]
            for good_says in rulings:
                said = said + np.where(
                    bad != good_says, np.log1p(-PERSON_ERRS), np.log(PERSON_ERRS)
                )
        return said

    def boundaries(self, hypothesis: int) -> tuple[tuple[int, BoundaryKind], ...]:
        """Name the further boundaries that come with a hypothesis, by commit, oldest first."""
        why = self.beliefs.why
        if why is None:
            return ()
        group = self._group[hypothesis]
        guilty = hypothesis < self.commits
        plain = np.log(self._plain_share if guilty else self._nobody_plainly)
        # That it became flaky is said where runs show it, not because it is so likely beforehand.
        onset = min(self._changes.onset, NOT_PLAINLY)
        changed = np.log(self._changes.good if guilty else onset)
        parts = [
            np.array([why.plain[group] + plain, why.stormy[group] + np.log(self._stormy_share)]),
            why.good_changed[group] + changed,
        ]
        if hypothesis < self.commits:
            parts.append(why.bad_changed[group] + np.log(self._changes.bad))
            before = -np.inf if why.by_commit is None else float(why.by_commit[hypothesis])
            parts.append(np.array([before + np.log(self._changes.broken_before)]))
        weights = np.exp(np.concatenate(parts) - max(float(part.max()) for part in parts))
        weights /= weights.sum()
        groups = len(why.plain)
        if hypothesis < self.commits and weights[-1] >= NAMED and why.broken_before is not None:
            last = int(why.gap[np.flatnonzero(why.line == hypothesis)[0]])
            mended = int(why.broken_before.mended[last])
            first = int(why.broken_before.first[mended])
            return (
                (self._end_of_gap(why, first), BoundaryKind.BROKEN),
                (self._end_of_gap(why, mended), BoundaryKind.FIXED),
            )
        found = []
        for start, kind in ((2, BoundaryKind.FLAKY_FROM), (2 + groups, BoundaryKind.FAILS_FROM)):
            part = weights[start : start + groups]
            if len(part) == groups and part.max() >= NAMED:
                members = np.flatnonzero(self._group[: self.commits] == int(part.argmax()))
                found.append((int(members[-1]), kind))
        return tuple(found)

    def changing(self, most: int) -> tuple[NDArray[np.intp], Floats] | None:
        """Give the likeliest explanations by a rate that changes, where one did, all but surely.

        Returns:
            Rows of culprit, commit of the change and which rate changed (0 that of false failures,
            1 of false passes), and the weight of each. Nobody, and no change, are one more than the
            last commit. A stretch not tried yet stands for itself by its ends and its middle.
        """
        why = self.beliefs.why
        if why is None or not self.ancestry.graph.is_chain:
            return None
        mass = np.bincount(self._group[: self.commits], self.prior[: self.commits], len(why.plain))
        good, bad = mass * self._changes.good, mass * self._changes.bad
        own = self._group[self.no_culprit]
        good[own] = self.prior[self.no_culprit] * self._changes.onset
        both = np.stack([why.good_changed, why.bad_changed])
        top = float(max(both.max(), why.plain.max(), why.stormy.max()))
        weights = np.stack([good, bad])[:, :, None] * np.exp(both - top)
        steady = self._plain_share * np.exp(why.plain - top) * mass
        steady += self._stormy_share * np.exp(why.stormy - top) * mass
        share = weights.sum() / (weights.sum() + steady.sum())
        if share * (1.0 - self.beliefs.broken_before) < CHANGES_SURELY:
            return None
        # No change: it lies in a group of its own, behind all.
        weights = np.concatenate([weights, np.zeros((2, len(mass), 1))], axis=2)
        weights[0, :, -1] = steady
        order = np.argsort(weights, axis=None)[::-1][:most]
        kinds, culprits, changes = np.unravel_index(order, weights.shape)
        first = np.full(len(mass) + 1, self.commits)
        last = first.copy()
        np.minimum.at(first, self._group[: self.commits], np.arange(self.commits))
        last[self._group[: self.commits]] = np.arange(self.commits)
        first[own] = last[own] = self.commits
        thirds = np.array([0.0, 0.5, 1.0])
        among = first[:, None] + np.rint((last - first)[:, None] * thirds).astype(np.intp)
        rows = np.stack(
            [
                np.repeat(among[culprits], 3, axis=1).ravel(),
                np.tile(among[changes], 3).ravel(),
                np.repeat(kinds, 9),
            ],
            axis=1,
        )
        return rows, np.repeat(weights.ravel()[order] / 9.0, 9)

    def tallies(self) -> tuple[NDArray[np.intp], Floats, Floats]:
        """Give the tried nodes, their failures and their runs."""
        nodes = np.array(list(self._cells), np.intp)
        fails = [sum(cell.fails for cell in self._cells[n].values()) for n in self._cells]
        return nodes, np.array(fails, float), np.array([self.total_runs(n) for n in self._cells])

    def _end_of_gap(self, why: Explanations, gap: int) -> int:
        return int(why.line[np.flatnonzero(why.gap == gap)[-1]])

    def runs_from(self, commit: int) -> int:
        """Count the runs of a commit and of all that descend from it."""
        nodes = [n for n in self._cells if n < self.commits and self.ancestry.of(n)[commit]]
        return sum(self.total_runs(n) for n in nodes)

    @property
    def was_stormy(self) -> bool:
        """Whether, if nobody is guilty, storms explain the failures better than single flakes."""
        why, group = self.beliefs.why, self._group[self.no_culprit]
        return why is not None and bool(why.stormy[group] > why.plain[group] + np.log(9.0))

    @property
    def located(self) -> float:
        """How likely it is the likeliest commit, or one that no trial so far told from it."""
        probability = self.beliefs.probability[: self.commits]
        group = self._group[: self.commits]
        return float(probability[group == group[int(probability.argmax())]].sum())

    def perhaps_mended(self) -> tuple[float, int]:
        """Find where it may have been mended for a while after the likeliest culprit.

        Returns:
            How likely that is, and the commit that would show it.
        """
        why = self.beliefs.why
        best = int(self.beliefs.probability[: self.commits].argmax())
        if (
            why is None
            or why.broken_before is None
            or best not in why.line
            or self.beliefs.broken_before >= MENDED_SURELY
        ):
            return 0.0, 0
        tried, gaps, chance = doubtful(
            why.broken_before, int(why.gap[np.searchsorted(why.line, best)])
        )
        place = int(np.concatenate([tried, gaps]).argmax())
        if place < len(tried):
            return chance * self.beliefs.broken_before, why.order[place]
        inside = why.line[why.gap == place - len(tried)]
        inside = inside[self._usable[inside] > 0.0]
        if not len(inside):
            return 0.0, 0
        return chance * self.beliefs.broken_before, int(inside[(len(inside) - 1) // 2])

    def _mix(self, why: Explanations) -> tuple[Floats, float, float, Floats]:
        """Weigh all explanations together.

        Returns:
            The posterior; how likely there is a storm now; that it had been broken before; and for
            each group the share of what is believed of it that rests on independent flakes.
        """
        good_changed, bad_changed = log_sums(why.good_changed), log_sums(why.bad_changed)
        top = max(float(each.max()) for each in (why.plain, good_changed, bad_changed, why.stormy))
        plain, first, second, stormy = (
            np.exp(each - top) for each in (why.plain, good_changed, bad_changed, why.stormy)
        )
        calm = self._plain_share * plain + self._changes.good * first + self._changes.bad * second
        guilty = (calm + self._stormy_share * stormy)[self._group]
        nobody, before = self._group[self.no_culprit], self._group[self.before_range]
        guilty[self.no_culprit] = (
            self._nobody_plainly * plain[nobody]
            + self._stormy_share * stormy[nobody]
            + self._changes.onset * first[nobody]
        )
        guilty[self.before_range] = (1.0 - self._stormy_share) * plain[
            before
        ] + self._stormy_share * stormy[before]
        weight = self.prior * guilty
        broken_before = 0.0
        if why.by_commit is not None:
            along = self.prior[: self.commits].sum() * np.exp(why.by_commit - top)
            weight[: self.commits] += self._changes.broken_before * along
            broken_before = float(self._changes.broken_before * along.sum() / weight.sum())
        probability = weight / weight.sum()
        storm = 0.0
        if self._storms is not None and not self._doubts:
            share = self.prior * self._stormy_share * stormy[self._group] / weight.sum()
            storm = float(share @ self._storms.now[self._group])
        mass = np.bincount(self._group, probability, len(plain))
        own = np.bincount(self._group, self.prior / weight.sum(), len(plain))
        plainly = (
            own
            * (self._plain_share * plain + self._stormy_share * stormy)
            / np.maximum(mass, 1e-300)
        )
        return probability, storm, broken_before, np.minimum(plainly, 1.0)


class BoundaryKind(StrEnum):
    """What happened at a commit: the signal broke, was mended, or lies more or less from it on."""

    BROKEN = "broken"
    FIXED = "fixed"
    FLAKY_FROM = "flaky_from"
    FAILS_FROM = "fails_from"


NAMED = 0.9
"""From this probability on, given the verdict, a further boundary is named."""


def log_sums(logs: Floats) -> Floats:
    """Log of the sum of exponentials over the last axis."""
    return log_mean(logs, np.ones(logs.shape[-1]))


def _shrunk(rates: Floats, trust: Floats, probability: Floats, group: NDArray[np.intp]) -> Floats:
    """Draw the rates of groups that rest on a rival explanation to the mean of the others'."""
    mass = np.bincount(group, probability, len(rates)) * trust
    mean = float(mass @ rates / mass.sum()) if mass.sum() > 0.0 else float(rates.mean())
    shrunk: Floats = trust * rates + (1.0 - trust) * mean
    return shrunk


def _changed(shape: tuple[float, float], limit: float) -> Floats:
    return Mixture((Beta(1.0, *shape),), limit=limit).on_grid()


def _quantile(weights: Floats, level: float) -> float:
    return float(rates()[min(int(np.searchsorted(np.cumsum(weights), level)), len(rates()) - 1)])
