"""Five hundred commands in a minute: recoveries first, no limit overdrawn, nothing lost.

    python benchmarks/commands.py [--commands 500] [--repositories 50] [--installations 5]

The repositories belong to several accounts, each an installation with limits of its own; the demo
GitHub enforces points and created content as GitHub does. In each repository somebody comments
`/revert` at a moment drawn from the minute, and asks for what is answered by a comment, or refused.
Before that some reverts are asked for one at a time, in quiet; and as many as in that minute, at
the same moments, with nothing beside them: ten reverts of an installation cost more points than
GitHub grants in a minute, so that is the bound.

It fails where the demo GitHub had to refuse a request, where a command has no answer, where a
revert is not merged, or where the median revert takes more than `MOST_SLOWER` times as long as
with nothing beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.person import Person
from fakegithub.limits import CREATED, POINTS_A_MINUTE
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeComment, FakeRepository
from tests.chaos.lane import BAD, Lane

MINUTE_S = 60.0
QUIET = 5
"""Reverts that are timed one at a time; each has a repository of its own."""
MOST_SLOWER = 5.0
LONGEST_S = 1500.0
TALK = tuple(
    # With our name: another bot, which is left ten seconds else, is not meant.
    f"/playbooks {words}"
    for words in ("status", "help", "cancel", "help revert", "retry", "bisect nonsense..main")
)
_ANSWERS = {"+1", "confused"}


@dataclass
class Shop:
    """One repository, broken by a merged pull request, and somebody with rights there."""

    repository: FakeRepository
    person: Person
    number: int
    place: int

    def comments(self) -> Iterator[FakeComment]:
        """Every comment there is."""
        for issue in self.repository.issues.values():
            yield from issue.comments
            if issue.pull:
                yield from issue.pull.comments

    def merged(self) -> bool:
        """Whether a hotfix of the bot's is on main."""
        return any(
            issue.pull and issue.pull.merged_at and issue.number > self.place
            for issue in self.repository.issues.values()
        )


@dataclass
class Asked:
    """A command, and when its answer came."""

    shop: Shop
    words: str
    at: float
    comment: int = 0
    seconds: float | None = None

    @property
    def is_recovery(self) -> bool:
        """Whether it brings main back."""
        return self.words.startswith("/revert")

    def look(self) -> None:
        """Note the answer, once it is there."""
        if self.is_recovery:
            done = self.shop.merged()
        else:
            done = any(
                reaction.content in _ANSWERS
                for each in self.shop.comments()
                if each.id == self.comment
                for reaction in each.reactions
            )
        if done:
            self.seconds = time.monotonic() - self.at


async def shops(lane: Lane, stack: AsyncExitStack, count: int, installations: int) -> list[Shop]:
    """Make the repositories; nothing is delivered meanwhile."""
    owners = [lane.owner]
    for number in range(1, installations):
        owners.append(lane.github.create_user(f"account-{number}", organization=True))
        lane.github.install(lane.app, owners[-1])
    found = []
    with lane.deaf():
        for number in range(count):
            lane.owner = owners[number % len(owners)]
            repository = lane.repository()
            user = lane.github.create_user(f"person-{number}")
            lane.github.set_collaborator(repository, user.login, "maintain")
            person = await stack.enter_async_context(
                Person(lane.github.url, user.token or "", repository.full_name)
            )
            broken = await person.open_pull_request("Faster", {"shop.py": BAD}, branch="faster")
            await person.merge(broken, "squash")
            place = await person.open_issue("Questions")
            found.append(Shop(repository, person, broken, place))
    return found


async def ask(each: Asked) -> None:
    """Comment it."""
    number = each.shop.number if each.is_recovery else each.shop.place
    each.at = time.monotonic()
    each.comment = int((await each.shop.person.comment(number, each.words))["id"])


async def answered(asked: Sequence[Asked]) -> None:
    """Look until each has its answer, or for as long as `LONGEST_S`."""
    began = time.monotonic()
    while time.monotonic() - began < LONGEST_S:
        for each in asked:
            if each.comment and each.seconds is None:
                each.look()
        if all(each.seconds is not None for each in asked):
            return
        await asyncio.sleep(0.1)


def drawn(places: Sequence[Shop], commands: int, rng: random.Random) -> list[tuple[float, Asked]]:
    """What is asked in the minute, each with its moment: one revert a repository, else talk."""
    asked = [Asked(shop, "/revert because totals are zero", 0.0) for shop in places]
    queue = [(rng.uniform(0, MINUTE_S), each) for each in asked]
    for number in range(commands - len(asked)):
        said = Asked(places[number % len(places)], rng.choice(TALK), 0.0)
        queue.append((rng.uniform(0, MINUTE_S), said))
    return sorted(queue, key=lambda pair: pair[0])


async def measure(options: argparse.Namespace, folder: Path) -> int:
    """Quiet reverts, reverts alone, then the minute; print all three."""
    async with AsyncExitStack() as stack:
        github = await stack.enter_async_context(
            DemoGitHub(rng=random.Random(options.seed))  # noqa: S311 - repeatable
        )
        lane = Lane(github, folder, as_program=True)
        places = await shops(lane, stack, QUIET + 2 * options.repositories, options.installations)
        await lane.start()
        stack.push_async_callback(lane.close)
        quiet = []
        for shop in places[:QUIET]:
            one = Asked(shop, "/revert because totals are zero", 0.0)
            await ask(one)
            await answered([one])
            quiet.append(one)
            await asyncio.sleep(2.0)
        minutes = []
        first, rest = QUIET, QUIET + options.repositories
        for begin, commands in ((first, options.repositories), (rest, options.commands)):
            # What was made while nobody looked is no part of the minute.
            github.limits.points.clear()
            github.limits.created.clear()
            github.limits.windows.clear()
            github.limits.enforces = True
            rng = random.Random(options.seed)  # noqa: S311 - the same moments
            of_it = places[begin : begin + options.repositories]
            minutes.append(await minute(drawn(of_it, commands, rng)))
            if len(minutes) == 1:
                await asyncio.sleep(MINUTE_S)
        return report(lane, quiet, *minutes)


async def minute(queue: Sequence[tuple[float, Asked]]) -> list[Asked]:
    """Ask for each at its moment, and wait until all are answered."""
    began = time.monotonic()
    asking = [asyncio.create_task(answered([each for _, each in queue]))]
    for moment, each in queue:
        await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
        asking.append(asyncio.create_task(ask(each)))
    await asyncio.gather(*asking)
    return [each for _, each in queue]


def report(
    lane: Lane, quiet: Sequence[Asked], alone: Sequence[Asked], asked: Sequence[Asked]
) -> int:
    """Print them side by side, how near each limit came, and what is wrong; the exit code."""
    everything = [*quiet, *alone, *asked]
    wrong = [f"no answer: {each.words} in {each.shop.repository.full_name}"
             for each in everything if each.seconds is None]  # fmt: skip
    kinds = {
        "reverts, one at a time": quiet,
        "reverts, nothing beside": alone,
        "reverts, in the minute": [each for each in asked if each.is_recovery],
        "all else in it": [each for each in asked if not each.is_recovery],
    }
    print(f"{'seconds until':<26}{'asked':>6}{'answered':>9}{'median':>8}{'p90':>8}{'most':>8}")
    middle = {}
    for name, of in kinds.items():
        seconds = sorted(each.seconds for each in of if each.seconds is not None)
        if not seconds:
            continue
        middle[name] = statistics.median(seconds)
        tenth = seconds[int(len(seconds) * 0.9)]
        print(f"{name:<26}{len(of):>6}{len(seconds):>9}{middle[name]:>8.1f}{tenth:>8.1f}"
              f"{seconds[-1]:>8.1f}")  # fmt: skip
    slower = middle["reverts, in the minute"] / middle["reverts, nothing beside"]
    words = Counter(each.words.split()[1] for each in asked if not each.is_recovery)
    print(f"{slower:.2f} times as long as with nothing beside; all else: {dict(words)}")
    limits = lane.github.limits
    for (key, resource), used in sorted(limits.points.items()):
        if key.startswith("installation:"):
            made = [f"{limits.created[key, s].most} of {most} in {s} s"
                    for s, most in CREATED.items() if (key, s) in limits.created]  # fmt: skip
            print(f"{key} {resource}: at most {used.most} of {POINTS_A_MINUTE[resource]} points a "
                  f"minute; created {', '.join(made) if resource == 'core' else '-'}")  # fmt: skip
    if refused := {key: n for key, n in limits.refused.items() if n}:
        wrong.append(f"the demo GitHub refused {refused}")
    if slower > MOST_SLOWER:
        wrong.append(f"a revert takes {slower:.2f} times as long; {MOST_SLOWER} are allowed")
    for each in wrong[:20]:
        print(f"WRONG {each}")
    return 1 if wrong else 0


def main() -> int:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commands", type=int, default=500)
    parser.add_argument("--repositories", type=int, default=50)
    parser.add_argument("--installations", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="commands-") as folder:
        return asyncio.run(measure(options, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
