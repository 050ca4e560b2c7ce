"""Reverts under way while their database goes away, and what is left when all is over."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeComment, FakeRepository
from tests.chaos.lane import GOOD, Lane, free_port
from tests.chaos.life import Conditions, Life

Outage = Callable[[], Awaitable[None]]
"""Takes something away, and brings it back."""

Moment = Literal["webhook", "step", "command"]
MOMENTS: tuple[Moment, ...] = ("webhook", "step", "command")

LONGEST_S = 240.0
QUICK = Conditions(look_again=2.0, look_for_missed=4.0)
"""Missed deliveries are asked for every four seconds instead of every minute."""

NOT_FOR_PEOPLE = re.compile(
    r"could not go on|psycopg|sqlite3|sqlalche|connection (?:to server|failed)|OperationalError"
    r"|No space left",
    re.IGNORECASE,
)
"""What no comment may hold: a Run that gave up, or a driver that speaks."""


@dataclass
class Asked:
    """One revert: where, of which pull request, and the comment that asks."""

    repository: FakeRepository
    person: Person
    number: int
    comment: int = 0
    status: int = 0


@dataclass
class Fleet:
    """One bot or two on one database, started again whenever one ends, as a supervisor does."""

    lane: Lane
    lives: list[Life]
    asked: list[Asked] = field(default_factory=list)

    async def keep_alive(self) -> None:
        """Be the supervisor, until cancelled."""
        while True:
            for life in self.lives:
                if not life.alive:
                    await life.start()
            await asyncio.sleep(0.2)

    def moments(self) -> int:
        """How many steps began or ended so far."""
        traces = [life.folder / "trace" for life in self.lives]
        return sum(path.read_bytes().count(b"\n") for path in traces if path.exists())

    async def break_and_ask(self, outage: Outage, at: Moment, reverts: int) -> None:
        """Break so many repositories, ask for each to be reverted, and have the outage then."""
        async with AsyncExitStack() as people:
            for _ in range(reverts):
                repository = self.lane.repository()
                person = await people.enter_async_context(self.lane.person(repository))
                self.asked.append(Asked(repository, person, await self.lane.broken(person)))
            round_ = self.asked[-reverts:]
            before = self.moments()
            happening = asyncio.create_task(self._happen(outage, at, round_, before))
            for each in round_:
                each.comment = await self.lane.ask(each.person, each.number)
            await happening
            await self._all_answered(round_)

    async def _happen(self, outage: Outage, at: Moment, round_: list[Asked], before: int) -> None:
        """Wait for the moment: while deliveries come in, or once steps are under way."""
        enough = before + 10 * len(round_)
        give_up = time.monotonic() + 30
        while (  # noqa: ASYNC110 - another process
            at != "webhook" and self.moments() < enough and time.monotonic() < give_up
        ):
            await asyncio.sleep(0.02)
        if at == "webhook":
            await asyncio.sleep(0.1)
        if at != "command":
            return await outage()
        away = asyncio.create_task(outage())
        for each in round_:
            said = await each.person.comment(each.number, "/status")
            each.status = int(said["id"])
        await away
        return None

    async def _all_answered(self, round_: list[Asked]) -> None:
        give_up = time.monotonic() + LONGEST_S
        while time.monotonic() < give_up:
            open_ = [each for each in round_ if not self.answers(each)]
            if not open_ and not await asyncio.to_thread(self.lane.unfinished):
                return
            await asyncio.sleep(0.1)

    def answers(self, asked: Asked) -> list[str]:
        """The bot's last reactions to the commands; empty while one has none yet."""
        found = []
        for comment in filter(None, (asked.comment, asked.status)):
            given = self.lane.reactions(asked.repository, comment) & {"+1", "confused"}
            if not given:
                return []
            found += sorted(given)
        return found

    def wrong(self, since: int = 0) -> list[str]:
        """Everything that is not as it must be with what was asked, from the `since`th on."""
        return [
            f"{each.repository.full_name}#{each.number}: {fault}"
            for each in self.asked[since:]
            for fault in wrong_with(each, self.answers(each))
        ]


@asynccontextmanager
async def fleet(
    github: DemoGitHub,
    folder: Path,
    *,
    url: str | None = None,
    replicas: int = 1,
    logs: Path | None = None,
) -> AsyncIterator[Fleet]:
    """Start so many bots on one database, and a supervisor; killed at the end.

    Args:
        github: where they work.
        folder: for their data.
        url: of the database; SQLite where it is None.
        replicas: how many.
        logs: where the first keeps its log, if not beside its data.
    """
    lane = Lane(github, folder, conditions=QUICK, database_url=url)
    lane.life = Life(lane.environment, (logs or folder) / "life", QUICK)
    key = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    lane.life.environment["PLAYBOOKS_SIGNING_KEY"] = key.decode()
    lives = [lane.life]
    for number in range(1, replicas):
        own = {
            "PLAYBOOKS_PORT": str(free_port()),
            "PLAYBOOKS_REPLICA": f"{lane.life.environment['PLAYBOOKS_REPLICA']}-{number}",
            "PLAYBOOKS_DATA": str(folder / f"data-{number}"),
        }
        lives.append(Life(lane.life.environment | own, folder / f"life-{number}", QUICK))
    for life in lives:
        await life.start()
    made = Fleet(lane, lives)
    supervisor = asyncio.create_task(made.keep_alive())
    try:
        yield made
    finally:
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)
        for life in lives[1:]:
            await life.kill()
        await lane.close()


def wrong_with(asked: Asked, answers: list[str]) -> list[str]:
    """What is missing, twice, or said in words that are not for people."""
    repository, git = asked.repository, asked.repository.git
    issues = list(repository.issues.values())
    hotfixes = [i.pull for i in issues if i.pull and i.pull.head_ref.startswith("hotfix/")]
    main = git.tree("refs/heads/main", recursive=True)
    reports = [e.path for e in main if "/incidents/revert-" in e.path]
    entry = git.entry("refs/heads/main", "shop.py")
    bot = [c for c in repository.issues[asked.number].comments if c.user.type == "Bot"]
    final = [c for c in bot if "playbooks:done:" in c.body]
    runs = Counter(r.head_sha for r in repository.check_runs.values() if r.name == "hotfix")
    found = {
        "answers": set(answers),
        "hotfixes, merged": [pull.merged_at is not None for pull in hotfixes],
        "issues": [i.state for i in issues if i.labels and not i.pull],
        "reports": len(reports),
        "decision records": len([e for e in main if e.path.startswith("docs/decisions/")]),
        "file": git.read(entry.sha).decode() if entry else None,
        "status comments": len([c for c in bot if "playbooks:status:" in c.body]),
        "final comments": len(final),
        "most checks of a commit": max(runs.values(), default=1),
        "not for people": [t[:300] for t in _texts(repository) if NOT_FOR_PEOPLE.search(t)],
    }
    right = {
        "answers": {"+1"},
        "hotfixes, merged": [True],
        "issues": ["closed"],
        "reports": 1,
        "decision records": 1,
        "file": GOOD,
        "status comments": 1,
        "final comments": 1,
        "most checks of a commit": 1,
        "not for people": [],
    }
    return [f"{k}: {found[k]!r}, not {right[k]!r}" for k in right if found[k] != right[k]]


def _texts(repository: FakeRepository) -> list[str]:
    comments: list[FakeComment] = [c for i in repository.issues.values() for c in i.comments]
    checks = [str(run.output) for run in repository.check_runs.values()]
    bodies = [issue.body or "" for issue in repository.issues.values()]
    return [*bodies, *(c.body for c in comments if c.user.type == "Bot"), *checks]
