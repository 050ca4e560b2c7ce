"""A real database and a real webhook server, fresh for each test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.intake.event_payloads import Hint, OurApp
from bot.intake.inbox import Inbox
from bot.intake.webhooks import Webhooks
from bot.records.database import open_database, url_from
from bot.records.schema import migrate
from tests.intake.github.delivering import SECRET, Sender
from tests.plugins.postgres import migrated_postgres_url, migrated_postgresql, postgres_server

__all__ = ["migrated_postgres_url", "migrated_postgresql", "postgres_server"]


class Clock:
    """Stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = datetime(2025, 8, 17, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
async def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: migrating once is enough."""
    folder = tmp_path_factory.mktemp("migrated")
    await migrate(url_from(folder))
    return folder


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path, migrated_sqlite: Path) -> str:
    """The address of a migrated database: SQLite, unless the test asks for PostgreSQL."""
    if getattr(request, "param", "sqlite") == "postgresql":
        return str(request.getfixturevalue("migrated_postgres_url"))
    shutil.copytree(migrated_sqlite, tmp_path / "var")
    return url_from(tmp_path / "var")


@pytest.fixture
async def database(url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def inbox(database: AsyncEngine) -> Inbox:
    return Inbox(database)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def hints() -> list[Hint]:
    return []


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def sender(
    http: aiohttp.ClientSession,
    inbox: Inbox,
    clock: Clock,
    registry: CollectorRegistry,
    hints: list[Hint],
) -> AsyncIterator[Sender]:
    async def wake(hint: Hint) -> None:
        hints.append(hint)

    webhooks = Webhooks(
        secrets=("the-next-secret", SECRET),
        us=lambda: OurApp(id=99, slug="playbooks"),
        inbox=inbox,
        wake=wake,
        clock=clock,
        registry=registry,
    )
    app = web.Application()
    app.add_routes(webhooks.routes())
    async with TestServer(app) as server:
        yield Sender(http, str(server.make_url("/webhooks/github")))
