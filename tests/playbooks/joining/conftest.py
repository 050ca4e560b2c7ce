"""A shop, its cockpit, and a sender of alerts that has the bot begin by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.cockpit.conftest import arrives, cockpit_url
from tests.playbooks.alerts.alerting import Sender
from tests.shop import Shop

__all__ = ["arrives", "cockpit_url"]


@pytest.fixture
async def sender(shop: Shop) -> AsyncIterator[Sender]:
    async with aiohttp.ClientSession() as session:
        yield Sender(shop, session)
