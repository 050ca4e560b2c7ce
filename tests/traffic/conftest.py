"""Traffic is tested on real, freshly migrated databases of both kinds, and over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.traffic.allocation import NewestAllocations
from bot.traffic.circuit_breaker import CircuitBreaker
from bot.traffic.evaluation import Evaluations
from bot.traffic.ingest import Ingest
from tests.intake.api.providing import Client, Served, application
from tests.records.conftest import (
    conn,
    empty_url,
    engine,
    migrated_postgresql,
    migrated_sqlite,
    postgres_server,
    postgres_url,
    shared_engine,
    url,
)
from tests.traffic.trials import START

__all__ = [
    "conn",
    "empty_url",
    "engine",
    "migrated_postgresql",
    "migrated_sqlite",
    "postgres_server",
    "postgres_url",
    "shared_engine",
    "url",
]


class Clock:
    """Stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def nothing_comes(evaluations: Evaluations, clock: Clock, seconds: float) -> None:
    """Time passes while somebody listens, and nothing comes in."""
    for _ in range(6):
        evaluations.awake.look(clock())
        clock.move(seconds / 6)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def woken() -> list[str]:
    """The Runs that were told to look again."""
    return []


@pytest.fixture
def evaluations(engine: AsyncEngine) -> Evaluations:
    return Evaluations(engine)


@pytest.fixture
def guard(
    engine: AsyncEngine, evaluations: Evaluations, woken: list[str], clock: Clock
) -> CircuitBreaker:
    async def wake(run: str) -> None:
        woken.append(run)

    return CircuitBreaker(engine, evaluations, wake=wake, clock=clock)


@pytest.fixture
def observing(engine: AsyncEngine, guard: CircuitBreaker, clock: Clock) -> Ingest:
    return Ingest(engine, clock=clock, heard=guard.heard)


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
async def client(engine: AsyncEngine, served: Served, observing: Ingest) -> AsyncIterator[Client]:
    async with (
        TestServer(application(served, NewestAllocations(engine), observing)) as server,
        aiohttp.ClientSession() as http,
    ):
        yield Client(http, str(server.make_url("")).rstrip("/"))
