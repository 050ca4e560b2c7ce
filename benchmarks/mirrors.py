"""A mirror in use for months: does it stay small, and is the last revert as fast as the first?

    python benchmarks/mirrors.py [--refreshes 500] [--reverts 20] [--unkept]

The bot is at work on a demo GitHub. As often as asked, somebody pushes a commit, the mirror is
refreshed and the commit's revert is computed: what months of playbooks do to a mirror. Then pull
requests that break things are merged, and people answer `/revert`: whole conversations, timed from
the comment until the bot says it is done. Upkeep runs in the background meanwhile; since here
months pass in minutes, it looks every two seconds instead of every minute and rests as long as it
packed instead of twenty times as long. `--unkept` switches it off.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bot.app import Bot
from bot.git import maintenance
from bot.git.mirror import Mirror
from bot.git.revert import Clean, compute_revert
from bot.github.client import EVENTS, PERMISSIONS
from bot.playbooks.run import Patience
from bot.triggers import Repository as Named
from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from tests.chaos.lane import InstantCi
from tests.shop import BAD, GOOD, SECRET, settings_for

LOOK_EVERY = timedelta(seconds=2)
NEVER = timedelta(days=1)
LONGEST_S = 120.0
POINTS = 20
"""Lines of the curve."""
FILES = 40


async def pushed(alice: Person, number: int) -> str:
    """Somebody pushes a commit to main; its SHA."""
    name = f"lib/part_{number % FILES}.py"
    return await alice.push("main", {name: f"VALUE = {number}\n" * 20}, f"Change {number}")


async def used(mirror: Mirror, sha: str) -> None:
    """Refresh the mirror, and compute what undoing the commit gives."""
    await mirror.refresh()
    head = await mirror.branch_head("main")
    outcome = await mirror.read(lambda git: compute_revert(git, [sha], head))
    if not isinstance(outcome, Clean):
        raise RuntimeError(f"{sha} does not revert cleanly")


async def reverted(github: DemoGitHub, alice: Person, number: int) -> float:
    """Break the shop and have the bot bring it back; the seconds that took."""
    github.limits.windows.clear()
    branch = f"break-{number}"
    pull = await alice.open_pull_request(f"Break it {number}", {"shop.py": BAD}, branch=branch)
    await alice.merge(pull, "squash")
    began = time.perf_counter()
    comment = await alice.comment(pull, "/revert")
    async with asyncio.timeout(LONGEST_S):
        while not {"+1", "confused"} & set(await alice.reactions(comment["id"])):  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.02)
    took = time.perf_counter() - began
    if await alice.file("shop.py") != GOOD:
        raise RuntimeError(f"#{pull} was not reverted")
    return took


async def line(mirror: Mirror, what: str) -> maintenance.MirrorCondition:
    """Print one point of the curve."""
    found = await asyncio.to_thread(maintenance.look, mirror.path, datetime.now(UTC))
    size = await mirror.disk_bytes() / 1024
    bar = "#" * min(60, found.packs)
    print(f"{what:>14}  {found.packs:5}  {found.loose:6,}  {size:8,.0f}  {bar}", flush=True)
    return found


async def measure(options: argparse.Namespace, folder: Path) -> int:
    """Do it all; 1 where the mirror did not stay small."""
    async with DemoGitHub(rng=random.Random(20)) as github:  # noqa: S311 - repeatable
        acme = github.create_user("acme", organization=True)
        app = github.create_app(
            "playbooks", owner=acme, permissions=PERMISSIONS, events=list(EVENTS), secret=SECRET
        )
        app.callback_urls = ["http://127.0.0.1/ui/login/callback"]
        github.install(app, acme)
        repository = github.create_repository(acme, "shop", {"README.md": "#\n", "shop.py": GOOD})
        user = github.create_user("alice")
        github.set_collaborator(repository, "alice", "maintain")
        look = timedelta(seconds=1)
        bot = Bot(
            settings_for(github, app, folder),
            patience=Patience(look_again=look, look_later=look),
            hint_every=0.1,
        )
        bot.mirrors.every = NEVER if options.unkept else LOOK_EVERY
        bot.mirrors.rest = 1
        await bot.start()
        app.webhook_url = f"http://127.0.0.1:{bot.port}/webhooks/github"
        ci = InstantCi(github)
        try:
            async with Person(github.url, user.token, "acme/shop") as alice:
                return await months(options, github, alice, bot, repository, ci)
        finally:
            await bot.stop()


async def months(
    options: argparse.Namespace,
    github: DemoGitHub,
    alice: Person,
    bot: Bot,
    repository: FakeRepository,
    ci: InstantCi,
) -> int:
    """Refresh, revert, and print what became of the mirror."""
    [named] = [each for each in await bot.served.served() if each.id == repository.id]
    mirror = bot.mirrors.of(Named.model_validate(named.model_dump()))
    print(f"{'':14}  packs   loose       KiB")
    most = 0
    each = max(1, options.refreshes // POINTS)
    for number in range(1, options.refreshes + 1):
        github.limits.windows.clear()
        await used(mirror, await pushed(alice, number))
        if number % each == 0:
            found = await line(mirror, f"{number} refreshes")
            most = max(most, found.packs)
    ci.watch(repository)
    ci.report(repository, await alice.head("main"))
    seconds = []
    for number in range(1, options.reverts + 1):
        seconds.append(await reverted(github, alice, number))
        if number % 5 == 0:
            most = max(most, (await line(mirror, f"{number} reverts")).packs)
    first, last = seconds[0], seconds[-1]
    early, late = statistics.median(seconds[:5]), statistics.median(seconds[-5:])
    print(f"\nreverts, seconds: {' '.join(f'{each:.2f}' for each in seconds)}")
    print(f"first {first:.2f} s, last {last:.2f} s: last/first {last / first:.2f}")
    print(f"median of the first five {early:.2f} s, of the last {late:.2f} s: {late / early:.2f}")
    slope, error = trend(seconds)
    print(
        f"each takes {slope * 1e3:+.0f} ± {error * 1e3:.0f} ms (standard error) more than the last"
    )
    print(f"most packs seen: {most}")
    return int(most > 2 * maintenance.MOST_PACKS or slope > 2 * error)


def trend(seconds: Sequence[float]) -> tuple[float, float]:
    """Tell by how much each of these takes longer than the one before, and how sure that is.

    Returns:
        The slope of the line of least squares, in seconds, and its standard error.
    """
    numbers = range(len(seconds))
    slope, start = statistics.linear_regression(numbers, seconds)
    off = sum((each - start - slope * n) ** 2 for n, each in zip(numbers, seconds, strict=True))
    return slope, math.sqrt(
        off / (len(seconds) - 2) / (len(seconds) * statistics.pvariance(numbers))
    )


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--refreshes", type=int, default=500)
    parser.add_argument("--reverts", type=int, default=20)
    parser.add_argument("--unkept", action="store_true", help="without upkeep, to compare")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="playbooks-mirrors-") as folder:
        raise SystemExit(asyncio.run(measure(options, Path(folder))))


if __name__ == "__main__":
    main()
