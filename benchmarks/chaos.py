"""A hundred incidents on a GitHub that lies, with a bot that is killed: what is left at the end?

    python benchmarks/chaos.py --incidents 100 --kills 25 --seed 20
    python benchmarks/chaos.py --incidents 200 --kills 50 --database postgresql --replicas 2

The demo GitHub loses deliveries, sends them twice and out of order, answers with 500 before and
after doing the work, throttles, and breaks off in the middle of answers. The bot, a process of its
own, is killed with SIGKILL around GitHub writes chosen at random; of several replicas on one
database, one of those that live. Then everything is counted. PostgreSQL is a server of its own,
made of this machine's binaries for the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL

import sqlalchemy as sa
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bot.records.audit.anchors import ANCHORS_PATH
from fakegithub.deliveries.delivery_faults import Duplicate, Lose, Reorder
from fakegithub.faults.request_faults import (
    Fail,
    FailAfter,
    Fault,
    FaultyRequest,
    SecondaryLimit,
    Truncate,
)
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeComment, FakeRepository
from tests.chaos.lane import GOOD, Lane, free_port
from tests.chaos.life import Conditions, Life
from tests.plugins.postgres import fresh_database, server_of_its_own

REPOSITORIES = 10
WRITES_PER_INCIDENT = 20
"""Fewer than a revert needs, so that every kill planned falls into the time of the incidents."""
REQUESTS_PER_INCIDENT = 150
"""With those that were refused, lost and sent again."""
LONGEST_S = 300.0


@dataclass(frozen=True)
class ToTheBot:
    """A fault that people's own requests are spared."""

    fault: Fault
    hits: Counter[str]
    name: str

    async def happen(self, incident: FaultyRequest) -> web.StreamResponse:
        """Let it happen, unless a person asks."""
        token = incident.request.headers.get("Authorization", "").partition(" ")[2]
        if token in incident.world.user_tokens:
            return await incident.carry_out()
        self.hits[self.name] += 1
        return await self.fault.happen(incident)


@dataclass
class Broken:
    """One incident: a merged pull request, and the command that reverts it."""

    repository: FakeRepository
    path: str
    number: int
    comment: int
    waited_s: float = 0.0


@dataclass
class Storm:
    """The whole run."""

    lane: Lane
    lives: list[Life]
    rng: random.Random
    incidents: list[Broken] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    over: bool = False

    def begin(self, incidents: int, kills: int) -> None:
        """Make GitHub lie, and plan the kills."""
        faults = self.lane.github.faults
        for recorded in (True, False):
            faults.on_delivery(Lose(recorded=recorded), times=None, probability=0.025)
        faults.on_delivery(Duplicate(), times=None, probability=0.10)
        faults.on_delivery(Reorder(), times=None, probability=0.10)
        for name, fault, share in (
            ("500, not done", Fail(500), 0.03),
            ("500, done", FailAfter(500), 0.02),
            ("throttled (429)", SecondaryLimit(429, 1), 0.01),
            ("throttled (403)", SecondaryLimit(403, 2), 0.01),
            ("truncated", Truncate(), 0.01),
        ):
            faults.add(ToTheBot(fault, self.hits, name), times=None, probability=share)
        writes = self.rng.sample(range(1, WRITES_PER_INCIDENT * incidents), kills)
        for number in writes:
            arm = self.rng.choice((faults.before_write, faults.after_write))
            delay = self.rng.choice((0.0, self.rng.uniform(0.0, 0.5)))
            arm(number, lambda _, delay=delay: self._kill_in(delay), self.lane.app)

    def _kill_in(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._kill)

    def _kill(self) -> None:
        if living := [life for life in self.lives if life.alive]:
            self.kills += 1
            self.rng.choice(living).send(SIGKILL)
        else:
            self._kill_in(0.2)  # it is just being started: this kill is owed

    async def keep_alive(self, life: Life) -> None:
        """Start a replica again whenever it died, as a supervisor does."""
        while not self.over:
            if not life.alive:
                try:
                    await life.start()
                except AssertionError:
                    continue  # killed while it started
            await asyncio.sleep(0.05)

    async def suffer(self, repository: FakeRepository, paths: list[str]) -> None:
        """Break one repository again and again, and have it reverted each time."""
        async with self.lane.person(repository) as alice:
            for path in paths:
                number = await self.lane.broken(alice, path)
                broken = Broken(repository, path, number, await self.lane.ask(alice, number))
                self.incidents.append(broken)
                asked = time.monotonic()
                while not self.answer(broken) and broken.waited_s < LONGEST_S:
                    await asyncio.sleep(0.1)
                    broken.waited_s = time.monotonic() - asked

    def answer(self, broken: Broken) -> str:
        """The bot's last reaction to the command, empty where there is none yet."""
        given = self.lane.reactions(broken.repository, broken.comment)
        return next(iter(given & {"+1", "confused"}), "")

    async def settle(self) -> None:
        """Wait for whatever still runs."""
        give_up = time.monotonic() + LONGEST_S
        while self.lane.unfinished() and time.monotonic() < give_up:  # noqa: ASYNC110 - elsewhere
            await asyncio.sleep(0.2)


def wrong_with(broken: Broken, answer: str, rows: dict[str, tuple[str, str, str]]) -> list[str]:
    """Everything about one incident that is not as it must be."""
    repository, git = broken.repository, broken.repository.git
    issues = repository.issues
    asked = issues[broken.number]
    bot = [c for c in asked.comments if c.user.type == "Bot"]
    [incident_id] = [i for i, row in rows.items() if row[0] == str(broken.number)] or [""]
    told = [i for i in issues.values() if _carries(i.body, "incident", incident_id)]
    hotfixes = [
        i.pull for i in issues.values()
        if i.pull and i.pull.head_ref == f"hotfix/revert-{broken.number}-{incident_id[-4:]}"
    ]  # fmt: skip
    runs = [r for r in repository.check_runs.values() if r.external_id == incident_id]
    records = git.tree("refs/heads/playbooks/records", recursive=True)
    main = git.tree("refs/heads/main", recursive=True)
    kept = {e.path: e.sha for e in records if incident_id in e.path}
    home = {e.path: e.sha for e in main if incident_id in e.path}
    entry = git.entry("refs/heads/main", broken.path)
    found = {
        "answer": answer,
        "answered in time": broken.waited_s < LONGEST_S,
        "status comments": _count(bot, "status", incident_id),
        "final comments": _count(bot, "done", incident_id),
        "other comments": len(bot) - 2,
        "incident issues": len(told),
        "issue closed": [i.state for i in told],
        "hotfixes merged": [pull.merged_at is not None for pull in hotfixes],
        "hotfix commits": [
            git.commit(sha).message.count("Playbooks-Step: ")
            for pull in hotfixes
            for sha in git.rev_list(pull.head_sha, f"^{pull.merged_onto or pull.base_sha}")
        ][:1],
        "check-runs": Counter(r.head_sha for r in runs).most_common(1)[:1] and 1,
        "records": len(kept),
        "records brought home": home == kept,
        "file": git.read(entry.sha).decode() if entry else None,
        "incident and run": rows.get(incident_id, ("", "", ""))[1:],
    }
    right = {
        "answer": "+1",
        "answered in time": True,
        "status comments": 1,
        "final comments": 1,
        "other comments": 0,
        "incident issues": 1,
        "issue closed": ["closed"],
        "hotfixes merged": [True],
        "hotfix commits": [1],
        "check-runs": 1,
        "records": 2,
        "records brought home": True,
        "file": GOOD,
        "incident and run": ("resolved", "succeeded"),
    }
    return [f"{k}: {found[k]!r}, not {right[k]!r}" for k in right if found[k] != right[k]]


def _carries(text: str | None, key: str, incident: str) -> bool:
    return f"playbooks:{key}:{incident} " in (text or "")


def _count(comments: list[FakeComment], key: str, incident: str) -> int:
    return sum(_carries(comment.body, key, incident) for comment in comments)


def records_of(lane: Lane) -> str:
    """The address of the records database."""
    given = lane.environment.get("DATABASE_URL")
    return given.replace("postgresql://", "postgresql+psycopg://") if given else (
        f"sqlite:///{lane.data / 'playbooks.db'}"
    )  # fmt: skip


def siblings(lane: Lane, conditions: Conditions, replicas: int) -> list[Life]:
    """The lane's own bot and further replicas of it, which share its key and its database."""
    key = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    lane.life.environment["PLAYBOOKS_SIGNING_KEY"] = key.decode()
    others = [
        Life(
            lane.life.environment
            | {
                "PLAYBOOKS_PORT": str(free_port()),
                "PLAYBOOKS_REPLICA": f"sibling-{number}",
                "PLAYBOOKS_DATA": str(lane.folder / f"sibling-{number}"),
            },
            lane.folder / f"life-{number}",
            conditions,
        )
        for number in range(1, replicas)
    ]
    return [lane.life, *others]


def incidents_of(lane: Lane, repository: FakeRepository) -> dict[str, tuple[str, str, str]]:
    """Each incident of a repository: its pull request, its status, its Run's state."""
    query = (
        "SELECT i.id, i.subject, i.status, r.state FROM incidents i "
        "JOIN runs r ON r.incident_id = i.id WHERE i.repository_id = :repository"
    )
    database = sa.create_engine(records_of(lane))
    with database.connect() as conn:
        rows = conn.execute(sa.text(query), {"repository": repository.id}).all()
    database.dispose()
    if len({row[0] for row in rows}) != len(rows):
        raise SystemExit(f"{repository.full_name}: an incident has several Runs")
    return {i: (subject.rpartition(":")[2], status, state) for i, subject, status, state in rows}


def verified(lane: Lane, repositories: list[FakeRepository]) -> tuple[int, str]:
    """`audit verify` over all chains, with the anchors of all records branches."""
    anchors = lane.folder / "anchors.jsonl"
    texts = []
    for repository in repositories:
        entry = repository.git.entry("refs/heads/playbooks/records", ANCHORS_PATH)
        texts.append(repository.git.read(entry.sha) if entry else b"")
    anchors.write_bytes(b"".join(texts))
    done = subprocess.run(  # noqa: S603 - a list, no shell
        [sys.executable, "-m", "bot", "audit", "verify", "--anchors", str(anchors),
         "--public-key", str(lane.data / "signing-key.pem.pub"), "--database", records_of(lane)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def strays(folder: Path) -> list[str]:
    """Processes that still work on the bot's data."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in line and int(process.name) != os.getpid():
            found.append(f"{process.name} {line}")
    return found


async def storm(options: argparse.Namespace, folder: Path, database: str | None) -> int:
    """Run it, count, and say so; the exit code."""
    rng = random.Random(options.seed)  # noqa: S311 - repeatable
    async with DemoGitHub(rng=random.Random(options.seed)) as github:  # noqa: S311 - likewise
        # An afternoon's incidents in minutes: GitHub's largest hourly limit, not its smallest, and
        # that of more hours where there are more of them than one hour has room for.
        github.limits.limit = max(15_000, REQUESTS_PER_INCIDENT * options.incidents)
        conditions = Conditions(look_again=5, look_for_missed=10)
        lane = Lane(github, folder, conditions=conditions, database_url=database)
        lives = siblings(lane, conditions, options.replicas)
        shares = [options.incidents // REPOSITORIES + (n < options.incidents % REPOSITORIES)
                  for n in range(REPOSITORIES)]  # fmt: skip
        paths = [[f"totals_{n}.py" for n in range(share)] for share in shares if share]
        repositories = [lane.repository(each) for each in paths]
        for life in lives:
            await life.start()
        await asyncio.sleep(2)  # the first look at every repository
        run = Storm(lane, lives, rng)
        run.begin(options.incidents, options.kills)
        began = time.monotonic()
        supervisors = [asyncio.create_task(run.keep_alive(life)) for life in lives]
        await asyncio.gather(*map(run.suffer, repositories, paths))
        await run.settle()
        seconds = time.monotonic() - began
        run.over = True
        await asyncio.gather(*supervisors)
        requests = github.limits.window(f"installation:{lane.installation.id}").used
        for life in lives:
            await life.stop()
        await asyncio.sleep(1)
        return report(run, repositories, seconds, requests)


def report(run: Storm, repositories: list[FakeRepository], seconds: float, requests: int) -> int:
    """Print the counts; 0 if everything is as it must be."""
    lane = run.lane
    faults = lane.github.faults
    rows = {r.id: incidents_of(lane, r) for r in repositories}
    wrong = {
        f"{b.repository.full_name}#{b.number}": found
        for b in run.incidents
        if (found := wrong_with(b, run.answer(b), rows[b.repository.id]))
    }
    branches = {"refs/heads/main", "refs/heads/playbooks/records"}
    stray = [
        f"{r.full_name} {name}"
        for r in repositories
        for name in r.git.refs("refs/heads/")
        if name not in branches
    ]
    code, said = verified(lane, repositories)
    left = strays(lane.folder)
    print(f"incidents                {len(run.incidents)}")
    print(f"  in their right state   {len(run.incidents) - len(wrong)}")
    lived = ", ".join(str(life.lives) for life in run.lives)
    print(f"kills (SIGKILL)          {run.kills}, lives {lived}")
    for rule in faults.delivery_rules:
        print(f"deliveries hit           {rule.fired:5} {rule.fault}")
    for name, hits in sorted(run.hits.items()):
        print(f"requests hit             {hits:5} {name}")
    print(f"requests counted         {requests}, writes {len(faults.writes)}")
    print(f"audit verify             exit {code}, {len(said.splitlines())} chains")
    print(f"stray branches           {len(stray)} {' '.join(stray)}")
    print(f"stray processes          {len(left)} {' '.join(left)}")
    print(f"seconds                  {seconds:.0f}")
    waited = sorted((b.waited_s, f"{b.repository.full_name}#{b.number}") for b in run.incidents)
    print(f"command to last answer   median {waited[len(waited) // 2][0]:.0f} s, slowest "
          + ", ".join(f"{s:.0f} s {name}" for s, name in waited[:-6:-1]))  # fmt: skip
    for name, found in wrong.items():
        print(f"WRONG {name}: {'; '.join(found)}")
    if code:
        print(said)
    ok = not wrong and not stray and not left and code == 0
    counts = {"incidents": len(run.incidents), "right": len(run.incidents) - len(wrong),
              "kills": run.kills, "audit": code, "stray_branches": len(stray),
              "stray_processes": len(left), "seconds": round(seconds), "ok": ok}  # fmt: skip
    print(json.dumps(counts, sort_keys=True))
    return 0 if ok else 1


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--incidents", type=int, default=100)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--replicas", type=int, default=1, help="more than one: on PostgreSQL")
    options = parser.parse_args()
    if options.replicas > 1 and options.database == "sqlite":
        parser.error("replicas share a database: --database postgresql")
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)
        folder, database = Path(stack.enter_context(temporary)), None
        if options.database == "postgresql":
            server = stack.enter_context(server_of_its_own())
            database = stack.enter_context(fresh_database(server.url))
        code = asyncio.run(storm(options, folder, database))
    sys.exit(code)


if __name__ == "__main__":
    main()
