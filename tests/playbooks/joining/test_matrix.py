"""Whoever asks first and however, the default branch is as it was, once, and they hear of it."""

from __future__ import annotations

import pytest

from tests.cockpit.conftest import Arrives, known_to_bot
from tests.playbooks.alerts.alerting import Sender
from tests.playbooks.joining.matrix import STATES, cells, play, sample
from tests.shop import Shop


@pytest.mark.thorough
@pytest.mark.parametrize("state", STATES)
async def test_a_word_joins_whoever_was_first(
    shop: Shop,
    sender: Sender,
    arrives: Arrives,
    chaos_is_full: bool,
    chaos_seed: int,
    state: str,
) -> None:
    await known_to_bot(shop.bot, shop)
    chosen = cells() if chaos_is_full else sample(chaos_seed)
    await play(shop, sender, arrives, chosen, state)
