"""False alarms and delays of judging a candidate: ours beside what others do.

Every judge sees the same traffic, drawn from the seeds printed. Ours is the product's evidence
under the default policy (alphas .05 together), watched at every observation; the rivals look
each second, minute or stage. See `simulated_traffic/world.py` for the traffic.

The worlds that nobody tuned to stand below the others; there ours also sees keys, names of calls
and when reports came in, and is the product's evaluation with its rules beside the tests.

    python benchmarks/canary.py --runs 1000                      the whole table
    python benchmarks/canary.py --runs 1000 --scenario errors+1  one row
    python benchmarks/canary.py --full                           as it is published; two cores
    python benchmarks/canary.py --full --kept FILE               goes on where it was stopped
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import erf, sqrt
from multiprocessing import Pool
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from simulated.kept import KeptResults, fingerprint
from simulated_traffic.ours import (
    POLICY,
    frozen,
    only_costs,
    returns_seen,
    silences,
    single,
    stuck,
    watch,
    watch_reports,
    watch_sums,
)
from simulated_traffic.rivals import RIVALS
from simulated_traffic.world import LATENCY_SIGMA, Scene, Traffic, traffic

from bot.canary.baseline import FrozenBaseline
from bot.canary.judge import Breach

Z_ALPHA, Z_POWER = 2.3263, 0.8416
"""Normal quantiles: alpha .01 one-sided, power .8."""


@dataclass(frozen=True)
class Row:
    """One scenario and its aim."""

    name: str
    scene: Scene
    aim: str
    most: float | None = None
    least: float | None = None
    seconds: float | None = None
    before: float = 2400.0
    by_key: bool = False
    read_every: float | None = None
    """Seconds: only sums of costs are known, read as often; costs have all of the 5%."""
    tolerance: float = 0.05
    reports: bool = False
    """Ours sees reports as they come in: slower to simulate, to 10 s."""


@dataclass
class Tally:
    """What the judges did in a scenario."""

    alarms: list[float] = field(default_factory=list)
    metrics: Counter[str] = field(default_factory=Counter)
    rivals: Counter[str] = field(default_factory=Counter)


ROWS = (
    Row("A/A", Scene(), "<= 5%", most=0.05),
    Row("A/A pareto", Scene(tails="pareto"), "<= 5%", most=0.05),
    Row("A/A drift", Scene(drift=True), "<= 5%", most=0.05),
    Row("A/A bursts", Scene(bursts=True), "<= 5%", most=0.05),
    Row("A/A sticky", Scene(sticky=True), "<= 5%", most=0.05, by_key=True),
    Row("A/A sticky, no key told", Scene(sticky=True), "(wrong unit)"),
    Row("latency+4%", Scene(latency=1.04), "<= 5%", most=0.05),
    Row("latency+20%", Scene(latency=1.2), ">= 95% before 1200 s", least=0.95, before=1200),
    Row("errors+1", Scene(errors=0.01), ">= 95%", least=0.95),
    Row("errors+5", Scene(errors=0.05), "median <= 300 s", least=0.95, seconds=300),
    Row("errors+50", Scene(errors=0.5), "median <= 30 s", least=0.95, seconds=30),
    Row("cost+15%", Scene(cost=1.15), ">= 90%", least=0.90),
    Row("A/A cost sums", Scene(), "<= 5%", most=0.05, read_every=5, tolerance=0),
    Row(
        "A/A cost sums, pareto",
        Scene(tails="pareto"),
        "<= 5%",
        most=0.05,
        read_every=5,
        tolerance=0,
    ),
    Row("cost+5% sums", Scene(cost=1.05), "<= 5%", most=0.05, read_every=5),
    Row("cost+30% sums, 15 s", Scene(cost=1.3), ">= 90%", least=0.90, read_every=15),
    Row("errors+1 late", Scene(errors=0.01, begins=1300), ">= 65%", least=0.65),
    Row(
        "errors+5 at 50%",
        Scene(errors=0.05, percents=(50,)),
        "median <= 60 s",
        least=0.95,
        seconds=60,
    ),
    Row("A/A retries", Scene(repeats="any"), "<= 5%", most=0.05),
    Row("A/A retries of failures", Scene(repeats="failed", failing=0.03), "<= 5%", most=0.05),
    Row("A/A retries, 30% fail", Scene(repeats="failed", failing=0.3), "<= 5%", most=0.05),
    Row("A/A retries, named", Scene(repeats="any"), "<= 5%", most=0.05, reports=True),
    Row("A/A a heavy key", Scene(heavy=0.3), "<= 5%", most=0.05, reports=True),
    Row("A/A sticky, by request", Scene(sticky=True), "<= 5%", most=0.05, reports=True),
    Row("A/A candidate 15 s late", Scene(lag=15), "<= 5%", most=0.05, reports=True),
    Row(
        "A/A baseline 5 s late",
        Scene(lag=5, late_arm="baseline"),
        "<= 5%",
        most=0.05,
        reports=True,
    ),
    Row(
        "A/A retries, named by key",
        Scene(repeats="any", named="key"),
        "<= 5%",
        most=0.05,
        reports=True,
    ),
    Row("A/A two heavy keys", Scene(heavy=0.4, heavy_keys=2), "<= 5%", most=0.05, reports=True),
    Row("A/A a lag that varies", Scene(lag=10, wavering=True), "<= 5%", most=0.05, reports=True),
    Row(
        "A/A rare costs in both",
        Scene(rare=200, rare_times=400, rare_arm="both"),
        "<= 5%",
        most=0.05,
    ),
    Row(
        "rare costs of the baseline",
        Scene(rare=200, rare_times=400, rare_arm="baseline"),
        "<= 5%",
        most=0.05,
    ),
    Row("cost x3 by 1 in 200", Scene(rare=200, rare_times=400), ">= 90%", least=0.9),
    Row("cost x3 by 1 in 50", Scene(rare=50, rare_times=100), ">= 90%", least=0.9),
    Row("latency+20%, old shadow", Scene(latency=1.2, stale=10), ">= 95%", least=0.95),
    Row("A/A 3% fail, to 100%", Scene(failing=0.03, alone=600), "<= 5%", most=0.05),
    Row("A/A drift, to 100%", Scene(drift=True, alone=600), "<= 5%", most=0.05),
    Row("latency x3 at 100%", Scene(alone=600, alone_latency=3), ">= 95%", least=0.95, before=3000),
    Row("cost x3 at 100%", Scene(alone=600, alone_cost=3), ">= 95%", least=0.95, before=3000),
)


@dataclass(frozen=True)
class Course:
    """How the table is measured: runs a row, seed, where results are kept, and how many cores."""

    runs: int
    seed: int
    kept: KeptResults
    processes: int

    def results(self, name: str, one: Callable[[int], Any], runs: int) -> list[Any]:
        """Make each run that is not there yet, and give the results of all."""
        names = [f"{name} | {self.seed} | {number}" for number in range(runs)]
        left = [number for number in range(runs) if self.kept.of(names[number]) is None]
        if left:
            with Pool(self.processes) as pool:
                for number, result in zip(left, pool.imap(one, left), strict=True):
                    self.kept.keep(names[number], result)
        return [self.kept.of(each) for each in names]


def measure(row: Row, runs: int, course: Course) -> Tally:
    """Run all judges on the scenario's traffic."""
    tally = Tally()
    for raised, rivals in course.results(row.name, partial(_one, row, course.seed), runs):
        if raised is not None and raised[1] >= row.scene.begins:
            tally.alarms.append(raised[1] - row.scene.begins)
            tally.metrics[raised[0]] += 1
        tally.rivals.update(rivals)
    return tally


def _one(row: Row, seed: int, number: int) -> tuple[tuple[str, float] | None, list[str]]:
    """One run: our alarm, and the rivals that raised one."""
    rng = np.random.default_rng([seed, number])
    learned = frozen(row.scene, rng)
    seen = traffic(row.scene, rng)
    found = [(name, judge(_as_it_came(row.scene, seen))) for name, judge in RIVALS.items()]
    rivals = [name for name, when in found if when is not None and when >= row.scene.begins]
    return _alarm(row, learned, seen), rivals


def _as_it_came(scene: Scene, seen: Traffic) -> Traffic:
    """What those see who go by when a report came in."""
    if not scene.lag:
        return seen
    times = seen.reported(scene)
    order = np.argsort(times, kind="stable")
    return replace(seen, times=times[order], columns=seen.columns.at(order))


def _alarm(row: Row, learned: FrozenBaseline, seen: Traffic) -> tuple[str, float] | None:
    """Which metric of ours raised an alarm, and at which second."""
    if row.read_every is not None:
        second = watch_sums(only_costs(row.tolerance), seen, row.read_every)
        return None if second is None else ("cost", second)
    if row.reports:
        verdict, second = watch_reports(POLICY, learned, seen, row.scene)
        return (verdict.metric, second) if isinstance(verdict, Breach) else None
    alarm = watch(POLICY, learned, seen, by_key=row.by_key)
    return None if alarm is None else (alarm.metric, float(seen.times[alarm.at]))


def interval(count: int, runs: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927)."""
    share, square = count / runs, 1.96**2 / runs
    root = sqrt(share * (1 - share) * square + square**2 / 4)
    low, high = ((share + square / 2 + sign * root) / (1 + square) for sign in (-1, 1))
    return max(low, 0.0), min(high, 1.0)


def wilson(count: int, runs: int) -> str:
    """A share with its 95% interval, in percent."""
    low, high = interval(count, runs)
    return f"{100 * count / runs:5.1f} [{100 * low:.1f}-{100 * high:.1f}]"


def met(row: Row, tally: Tally, runs: int) -> str:
    """`shown`: also the far end of the interval meets the aim; `met`: the share does."""
    count = sum(when + row.scene.begins < row.before for when in tally.alarms)
    if row.most is not None:
        return _verdict(count, runs, most=row.most)
    if row.least is None:
        return ""
    quick = row.seconds is None or (bool(tally.alarms) and median(tally.alarms) <= row.seconds)
    return _verdict(count, runs, least=row.least) if quick else "MISSED"


def _verdict(count: int, runs: int, *, least: float = 0.0, most: float = 1.0) -> str:
    low, high = interval(count, runs)
    if low >= least and high <= most:
        return "shown"
    return "met" if least <= count / runs <= most else "MISSED"


def show(row: Row, course: Course) -> bool:
    """Measure a scenario and print its line. Returns False if its aim is missed."""
    started = time.perf_counter()
    runs = max(1, course.runs // 2) if row.reports else course.runs
    tally = measure(row, runs, course)
    middle = f"{median(tally.alarms):5.0f} s" if tally.alarms else "      -"
    verdict = met(row, tally, runs)
    rivals = "  ".join(f"{wilson(tally.rivals[name], runs):>18}" for name in RIVALS)
    first = ", ".join(f"{name} {count}" for name, count in tally.metrics.most_common(3))
    print(
        f"{row.name:28}{wilson(len(tally.alarms), runs):>18} {middle}  {row.aim:21}"
        f"{verdict:7}{rivals}   {first or '-'}  ({time.perf_counter() - started:.0f} s)",
        flush=True,
    )
    return verdict != "MISSED"


def oracle_errors(before: float, after: float) -> float:
    """Observations of both arms a fixed z test needs: alpha .01, power .8, effect known."""
    variance = before * (1 - before) + after * (1 - after)
    return 2 * (Z_ALPHA + Z_POWER) ** 2 * variance / (after - before) ** 2


def oracle_ranks(factor: float, sigma: float) -> float:
    """The same for Mann-Whitney on lognormal values (Noether 1987)."""
    shift = np.log(factor) / sigma
    greater = 0.5 * (1 + erf(shift / 2))
    return (Z_ALPHA + Z_POWER) ** 2 / (3 * (greater - 0.5) ** 2)


def _delay(scene: Scene, metric: str, seed: int, number: int) -> float:
    """After how many observations one run raised an alarm."""
    rng = np.random.default_rng([seed, number])
    learned = frozen(scene, rng)
    alarm = watch(single(metric), learned, traffic(scene, rng))
    return float("inf") if alarm is None else alarm.at + 1


def show_delay(name: str, metric: str, scene: Scene, oracle: float, course: Course) -> bool:
    """Compare the delay at an even split with an oracle that knows the effect beforehand."""
    found = course.results(name, partial(_delay, scene, metric, course.seed), course.runs)
    ratio = median(found) / oracle
    ok = ratio <= 1.3
    print(
        f"{name:28}ours {median(found):6.0f} observations, oracle {oracle:6.0f}: "
        f"{ratio:.2f} times, aim <= 1.3 {'met' if ok else 'MISSED'}",
        flush=True,
    )
    return ok


def show_share(
    name: str, one: Callable[[int], bool], course: Course, aim: str, *, least: float
) -> bool:
    """Print how often something holds. Returns False if that is less often than it should be."""
    runs = course.runs
    count = sum(course.results(name, one, runs))
    verdict = _verdict(count, runs, least=least)
    print(f"{name:50}{wilson(count, runs):>18}  {aim}  {verdict}", flush=True)
    return verdict != "MISSED"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--full", action="store_true", help="400 runs a row, 200 of the slow ones")
    parser.add_argument("--scenario", choices=[*(row.name for row in ROWS), "delay", "beside"])
    parser.add_argument("--kept", type=Path, help="keep results here, and go on from them")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    if options.full:
        options.runs = 400
    print(f"{options.runs} runs a scenario, seed {options.seed}; alarms of ours and of rivals")
    print(
        f"{'scenario':28}{'ours, %':>18} {'median':>7}  {'aim':28}"
        + "  ".join(f"{name:>18}" for name in RIVALS)
        + "   which metric"
    )
    here = Path(__file__).parent
    code = fingerprint([here.parent / "bot" / "canary", here / "simulated_traffic"])
    course = Course(options.runs, options.seed, KeptResults(options.kept, code), options.processes)
    fine = True
    for row in ROWS:
        if options.scenario in (None, row.name):
            fine &= show(row, course)
    if options.scenario in (None, "delay"):
        even = (50,)
        slow, failing = Scene(latency=1.2, percents=even), Scene(errors=0.01, percents=even)
        ranks, rates = oracle_ranks(1.2, LATENCY_SIGMA), oracle_errors(0.01, 0.02)
        fine &= show_delay("delay, latency+20%", "latency", slow, ranks, course)
        fine &= show_delay("delay, errors+1", "error", failing, rates, course)
        for before, after in ((0.2, 0.24), (0.9, 0.95)):
            scene = Scene(
                failing=before, errors=0.99 * (after - before) / (1 - before), percents=even
            )
            name, oracle = (
                f"delay, errors {before:.0%} to {after:.0%}",
                oracle_errors(before, after),
            )
            fine &= show_delay(name, "error", scene, oracle, course)
    if options.scenario in (None, "beside"):
        seed = options.seed
        fine &= show_share(
            "ROAS -30%, within the time said before",
            partial(returns_seen, seed, 0.7),
            course,
            ">= 80%",
            least=0.8,
        )
        fine &= show_share(
            "ROAS A/A, no alarm in that time",
            partial(returns_seen, seed, None),
            course,
            ">= 95%",
            least=0.95,
        )
        for name, each in silences(seed).items():
            fine &= show_share(name, each, course, ">= 95%", least=0.95)
        fine &= show_share(
            "no failure at all: passes 5%", partial(stuck, seed), course, ">= 95%", least=0.95
        )
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
