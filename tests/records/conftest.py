"""Records are tested on both engines, always on a real, freshly migrated database."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.records.database import open_database, url_from
from bot.records.schema import migrate
from tests.plugins.postgres import (
    fresh_database,
    migrated_postgresql,
    postgres_server,
    postgres_url,
)

__all__ = ["migrated_postgresql", "postgres_server", "postgres_url"]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without any table."""
    if request.param == "sqlite":
        return url_from(tmp_path)
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
async def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: migrating once is enough."""
    folder = tmp_path_factory.mktemp("migrated")
    await migrate(url_from(folder))
    return folder


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a migrated database."""
    migrated = request.getfixturevalue(f"migrated_{request.param}")
    if request.param == "sqlite":
        shutil.copytree(migrated, tmp_path / "var")
        yield url_from(tmp_path / "var")
        return
    with fresh_database(request.getfixturevalue("postgres_server"), migrated) as url:
        yield url


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a migrated database."""
    engine = open_database(url)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
async def shared_engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AsyncEngine]:
    """An engine on a migrated database that stays empty, because nobody commits to it."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = url_from(tmp_path_factory.mktemp("shared"))
        else:
            server = request.getfixturevalue("postgres_server")
            url = stack.enter_context(fresh_database(server))
        await migrate(url)
        engine = open_database(url)
        yield engine
        await engine.dispose()


@pytest.fixture
async def conn(shared_engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction, rolled back when the test is over."""
    async with shared_engine.connect() as conn:
        yield conn
        await conn.rollback()
