"""What strangers cost a writer: a `/revert` beside all of them at once, and without them.

    python benchmarks/strangers.py [--reverts 5] [--seed 1]

In each round, in the same second: a hundred pull requests from forks bring the worst configuration
files there are, a thousand comments of commands come from people without access, and fifty
deliveries are sent slowly and fifty packed. Beside them a writer comments `/revert`; measured is
the time until the hotfix is merged. The bot is a process of its own; the demo GitHub and all
senders share the other core.

It fails where the median is more than 1.5 times that without strangers, where one of their comments
leaves a row, where memory does not return, or where an agent is held that was not before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import json
import random
import statistics
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fuzzing.over_http import rows, waiting
from bot.config import CONFIG_PATH
from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeIssue, FakeRepository, FakeUser
from tests.chaos.lane import API_TOKEN, Lane

FORKS, COMMENTS, SLOW, PACKED = 100, 1000, 50, 50
ACCOUNTS, PLACES = 20, 50
MOST_SLOWER = 1.5
MOST_MEMORY = 48.0
"""MiB that may be left when all is over: caches have their bounds."""
_LASTING = ("paused", "reason", "since")
"""What must not change of self-work; when it could go on moves with every merge."""
LONGEST_S = 300.0
_LARGE = 25_000_000
_BLOCK = b"x" * 1024
TALK = ("/revert", "/approve", "/pause because I say so", "/help", "/status", "/revert #1\n/cancel")
WORST = (
    "checks: {smoke: [2001-13-45]}\n",
    "".join(f"k{n}: 1\n" for n in range(3500)),
    "[" * 30_000,
    "a: &a [x,x,x,x,x,x,x,x,x]\n" + "b: *a\n" * 3000,
    "caps: {reverts_a_day: " + "9" * 30_000 + "}\n",
    "checks: {smoke: [" + ",".join(f"c{n}" for n in range(5000)) + "]}\n",
    "founder: {people: [mallory]}\n",
    "? " * 10_000,
)
"""What a file of at most 32 KiB can hold that is dear to read, or dangerous to take."""

_ids = count(10**6)


@dataclass
class Seen:
    """One revert.

    Attributes:
        seconds: from the comment until the hotfix was merged.
        statuses: what strangers were answered meanwhile.
    """

    seconds: float
    statuses: Counter[str] = field(default_factory=Counter)


@dataclass
class Street:
    """A repository with a bot, somebody with rights, and everybody else."""

    lane: Lane
    repository: FakeRepository
    alice: Person
    strangers: list[FakeUser]
    forks: list[FakeIssue]
    places: list[int]
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        """Where the bot listens."""
        return f"http://127.0.0.1:{self.lane.port}"

    def memory(self) -> float:
        """Resident memory of the bot, MiB."""
        lines = Path(f"/proc/{self.lane.life.pid}/status").read_text().splitlines()
        found = dict(line.split(":", 1) for line in lines)
        return int(found["VmRSS"].split()[0]) / 1024

    async def self_work(self) -> Any:
        """How self-work stands, for agents."""
        headers = {"Authorization": f"Bearer {API_TOKEN}"}
        async with self.session.get(f"{self.url}/self-work", headers=headers) as answer:
            return await answer.json()

    async def settled(self) -> None:
        """Wait until nothing that anybody asked for waits or is under way."""
        async with asyncio.timeout(LONGEST_S):
            while waiting(self.lane) or self.lane.unfinished():  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.5)
        await asyncio.sleep(2.0)

    async def revert(self) -> float:
        """Break main, comment `/revert`, and wait for the hotfix to be merged; the seconds."""
        number = await self.lane.broken(self.alice)
        await self.lane.github.deliveries.settle()
        await asyncio.sleep(1.0)
        known = set(self.repository.issues)
        began = time.monotonic()
        await self.lane.ask(self.alice, number)
        async with asyncio.timeout(LONGEST_S):
            while True:
                merged = [
                    issue
                    for key, issue in self.repository.issues.items()
                    if key not in known and issue.pull and issue.pull.merged_at
                ]
                if merged:
                    return time.monotonic() - began
                await asyncio.sleep(0.02)

    # --- what strangers do ---

    def delivery(self, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        """A request as GitHub sends it."""
        known = self.repository
        body = json.dumps(
            {
                **payload,
                "installation": {"id": self.lane.installation.id},
                "repository": {
                    "id": known.id, "name": known.name, "owner": {"login": known.owner.login},
                    "default_branch": "main", "html_url": f"https://example.com/{known.full_name}",
                },
            }
        ).encode()  # fmt: skip
        secret = self.lane.environment["GITHUB_WEBHOOK_SECRET"].encode()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": f"stranger-{next(_ids)}",
            "X-Hub-Signature-256": f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}",
        }
        return {"url": f"{self.url}/webhooks/github", "data": body, "headers": headers}

    def comments(self, rng: random.Random) -> list[dict[str, Any]]:
        """A thousand comments of commands, by people without access."""
        found = []
        for _ in range(COMMENTS):
            user = {"login": rng.choice(self.strangers).login, "type": "User"}
            comment = {
                "id": next(_ids), "body": rng.choice(TALK), "user": user,
                "author_association": "NONE", "html_url": "https://example.com/c",
            }  # fmt: skip
            issue = {"number": rng.choice(self.places)}
            found.append(
                self.delivery(
                    "issue_comment",
                    {"action": "created", "issue": issue, "comment": comment, "sender": user},
                )
            )
        return found

    def pushes(self, number: int) -> list[dict[str, Any]]:
        """Each fork pushes another of the worst files."""
        found = []
        for place, issue in enumerate(self.forks):
            if issue.pull is None or issue.pull.fork is None:
                raise RuntimeError("a pull request is from no fork")
            text = WORST[(place + number) % len(WORST)] + f"# {number} {place}\n"
            files = {CONFIG_PATH: text[: 32 * 1024]}
            self.lane.github.commit(
                issue.pull.fork, files, "Configure", branch=issue.pull.head_ref, author=issue.user
            )
            pull = {
                "number": issue.number,
                "head": {"sha": issue.pull.head_sha, "ref": issue.pull.head_ref},
                "base": {"ref": "main"},
            }
            user = {"login": issue.user.login, "type": "User"}
            found.append(
                self.delivery(
                    "pull_request",
                    {"action": "synchronize", "pull_request": pull, "sender": user},
                )
            )
        return found

    async def flood(self, requests: Sequence[dict[str, Any]], seen: Counter[str]) -> None:
        """Send everything at once, and keep slow connections busy until told to stop."""
        queue = iter(requests)
        senders = [self._send(queue, seen) for _ in range(16)]
        slow = [self._slowly(seen) for _ in range(SLOW)]
        await asyncio.gather(*senders, *slow, *(self._packed(seen) for _ in range(PACKED)))

    async def _send(self, queue: Any, seen: Counter[str]) -> None:
        for each in queue:
            try:
                async with self.session.post(**each) as answer:
                    await answer.read()
                seen[f"deliveries {answer.status}"] += 1
            except aiohttp.ClientError:
                seen["deliveries closed"] += 1

    async def _slowly(self, seen: Counter[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.lane.port)
        writer.write(
            b"POST /webhooks/github HTTP/1.1\r\nHost: bot\r\nContent-Type: application/json\r\n"
            b"X-GitHub-Event: push\r\nX-GitHub-Delivery: slow\r\n"
            b"X-Hub-Signature-256: sha256=" + b"0" * 64 + b"\r\n"
            b"Content-Length: %d\r\n\r\n" % _LARGE
        )
        answer = asyncio.create_task(reader.readline())
        said: list[bytes] = []
        with contextlib.suppress(ConnectionError):
            while not answer.done():
                writer.write(_BLOCK * 64)
                await writer.drain()
                await asyncio.wait([answer], timeout=0.5)
        with contextlib.suppress(ConnectionError):
            said = (await answer).split()
        seen[f"slow {said[1].decode() if len(said) > 1 else 'closed'}"] += 1
        writer.close()

    async def _packed(self, seen: Counter[str]) -> None:
        headers = {
            "Content-Type": "application/json", "Content-Encoding": "gzip",
            "X-GitHub-Event": "push", "X-GitHub-Delivery": "packed",
            "X-Hub-Signature-256": "sha256=" + "0" * 64,
        }  # fmt: skip
        try:
            url = f"{self.url}/webhooks/github"
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=PACKED_BODY, headers=headers) as answer,
            ):
                await answer.read()
            seen[f"packed {answer.status}"] += 1
        except aiohttp.ClientError:
            seen["packed closed"] += 1


def _packed_body() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(b" " * 500_000_000) + packer.flush()


PACKED_BODY = _packed_body()
"""Half a gigabyte of blanks, as gzip."""


@asynccontextmanager
async def street(folder: Path, seed: int) -> AsyncIterator[Street]:
    """Set the street up: forks and places are there before the bot begins to listen."""
    async with AsyncExitStack() as stack:
        github = await stack.enter_async_context(
            DemoGitHub(rng=random.Random(seed))  # noqa: S311 - repeatable
        )
        session = await stack.enter_async_context(
            # As GitHub does it: each delivery has a connection of its own.
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        )
        github.limits.limit = 10**9
        lane = Lane(github, folder, as_program=True)
        repository = lane.repository()
        alice = await stack.enter_async_context(lane.person(repository))
        strangers = [github.create_user(f"stranger-{n}") for n in range(ACCOUNTS)]
        forks, places = [], []
        with lane.deaf():
            for stranger in strangers:
                person = await stack.enter_async_context(
                    Person(github.url, stranger.token or "", repository.full_name)
                )
                fork = await stack.enter_async_context(await person.fork())
                for number in range(FORKS // ACCOUNTS):
                    made = await person.propose_from(
                        fork, "Configure it", {"work.txt": f"{number}\n"}, branch=f"work-{number}"
                    )
                    forks.append(repository.issues[made])
            places = [await alice.open_issue("A question") for _ in range(PLACES)]
            agents = await alice.open_pull_request("Work", {"agent.txt": "1\n"}, branch="agent")
            await alice.label(agents, "self-work")
        await lane.start()
        try:
            yield Street(lane, repository, alice, strangers, forks, places, session)
        finally:
            await lane.close()


async def measure(options: argparse.Namespace, folder: Path) -> int:
    """Revert without strangers, then beside them; print both."""
    async with street(folder, options.seed) as here:
        rng = random.Random(options.seed)  # noqa: S311 - repeatable
        await here.revert()
        await here.settled()
        alone = []
        for _ in range(options.reverts):
            alone.append(Seen(await here.revert()))
            await here.settled()
        before, memory, agents = rows(here.lane), here.memory(), await here.self_work()
        beside = []
        for number in range(options.reverts):
            with here.lane.deaf():
                requests = [*here.pushes(number), *here.comments(rng)]
            rng.shuffle(requests)
            seen = Seen(0.0)
            flood = asyncio.create_task(here.flood(requests, seen.statuses))
            await asyncio.sleep(0.2)
            seen.seconds = await here.revert()
            await flood
            await here.settled()
            beside.append(seen)
        after, memory_after = rows(here.lane), here.memory()
        agents_after = await here.self_work()
        forks = len(here.forks)
    return report(
        alone, beside, before, after, (memory, memory_after), (agents, agents_after), forks
    )


def report(
    alone: Sequence[Seen],
    beside: Sequence[Seen],
    before: dict[str, int],
    after: dict[str, int],
    memory: tuple[float, float],
    agents: tuple[Any, Any],
    forks: int,
) -> int:
    """Print both side by side, and what is wrong; the exit code."""
    print(f"{'seconds of a /revert':<28}{'median':>8}{'least':>8}{'most':>8}")
    for name, found in (("without strangers", alone), ("beside them", beside)):
        seconds = [each.seconds for each in found]
        print(
            f"{name:<28}{statistics.median(seconds):>8.2f}{min(seconds):>8.2f}{max(seconds):>8.2f}"
        )
    slower = statistics.median(e.seconds for e in beside) / statistics.median(
        e.seconds for e in alone
    )
    print(f"{slower:.2f} times as long")
    print(f"strangers were answered: {dict(sum((each.statuses for each in beside), Counter()))}")
    more = {name: after[name] - before.get(name, 0) for name in after}
    grown = {name: rows for name, rows in more.items() if rows}
    print(f"rows more after {len(beside)} reverts beside them: {grown}")
    print(f"memory {memory[0]:.0f} → {memory[1]:.0f} MiB")
    print(f"self-work paused {agents[0]['paused']} → {agents[1]['paused']}")
    wrong = []
    if slower > MOST_SLOWER:
        wrong.append(f"a writer waits {slower:.2f} times as long; {MOST_SLOWER} are allowed")
    if memory[1] - memory[0] > MOST_MEMORY:
        wrong.append(f"{memory[1] - memory[0]:.0f} MiB are left")
    if any(agents[0][name] != agents[1][name] for name in _LASTING):
        wrong.append("self-work is not as it was")
    # A revert is one entry; each head of a fork has its gate.
    if (inbox := more.get("playbooks.inbox", 0)) > len(beside):
        wrong.append(f"{inbox} entries of the inbox for {len(beside)} requests")
    if (runs := more.get("engine.workflow_status", 0)) > len(beside):
        wrong.append(f"{runs} executions for {len(beside)} requests")
    gates = more.get("playbooks.gate_reports", 0)
    if gates > len(beside) * (forks + 3):
        wrong.append(f"{gates} gates for {len(beside) * forks} heads")
    for each in wrong:
        print(f"WRONG {each}")
    return 1 if wrong else 0


def main() -> int:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reverts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the bot's data and log that stays")
    options = parser.parse_args()
    if options.keep is not None:
        return asyncio.run(measure(options, options.keep))
    with tempfile.TemporaryDirectory(prefix="strangers-") as folder:
        return asyncio.run(measure(options, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
