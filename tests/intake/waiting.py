"""Triggers to put into an inbox, and waiting until something came of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.intake.dispatcher import Dispatcher
from bot.records.tables.intake import inbox as table
from bot.triggers import (
    Actor,
    ActorKind,
    Repository,
    Request,
    Source,
    SourceKind,
    StatusRequest,
    Trigger,
)

APP = Repository(id=11, owner="acme", name="app", installation_id=22)


def trigger(number: int, *, subject: int | None = None, request: Request | None = None) -> Trigger:
    return Trigger(
        source=Source(
            kind=SourceKind.ISSUE_COMMENT,
            object_id=str(number),
            subject=number if subject is None else subject,
        ),
        repository=APP,
        actor=Actor(kind=ActorKind.PERSON, login="mona"),
        received_at=datetime(2025, 8, 17, tzinfo=UTC),
        request=request or StatusRequest(),
    )


async def rows(database: AsyncEngine) -> list[Any]:
    async with database.connect() as connection:
        return list(await connection.execute(sa.select(table).order_by(table.c.id)))


async def all_done(database: AsyncEngine) -> bool:
    return all(row.done_at is not None for row in await rows(database))


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - the condition is in a database
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(dispatcher: Dispatcher) -> AsyncIterator[None]:
    task = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
