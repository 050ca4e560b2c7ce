"""Who is served by whom, asked with OpenFeature's own providers, stage after stage.

    python benchmarks/split.py --keys 20000

The bot's routes run in a process of their own. One client asks by OFREP, one reads a copy of the
flag file with flagd's resolver. Each stage's share, keys that flipped back, and how long until the
new split was seen everywhere.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from benchmarks.observations import CAPABILITY, server
from bot.app import wall_clock
from bot.records.database import open_database, url_from
from bot.records.schema import migrate
from bot.traffic import allocation
from bot.traffic.flag_file import FlagFile
from bot.traffic.flagd import Split
from tests.intake.api.providing import APP

STAGES = (5, 25, 50, 100)
TOKEN = {"Authorization": "Bearer reader"}
AT_ONCE = 4


async def decide(folder: Path, percent: int) -> None:
    """Decide who serves."""
    database = open_database(url_from(folder))
    split = Split(
        baseline="provider-a", candidate="provider-b", percent=percent, mode="ramp",
        attempt="ramp-1", salt="7",
    )  # fmt: skip
    async with database.begin() as conn:
        await allocation.set_traffic(
            conn,
            APP.id,
            CAPABILITY,
            split,
            allocation.Decided(at=wall_clock(), actor="benchmark", why="a stage"),
        )
    await database.dispose()


def asking(client: OpenFeatureClient) -> Callable[[str], bool]:
    """Tell whether the candidate serves a key."""

    def asked(key: str) -> bool:
        found = client.get_string_value(CAPABILITY, "the default", EvaluationContext(key))
        if found not in ("provider-a", "provider-b"):
            raise SystemExit(f"{key} was answered {found}")
        return found == "provider-b"

    return asked


def clients(url: str, path: Path) -> dict[str, Callable[[str], bool]]:
    """One client per way to ask."""
    ofrep = OFREPProvider(f"{url}/r/acme/app", headers_factory=lambda: TOKEN, timeout=30)
    flagd = FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=50
    )
    api.set_provider(ofrep, "ofrep")
    api.set_provider(flagd, "flagd")
    return {name: asking(api.get_client(name)) for name in ("ofrep", "flagd")}


def compare(folder: Path, count: int) -> bool:
    """Go through the stages."""
    keys = [f"user-{number}" for number in range(count)]
    good = True
    asyncio.run(decide(folder, STAGES[0]))
    with server(folder) as running:
        path = folder / "flagd.json"
        with (
            FlagFile(f"{running.url}/r/acme/app/flags/flagd.json", "reader", path, every=0.1),
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            ways = clients(running.url, path)
            before: dict[str, set[str]] = {name: set() for name in ways}
            print(f"{'':>6} {'stage':>6} {'share':>8} {'flipped back':>13} {'seen after, ms':>15}")
            for percent in STAGES:
                asyncio.run(decide(folder, percent))
                decided = time.perf_counter()
                last = {}
                for name, asked in ways.items():
                    last[name] = _until_seen(asked, keys, before[name], decided)
                found = {
                    name: {
                        key
                        for key, candidate in zip(keys, pool.map(asked, keys), strict=True)
                        if candidate
                    }
                    for name, asked in ways.items()
                }
                for name, seen in found.items():
                    share, flipped = 100 * len(seen) / count, len(before[name] - seen)
                    good = good and abs(share - percent) <= 1 and flipped == 0
                    print(
                        f"{name:>6} {percent:>5}% {share:>7.2f}% {flipped:>13} {last[name]:>15.0f}"
                    )
                good = good and found["ofrep"] == found["flagd"]
                before = found
    api.clear_providers()
    return good


def _until_seen(
    asked: Callable[[str], bool], keys: list[str], before: set[str], decided: float
) -> float:
    """Milliseconds until some key went over that had not before."""
    others = [key for key in keys if key not in before][:400]
    while not any(asked(key) for key in others):
        time.sleep(0.005)
    return (time.perf_counter() - decided) * 1000


def main() -> int:
    """Run it."""
    # Its file watcher looks once more after the file is gone.
    logging.getLogger("openfeature.contrib").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=20_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(migrate(url_from(Path(name))))
        good = compare(Path(name), given.keys)
    print("both ways agree on every key, and none flipped back" if good else "NOT AS DECIDED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
