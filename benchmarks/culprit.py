"""Accuracy and cost of finding a culprit: `git bisect` and its majorities beside ours.

Every method sees the same worlds, drawn from the seeds printed. Ours does not know the flake
rates. Counts leave out the first look at the ends, except for metrics, and all verification.

    python benchmarks/culprit.py --full --processes 2             the whole table
    python benchmarks/culprit.py --full --kept FILE               goes on where it was stopped
    python benchmarks/culprit.py --worlds --full                  only worlds that nobody tuned to
    python benchmarks/culprit.py --trials 2000 --cell 1024-.1-.1  one row
    python benchmarks/culprit.py --repository PATH --range 9.0.0..9.1.0   a real history
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import astuple, dataclass, replace
from functools import partial
from math import log2, sqrt
from pathlib import Path

import numpy as np
from simulated import ours, peers
from simulated.kept import KeptResults, fingerprint
from simulated.ours import Noise
from simulated.peers import Ending
from simulated.world import (
    Flakes,
    Maker,
    Weather,
    World,
    chain,
    contiguous,
    merged,
    real,
)

from bot.culprit.evidence import SearchSettings
from bot.culprit.flake_rates import History, RatePriors
from bot.culprit.graph import Ancestry
from bot.culprit.priors import suspects

Method = Callable[[World], Ending]
FULL = 1_600
"""Worlds a row where claims are to be shown to hold."""
PART = 50
TABLE: list[Cell] = []
"""The rows; processes that are forked off find them here."""
ENOUGH_CLAIMS = 1_000
TRUSTED = SearchSettings(check_ends=False, budget=500)


@dataclass(frozen=True)
class Cell:
    """One row: a world, the methods, and what ours aims at; a slow one has to be named."""

    name: str
    make: Maker
    methods: dict[str, Method]
    accuracy: float
    most: float
    rounds: bool = False
    bound: str = ""
    slow: bool = False


@dataclass(frozen=True)
class Measured:
    """What a method did in a cell."""

    accuracy: float
    upper: float
    runs: float
    rounds: float
    claims: int
    claims_right: float
    named: int
    fresh: float
    confirmed: tuple[int, int]
    cured: tuple[int, int]

    @classmethod
    def of(cls, endings: Sequence[Ending]) -> Measured:
        """Sum up how all worlds of a row ended."""
        worlds = len(endings)
        right = sum(e.right for e in endings)
        claims = [e for e in endings if e.claimed]
        named = [e for e in claims if e.fresh]
        return cls(
            right / worlds,
            upper_bound(right, worlds),
            sum(e.runs for e in endings) / worlds,
            sum(e.rounds for e in endings) / worlds,
            len(claims),
            sum(e.right for e in claims) / max(1, len(claims)),
            len(named),
            sum(e.fresh for e in named) / max(1, len(named)),
            (sum(e.confirmed for e in named), sum(e.confirmed and not e.right for e in named)),
            (sum(e.cured for e in named), sum(e.cured and not e.right for e in named)),
        )

    @property
    def wrong(self) -> tuple[float, float]:
        """Wilson's 95% interval of the share of claims that are wrong."""
        right = round(self.claims_right * self.claims)
        many = max(1, self.claims)
        # Of nothing wrong the lower end is 0, and not some 1e-16 below.
        return max(0.0, 1.0 - upper_bound(right, many)), upper_bound(self.claims - right, many)

    @property
    def calibrated(self) -> bool:
        """Whether claims of 99% hold: at most 1% wrong and not shown to be more than `HELD`.

        Few claims show neither; then they hold unless 1% is shown to be too little.
        """
        if not self.claims:
            return True
        low, high = self.wrong
        if self.claims < ENOUGH_CLAIMS:
            return low <= 0.01
        return self.claims_right >= 0.99 and high <= HELD


def endings_of(cell: int, label: str, numbers: range, seed: int) -> list[Ending]:
    """Run a method of a row on some of its worlds."""
    row = TABLE[cell]
    return [row.methods[label](row.make(np.random.default_rng([seed, n]))) for n in numbers]


@dataclass(frozen=True)
class Course:
    """How a table is measured: worlds a row, seed, processes, and where results are kept."""

    trials: int
    seed: int
    pool: Executor | None
    kept: KeptResults

    def measure(self, cell: int, label: str) -> Measured:
        """Run a method on all worlds of a row, divided over the pool's processes."""
        parts = [
            range(start, min(self.trials, start + PART)) for start in range(0, self.trials, PART)
        ]
        names = [f"{TABLE[cell].name} | {label} | {self.seed} | {part}" for part in parts]
        left = [(n, p) for n, p in zip(names, parts, strict=True) if self.kept.of(n) is None]
        if self.pool is None:
            for name, part in left:
                self.kept.keep(name, _plain(endings_of(cell, label, part, self.seed)))
        else:
            under_way = {
                self.pool.submit(endings_of, cell, label, part, self.seed): name
                for name, part in left
            }
            for done in as_completed(under_way):
                self.kept.keep(under_way[done], _plain(done.result()))
        return Measured.of([Ending(*row) for name in names for row in self.kept.of(name) or ()])


def _plain(endings: Sequence[Ending]) -> list[tuple[object, ...]]:
    return [astuple(ending) for ending in endings]


def upper_bound(right: int, trials: int) -> float:
    """Upper end of Wilson's 95% interval of a share."""
    z, share = 1.96, right / trials
    centre = share + z * z / (2 * trials)
    spread = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return (centre + spread) / (1 + z * z / trials)


def information_bound(count: int, false_fail: float, false_pass: float) -> float:
    """log2(count)/C, C being the capacity of the binary asymmetric channel, in bits."""

    def noise(p: float) -> float:
        return 0.0 if p in (0.0, 1.0) else -p * log2(p) - (1 - p) * log2(1 - p)

    best = 0.0
    for bad in np.linspace(0.001, 0.999, 999):
        fails = bad * (1 - false_pass) + (1 - bad) * false_fail
        best = max(best, noise(fails) - bad * noise(false_pass) - (1 - bad) * noise(false_fail))
    return log2(count) / best


def uniform(ancestry: Ancestry, flakes: Flakes, *, none: float = 0.0, skip: float = 0.0) -> Maker:
    """Worlds with a culprit drawn evenly, or none; a stretch of commits may be untestable."""
    count = len(ancestry.graph)

    def make(rng: np.random.Generator) -> World:
        culprit = None if rng.random() < none else int(rng.integers(count))
        untestable = contiguous(count, skip, rng) if skip else frozenset()
        return World(ancestry, culprit, flakes, rng, untestable)

    return make


def git_methods() -> dict[str, Method]:
    """`git bisect` with one, three and five runs a step."""
    return {
        "git bisect": peers.git_bisect,
        "majority of 3": lambda w: peers.git_bisect(w, 3),
        "majority of 5": lambda w: peers.git_bisect(w, 5),
    }


def searching(settings: SearchSettings, at_once: int = 1) -> Method:
    """Our search."""
    return lambda w: ours.search(w, settings, at_once)


def cells(history: Ancestry, history_name: str) -> list[Cell]:
    """The table."""
    rows: list[Cell] = []
    for count, ff, fp, most in (
        (64, 0, 0, 16),
        (64, 0.1, 0.1, 27),
        (64, 0.2, 0, 24),
        (64, 0, 0.3, 35),
        (64, 0.3, 0, 60),
        (64, 0.2, 0.2, 60),
        (1024, 0.05, 0.05, 26),
        (1024, 0.1, 0.1, 32),
        (1024, 0.2, 0.2, 75),
    ):
        rows.append(
            Cell(
                f"{count}-{ff:g}-{fp:g}".replace("0.", "."),
                uniform(chain(count), Flakes(ff, fp)),
                git_methods() | {"ours": searching(TRUSTED)},
                0.99,
                most,
                bound=f"{information_bound(count, ff, fp):.1f}",
            )
        )
    noisy = Flakes(0.1, 0.1)
    rows.append(
        Cell(
            "1024-.1-.1-four-at-once",
            uniform(chain(1024), noisy),
            {"5-ary git": lambda w: peers.git_k_ary(w, 4), "ours": searching(TRUSTED, 4)},
            0.99,
            10,
            rounds=True,
        )
    )
    for name, past, most in (
        ("64-0-0-after-50-green", History(good_passed=50), 12),
        ("64-0-0-after-50-green-50-failing", History(good_passed=50, bad_failed=50), 9),
    ):
        taught = replace(TRUSTED, rates=RatePriors().after(past))
        rows.append(
            Cell(name, uniform(chain(64), Flakes()), {"ours": searching(taught)}, 0.99, most)
        )
    rows.append(
        Cell(
            "64-.1-.1-40%-no-culprit",
            uniform(chain(64), noisy, none=0.4),
            {
                "majority of 5": lambda w: peers.git_bisect(w, 5),
                "ours": searching(SearchSettings(budget=500)),
            },
            0.98,
            float("inf"),
        )
    )
    rows.append(
        Cell(
            f"{history_name}-.1-.1",
            uniform(history, noisy),
            git_methods() | {"ours": searching(TRUSTED)},
            0.99,
            31,
        )
    )
    rows.append(
        Cell(
            f"{history_name}-20%-untestable",
            uniform(history, Flakes(), skip=0.2),
            {"git bisect": peers.git_bisect, "ours": searching(TRUSTED)},
            0.99,
            float("inf"),
        )
    )
    rows.append(
        Cell(
            f"{history_name}-.1-.1-20%-untestable",
            uniform(history, replace(noisy, early=True), skip=0.2),
            {"git bisect": peers.git_bisect, "ours": searching(TRUSTED)},
            0.99,
            float("inf"),
        )
    )
    rows += [*correlated(), named_suspects(), *strange(), *metrics()]
    return rows


def correlated() -> list[Cell]:
    """Four lasting runners whose flakes agree with themselves."""
    found = []
    for name, count, flakes in (
        ("64-.1-.1-repeats-agree", 64, Flakes(0.1, 0.1, runners=4, stuck=True)),
        ("1024-.1-.1-repeats-agree", 1024, Flakes(0.1, 0.1, runners=4, stuck=True)),
        ("64-.05-.05-bad-runner", 64, Flakes(0.05, 0.05, runners=4, bad_runner=0.5)),
        ("1024-.05-.05-bad-runner", 1024, Flakes(0.05, 0.05, runners=4, bad_runner=0.5)),
    ):
        settings = replace(TRUSTED, environments=flakes.environments)
        found.append(
            Cell(
                name,
                uniform(chain(count), flakes),
                {"ours": searching(settings)},
                0.0,  # four lasting runners may not suffice; what counts is that claims hold
                float("inf"),
                slow=count > 64,
            )
        )
    return found


def named_suspects() -> Cell:
    """Three suspects, half the time one of them is guilty; no flakes."""
    ancestry = chain(1024)

    def make(rng: np.random.Generator) -> World:
        named = rng.choice(1024, 3, replace=False)
        guilty = int(named[0]) if rng.random() < 0.5 else int(rng.integers(1024))
        world = World(ancestry, guilty, Flakes(), rng)
        world.named = tuple(int(n) for n in named)
        return world

    def informed(world: World) -> Ending:
        return ours.search(world, TRUSTED, weights=suspects(1024, world.named, 0.5))

    return Cell(
        "1024-0-0-three-suspects",
        make,
        {"ours, even prior": searching(TRUSTED), "ours": informed},
        0.99,
        float("inf"),
    )


HELD = 0.02
"""The upper end of the interval of wrong claims may not be higher."""


def stormy(count: int, weather: Weather) -> Maker:
    """Worlds with storms, and rare flakes beside."""
    ancestry = chain(count)

    def make(rng: np.random.Generator) -> World:
        return World(ancestry, int(rng.integers(count)), Flakes(0.02, 0.02), rng, weather=weather)

    return make


def changing(count: int, first: Flakes, then: Flakes, *, none: bool = False) -> Maker:
    """Worlds whose flake rates change in the middle of the range."""
    ancestry = chain(count)

    def make(rng: np.random.Generator) -> World:
        culprit = None if none else int(rng.integers(count))
        return World(ancestry, culprit, first, rng, later=then, change=count // 2)

    return make


def broken_before(count: int, flakes: Flakes) -> Maker:
    """Worlds that broke, were mended, and broke again; each stretch is an eighth at least."""
    ancestry = chain(count)

    def make(rng: np.random.Generator) -> World:
        while True:
            first, mended, last = sorted(int(n) for n in rng.choice(count, 3, replace=False))
            if min(mended - first, last - mended) >= count / 8:
                return World(ancestry, last, flakes, rng, earlier=(first, mended))

    return make


def never_good(count: int) -> Maker:
    """Worlds in which the good end is bad too."""
    ancestry = chain(count)
    return lambda rng: World(ancestry, None, Flakes(0.05, 0.05), rng, before=True)


def strange() -> list[Cell]:
    """Worlds where a signal does not lie by chance alone; the ends are tried too."""
    rare = Flakes(0.02, 0.02)
    found = []
    for name, make, least in (
        ("64-false-failures-2%-then-50%", changing(64, rare, Flakes(0.5, 0.02)), 0.8),
        ("64-the-same-nobody-guilty", changing(64, rare, Flakes(0.5, 0.02), none=True), 0.0),
        ("64-false-passes-40%-then-5%", changing(64, Flakes(0.02, 0.4), Flakes(0.02, 0.05)), 0.8),
        ("64-outages-of-25-runs", stormy(64, Weather(0.15, 25.0, 1.0)), 0.8),
        ("64-bursts", stormy(64, Weather(1 / 6, 4.0, 0.9)), 0.8),
        ("64-broken-mended-broken", broken_before(64, rare), 0.8),
        ("64-.1-.1-broken-mended-broken", broken_before(64, Flakes(0.1, 0.1)), 0.8),
        ("64-good-end-fails", never_good(64), 0.8),
    ):
        methods: dict[str, Method] = {
            "git bisect": peers.git_bisect,
            "majority of 5": lambda w: peers.git_bisect(w, 5),
            "Bayes, rates known": peers.bayes,
            "ours": searching(SearchSettings(budget=200)),
        }
        found.append(Cell(name, make, methods, least, float("inf")))
    return found


def metrics() -> list[Cell]:
    """A metric that drops at a commit, or bit by bit, under several kinds of noise."""
    found = []
    for name, noise, least, most in (
        ("metric-2-SD", Noise(2.0), 0.95, 48.0),
        ("metric-3-SD", Noise(3.0), 0.95, float("inf")),
        ("metric-1-SD", Noise(1.0), 0.0, float("inf")),
        ("metric-drift", Noise(0.0, drift=3.0), 0.8, float("inf")),
        ("metric-3-SD-uneven-noise", Noise(3.0, uneven=0.6), 0.8, float("inf")),
        ("metric-3-SD-noise-grows", Noise(3.0, grows=2.0), 0.8, float("inf")),
        ("metric-3-SD-outliers", Noise(3.0, outliers=0.05), 0.8, float("inf")),
        ("metric-3-SD-alike-in-time", Noise(3.0, alike=0.6), 0.8, float("inf")),
    ):
        none = 1.0 if noise.step == 0.0 else 0.0
        methods: dict[str, Method] = {
            "median of 5": partial(ours.median_bisect, noise=noise, repeats=5),
            "median of 11": partial(ours.median_bisect, noise=noise, repeats=11),
            "ours": partial(ours.metric, noise=noise),
        }
        found.append(
            Cell(f"64-{name}", uniform(chain(64), Flakes(), none=none), methods, least, most)
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; exit 1 if one of our aims is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200, help="worlds per cell")
    parser.add_argument("--cell", action="append", help="only rows whose name contains this")
    parser.add_argument("--worlds", action="store_true", help="only worlds that nobody tuned to")
    parser.add_argument("--method", action="append", help="only these methods (ours, ...)")
    parser.add_argument("--kept", type=Path, help="keep results here, and go on from them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--full", action="store_true", help=f"{FULL} worlds a row")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--repository", type=Path, help="take the history with merges from here")
    parser.add_argument("--range", default="9.0.0..9.1.0", help="GOOD..BAD in the repository")
    chosen = parser.parse_args(arguments)
    if chosen.full:
        chosen.trials = FULL
    if chosen.repository:
        history, name = real(chosen.repository, chosen.range), f"real-{chosen.range}"
    else:
        history, name = merged(481, 102, chosen.seed), "merges-481"
    print(f"{chosen.trials} trials a cell, seed {chosen.seed}. Accuracy / runs (or rounds).")
    print(
        "Claims: verdicts at 99% or more, and the share of them that is wrong. Confirmed: of those"
    )
    print(
        "that name one commit, how many fresh runs of it and its parents confirm, and how many of"
    )
    print("these are wrong; cured: the same, with its revert. `runs` leaves the fresh ones out.\n")
    print("| cell | bound | method | accuracy | ≤ (95%) | runs | claims | wrong (95%) ", end="")
    print("| confirmed | wrong | cured | wrong | fresh | aim | s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    missed = 0
    untuned = [*strange(), *metrics()]
    TABLE[:] = untuned if chosen.worlds else cells(history, name)
    pool = None
    if chosen.processes > 1:
        pool = ProcessPoolExecutor(chosen.processes, multiprocessing.get_context("fork"))
    here = Path(__file__).parent
    judging = here.parent / "bot" / "culprit"
    code = fingerprint([judging, here.parent / "bot" / "playbooks" / "bisect", here / "simulated"])
    course = Course(chosen.trials, chosen.seed, pool, KeptResults(chosen.kept, code))
    for number, cell in enumerate(TABLE):
        if chosen.cell and not any(part in cell.name for part in chosen.cell):
            continue
        if cell.slow and chosen.full and not chosen.cell:
            print(f"| {cell.name} | takes long: only by `--cell {cell.name}` |")
            continue
        for label in cell.methods:
            if chosen.method and label not in chosen.method:
                continue
            started = time.perf_counter()
            got = course.measure(number, label)
            seconds = time.perf_counter() - started
            cost = got.rounds if cell.rounds else got.runs
            mine = label == "ours"
            met = got.upper >= cell.accuracy and cost <= cell.most and got.calibrated
            aim = ""
            if mine:
                limit = f", ≤ {cell.most:g}" if cell.most < float("inf") else ""
                least = f"≥ {cell.accuracy:g}" if cell.accuracy else "claims hold"
                aim = f"{'met' if met else 'MISSED'}: {least}{limit}"
                missed += not met
            low, high = got.wrong
            wrong = f"{1 - got.claims_right:.2%} ({low:.2%}-{high:.2%})"
            claims = f"{got.claims} | {wrong}" if got.claims else "0 | "
            checked = " |  |  |  | "
            if got.named:
                shares = [
                    f"{n / got.named:.1%} | {wrong}" for n, wrong in (got.confirmed, got.cured)
                ]
                checked = f"{' | '.join(shares)} | {got.fresh:.1f}"
            print(
                f"| {cell.name} | {cell.bound} | {label} | {got.accuracy:.4f} | {got.upper:.4f} "
                f"| {cost:.1f} | {claims} | {checked} | {aim} | {seconds:.0f} |",
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
