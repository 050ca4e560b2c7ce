"""What does an organisation cost the bot, and when does it notice what no delivery told?

    python benchmarks/organisation.py [--repositories 1 100 1000] [--replicas 1] [--minutes 4]
        [--installations 5] [--active 1] [--no-notice] [--port 18731]

The bot runs as a program of its own on the demo GitHub, which counts requests, points and the cost
of queries, and refuses what goes beyond GitHub's secondary limits. Each repository has ten open
pull requests, all with their gate. Beyond a thousand repositories all share one git repository.

Printed for each size: the start until `/healthz`, requests a minute while nothing happens and while
in a share of the repositories somebody comments each minute, the most points in any minute, the
share of the hour's limits that this comes to, processor and memory; then, with every delivery lost,
how long it takes until the bot asks anything about a quiet repository in which something happened.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aiohttp

from bot.github.client import EVENTS, PERMISSIONS
from demo.person import Person
from fakegithub.deliveries.delivery_faults import Lose
from fakegithub.faults.request_faults import Slow
from fakegithub.server import DemoGitHub
from fakegithub.world.model import (
    FakeApp,
    FakeIssue,
    FakePullRequest,
    FakeRepository,
    FakeUser,
)
from fakegithub.world.roles import RoleName

HERE = Path(__file__).resolve().parents[1]
PULLS = 10
PEOPLE = ("alice", "bob", "carol", "dave")
OWN_GIT = 8
"""Repositories with a git of their own: something is pushed there."""
SECRET = "of a benchmark"  # noqa: S105 - of a GitHub that lives for one run
READY_S = 300.0
LONGEST_S = 1200.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Organisation:
    """Repositories on the demo GitHub, in several accounts that the App is installed on."""

    github: DemoGitHub
    app: FakeApp
    people: list[FakeUser]
    """Several, since nobody may comment a hundred times a minute."""
    repositories: list[FakeRepository] = field(default_factory=list)

    @classmethod
    def build(cls, github: DemoGitHub, repositories: int, installations: int) -> Organisation:
        """Make it; no delivery tells of it."""
        owner = github.create_user("maker", organization=True)
        app = github.create_app(
            "playbooks", owner=owner, permissions=PERMISSIONS, events=list(EVENTS), secret=SECRET
        )
        people = [github.create_user(login) for login in PEOPLE]
        made = cls(github, app, people)
        accounts = [
            github.create_user(f"org-{number}", organization=True)
            for number in range(min(installations, repositories))
        ]
        for account in accounts:
            github.install(app, account)
        template: FakeRepository | None = None
        for number in range(repositories):
            account = accounts[number % len(accounts)]
            if number < OWN_GIT or template is None:
                template = github.create_repository(account, f"r{number}", {"README.md": "#"})
                for work in range(PULLS):
                    github.commit(template, {"w": str(work)}, "Work", branch=f"work-{work}")
                repository = template
            else:
                world, now = github.world, github.world.now()
                repository = FakeRepository(
                    world.new_id(), account, f"r{number}", template.git, now, now, now
                )
                world.repositories[repository.id] = repository
            for login in PEOPLE:
                github.set_collaborator(repository, login, RoleName.WRITE)
            made._open(repository)
            made.repositories.append(repository)
        return made

    def _open(self, repository: FakeRepository) -> None:
        world, now = self.github.world, self.github.world.now()
        base = repository.git.branch("main") or ""
        for work in range(PULLS):
            head = repository.git.branch(f"work-{work}") or ""
            pull = FakePullRequest(world.new_id(), f"work-{work}", head, "main", base)
            issue = FakeIssue(
                world.new_id(), work + 1, self.people[0], "Work", "", now, now, pull=pull
            )
            repository.issues[issue.number] = issue

    def gate(self, data: Path) -> None:
        """Put into the bot's records that the gate was said on every head."""
        with closing(sqlite3.connect(data / "playbooks.db")) as database, database:
            for repository in self.repositories:
                rows = [
                    (repository.id, issue.pull.head_sha, number, "success", "seeded", 1,
                     "2026-01-01 00:00:00.000000", "")
                    for number, issue in repository.issues.items()
                    if issue.pull is not None
                ]  # fmt: skip
                database.executemany(
                    "INSERT OR IGNORE INTO gate_reports (repository_id, head_sha, number,"
                    " conclusion, said, check_run, first_at, config_digest)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )

    def person(self, repository: FakeRepository) -> Person:
        """Somebody at work on one repository, always the same there."""
        who = self.people[repository.id % len(self.people)]
        return Person(self.github.url, who.token, repository.full_name)

    def used(self) -> Counter[str]:
        """Requests and points of the App and its installations so far."""
        limits, found = self.github.limits, Counter[str]()
        for (key, resource), count in limits.requests.items():
            if key.startswith(("installation:", "app:")):
                found[resource] += count
        for (key, resource), window in limits.windows.items():
            if key.startswith("installation:"):
                found[f"spent {resource}"] += window.used
        found["refused"] = sum(limits.refused.values())
        return found

    def most_points(self) -> dict[str, int]:
        """The most points of any installation in any minute, by resource; counted anew from now."""
        found: dict[str, int] = {}
        for (key, resource), window in self.github.limits.points.items():
            if key.startswith("installation:"):
                found[resource] = max(found.get(resource, 0), window.most)
                window.most = 0
        return found


class Program:
    """`playbooks serve`, several times on one database."""

    def __init__(self, made: Organisation, data: Path) -> None:
        """Prepare; nothing is started yet."""
        self.made, self.data = made, data
        self.processes: list[Process] = []

    async def start(self, replica: int, port: int) -> float:
        """Start one; seconds until `/healthz`."""
        app = self.made.app
        settings = {
            "GITHUB_API_URL": f"{self.made.github.url}/api/v3",
            "GITHUB_APP_ID": str(app.id),
            "GITHUB_PRIVATE_KEY": app.private_key,
            "GITHUB_WEBHOOK_SECRET": SECRET,
            "PLAYBOOKS_DATA": str(self.data),
            "PLAYBOOKS_HOST": "127.0.0.1",
            "PLAYBOOKS_PORT": str(port),
            "PLAYBOOKS_REPLICA": f"replica-{replica}",
        }
        began = time.monotonic()
        self.processes.append(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "serve"),
                cwd=HERE,
                env={**os.environ, **settings},
                stdout=DEVNULL,
                stderr=DEVNULL,
                start_new_session=True,
            )
        )
        if replica == 0:
            app.webhook_url = f"http://127.0.0.1:{port}/webhooks/github"
        async with aiohttp.ClientSession() as http:
            while time.monotonic() - began < READY_S:
                try:
                    async with http.get(f"http://127.0.0.1:{port}/healthz") as answer:
                        if answer.status == 200:
                            return time.monotonic() - began
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)
        raise RuntimeError("the bot did not start")

    async def stop(self) -> None:
        """End all of them."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            await process.wait()
        self.processes.clear()

    def processor(self) -> float:
        """Seconds of a core that they have used."""
        found = 0.0
        for process in self.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            found += (int(fields[11]) + int(fields[12])) / _TICKS
        return found

    def memory(self) -> list[int]:
        """MiB that each holds."""
        found = []
        for process in self.processes:
            status = Path(f"/proc/{process.pid}/status").read_text()
            line = next(each for each in status.splitlines() if each.startswith("VmRSS"))
            found.append(int(line.split()[1]) // 1024)
        return found


async def measure(
    name: str, made: Organisation, program: Program, minutes: float, active: float
) -> None:
    """Print what some minutes come to; `active` percent of the repositories hear a comment each."""
    before, began, processor = made.used(), time.monotonic(), program.processor()
    made.most_points()
    rng = random.Random(1)  # noqa: S311 - a draw of repositories
    while (passed := time.monotonic() - began) < minutes * 60:
        for repository in rng.sample(
            made.repositories, round(len(made.repositories) * active / 100)
        ):
            async with made.person(repository) as alice:
                await alice.comment(rng.randrange(PULLS) + 1, "Looks good to me.")
        await asyncio.sleep(min(60.0, minutes * 60 - passed))
    minutes = (time.monotonic() - began) / 60
    used = made.used() - before
    most, accounts = made.most_points(), len({r.owner.id for r in made.repositories})
    hour = 60 / minutes / 5000 / accounts * 100
    busy = (program.processor() - processor) / (minutes * 60) * 100
    told = {
        "REST": f"{used['core'] / minutes:.1f}/min",
        "GraphQL": f"{used['graphql'] / minutes:.1f}/min",
        "most points in a minute": f"{most.get('core', 0)} of 900 and {most.get('graphql', 0)} of "
        "2000",
        "of the hour": f"{used['spent core'] * hour:.1f}% and {used['spent graphql'] * hour:.1f}%",
        "refused": used["refused"],
        "core": f"{busy:.1f}%",
        "MiB": program.memory(),
    }
    print(f"  {name:8}", "  ".join(f"{key} {value}" for key, value in told.items()), flush=True)


async def notice(made: Organisation) -> None:
    """Print how long each kind of lost delivery goes unnoticed in a quiet repository."""
    made.github.faults.on_delivery(Lose(recorded=False), times=None)
    kinds: dict[str, Callable[[Person], Awaitable[object]]] = {
        "comment": lambda alice: alice.comment(1, "/status"),
        "label": lambda alice: alice.label(2, "playbook:revert"),
        "review": lambda alice: alice.review(3, "COMMENT", "/status"),
        "push": lambda alice: alice.push("main", {"a": "1"}, "A change"),
        "red check": _red,
        "closed issue": lambda alice: alice.patch("issues/4", state="closed"),
    }
    quiet = made.repositories[: len(kinds)]

    async def one(kind: str, repository: FakeRepository) -> str:
        asked = made.github.faults.add(Slow(0), path=rf"^/repos/{repository.full_name}/")
        async with made.person(repository) as alice:
            await kinds[kind](alice)
        asked.fired = 0
        began = time.monotonic()
        while not asked.fired and time.monotonic() - began < LONGEST_S:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        return f"{kind} {time.monotonic() - began:.0f} s"

    found = await asyncio.gather(*map(one, kinds, quiet)) if len(quiet) == len(kinds) else ()
    print(f"  noticed  {', '.join(found) or 'not asked with so few repositories'}", flush=True)


async def _red(alice: Person) -> None:
    await alice.set_status(await alice.head("main"), "failure", "smoke")


async def play(repositories: int, options: argparse.Namespace) -> None:
    """One size, from start to stop."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with DemoGitHub(Path(folder) / "github") as github:
            github.limits.enforces = True
            made = Organisation.build(github, repositories, options.installations)
            program = Program(made, Path(folder) / "data")
            try:
                await program.start(0, options.port)
                await program.stop()
                made.gate(program.data)
                starts = [
                    await program.start(each, options.port + each)
                    for each in range(options.replicas)
                ]
                said = ", ".join(f"{each:.1f} s" for each in starts)
                print(f"{repositories} repositories, {options.replicas} replicas: {said} until "
                      "/healthz", flush=True)  # fmt: skip
                await asyncio.sleep(options.settle * 60)
                await measure("idle", made, program, options.minutes, 0.0)
                if options.active:
                    await measure("active", made, program, options.minutes, options.active)
                    await asyncio.sleep(options.settle * 60)
                if options.notice:
                    await notice(made)
            finally:
                await program.stop()


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repositories", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--installations", type=int, default=5)
    parser.add_argument("--port", type=int, default=18_731, help="the first; one a replica")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--settle", type=float, default=6.0, help="minutes before, unmeasured")
    parser.add_argument("--active", type=float, default=1.0, help="percent; 0: not measured")
    parser.add_argument("--notice", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    for repositories in options.repositories:
        asyncio.run(play(repositories, options))


if __name__ == "__main__":
    main()
