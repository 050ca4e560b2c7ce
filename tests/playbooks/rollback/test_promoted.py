"""A promoted candidate can be taken back for as long as it serves."""

from __future__ import annotations

import pytest

from bot.cockpit.preview_traffic import of_rollback
from bot.config import Config
from bot.triggers import RollbackRequest
from tests.playbooks.providing import CAPABILITY, Providers
from tests.playbooks.rollback.test_playbook import fix


@pytest.mark.thorough
@pytest.mark.parametrize("tried", ["shadow", "ramp"])
async def test_an_attempt_that_came_to_nothing_does_not_hide_the_promotion_before_it(
    providers: Providers, tried: str
) -> None:
    shop = providers.shop
    issue = await providers.shadowed()
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)

    async def promoted() -> bool:
        await providers.served()
        return (await providers.flag())["variants"] == {"baseline": "provider-b"}

    await shop.eventually(promoted)
    await shop.alone()
    another = await shop.alice.open_issue("Try provider-c", "It may be better still.")
    attempt = await shop.says(another, f"/shadow {CAPABILITY} provider-c")
    await providers.mirroring()
    if tried == "ramp":
        await providers.mirrored()
        assert await attempt.reaction() == "+1"
        attempt = await shop.says(another, f"/ramp {CAPABILITY}")
        await providers.ramping(5)
    await shop.says(another, "/cancel")
    assert await attempt.reaction() == "confused"
    async with shop.bot.read_only.connect() as conn:
        request = RollbackRequest(capability=CAPABILITY, reason="")
        preview = await of_rollback(conn, shop.repository.id, request, Config())
    assert "`provider-a` serves all of `llm.summarize` again" in preview.lines[0]
    assert "`provider-b` has 100% now" in preview.lines[0]
    await shop.says(another, f"/rollback {CAPABILITY} because provider-b is too slow")
    await fix(providers)
    assert await providers.provider() == "provider-a"
    await shop.alice.merge((await fix(providers))["number"])
    await shop.alone()
    # Asked once more, there is nothing left to take back.
    again = await shop.says(another, f"/rollback {CAPABILITY} because provider-b is too slow")
    assert await again.reaction() == "confused"
    assert await providers.provider() == "provider-a"
