"""Thousands of alerts, out of order, repeated and resolved, and a SIGKILL in their middle.

`make chaos` sends 10,000 in 100 groups; a plain test run sends a few hundred.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.notify import LEASE
from fakegithub.server import DemoGitHub
from tests.chaos.lane import API_TOKEN, Lane
from tests.chaos.life import Conditions
from tests.playbooks.alerts.alerting import alert, payload

CONDITIONS = 4
SENDERS = 16
CROSSING = 200
"""By so many places words overtake each other: senders repeat and cross within seconds."""


@dataclass
class Storm:
    """What is sent, and what has to be known in the end."""

    payloads: list[dict[str, Any]]
    firing: set[str]
    groups: int


def make_storm(rng: random.Random, groups: int, alerts: int, repository: str) -> Storm:
    """Let every condition fire and clear a few times; mix them, and say much of it twice."""
    said: list[tuple[float, str, dict[str, Any]]] = []
    firing = set()

    def say(place: float, group: str, one: dict[str, Any]) -> None:
        said.append((place + rng.uniform(0, CROSSING), group, one))

    length = groups * CONDITIONS * 5
    for number in range(groups):
        group = f"group-{number}"
        stays = number % 2 == 0
        for condition in range(CONDITIONS):
            name = f"condition-{condition}"
            rounds = rng.randint(1, 4)
            for minute in range(rounds):
                at = timedelta(minutes=30 * minute)
                place = length * minute / 4
                labels = {"repository": repository, "group": group}
                say(place, group, alert(name, at=at, **labels))
                if minute < rounds - 1 or not (stays and condition == 0):
                    say(place, group, alert(name, "resolved", at=at, **labels))
        if stays:
            firing.add(group)
    while len(said) < alerts:
        say(*rng.choice(said))
    said.sort(key=lambda each: each[0])
    payloads = [payload(group, one) for _, group, one in said]
    return Storm(payloads=payloads, firing=firing, groups=groups)


@dataclass
class Service:
    """Where notifications go."""

    got: list[Any] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(await request.json())
        return web.Response()


@pytest.fixture
async def service() -> AsyncIterator[tuple[Service, str]]:
    service = Service()
    app = web.Application()
    app.router.add_post("/{any:.*}", service.take)
    async with TestServer(app) as server:
        yield service, f"json://{server.host}:{server.port}/founder"


@pytest.fixture
async def lane(
    github: DemoGitHub,
    tmp_path_factory: pytest.TempPathFactory,
    service: tuple[Service, str],
) -> AsyncIterator[Lane]:
    # The heartbeat is not what this is about, and the machine may be busy with more than it.
    patient = Conditions(give_up_after=240.0, dead_after=600.0)
    lane = Lane(github, tmp_path_factory.mktemp("storm"), conditions=patient)
    lane.environment["NOTIFY_URLS"] = service[1]
    lane.life.environment["NOTIFY_URLS"] = service[1]
    yield lane
    await lane.close()


async def _send_all(lane: Lane, payloads: list[dict[str, Any]], kill_at: int) -> None:
    """Send everything, again and again until it is taken; kill the bot in the middle."""
    waiting = list(reversed(payloads))
    sent = 0
    revived: asyncio.Task[None] | None = None

    async def revive() -> None:
        await lane.life.kill()
        await lane.life.start()

    async def sender(session: aiohttp.ClientSession) -> None:
        nonlocal sent, revived
        while waiting:
            body = waiting.pop()
            while not await _taken(session, lane, body):  # noqa: ASYNC110 - it may be dead
                await asyncio.sleep(0.1)
            sent += 1
            if sent >= kill_at and revived is None:
                revived = asyncio.create_task(revive())

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(sender(session) for _ in range(SENDERS)))
    assert revived is not None
    await revived


async def _taken(session: aiohttp.ClientSession, lane: Lane, body: dict[str, Any]) -> bool:
    try:
        async with session.post(
            f"http://127.0.0.1:{lane.port}/alerts/alertmanager",
            json=body,
            headers={"Authorization": f"Bearer {API_TOKEN}"},
        ) as response:
            assert response.status in (202, 500, 503), await response.text()
            return response.status == 202
    except aiohttp.ClientError:
        return False


def _statuses(lane: Lane) -> dict[str, list[str]]:
    """The statuses of the incidents of each group."""
    with closing(sqlite3.connect(lane.data / "playbooks.db")) as database:
        rows = database.execute(
            "SELECT group_key, status FROM incidents WHERE kind = 'alert'"
        ).fetchall()
    found: dict[str, list[str]] = {}
    for group, status in rows:
        found.setdefault(group, []).append(status)
    return found


@pytest.mark.thorough
async def test_every_group_is_one_incident_and_the_right_ones_stay_open(
    github: DemoGitHub,
    lane: Lane,
    service: tuple[Service, str],
    chaos_is_full: bool,
    chaos_seed: int,
) -> None:
    # A message that was being sent at the kill is sent once more when its lease is over.
    patience = LEASE.total_seconds() + (1500.0 if chaos_is_full else 90.0)
    groups, alerts = (100, 10_000) if chaos_is_full else (6, 300)
    github.limits.windows.clear()
    repository = lane.repository()
    await lane.start()
    name = f"{lane.owner.login}/{repository.name}"
    storm = make_storm(random.Random(chaos_seed), groups, alerts, name)  # noqa: S311 - repeatable
    await _send_all(lane, storm.payloads, len(storm.payloads) // 2)
    expected = {
        f"group-{number}": ["active" if f"group-{number}" in storm.firing else "resolved"]
        for number in range(groups)
    }
    try:
        async with asyncio.timeout(patience):
            while _statuses(lane) != expected or not _all_told(lane):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
    except TimeoutError:
        wrong = {g: s for g, s in _statuses(lane).items() if expected[g] != s}
        raise AssertionError(f"{wrong}\n{lane.life.said()}") from None
    issues = [each for each in repository.issues.values() if each.title.startswith("Incident")]
    assert len(issues) == groups
    assert len(service[0].got) <= groups
    assert lane.life.lives == 2


def _all_told(lane: Lane) -> bool:
    """Whether every issue is there, and nothing waits in the outbox."""
    with closing(sqlite3.connect(lane.data / "playbooks.db")) as database:
        [(unsaid,)] = database.execute(
            "SELECT count(*) FROM incidents WHERE kind = 'alert' AND issue IS NULL"
        ).fetchall()
        [(waiting,)] = database.execute(
            "SELECT count(*) FROM notifications WHERE state IN ('pending', 'failed')"
        ).fetchall()
    return bool(unsaid == waiting == 0)
