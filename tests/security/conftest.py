"""What the security tests share: somebody who may not write here, and their fork."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from demo.person import Person
from tests.shop import Shop


@pytest.fixture
async def fork(shop: Shop) -> AsyncIterator[Person]:
    """Mallory, who may only read here, at work on her fork."""
    async with await shop.mallory.fork() as fork:
        yield fork
