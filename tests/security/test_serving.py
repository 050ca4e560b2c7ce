"""What `bot serve` spends on strangers, by the limits it really has and nobody has to set.

A process of its own, as an operator starts it. `test_entrance` plays the same with limits of its
own, where seconds count.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.github.client import EVENTS, PERMISSIONS
from fakegithub.server import DemoGitHub
from tests.shop import SECRET

MB = 1024 * 1024
SOON = 60.0
"""Seconds after which what should have happened did not, on a machine however busy."""
ROOT = Path(__file__).parents[2]

DELIVERY = (
    "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    f"X-GitHub-Event: ping\r\nX-GitHub-Delivery: d\r\nX-Hub-Signature-256: sha256={'0' * 64}\r\n"
)
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Served:
    """A process that listens."""

    port: int
    pid: int

    @property
    def resident(self) -> int:
        """Bytes of memory it holds."""
        said = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()
        return int(said[1]) * os.sysconf("SC_PAGE_SIZE")

    async def knock(self, stack: AsyncExitStack, said: str | bytes) -> Pair:
        """Open a connection that is closed with the stack, and say something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        stack.callback(writer.close)
        writer.write(said if isinstance(said, bytes) else said.encode())
        await writer.drain()
        return reader, writer


@pytest.fixture(scope="module")
async def served(
    github: DemoGitHub, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """`bot serve` of an App that is installed nowhere, with nothing set that need not be."""
    owner = github.create_user("serving", organization=True)
    app = github.create_app(
        "served", owner=owner, permissions=PERMISSIONS, events=list(EVENTS), secret=SECRET
    )
    set_before = ("GITHUB_", "PLAYBOOKS_", "DATABASE_", "LOG_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(set_before)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "serve",
        cwd=ROOT, stderr=asyncio.subprocess.PIPE,
        env=clean | {
            "GITHUB_API_URL": f"{github.url}/api/v3",
            "GITHUB_APP_ID": str(app.id),
            "GITHUB_PRIVATE_KEY": app.private_key,
            "GITHUB_WEBHOOK_SECRET": SECRET,
            "PLAYBOOKS_DATA": str(tmp_path_factory.mktemp("served")),
            "PLAYBOOKS_PORT": "0",
        },
    )  # fmt: skip
    said: list[str] = []
    assert process.stderr is not None
    async with asyncio.timeout(SOON):
        while not (found := re.search(r"listening .* port=(\d+)", "".join(said))):
            line = await process.stderr.readline()
            assert line, said
            said.append(line.decode())
    reading = asyncio.create_task(process.stderr.read())
    yield Served(int(found[1]), process.pid)
    process.terminate()
    await process.wait()
    await reading


async def first_line(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(SOON):
        return (await reader.readline()).strip()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(SOON):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


async def test_what_does_not_come_is_waited_for_ten_seconds(served: Served) -> None:
    async with AsyncExitStack() as stack:
        began = time.monotonic()
        silent, _ = await served.knock(stack, b"")
        half, _ = await served.knock(stack, "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        body, _ = await served.knock(stack, f"{DELIVERY}Content-Length: 100\r\n\r\nhalf")
        late = asyncio.create_task(first_line(body))
        assert await is_closed(half)
        assert await is_closed(silent)
        assert await late == b"HTTP/1.1 408 Request Timeout"
        assert 8 < time.monotonic() - began < 30


@pytest.mark.sampled("packed", "eighty headers")
@pytest.mark.parametrize(
    ("more", "answer"),
    [
        (f"Content-Length: {25 * MB + 1}\r\n\r\n", b"413 Request Entity Too Large"),
        ("Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n", b"415 Unsupported Media Type"),
        ("".join(f"X-{n}: 1\r\n" for n in range(80)) + "\r\n", b"400 Bad Request"),
        (f"X-Long: {'x' * 20_000}\r\n\r\n", b"400 Bad Request"),
    ],
    ids=["larger than GitHub sends", "packed", "eighty headers", "a long header"],
)
async def test_what_nobody_needs_is_refused_unread(
    served: Served, more: str, answer: bytes
) -> None:
    async with AsyncExitStack() as stack:
        reader, _ = await served.knock(stack, DELIVERY + more)
        assert (await first_line(reader)).partition(b" ")[2] == answer


async def test_a_body_without_a_length_is_read_to_the_same_cap(served: Served) -> None:
    async with AsyncExitStack() as stack:
        reader, writer = await served.knock(stack, f"{DELIVERY}Transfer-Encoding: chunked\r\n\r\n")

        async def send() -> None:
            piece = b"100000\r\n" + b"x" * MB + b"\r\n"
            for _ in range(27):
                writer.write(piece)
                await writer.drain()

        sending = asyncio.create_task(send())
        assert await first_line(reader) == b"HTTP/1.1 413 Request Entity Too Large"
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_hundred_connections_may_be_silent_and_the_oldest_make_way(served: Served) -> None:
    async with AsyncExitStack() as stack:
        pairs = [await served.knock(stack, b"") for _ in range(140)]
        async with asyncio.timeout(SOON):
            while sum(reader.at_eof() for reader, _ in pairs) < 40:  # noqa: ASYNC110  seen from outside
                await asyncio.sleep(0.01)
        assert all(reader.at_eof() for reader, _ in pairs[:40])
        reader, _ = await served.knock(stack, HEALTH)
        assert await first_line(reader) == b"HTTP/1.1 200 OK"


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 3000, reason="needs many open files"
)
@pytest.mark.thorough
async def test_a_thousand_connections_are_kept_and_the_oldest_idle_one_makes_way(
    served: Served,
) -> None:
    async with AsyncExitStack() as stack:
        pairs = []
        for _ in range(1005):
            pairs.append(await served.knock(stack, HEALTH))
            assert await first_line(pairs[-1][0]) == b"HTTP/1.1 200 OK"
        async with asyncio.timeout(SOON):
            for reader, _ in pairs[:5]:
                assert b"ok" in await reader.read()  # to its end
        assert not any(reader.at_eof() for reader, _ in pairs[5:])


@pytest.mark.thorough
async def test_large_bodies_of_strangers_take_64_megabytes_in_all(served: Served) -> None:
    async with AsyncExitStack() as stack:
        before = served.resident
        pairs = [
            await served.knock(stack, f"{DELIVERY}Content-Length: {20 * MB}\r\n\r\n")
            for _ in range(12)
        ]

        async def send(writer: asyncio.StreamWriter) -> None:
            for _ in range(20 * 16 - 1):  # one piece is missing in the end
                writer.write(b"x" * (MB // 16))
                await writer.drain()

        sending = [asyncio.create_task(send(writer)) for _, writer in pairs]
        answers = [asyncio.create_task(first_line(reader)) for reader, _ in pairs]
        most = 0
        while not all(each.done() for each in answers):
            most = max(most, served.resident - before)
            await asyncio.sleep(0.05)
        assert {await each for each in answers} == {b"HTTP/1.1 408 Request Timeout"}
        # Of the 240 that were sent; what is in flight counts too.
        assert most < 120 * MB, most // MB
        for each in sending:
            each.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
