"""A world with a known culprit, where signals lie at known rates."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bot.culprit.evidence import TrialOutcome
from bot.culprit.graph import Ancestry, CommitGraph


@dataclass(frozen=True)
class Flakes:
    """How a signal lies.

    Attributes:
        false_fail: chance that a good commit fails.
        false_pass: chance that a bad commit passes.
        runners: number of lasting runners; 0 gives every trial a fresh one.
        stuck: repeats of a commit on one runner agree, whatever the truth.
        early: false failures come before a commit is built, so untestable ones fail too.
        bad_runner: on the first runner a result is false with this chance, and repeats agree.
    """

    false_fail: float = 0.0
    false_pass: float = 0.0
    runners: int = 0
    stuck: bool = False
    early: bool = False
    bad_runner: float | None = None

    @property
    def environments(self) -> tuple[str, ...]:
        """Names of the lasting runners."""
        return tuple(f"runner-{i}" for i in range(self.runners))


@dataclass(frozen=True)
class Weather:
    """Stretches of time in which runs fail whatever they try.

    Attributes:
        share: of the time that is stormy.
        length: mean length of a storm, in lengths of a trial.
        fails: chance that a run fails in a storm.
        first: the first storm begins at this moment and lasts `length`; there is no other.
    """

    share: float = 0.0
    length: float = 1.0
    fails: float = 1.0
    first: int | None = None


@dataclass
class World:
    """A history with one culprit (None: no commit is guilty), and its runs.

    `later` are the flakes from the commit `change` on; from `earlier[0]` up to `earlier[1]` it had
    been broken before. `moment` is the time, in lengths of a trial; whoever runs trials moves it.
    """

    ancestry: Ancestry
    culprit: int | None
    flakes: Flakes
    rng: np.random.Generator
    untestable: frozenset[int] = frozenset()
    named: tuple[int, ...] = ()
    later: Flakes | None = None
    change: int = 0
    earlier: tuple[int, int] | None = None
    weather: Weather | None = None
    before: bool = False
    moment: int = 0
    _sky: list[bool] = field(default_factory=list)
    _said: dict[tuple[int, str], bool] = field(default_factory=dict)

    @property
    def graph(self) -> CommitGraph:
        """The range."""
        return self.ancestry.graph

    def is_bad(self, node: int) -> bool:
        """The truth about a node."""
        if self.before:
            return True
        if self.culprit is None or node >= len(self.graph):
            return False
        if self.earlier and self.earlier[0] <= node < self.earlier[1]:
            return True
        return bool(self.ancestry.of(node)[self.culprit])

    def run_without(self, named: int) -> TrialOutcome:
        """Try the bad end with a commit reverted on it: only without the last break it is good."""
        last = self.graph.bad
        cured = named == self.culprit and not self.before
        return self.run(last, f"without-{named}-{self.moment}", bad=self.is_bad(last) and not cured)

    def run(self, node: int, environment: str = "", *, bad: bool | None = None) -> TrialOutcome:
        """Try a node; `bad`, if given, is the truth about it."""
        bad, flakes = self.is_bad(node) if bad is None else bad, self.flakes
        if self.later is not None and self.change <= node < len(self.graph):
            flakes = self.later
        if self.weather is not None and self._is_stormy(self.weather):
            failed = self.rng.random() < self.weather.fails
            return TrialOutcome.FAIL if failed else TrialOutcome.PASS
        if node in self.untestable:
            failed = flakes.early and self.rng.random() < flakes.false_fail
            return TrialOutcome.FAIL if failed else TrialOutcome.UNTESTABLE
        rate = flakes.false_pass if bad else flakes.false_fail
        stuck = flakes.stuck
        if flakes.bad_runner is not None and environment == "runner-0":
            rate, stuck = flakes.bad_runner, True
        if stuck and (node, environment) in self._said:
            lied = self._said[node, environment]
        else:
            lied = bool(self.rng.random() < rate)
            self._said[node, environment] = lied
        return TrialOutcome.FAIL if bad != lied else TrialOutcome.PASS

    def _is_stormy(self, weather: Weather) -> bool:
        """Look at the sky of this moment; storms last geometrically long."""
        if weather.first is not None:
            return weather.first <= self.moment < weather.first + weather.length
        ends = 1.0 / weather.length
        begins = ends * weather.share / (1.0 - weather.share)
        while len(self._sky) <= self.moment:
            chance = (1.0 - ends if self._sky[-1] else begins) if self._sky else weather.share
            self._sky.append(bool(self.rng.random() < chance))
        return self._sky[self.moment]


def chain(count: int) -> Ancestry:
    """A history without merges."""
    return Ancestry(CommitGraph.chain([f"c{i}" for i in range(count)], ["good"]))


def merged(count: int, merges: int, seed: int) -> Ancestry:
    """A history with feature branches of 1 to 6 commits, forked a little back and merged."""
    rng = random.Random(seed)  # noqa: S311 (a simulation)
    parents: dict[str, list[str]] = {}
    line = ["good"]
    while len(parents) < count:
        if rng.random() < merges / (count - 4 * merges + merges) and len(line) > 3:
            at = rng.choice(line[-8:])
            for _ in range(min(rng.randint(1, 6), count - len(parents) - 1)):
                sha = f"c{len(parents)}"
                parents[sha] = [at]
                at = sha
            sha = f"c{len(parents)}"
            parents[sha] = [line[-1], at] if at != line[-1] else [at]
        else:
            sha = f"c{len(parents)}"
            parents[sha] = [line[-1]]
        line.append(sha)
    newest_first = dict(reversed(parents.items()))
    return Ancestry(CommitGraph.build(newest_first, line[-1], ["good"]))


def real(repository: Path, revisions: str) -> Ancestry:
    """The history of a repository between two revisions, `GOOD..BAD`."""
    output = subprocess.run(  # noqa: S603 (a fixed program; the arguments are a list)
        ["git", "-C", str(repository), "rev-list", "--topo-order", "--parents", revisions],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = [line.split() for line in output.splitlines()]
    parents = {row[0]: row[1:] for row in rows}
    return Ancestry(CommitGraph.build(parents, rows[0][0], [revisions.split("..")[0]]))


def contiguous(count: int, share: float, rng: np.random.Generator) -> frozenset[int]:
    """A stretch of commits that cannot be tried, the bad end not among them."""
    length = int(count * share)
    start = int(rng.integers(0, count - 1 - length))
    return frozenset(range(start, start + length))


Maker = Callable[[np.random.Generator], World]
