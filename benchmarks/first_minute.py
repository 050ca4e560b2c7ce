"""Whatever people do first and whatever GitHub refuses: is main safe at the end?

    python benchmarks/first_minute.py [--jobs 2] [--only TEXT …] [--resume FILE] [--list]

The full product of who is first, by which way, and what GitHub refuses or the repository is like:
each cell a conversation over HTTP with a bot on the demo GitHub (`tests/first_minute`). Safe is
what the files of main say, and the only things a person does after the first words are those that
the bot's own words tell them to do, at most three. Several processes with a bot each, and many
repositories side by side in each of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog

from benchmarks.conversations.processes import hand_out, serve
from tests.first_minute.conversation import Result, play
from tests.first_minute.product import Cell, every_cell, sample
from tests.first_minute.town import town

JOBS = min(2, os.cpu_count() or 1)
SIDE_BY_SIDE = 6


# --- one process with a bot: reads keys of cells, writes results, a line each ---


async def work(side_by_side: int, *, may_forward: bool) -> None:
    """Play what is asked for, until the end of the input."""
    cells = {cell.key: cell for cell in every_cell()}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with town(Path(folder)) as built:

            async def one(key: str) -> str:
                return (await play(built, cells[key], may_forward=may_forward)).as_line()

            await serve(side_by_side, one)


# --- the one that hands out cells ---


@dataclass
class Tally:
    """What is known so far, and where it is kept."""

    file: Path | None
    total: int
    results: dict[str, Result] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def take(self, line: str) -> str:
        """Keep the result that a line tells of; the key of its cell."""
        result = Result(**json.loads(line))
        self.results[result.cell] = result
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as out:
                out.write(result.as_line() + "\n")
        done, bad = len(self.results), sum(not each.safe for each in self.results.values())
        word = "safe" if result.safe else "waits" if result.time_wanted else "UNSAFE"
        print(
            f"\r{done}/{self.total} cells, {bad} not safe, "
            f"{time.monotonic() - self.began:.0f} s: {word} {result.cell}\033[K",
            end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True,
        )  # fmt: skip
        return result.cell


def _worker(side_by_side: int, *, may_forward: bool) -> list[str]:
    forward = ["--may-forward"] if may_forward else []
    return [sys.executable, __file__, "--worker", "--side-by-side", str(side_by_side), *forward]


async def run(given: argparse.Namespace, cells: Sequence[Cell]) -> dict[str, Result]:
    """Play what is not known yet; what only waits for a time-out is played alone, at the end."""
    tally = Tally(given.resume, len(cells))
    for known in _read(given.resume):
        if not known.time_wanted:
            tally.results[known.cell] = known
    left = [cell for cell in cells if cell.key not in tally.results]
    if left:
        worker = _worker(given.side_by_side, may_forward=False)
        keys = deque(cell.key for cell in left)
        await hand_out(keys, worker, tally.take, jobs=given.jobs, room=given.side_by_side)
    late = [cell for cell in cells if tally.results[cell.key].time_wanted]
    if late:
        keys = deque(cell.key for cell in late)
        await hand_out(keys, _worker(1, may_forward=True), tally.take, jobs=given.jobs, room=1)
    return {cell.key: tally.results[cell.key] for cell in cells}


def _read(file: Path | None) -> Iterable[Result]:
    if file is None or not file.exists():
        return []
    return [Result(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


# --- what is printed ---


def report(results: dict[str, Result], cells: Sequence[Cell]) -> int:
    """Print the tables; 1 where a cell is not safe or says what it may not."""
    safe = [each for each in results.values() if each.safe]
    seconds = sorted(each.seconds for each in safe) or [0.0]
    comments = [each.comments for each in results.values()] or [0]
    p95 = quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
    by_advice = Counter(len(each.advice) for each in safe)
    print(f"\n{len(results)} cells, {len(safe)} safe")
    print(f"seconds until safe: median {median(seconds):.1f}, p95 {p95:.1f}")
    print(
        f"comments a cell: {sum(comments) / len(comments):.1f} on average, {max(comments)} at most"
    )
    print(
        "advice followed: " + ", ".join(f"{n}: {of} cells" for n, of in sorted(by_advice.items()))
    )
    bad = [each for each in results.values() if not each.safe]
    _table("not safe", bad, lambda each: each.wrong)
    worded = [each for each in results.values() if each.words]
    _table("safe or not, says what it may not", worded, lambda each: each.words)
    noted: dict[str, list[str]] = defaultdict(list)
    for each in results.values():
        for note in each.notes:
            noted[note.split(":")[0].split("#")[0]].append(each.cell)
    if noted:
        print(
            "\n## Remarkable, and nothing against it\n\n| what | cells | such as |\n|---|---|---|"
        )
        for note, of in sorted(noted.items(), key=lambda pair: -len(pair[1])):
            print(f"| {_cell(note)} | {len(of)} | {of[0]} |")
    _by_kind(bad + [each for each in worded if each.safe], cells)
    return 1 if bad or worded else 0


def _table(title: str, rows: Sequence[Result], why: Any) -> None:
    if not rows:
        return
    print(f"\n## {len(rows)} {title}\n\n| cell | why | advice followed | notes | words seen |")
    print("|---|---|---|---|---|")
    for each in rows:
        told = ["; ".join(why(each)), ", ".join(each.advice), "; ".join(each.notes)]
        told.append("<br>".join(each.seen[:4]))
        print("| " + " | ".join(_cell(text) for text in (each.cell, *told)) + " |")


def _by_kind(rows: Sequence[Result], cells: Sequence[Cell]) -> None:
    if not rows:
        return
    found = {cell.key: cell for cell in cells}
    print("\n| what it is like | cells | of |\n|---|---|---|")
    total = Counter((cell.trouble, cell.moment) for cell in cells)
    kinds = Counter((found[each.cell].trouble, found[each.cell].moment) for each in rows)
    for kind, times in kinds.most_common():
        print(f"| {kind[0]}, {kind[1]} | {times} | {total[kind]} |")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def impossible_table() -> None:
    """Print which cells cannot exist, and why."""
    every = list(every_cell())
    reasons: dict[str, list[Cell]] = defaultdict(list)
    for cell in every:
        if cell.impossible:
            reasons[cell.impossible].append(cell)
    count = sum(map(len, reasons.values()))
    print(f"{len(every)} cells in the product; {count} ({count / len(every):.1%}) cannot exist:\n")
    print("| cells | which | why |\n|---|---|---|")
    for why, cells in reasons.items():
        firsts = "/".join(dict.fromkeys(cell.first for cell in cells))
        ways = "/".join(dict.fromkeys(cell.way for cell in cells))
        troubles = list(dict.fromkeys(cell.trouble for cell in cells))
        like = troubles[0] if len(troubles) == 1 else "any"
        print(f"| {len(cells)} | {firsts}, {ways}, {like} | {why} |")


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes, each with a bot")
    parser.add_argument("--side-by-side", type=int, default=SIDE_BY_SIDE, help="cells in each")
    parser.add_argument("--only", nargs="*", default=[], help="cells whose keys have all of these")
    parser.add_argument("--sample", type=int, help="so many cells, as pairwise as they can be")
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--resume", type=Path, help="keeps results; what is there is not played")
    parser.add_argument("--list", action="store_true", help="print the cells, play nothing")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--may-forward", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        logging.basicConfig(level=logging.CRITICAL)
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        asyncio.run(work(given.side_by_side, may_forward=given.may_forward))
        return 0
    cells = [cell for cell in every_cell() if cell.impossible is None]
    cells = [cell for cell in cells if all(text in f"/{cell.key}/" for text in given.only)]
    if given.sample:
        cells = sample(given.sample, given.seed, cells)
    impossible_table()
    if given.list:
        print("\n".join(cell.key for cell in cells))
        return 0
    return report(asyncio.run(run(given, cells)), cells)


if __name__ == "__main__":
    sys.exit(main())
