"""What the cockpit shows of a shadow or ramp while nothing comes in."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.cockpit.ramps import RolloutLanes
from bot.traffic import evidence_log as ledgers
from tests.canary.traffic import only, policy
from tests.traffic.trials import CAPABILITY, REPOSITORY, START


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_verdict_that_time_alone_brings_is_shown(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        ledger = await ledgers.open_log(
            conn, attempt="shadow-1", run_id="run-1", repository_id=REPOSITORY,
            capability=CAPABILITY, policy=policy(metrics=only("error")), frozen=None, at=START,
        )  # fmt: skip
    lanes = RolloutLanes(engine)
    shown = [
        (await lanes.look(ledger, (), START + timedelta(minutes=minutes))).judged
        for minutes in (1, 60)
    ]
    assert [judged and judged.kind for judged in shown] == ["continue", "hold"]
