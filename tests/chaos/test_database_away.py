"""PostgreSQL is restarted, or drops its connections, while reverts are under way: all end well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fakegithub.server import DemoGitHub
from tests.chaos.lane import API_TOKEN, Lane
from tests.chaos.outages import MOMENTS, QUICK, Moment, fleet
from tests.chaos.taken_away import (
    KINDS,
    Kind,
    disk_full,
    postgresql,
    small_disk,
    sqlite_locked,
)
from tests.plugins.postgres import Server, fresh_database, server_of_its_own


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that these tests alone use."""
    with server_of_its_own() as server:
        yield server


@pytest.mark.thorough
@pytest.mark.chaos
async def test_reverts_end_well_whatever_happens_to_postgresql_meanwhile(
    github: DemoGitHub, tmp_path: Path, server: Server, chaos_is_full: bool
) -> None:
    reverts, replicas = (20, 2) if chaos_is_full else (3, 1)
    rounds: list[tuple[Kind, Moment]] = (
        list(product(KINDS, MOMENTS))
        if chaos_is_full
        else [("immediate", "step"), ("fast", "command"), ("dropped", "webhook")]
    )
    seconds = 3.0 if chaos_is_full else 1.0
    with fresh_database(server.url) as url:
        async with fleet(github, tmp_path, url=url, replicas=replicas) as bots:
            for kind, at in rounds:
                await bots.break_and_ask(postgresql(server, kind, seconds), at, reverts)
            if chaos_is_full:
                # So long that every replica ends itself, and is started while it is still away.
                await bots.break_and_ask(postgresql(server, "fast", 25.0), "step", reverts)
            assert not bots.wrong(), "\n".join([*bots.wrong(), bots.lane.life.said()])


@pytest.mark.thorough
@pytest.mark.chaos
async def test_reverts_end_well_though_the_disk_is_full_or_sqlite_is_locked_meanwhile(
    github: DemoGitHub, tmp_path: Path, chaos_is_full: bool
) -> None:
    reverts, seconds = (20, 30.0) if chaos_is_full else (2, 3.0)
    with small_disk(tmp_path / "disk") as room:
        if room is None:
            pytest.skip("no disk of a size can be mounted here: that needs root")
        async with fleet(github, room, logs=tmp_path) as bots:
            await bots.break_and_ask(disk_full(room, seconds), "step", reverts)
            await bots.break_and_ask(sqlite_locked(bots.lane.data, seconds), "command", reverts)
            assert not bots.wrong(), "\n".join([*bots.wrong(), bots.lane.life.said()])


async def test_what_is_away_is_named_by_readyz_and_callers_are_told_when_to_come_back(
    github: DemoGitHub, tmp_path: Path, server: Server
) -> None:
    with fresh_database(server.url) as url:
        lane = Lane(github, tmp_path, conditions=QUICK, database_url=url)
        await lane.start()
        try:
            assert (await _ask(lane, "readyz"))[0] == 200
            await asyncio.to_thread(server.stop, "fast")
            status, ready, _ = await _ask(lane, "readyz")
            assert status == 503
            away = "the database could not be reached"
            assert ready["parts"] == {
                "database": away,
                "engine": away,
                "disk": "ok",
                "GitHub": "ok",
            }
            status, problem, headers = await _ask(lane, "runs/nothing")
            assert (status, headers.get("Retry-After")) == (503, "5"), problem
            assert headers["Content-Type"].startswith("application/problem+json")
            assert problem["detail"] == f"Not done: {away}. Try again in 5 seconds."
            assert (await _ask(lane, "healthz"))[0] == 200
            await asyncio.to_thread(server.start)
            assert (await _ask(lane, "readyz"))[0] == 200
            await asyncio.to_thread(server.demote)
            status, ready, _ = await _ask(lane, "readyz")
            assert (status, ready["parts"]["database"]) == (503, "the database cannot be written")
            await asyncio.to_thread(server.promote)
            assert (await _ask(lane, "readyz"))[0] == 200
        finally:
            await lane.close()


async def test_a_bot_started_while_the_database_is_away_says_so_and_begins_once_it_is_back(
    github: DemoGitHub, tmp_path: Path, server: Server
) -> None:
    with fresh_database(server.url) as url:
        lane = Lane(github, tmp_path, conditions=QUICK, database_url=url)
        await asyncio.to_thread(server.stop, "fast")
        starting = asyncio.create_task(lane.start())
        try:
            status, ready, _ = await _ask(lane, "readyz")
            assert status == 503
            assert ready["parts"] == {"database": "the database could not be reached"}
            assert (await _ask(lane, "healthz"))[0] == 200
            assert (await _ask(lane, "incidents"))[0] == 503
            await asyncio.to_thread(server.start)
            await starting
            assert (await _ask(lane, "readyz"))[0] == 200
        finally:
            await lane.close()


async def _ask(lane: Lane, path: str) -> tuple[int, Any, Any]:
    """Status, body and headers, once somebody listens."""
    token = {"Authorization": f"Bearer {API_TOKEN}"}
    async with asyncio.timeout(60), aiohttp.ClientSession(headers=token) as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{lane.port}/{path}") as answer:
                    return answer.status, json.loads(await answer.text()), answer.headers
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
