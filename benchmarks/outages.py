"""Twenty reverts under way, and their database goes away: do all of them end well, and once?

    python benchmarks/outages.py --reverts 20 --rounds 10
    python benchmarks/outages.py --only disk

PostgreSQL is restarted fast and immediate, and drops its connections, while deliveries come in,
in the middle of steps, and while commands are answered; with one replica and with two. Then the
disk below the data folder is full for half a minute, and SQLite is locked, with one replica.
Mounting a disk of a size needs root; it is passed over where that is not given.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakegithub.server import DemoGitHub
from tests.chaos.outages import MOMENTS, Fleet, Moment, Outage, fleet
from tests.chaos.taken_away import KINDS, disk_full, postgresql, small_disk, sqlite_locked
from tests.plugins.postgres import Server, fresh_database, server_of_its_own

Choose = Callable[[int], tuple[str, Moment, Outage]]
"""By the number of the round: what goes away, and when."""


async def play(title: str, bots: Fleet, rounds: int, reverts: int, choose: Choose) -> bool:
    """Play the rounds and print a line for each; whether all was right."""
    ok = True
    for number in range(rounds):
        what, at, outage = choose(number)
        before, lives = len(bots.asked), sum(life.lives for life in bots.lives)
        began = time.monotonic()
        await bots.break_and_ask(outage, at, reverts)
        seconds = time.monotonic() - began
        wrong = bots.wrong(since=before)
        right = reverts - len({line.partition(":")[0] for line in wrong})
        ended = sum(life.lives for life in bots.lives) - lives
        print(f"{title:22} {number + 1:2}  {what:18} {at:8} {right:3} of {reverts} right"
              f"  {seconds:5.0f} s  {ended} restarted", flush=True)  # fmt: skip
        for line in wrong:
            print(f"    WRONG {line}", flush=True)
        ok = ok and not wrong
    return ok


async def on_postgresql(
    github: DemoGitHub, folder: Path, server: Server, options: argparse.Namespace, replicas: int
) -> bool:
    """Restarts and dropped connections, each at each moment in turn."""
    rng = random.Random(options.seed)  # noqa: S311 - repeatable

    def choose(number: int) -> tuple[str, Moment, Outage]:
        kind = KINDS[number % 3]
        at = MOMENTS[(number + number // 3) % 3]
        seconds = 0.0 if kind == "dropped" else rng.uniform(*options.away)
        return f"{kind}, {seconds:.1f} s", at, postgresql(server, kind, seconds)

    with fresh_database(server.url) as url:
        title = f"PostgreSQL, {replicas} replica{'s' * (replicas > 1)}"
        async with fleet(github, folder, url=url, replicas=replicas) as bots:
            return await play(title, bots, options.rounds, options.reverts, choose)


async def on_sqlite(github: DemoGitHub, folder: Path, options: argparse.Namespace) -> bool:
    """A full disk and a locked file."""
    with small_disk(folder / "bots") as room:
        if room is None:
            print("no disk of a size can be mounted here: passed over")
            return True
        async with fleet(github, room, logs=folder) as bots:
            data = bots.lane.data

            def choose(number: int) -> tuple[str, Moment, Outage]:
                at = MOMENTS[number % 3]
                if number % 2:
                    return f"locked {options.full:.0f} s", at, sqlite_locked(data, options.full)
                return f"disk full {options.full:.0f} s", at, disk_full(room, options.full)

            return await play(
                "SQLite, 1 replica", bots, options.disk_rounds, options.reverts, choose
            )


async def measure(options: argparse.Namespace, folder: Path) -> int:
    """Everything that was asked for; the exit code."""
    ok = True
    async with DemoGitHub(rng=random.Random(options.seed)) as github:  # noqa: S311 - likewise
        github.limits.limit = 15_000
        if options.only != "disk":
            with server_of_its_own() as server:
                for replicas in options.replicas:
                    own = folder / f"replicas-{replicas}"
                    ok &= await on_postgresql(github, own, server, options, replicas)
        if options.only != "postgresql":
            ok &= await on_sqlite(github, folder, options)
    print(json.dumps({"ok": ok, "reverts": options.reverts, "rounds": options.rounds}))
    return 0 if ok else 1


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reverts", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--disk-rounds", type=int, default=2)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--away", type=float, nargs=2, default=(0.0, 6.0), help="seconds")
    parser.add_argument("--full", type=float, default=30.0, help="seconds of a full disk")
    parser.add_argument("--only", choices=("postgresql", "disk"))
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="a folder for data and logs that stays")
    options = parser.parse_args()
    if options.keep is not None:
        sys.exit(asyncio.run(measure(options, options.keep)))
    with tempfile.TemporaryDirectory(prefix="outages-", ignore_cleanup_errors=True) as folder:
        sys.exit(asyncio.run(measure(options, Path(folder))))


if __name__ == "__main__":
    main()
