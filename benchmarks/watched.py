"""What it costs to be watched: acknowledgements, CPU and memory of two trees, side by side.

    python benchmarks/watched.py [TREE ...] [--deliveries 2000] [--rounds 3]

Each round starts `python -m bot serve` of each tree in turn (checkouts of other commits, and
this one), on the demo GitHub, and sends it signed deliveries that ask for nothing, as most do,
eight at a time; every tenth asks for `/status` where the App is installed nowhere. Measured are
the time to the answer, the CPU of one delivery and of what it asks for, and the memory
afterwards; and what a span costs
that nobody wants.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

from bot import tracing  # noqa: E402 - they lie beside this folder
from bot.github.client import EVENTS, PERMISSIONS  # noqa: E402
from fakegithub.server import DemoGitHub  # noqa: E402
from tests.chaos.lane import free_port  # noqa: E402

SECRET = "between us"  # noqa: S105  of a GitHub that lives for one benchmark
AT_ONCE = 8
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Cost:
    """One round: times to the answer and CPU of a delivery in ms, memory in MiB."""

    answers: list[float]
    cpu: float
    memory: float


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20


async def _at_rest(pid: int) -> float:
    """CPU of a process (seconds), once it does next to nothing: what was asked for is done.

    Who answers first and works later would otherwise seem cheap.
    """
    while True:
        before = _cpu(pid)
        await asyncio.sleep(1.0)
        if (now := _cpu(pid)) - before <= 2 / _TICKS:
            return now


@asynccontextmanager
async def serving(tree: Path, environment: dict[str, str]) -> AsyncIterator[int]:
    """The bot of a tree; its process."""
    clean = {name: each for name, each in os.environ.items() if not name.startswith("PLAYBOOKS_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "serve", cwd=tree,
        env=clean | environment | {"PYTHONPATH": str(tree)},
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process.pid
    finally:
        process.terminate()
        await process.wait()


def delivery(number: int) -> tuple[dict[str, str], bytes]:
    """One of GitHub's deliveries, signed."""
    repository = {"id": 7, "full_name": "acme/shop", "name": "shop", "owner": {"login": "acme"}}
    payload = {
        "action": "created",
        "repository": repository | {"default_branch": "main"},
        "installation": {"id": 4},
        "sender": {"login": "alice", "type": "User", "id": 5},
        "issue": {"number": number, "title": "A title", "state": "open"},
        "comment": {
            "id": number,
            "body": "/status" if number % 10 == 0 else "nothing that is asked for",
            "user": {"login": "alice", "type": "User", "id": 5},
            "author_association": "MEMBER",
            "html_url": "https://example.test/1",
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
        },
    }
    body = json.dumps(payload).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "X-GitHub-Event": "issue_comment",
        "X-GitHub-Delivery": f"d-{number}",
        "X-Hub-Signature-256": f"sha256={signature}",
        "Content-Type": "application/json",
    }
    return headers, body


async def measured(github: DemoGitHub, tree: Path, deliveries: int) -> Cost:
    """One round of one tree."""
    owner = github.create_user(f"org-{time.monotonic_ns()}", organization=True)
    app = github.create_app(
        f"watched-{time.monotonic_ns()}", owner=owner, permissions=PERMISSIONS,
        events=list(EVENTS), secret=SECRET,
    )  # fmt: skip
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "GITHUB_API_URL": f"{github.url}/api/v3",
            "GITHUB_APP_ID": str(app.id),
            "GITHUB_PRIVATE_KEY": app.private_key,
            "GITHUB_WEBHOOK_SECRET": SECRET,
            "PLAYBOOKS_DATA": folder,
            "PLAYBOOKS_PORT": str(port),
        }
        async with serving(tree, environment) as pid, aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"{url}/readyz") as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
            await _at_rest(pid)
            answers: list[float] = []
            numbers = iter(range(1, deliveries + 1))

            async def send() -> None:
                for number in numbers:
                    headers, body = delivery(number)
                    began = time.perf_counter()
                    async with http.post(
                        f"{url}/webhooks/github", data=body, headers=headers
                    ) as answer:
                        await answer.read()
                    assert answer.status in (200, 202), answer.status  # noqa: S101
                    answers.append((time.perf_counter() - began) * 1000)

            before = _cpu(pid)
            await asyncio.gather(*(send() for _ in range(AT_ONCE)))
            async with http.get(f"{url}/metrics") as answer:
                await answer.read()
            cpu = (await _at_rest(pid) - before) * 1000 / deliveries
            return Cost(answers, cpu, _resident(pid))


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("trees", type=Path, nargs="*", help="checkouts of other commits")
    parser.add_argument("--deliveries", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    trees = {each.name: each.resolve() for each in options.trees} | {"this": HERE}
    costs: dict[str, list[Cost]] = {name: [] for name in trees}
    async with DemoGitHub() as github:
        for _ in range(options.rounds):
            for name, tree in trees.items():
                costs[name].append(await measured(github, tree, options.deliveries))
    print(f"{'tree':10} {'ack p50':>9} {'ack p99':>9} {'CPU each':>9} {'memory':>9}")
    for name, rounds in costs.items():
        cut = [statistics.quantiles(each.answers, n=100) for each in rounds]
        half, most = min(each[49] for each in cut), min(each[98] for each in cut)
        cpu = min(each.cpu for each in rounds)
        memory = statistics.median(each.memory for each in rounds)
        print(f"{name:10} {half:6.1f} ms {most:6.1f} ms {cpu:6.2f} ms {memory:5.0f} MiB")

    def spans() -> None:
        with tracing.step_span("run", "step"), tracing.call_span("GET /x"):
            pass

    times = 200_000
    each = min(timeit.repeat(spans, number=times // 10, repeat=10)) / (times // 10)
    print(f"a step and a call to GitHub, without tracing: {each * 1e9:.0f} ns")


if __name__ == "__main__":
    asyncio.run(main())
