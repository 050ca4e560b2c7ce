"""A revert, a bisect and a gate with each odd answer that GitHub allows: does each end well?

    python benchmarks/odd_answers.py [--jobs 2] [--only TEXT …] [--resume FILE] [--at-once] [--list]

First each story is played with nothing odd: the answers that it meets. Then once for each thing
that may be otherwise in one of those answers, by GitHub's own description, and that the client
reads; before that, once for all that may be null in one of them, all that may be absent, and so on
(`--at-once` ends there). Well means: main is safe, or the bot says what is to be done, and once
exactly that is done main is safe (`tests/odd_answers`). The descriptions: `make contracts`.
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
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog

from benchmarks.conversations.processes import hand_out, serve
from tests.contracts.download import OPENAPI
from tests.first_minute.town import town
from tests.odd_answers.answers import OddAnswers, at_once, mutations
from tests.odd_answers.stories import SAFE, STEP, STORIES, WAITS, Outcome, Play, play

JOBS = min(2, os.cpu_count() or 1)
SIDE_BY_SIDE = 5


async def work(side_by_side: int) -> None:
    """Play what is asked for, until the end of the input."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with town(Path(folder)) as built:
            answers = OddAnswers()
            built.github.faults.add(answers, times=None)

            async def one(key: str) -> str:
                return (await play(built, answers, Play.of(key))).as_line()

            await serve(side_by_side, one)


@dataclass
class Book:
    """What is known so far, and where it is kept."""

    file: Path | None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    total: int = 0
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Read what is there."""
        if self.file is not None and self.file.exists():
            for line in self.file.read_text("utf-8").splitlines():
                self._know(line)

    def _know(self, line: str) -> Outcome:
        outcome = Outcome(**json.loads(line))
        self.outcomes[outcome.key] = outcome
        return outcome

    def take(self, line: str) -> str:
        """Keep what a line tells of; its key."""
        outcome = self._know(line)
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as out:
                out.write(line.rstrip("\n") + "\n")
        bad = sum(not each.well for each in self.outcomes.values())
        print(
            f"\r{len(self.outcomes)}/{self.total} stories, {bad} not well, "
            f"{time.monotonic() - self.began:.0f} s: {outcome.how or 'WRONG'} {outcome.key}\033[K",
            end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True,
        )  # fmt: skip
        return outcome.key


async def run(given: argparse.Namespace) -> list[Outcome]:
    """Play what is not known yet, and give all."""
    book = Book(given.resume)
    plain = [Play(story, ()) for story in STORIES]

    async def known(plays: Sequence[Play]) -> list[Outcome]:
        left = [each.key for each in plays if each.key not in book.outcomes]
        book.total = len(book.outcomes) + len(left)
        worker = [sys.executable, __file__, "--worker", "--side-by-side", str(given.side_by_side)]
        await hand_out(left, worker, book.take, jobs=given.jobs, room=given.side_by_side)
        return [book.outcomes[each.key] for each in plays]

    usual = await known(plain)
    plays = [
        each
        for story, outcome in zip(STORIES, usual, strict=True)
        for each in every_play(story, outcome.met, at_once_only=given.at_once)
        if all(text in each.key for text in given.only)
    ]
    if given.list:
        print("\n".join(each.key for each in plays))
        return []
    return usual + await known(plays)


def every_play(story: str, met: Sequence[str], *, at_once_only: bool) -> Iterator[Play]:
    """Each way in which this story is played."""
    yield from (Play(story, (each,)) for each in at_once(met))
    if not at_once_only:
        yield from (Play(story, (each,)) for each in mutations(met))


def report(outcomes: Sequence[Outcome]) -> int:
    """Print the tables; 1 where a story did not end well."""
    print("| story | played | met it | main is safe | one next step | waited | wrong |")
    print("|---|---|---|---|---|---|---|")
    for story in STORIES:
        of = [each for each in outcomes if each.key.startswith(f"{story}: ")]
        how = Counter(each.how for each in of if each.well)
        odd = sum(each.times > 0 for each in of)
        counts = (len(of), odd, how[SAFE], how[STEP], how[WAITS], len(of) - how.total())
        print(f"| {story} | " + " | ".join(map(str, counts)) + " |")
    steps = [each for each in outcomes if each.well and each.how == STEP]
    print(f"\n## {len(steps)} with one next step\n")
    for each in steps:
        print(f"- {each.key}: {', then '.join(each.steps)}")
    bad = [each for each in outcomes if not each.well]
    print(f"\n## {len(bad)} that did not end well\n")
    for each in bad:
        print(f"- {each.key}: {'; '.join(each.wrong) or 'nothing led on'}"
              f" ({', then '.join(each.steps) or 'nobody did anything'})")  # fmt: skip
        print("\n".join(f"    {line}" for line in each.seen))
    return 1 if bad else 0


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes, each with a bot")
    parser.add_argument("--side-by-side", type=int, default=SIDE_BY_SIDE, help="stories in each")
    parser.add_argument("--only", nargs="*", default=[], help="plays whose keys have all of these")
    parser.add_argument("--resume", type=Path, help="keeps results; what is there is not played")
    parser.add_argument("--at-once", action="store_true", help="all of one kind in one answer only")
    parser.add_argument("--list", action="store_true", help="print what would be played")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not OPENAPI.ready:
        print("GitHub's description is not downloaded: make contracts")
        return 0
    if given.worker:
        logging.basicConfig(level=logging.CRITICAL)
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        asyncio.run(work(given.side_by_side))
        return 0
    return report(asyncio.run(run(given)))


if __name__ == "__main__":
    sys.exit(main())
