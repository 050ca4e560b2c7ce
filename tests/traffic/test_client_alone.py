"""The client where the bot is away, broken or slow: the caller hardly notices."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

import bot.traffic.client
from bot.canary import sample_size
from bot.traffic.client import Client, Decision, sampled
from bot.traffic.flag_file import FlagFile
from tests.traffic.trials import CAPABILITY

BASELINES = {CAPABILITY: "provider-a"}


async def test_a_broken_or_older_document_never_replaces_the_copy(tmp_path: Path) -> None:
    good = json.dumps({"flags": {}, "metadata": {"generation": 7}})
    texts = [good]

    async def document(request: web.Request) -> web.Response:
        del request
        return web.Response(text=texts[0])

    application = web.Application()
    application.router.add_get("/", document)
    path = tmp_path / "flagd.json"
    async with TestServer(application) as server:
        file = FlagFile(str(server.make_url("/")), "reader", path)
        assert await asyncio.to_thread(file.refresh)
        for worse in (
            "no json",
            "[]",
            '{"flags": {}}',
            json.dumps({"flags": [], "metadata": {"generation": 8}}),
            json.dumps({"flags": {"x": {}}, "metadata": {"generation": 6}}),
        ):
            texts[0] = worse
            assert not await asyncio.to_thread(file.refresh)
            assert path.read_text() == good
    assert not await asyncio.to_thread(file.refresh)
    assert path.read_text() == good


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://nowhere.invalid"])
async def test_where_nobody_can_be_asked_the_baseline_serves_and_is_not_asked_again_at_once(
    address: str,
) -> None:
    with Client(address, "reporter", BASELINES, pause=60) as program:
        for _ in range(3):
            decision = await asyncio.to_thread(program.decide, CAPABILITY, "k")
            assert decision == Decision(CAPABILITY, "k", "provider-a")
            program.report(decision, latency=0.1)
        assert program.counts.unasked == 3
        assert program.counts.dropped == 0


async def test_an_openfeature_client_that_cannot_reach_ofrep_gets_the_baseline() -> None:
    logging.getLogger("openfeature").setLevel(logging.CRITICAL)
    api.set_provider(OFREPProvider("http://127.0.0.1:9", timeout=1), "away")
    try:
        found = await asyncio.to_thread(
            api.get_client("away").get_string_details,
            CAPABILITY,
            BASELINES[CAPABILITY],
            EvaluationContext("k"),
        )
    finally:
        api.clear_providers()
    assert (found.value, found.reason) == ("provider-a", "ERROR")
    # No generation decided so, and nothing can be reported of it.
    assert "generation" not in found.flag_metadata


async def _nonsense(request: web.Request) -> web.Response:
    del request
    return web.Response(text='{"value": "x"}')


async def _elsewhere(request: web.Request) -> web.Response:
    raise web.HTTPTemporaryRedirect(str(request.url.with_path("/nonsense")))


async def _broken(request: web.Request) -> web.Response:
    del request
    return web.Response(status=500)


@pytest.mark.parametrize("answer", [_nonsense, _elsewhere, _broken])
async def test_an_answer_that_makes_no_sense_means_the_baseline(
    answer: Callable[[web.Request], Any],
) -> None:
    application = web.Application()
    application.router.add_post("/{path:.*}", answer)
    async with TestServer(application) as server:
        with Client(str(server.make_url("")), "reporter", BASELINES) as program:
            decision = await asyncio.to_thread(program.decide, CAPABILITY, "k")
            assert decision == Decision(CAPABILITY, "k", "provider-a")


async def test_what_does_not_fit_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot.traffic.client, "MOST_WAITING", 100)
    decision = Decision(CAPABILITY, "k", "provider-a", generation=1, mode="ramp")
    program = Client("http://127.0.0.1:9", "reporter", BASELINES)
    for _ in range(500):
        program.report(decision, latency=0.1)
    await asyncio.to_thread(program.close, 0.1)
    assert program.counts.dropped == 500


def test_the_sample_is_the_one_that_reports_name() -> None:
    for number in range(1000):
        key = f"request-{number}"
        assert sampled("7", key, 0.1) == sample_size.sampled("7", key, 0.1)


def test_only_addresses_of_the_web_are_taken() -> None:
    with pytest.raises(ValueError, match="must begin with https"):
        Client("file:///etc", "reporter", BASELINES)
    with pytest.raises(ValueError, match="must begin with https"):
        FlagFile("file:///etc", "reader", Path("x"))


@pytest.mark.parametrize("module", ["client", "flag_file"])
def test_it_can_be_copied_anywhere(module: str, tmp_path: Path) -> None:
    source = Path(bot.traffic.client.__file__).with_name(f"{module}.py")
    (tmp_path / "copied.py").write_text(source.read_text())
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, '.'); import copied"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
