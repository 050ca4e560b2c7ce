"""The client in odd programs: odd keys, odd costs, a fork, a full disk, a file edited by hand."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.traffic.client import Client, Decision
from bot.traffic.flag_file import FlagFile
from tests.traffic.trials import CAPABILITY

RAMPED = Decision(CAPABILITY, "k", "provider-a", generation=1, mode="ramp")
BASELINES = {CAPABILITY: "provider-a"}


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something has come true."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it never came true")


@dataclass
class Taker:
    """A bot that takes observations, and answers who serves as it is told to."""

    url: str = ""
    lines: list[dict[str, Any]] = field(default_factory=list)
    document: str = "{}"
    mode: str = "ramp"
    asked: int = 0
    fails: int = 0
    drops: bool = False

    async def observations(self, request: web.Request) -> web.Response:
        """Take every line, unless it is starting yet."""
        if self.fails:
            self.fails -= 1
            return web.Response(status=503)
        found = [json.loads(line) for line in (await request.read()).split(b"\n")]
        self.lines += found
        return web.json_response({"accepted": len(found), "duplicates": 0, "rejected": []})

    async def evaluate(self, request: web.Request) -> web.StreamResponse:
        """As the bot: 400 for a key that cannot be used."""
        self.asked += 1
        key = (await request.json())["context"]["targetingKey"]
        if not isinstance(key, str) or len(key) > 1000 or key.startswith("\ud800"):
            return web.json_response({"errorCode": "INVALID_CONTEXT"}, status=400)
        if self.drops:
            dropping = web.StreamResponse()
            await dropping.prepare(request)
            for _ in range(40):
                await dropping.write(b" ")
                await asyncio.sleep(0.1)
            return dropping
        metadata = {"generation": 1, "mode": self.mode}
        metadata |= {"mirrorTo": "provider-b", "mirrorRate": 1, "mirrorSeed": "0"}
        return web.json_response(
            {"value": "provider-a", "variant": "baseline", "metadata": metadata}
        )

    async def flags(self, request: web.Request) -> web.Response:
        """The document, with an ETag."""
        tag = f'"{hash(self.document)}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        return web.Response(text=self.document, headers={"ETag": tag})

    async def until(self, count: int) -> None:
        """Wait until so many lines were taken."""
        await eventually(lambda: len(self.lines) >= count)


@asynccontextmanager
async def taking() -> AsyncIterator[Taker]:
    """Such a bot, listening."""
    taker = Taker()
    application = web.Application()
    application.router.add_post("/providers/observations", taker.observations)
    application.router.add_post("/ofrep/v1/evaluate/flags/{key}", taker.evaluate)
    application.router.add_get("/flags", taker.flags)
    async with TestServer(application) as server:
        taker.url = str(server.make_url("")).rstrip("/")
        yield taker


@pytest.mark.parametrize(
    ("cost", "reported"),
    [
        (Decimal("0.25"), 0.25),
        (Fraction(1, 4), 0.25),
        (np.float32(0.25), 0.25),
        (np.int64(2), 2.0),
        (float("nan"), None),
        (Decimal("NaN"), None),
        ("much", None),
        (object(), None),
        (10**400, None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_cost_of_any_type_keeps_no_other_observation_back(
    cost: Any, reported: float | None
) -> None:
    async with taking() as taker:
        with Client(taker.url, "reporter", BASELINES) as program:
            program.report(RAMPED, latency=0.1, cost=cost)
            program.report(RAMPED, latency=0.2)
            await taker.until(2)
            assert [line["latency"] for line in taker.lines] == [0.1, 0.2]
            assert taker.lines[0].get("cost") == reported


@pytest.mark.parametrize(
    "key",
    ["x" * 2000, "\ud800", 7, None, UUID(int=7)],
    ids=["long", "half a character", "7", "None", "UUID"],
)
async def test_a_key_that_cannot_be_used_is_no_reason_to_stop_asking(key: Any) -> None:
    async with taking() as taker:
        with Client(taker.url, "reporter", BASELINES, timeout=10, pause=600) as program:
            ask = {"provider-a": lambda: "text"}
            for each in (key, "k"):
                answer = await asyncio.to_thread(program.call, CAPABILITY, each, ask)
                assert answer == "text"
            await taker.until(1)
            assert taker.asked == 1 + isinstance(key, str)
            assert program.counts.unasked == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_a_forked_worker_reports_what_it_sees() -> None:
    async with taking() as taker:
        with Client(taker.url, "reporter", BASELINES) as program:
            program.report(RAMPED, latency=0.1)
            await taker.until(1)
            child = os.fork()
            if child == 0:
                program.report(RAMPED, latency=0.2)
                program.close(10)
                os._exit(0)
            await taker.until(2)
            await asyncio.to_thread(os.waitpid, child, 0)
            assert [line["latency"] for line in taker.lines] == [0.1, 0.2]


async def test_where_no_thread_can_be_started_users_are_served_without_a_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with taking() as taker:
        taker.mode = "shadow"
        with Client(taker.url, "reporter", BASELINES, timeout=10) as program:

            def none_left(_: object) -> None:
                raise RuntimeError("can't start new thread")

            ask = {"provider-a": lambda: "text", "provider-b": lambda: "copy"}
            decided = await asyncio.to_thread(program.decide, CAPABILITY, "k")
            assert decided.mirror_to == "provider-b"
            monkeypatch.setattr(program, "decide", lambda *_: decided)
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", none_left)
                for _ in range(5):
                    assert program.call(CAPABILITY, "k", ask) == "text"
            assert program.counts.unmirrored == 5
            assert program.call(CAPABILITY, "k", ask) == "text"
            await taker.until(2)


def document(generation: int) -> str:
    """A flag document."""
    return json.dumps({"flags": {}, "metadata": {"generation": generation}})


async def test_a_disk_that_is_full_for_a_moment_does_not_end_the_copy(tmp_path: Path) -> None:
    path = tmp_path / "flags" / "flagd.json"
    path.parent.mkdir()
    async with taking() as taker:
        taker.document = document(1)
        file = FlagFile(f"{taker.url}/flags", "reader", path, every=0.02)
        await asyncio.to_thread(file.start)
        try:
            away = path.parent.rename(tmp_path / "away")
            taker.document = document(2)
            await asyncio.sleep(0.3)
            away.rename(path.parent)
            await eventually(lambda: path.read_text() == taker.document)
        finally:
            await asyncio.to_thread(file.stop)


@pytest.mark.parametrize("edited", [None, "", document(1)], ids=["gone", "empty", "older"])
async def test_a_copy_that_somebody_changed_is_written_again(
    edited: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "flagd.json"
    async with taking() as taker:
        taker.document = document(2)
        file = FlagFile(f"{taker.url}/flags", "reader", path)
        assert await asyncio.to_thread(file.refresh)
        assert not await asyncio.to_thread(file.refresh)
        if edited is None:
            path.unlink()
        else:
            path.write_text(edited)
        assert await asyncio.to_thread(file.refresh)
        assert path.read_text() == taker.document


async def test_a_program_that_ends_without_a_word_has_reported_what_it_saw() -> None:
    async with taking() as taker:
        script = (
            "from bot.traffic.client import Client\n"
            f"program = Client({taker.url!r}, 'reporter', {BASELINES!r})\n"
            f"program.call({CAPABILITY!r}, 'k', {{'provider-a': lambda: 'text'}})\n"
        )
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], check=True)
        assert len(taker.lines) == 1


async def test_who_closes_while_the_bot_starts_again_waits_for_it() -> None:
    async with taking() as taker:
        program = Client(taker.url, "reporter", BASELINES)
        taker.fails = 8
        program.report(RAMPED, latency=0.1)
        await asyncio.to_thread(program.close, 10)
        assert len(taker.lines) == 1
        program.report(RAMPED, latency=0.2)
        assert (program.counts.sent, program.counts.dropped) == (1, 1)


async def test_an_answer_that_comes_drop_by_drop_holds_nobody_up() -> None:
    async with taking() as taker:
        taker.drops = True
        with Client(taker.url, "reporter", BASELINES, timeout=0.2) as program:
            began = time.monotonic()
            answer = await asyncio.to_thread(program.decide, CAPABILITY, "k")
            assert answer.provider == "provider-a"
            assert program.counts.unasked == 1
            assert time.monotonic() - began < 2
