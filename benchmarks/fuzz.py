"""Fuzzing of every entrance: 100,000 inputs to the pure reader, and 5,000 over HTTP, twice.

    python benchmarks/fuzz.py                            every entrance, some 20 minutes on 2 cores
    python benchmarks/fuzz.py alerts commands --again    these, whatever was done before
    python benchmarks/fuzz.py --seed 7 --database postgresql

Each input is drawn by hypothesis from what is well-formed (our own JSON Schemas, the command
grammar, GitHub's payloads), and a bit less than half of them are spoiled. Over HTTP a whole bot in
a process of its own takes them, first signed or with a token, then from somebody who is nobody
there. What a repository brings (configuration, spec reports, trial results) is read from a GitHub
by our client; in the second pass GitHub's own envelope around it is spoiled.

Nothing may answer 5xx, take longer than a second, fail in the bot's log, or grow: of a stranger no
row stays, and of the others no more than was asked for. What is done is kept in --results, so that
a run which was stopped goes on there. Findings are printed as they have to be kept in
tests/security/test_fuzz.py. The exit code is 1 where there was one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.fuzzing.entrances import ENTRANCES, Place
from benchmarks.fuzzing.over_http import (
    FROM_REPOSITORIES,
    Passed,
    at_the_port,
    drawn,
    from_a_repository,
    target,
)
from benchmarks.fuzzing.pure import Tally, read_pure
from tests.plugins.postgres import fresh_database, server_of_its_own

PASSES = ("pure", "signed", "unsigned")
_NUMBERS = re.compile(r"[0-9a-z]*[0-9][0-9a-z:.-]*")
"""What differs between two findings of one kind."""
MOST_MEMORY = 48.0
"""MiB that the second half of a pass may add: caches are full by then."""


async def over_http(options: argparse.Namespace, database: str | None) -> dict[str, Passed]:
    """Both passes of one entrance over HTTP."""
    name, count, seed = options.only, options.requests, options.seed
    found = {}
    if name in FROM_REPOSITORIES:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )
        inputs = drawn(name, count, seed, Place())
        for way in PASSES[1:]:
            found[way] = await from_a_repository(
                name, inputs, signed=way == "signed", with_seed=seed, key=key.decode()
            )
        return found
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        async with target(Path(folder), database, observed=name == "observations") as bot:
            inputs = drawn(name, count, seed, bot.place)
            # Strangers first: nothing that others asked for goes on beside them then.
            for way in reversed(PASSES[1:]):
                found[way] = await at_the_port(
                    bot, name, inputs, signed=way == "signed", with_seed=seed
                )
    return found


def one_entrance(options: argparse.Namespace) -> None:
    """Everything about one entrance, in this process; the answer is JSON on stdout."""
    done: dict[str, Tally] = {"pure": read_pure(options.only, options.examples, options.seed)}
    with ExitStack() as stack:
        database = None
        if options.database == "postgresql" and options.only not in FROM_REPOSITORIES:
            server = stack.enter_context(server_of_its_own())
            database = stack.enter_context(fresh_database(server.url))
        done |= asyncio.run(over_http(options, database))
    print(json.dumps({name: asdict(tally) for name, tally in done.items()}))


def line(name: str, way: str, found: dict[str, Any]) -> str:
    """One row of the table."""
    past = found["past"] / max(1, found["inputs"])
    told = f"{name:<14} {way:<9}{found['inputs']:>8,}  past {past:>4.0%}"
    if way == "unsigned":
        told = f"{name:<14} {way:<9}{found['inputs']:>8,}           "
    told += f"  longest {found['longest']:>6.3f} s  in {found['seconds']:>5.0f} s"
    if memory := found.get("memory"):
        told += f"  memory {' → '.join(f'{each:.0f}' for each in memory)} MiB"
    if way != "pure":
        told += f"  {found['statuses']}"
        rows = {name.rpartition(".")[2]: more for name, more in found["rows"].items()}
        told += f"  rows {rows or 'none'}" if name not in FROM_REPOSITORIES else ""
    return told


def wrong_with(way: str, found: dict[str, Any]) -> list[str]:
    """What was found, in words; what has an input as it is kept as an example."""
    said, seen = [], set[str]()
    for each in found["findings"]:
        kind = _NUMBERS.sub("", each["why"].strip().splitlines()[-1])
        if kind not in seen:
            seen.add(kind)
            said.append(f"{each['why']}\n    ({each['head']!r}, bytes.fromhex({each['body']!r}))")
    if more := len(found["findings"]) - len(said):
        said.append(f"{more} more of the same kinds")
    if way != "unsigned" and found["past"] * 2 < found["inputs"]:
        said.append("fewer than half got past the first validation: it hardly looked inside")
    memory = found.get("memory", [])
    if len(memory) == 3 and memory[2] - memory[1] > MOST_MEMORY:
        said.append(f"the second half took {memory[2] - memory[1]:.0f} MiB more")
    return said


def result_of(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Have an entrance fuzzed in a process of its own, unless that is done already."""
    what = f"{options.seed}-{options.examples}-{options.requests}-{options.database}"
    kept = Path(options.results) / f"{name}-{what}.json"
    if kept.exists() and not options.again:
        return dict(json.loads(kept.read_text()))
    command = [
        sys.executable, __file__, "--only", name, "--seed", str(options.seed),
        "--examples", str(options.examples), "--requests", str(options.requests),
        "--database", options.database,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{name} broke off:\n{done.stderr[-3000:]}")
    found = dict(json.loads(done.stdout.splitlines()[-1]))
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found))
    return found


def main() -> int:
    """Read the options, fuzz, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("entrances", nargs="*", metavar="ENTRANCE", help=", ".join(ENTRANCES))
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--results", default="var/fuzz")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--only", choices=tuple(ENTRANCES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only is not None:
        one_entrance(options)
        return 0
    names = options.entrances or list(ENTRANCES)
    if unknown := set(names) - ENTRANCES.keys():
        parser.error(f"no entrance {', '.join(sorted(unknown))}; there are {', '.join(ENTRANCES)}")
    print(f"seed {options.seed}, {options.database}", flush=True)
    wrong = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, results in zip(names, pool.map(partial(result_of, options), names), strict=True):
            for way in PASSES:
                print(line(name, way, results[way]), flush=True)
                for each in wrong_with(way, results[way]):
                    wrong += 1
                    print(f"    WRONG {each}", flush=True)
    print("nothing found" if not wrong else f"{wrong} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
