"""A shadow or ramp that breaks off gives back what it took; users are served by the baseline."""

from __future__ import annotations

import pytest

from bot.records import incidents
from bot.traffic import evidence_log as ledgers
from tests.playbooks.providing import CAPABILITY, Providers, providers
from tests.playbooks.undo.test_undoing import without

__all__ = ["providers"]


@pytest.mark.thorough
async def test_a_shadow_whose_evidence_is_damaged_mirrors_nothing_any_more(
    providers: Providers,
) -> None:
    shop = providers.shop
    issue = await shop.alice.open_issue("Try provider-b", "")
    answer = await shop.says(issue, f"/shadow {CAPABILITY} provider-b")
    await providers.mirroring()
    subject = f"capability:{CAPABILITY}"
    async with shop.bot.records.begin() as conn:
        found = await incidents.latest_about(conn, shop.repository.id, "shadow", subject)
        assert found is not None
        ledger = await ledgers.locked(conn, found.id)
        await ledgers.append(conn, ledger, "observations", b"damaged", at=shop.bot.clock())
    assert await answer.reaction() == "confused"
    said = await shop.standing(issue, "Fix the cause, then comment `/retry`")
    assert "1. begin to mirror: nothing is mirrored any more" in said
    flag = await providers.flag()
    assert flag["metadata"]["mode"] == "steady"
    assert "paused" not in flag["metadata"]
    again = await shop.says(issue, "/retry")
    await providers.mirroring()
    await providers.mirrored()
    assert await again.reaction() == "+1"
    assert len(await shop.alice.issues(labels="shadow", state="all")) == 2


@pytest.mark.thorough
async def test_a_ramp_that_may_not_commit_its_next_stage_gives_all_traffic_back(
    providers: Providers,
) -> None:
    shop = providers.shop
    issue = await providers.shadowed()
    answer = await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    await shop.standing(issue, "serves 5%")
    async with without(shop, "contents"):
        # It grows to 25%, and cannot write down that it did.
        await providers.served(1200)
        assert await answer.reaction() == "confused"
    said = await shop.standing(issue, "Fix the cause, then comment `/retry`")
    assert "1. give the candidate its first traffic: all of it goes back to the baseline" in said
    assert await providers.percent() == 0
    assert await providers.provider() == "provider-a"
    # Nothing was wrong with the candidate: it is not held to be, and may be tried again.
    assert "paused" not in (await providers.flag())["metadata"]
    await shop.says(issue, "/retry")
    await providers.ramping(5)
