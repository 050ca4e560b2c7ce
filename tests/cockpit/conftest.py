"""A bot with its cockpit on the demo GitHub, people who visit it, and a house full of records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import aiohttp
import pytest
from playwright.async_api import Browser

from bot.app import Bot
from bot.triggers import Repository
from tests.cockpit.chromium import chromium
from tests.cockpit.house import House
from tests.cockpit.visitor import Visitor
from tests.shop import Shop

Arrives = Callable[[str], Awaitable[Visitor]]


@pytest.fixture
def cockpit_url(bot: Bot) -> str:
    """Where the cockpit is."""
    return f"http://127.0.0.1:{bot.port}"


@pytest.fixture
async def arrives(cockpit_url: str) -> AsyncIterator[Arrives]:
    """Somebody opens a browser of their own and logs in; nobody (""): only opens it."""
    async with AsyncExitStack() as stack:

        async def arrive(login: str) -> Visitor:
            jar = aiohttp.CookieJar(unsafe=True)
            session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
            visitor = Visitor(cockpit_url, session)
            if login:
                page = await visitor.log_in(login)
                assert page.status == 200, page.text
            return visitor

        yield arrive


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    async with chromium() as browser:
        yield browser


async def known_to_bot(bot: Bot, shop: Shop) -> Repository:
    """The shop's repository as the bot knows it."""

    async def served() -> Repository | None:
        bot.served._at = None  # the list is renewed once a minute; a test has no minute
        found = await bot.served.served()
        return next((each for each in found if each.id == shop.repository.id), None)

    repository: Repository = await shop.eventually(served)
    return repository


async def _nobody(run: str) -> None:
    """The house's Runs are at work in the records only: there is nobody to wake."""


async def _nothing(repository_id: int | None = None) -> None:
    """Nor does anybody execute them: whoever sweeps would take them for broken off."""


@pytest.fixture
async def house(bot: Bot, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """The records of the test's repository."""
    house = House(bot.records, await known_to_bot(bot, shop), datetime.now(UTC))
    monkeypatch.setattr(bot.guard, "_wake", _nobody)
    monkeypatch.setattr(bot.engine, "settle", _nothing)
    yield house
    await house.leave()
