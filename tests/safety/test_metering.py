"""GitHub requests are a budget: reserved by the dozen, settled; recovery alone goes beyond it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.github.errors import RateLimited
from bot.limits import Caps
from bot.records import budgets
from bot.records.budgets import Balance
from bot.records.database import open_database, url_from
from bot.records.schema import migrate
from bot.safety.budgets import requests
from bot.safety.request_meter import RequestMeter

HERE = 7
CAPS = Caps(github_requests_an_hour=100)
NOON = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


class Hour:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    url = url_from(tmp_path)
    await migrate(url)
    engine = open_database(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def hour() -> Hour:
    return Hour()


_ids = count(1)


def meter_on(records: AsyncEngine, hour: Hour) -> RequestMeter:
    meter = RequestMeter(records, hour, lambda: str(next(_ids)))
    meter.limit(HERE, CAPS)
    return meter


async def balance(records: AsyncEngine, at: datetime = NOON) -> Balance:
    async with records.connect() as conn:
        return await budgets.balance_of(conn, HERE, requests(CAPS), at)


async def taken(meter: RequestMeter, *, recovery: bool = False) -> int:
    """Ask until it is refused; how often it was not."""
    for n in range(1000):
        try:
            await meter.take(HERE, recovery=recovery)
        except RateLimited:
            return n
    return 1000


@pytest.mark.thorough
async def test_two_replicas_share_one_hour(records: AsyncEngine, hour: Hour) -> None:
    one, other = meter_on(records, hour), meter_on(records, hour)
    for _ in range(30):
        await one.take(HERE, recovery=False)
    assert await taken(other) == 70
    assert (await balance(records)).used == 100


async def test_recovery_goes_on_beyond_the_cap_and_is_counted(
    records: AsyncEngine, hour: Hour
) -> None:
    meter = meter_on(records, hour)
    assert await taken(meter) == 100
    for _ in range(5):
        await meter.take(HERE, recovery=True)
    with pytest.raises(RateLimited, match="cap of 100 GitHub requests an hour is reached"):
        await meter.take(HERE, recovery=False)
    await meter.close()
    assert (await balance(records)).spent == 105


async def test_what_was_reserved_and_not_used_is_given_back(
    records: AsyncEngine, hour: Hour
) -> None:
    meter = meter_on(records, hour)
    await meter.take(HERE, recovery=False)
    await meter.take(HERE, recovery=False)
    meter.give_back(HERE)
    assert (await balance(records)).reserved == 2
    await meter.close()
    now = await balance(records)
    assert (now.reserved, now.spent) == (0, 1)


async def test_another_hour_begins_anew(records: AsyncEngine, hour: Hour) -> None:
    meter = meter_on(records, hour)
    assert await taken(meter) == 100
    hour.now += timedelta(hours=1)
    assert await taken(meter) == 100
