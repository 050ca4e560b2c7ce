"""A revert, a bisect and a gate with each odd answer that GitHub allows: does each end well?

    python benchmarks/odd_answers.py [--jobs 2] [--only TEXT …] [--resume FILE] [--singly] [--list]

First each story is played with nothing odd: the answers that it meets. What may be otherwise in
them, by GitHub's own description, and what the client may read of it, is then odd: many things of
one kind at once. Where main is safe all the same, all of them that were met are done with; where it
is not, they are played in halves, down to the one. With `--singly` each that was met is then played
by itself, too: an hour.

Well means: main is safe, or the bot says what is to be done, and once exactly that is done main is
safe (`tests/odd_answers`). The descriptions: `make contracts`.
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
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog

from benchmarks.conversations.processes import hand_out, serve
from tests.contracts.download import OPENAPI
from tests.first_minute.town import town
from tests.odd_answers.answers import KINDS, Mutation, OddAnswers, mutations
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
        return outcome.key


@dataclass
class Search:
    """What is left to be tried, and what came of it.

    Attributes:
        book: every story that was played.
        waiting: the keys of those that are to be played.
        well: by single mutation: the story in which it was odd, and that ended well by itself.
        alone: by single mutation: what came of it where nothing else was odd.
        unmet: mutations that made no answer another one.
    """

    book: Book
    waiting: deque[str] = field(default_factory=deque)
    well: dict[str, Outcome] = field(default_factory=dict)
    alone: dict[str, Outcome] = field(default_factory=dict)
    unmet: set[str] = field(default_factory=set)

    def want(self, story: str, odd: Sequence[Mutation]) -> None:
        """Play this, or take it from the book."""
        what = Play(story, tuple(odd))
        if (known := self.book.outcomes.get(what.key)) is not None:
            self._follow(what, known)
        else:
            self.waiting.append(what.key)

    def take(self, line: str) -> str:
        """Keep what a line tells of, and want what follows from it; its key."""
        key = self.book.take(line)
        outcome = self.book.outcomes[key]
        self._follow(Play.of(key), outcome)
        done = len(self.well) + len(self.alone) + len(self.unmet)
        bad = sum(not each.well for each in self.alone.values())
        print(
            f"\r{len(self.book.outcomes)} stories, {done} mutations done, {bad} not well, "
            f"{len(self.waiting)} stories wait, {time.monotonic() - self.book.began:.0f} s: "
            f"{outcome.how or 'WRONG'} {key[:90]}\033[K",
            end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True,
        )  # fmt: skip
        return key

    def _follow(self, what: Play, outcome: Outcome) -> None:
        story, odd = what.story, what.odd
        if len(odd) == 1:
            if outcome.odd or not outcome.well:
                self.alone[f"{story}: {odd[0].key}"] = outcome
            else:
                self.unmet.add(f"{story}: {odd[0].key}")
            return
        if not outcome.well or outcome.how != SAFE:
            half = len(odd) // 2
            self.want(story, odd[:half])
            self.want(story, odd[half:])
            return
        self.well |= {f"{story}: {key}": outcome for key in outcome.odd}
        left = [each for each in odd if each.key not in outcome.odd]
        if left and outcome.odd:
            self.want(story, left)
        self.unmet |= set() if outcome.odd else {f"{story}: {each.key}" for each in left}


async def run(given: argparse.Namespace) -> Search | None:
    """Play what is not known yet, and give all; None where it was only listed."""
    search = Search(Book(given.resume))
    worker = [sys.executable, __file__, "--worker", "--side-by-side", str(given.side_by_side)]

    async def played(take: Callable[[str], str]) -> None:
        jobs, room = given.jobs, given.side_by_side
        await hand_out(search.waiting, worker, take, jobs=jobs, room=room)

    usual = [Play(story, ()).key for story in STORIES]
    search.waiting += [key for key in usual if key not in search.book.outcomes]
    await played(search.book.take)
    for story, key in zip(STORIES, usual, strict=True):
        every = list(mutations(search.book.outcomes[key].met))
        chosen = [e for e in every if all(text in f"{story}: {e.key}" for text in given.only)]
        if given.list:
            print("\n".join(f"{story}: {each.key}" for each in chosen))
            continue
        for kind in KINDS:
            if group := [each for each in chosen if each.kind == kind]:
                search.want(story, group)
    await played(search.take)
    if given.singly:
        for key in [each for each in search.well if each not in search.alone]:
            single = Play.of(key)
            search.want(single.story, single.odd)
        await played(search.take)
    return None if given.list else search


def report(search: Search) -> int:
    """Print the tables; 1 where a story did not end well."""
    outcomes, alone = search.book.outcomes, search.alone
    print("| story | stories | mutations | safe | one next step | waited | wrong | not met |")
    print("|---|---|---|---|---|---|---|---|")
    for story in STORIES:
        start = f"{story}: "
        how = Counter(o.how if o.well else "wrong" for k, o in alone.items() if k.startswith(start))
        safe = sum(key.startswith(start) for key in search.well.keys() - alone.keys()) + how[SAFE]
        unmet = sum(key.startswith(start) for key in search.unmet)
        counts = (
            sum(key.startswith(start) for key in outcomes), safe + how[STEP] + how[WAITS]
            + how["wrong"], safe, how[STEP], how[WAITS], how["wrong"], unmet,
        )  # fmt: skip
        print(f"| {story} | " + " | ".join(map(str, counts)) + " |")
    steps = [each for each in alone.values() if each.well and each.how == STEP]
    print(f"\n## {len(steps)} with one next step\n")
    for each in steps:
        print(f"- {each.key}: {', then '.join(each.steps)}")
    waited = [each for each in alone.values() if each.well and each.how == WAITS]
    print(f"\n## {len(waited)} that waited, and went on by themselves once answers were as usual\n")
    for each in waited:
        print(f"- {each.key}: {(each.seen or ['nothing was said'])[0]}")
    bad = [each for each in [*alone.values(), *plain(outcomes)] if not each.well]
    print(f"\n## {len(bad)} that did not end well\n")
    for each in bad:
        print(f"- {each.key}: {'; '.join(each.wrong) or 'nothing led on'}"
              f" ({', then '.join(each.steps) or 'nobody did anything'})")  # fmt: skip
        print("\n".join(f"    {line}" for line in each.seen))
    return 1 if bad else 0


def plain(outcomes: Mapping[str, Outcome]) -> list[Outcome]:
    """The stories in which nothing was odd."""
    return [outcomes[key] for key in (Play(story, ()).key for story in STORIES) if key in outcomes]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes, each with a bot")
    parser.add_argument("--side-by-side", type=int, default=SIDE_BY_SIDE, help="stories in each")
    parser.add_argument("--only", nargs="*", default=[], help="mutations with all of these")
    parser.add_argument("--resume", type=Path, help="keeps results; what is there is not played")
    parser.add_argument("--singly", action="store_true", help="then each by itself, too")
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
    search = asyncio.run(run(given))
    return 0 if search is None else report(search)


if __name__ == "__main__":
    sys.exit(main())
