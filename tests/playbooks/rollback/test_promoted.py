"""A promoted candidate can be taken back for as long as it serves."""

from __future__ import annotations

import json

import pytest

from bot.cockpit.preview_traffic import of_rollback
from bot.config import Config
from bot.triggers import RollbackRequest
from tests.playbooks.providing import CAPABILITY, Providers
from tests.playbooks.rollback.test_playbook import fix


@pytest.mark.thorough
@pytest.mark.parametrize("ended", ["/cancel", "/rollback"])
@pytest.mark.parametrize("tried", ["shadow", "ramp"])
async def test_what_was_tried_since_does_not_hide_the_promotion_before_it(
    providers: Providers, tried: str, ended: str
) -> None:
    shop = providers.shop
    await _promoted(providers)
    another = await shop.alice.open_issue("Try provider-c", "It may be better still.")
    attempt = await shop.says(another, f"/shadow {CAPABILITY} provider-c")
    await providers.mirroring()
    if tried == "ramp":
        await providers.mirrored()
        assert await attempt.reaction() == "+1"
        attempt = await shop.says(another, f"/ramp {CAPABILITY}")
        await providers.ramping(5)
    takes_back = f"/rollback {CAPABILITY} because provider-b is too slow"
    await shop.says(another, takes_back if ended == "/rollback" else ended)
    assert await attempt.reaction() == "confused"
    if ended == "/rollback":
        await _left_alone(providers, another, tried, takes_back)
    async with shop.bot.read_only.connect() as conn:
        request = RollbackRequest(capability=CAPABILITY, reason="")
        preview = await of_rollback(conn, shop.repository.id, request, Config())
    assert "`provider-a` serves all of `llm.summarize` again" in preview.lines[0]
    assert "`provider-b` has 100% now" in preview.lines[0]
    answer = await shop.says(another, takes_back)
    assert await answer.reaction() == "+1"
    assert await providers.provider() == "provider-a"
    # Asked once more, there is nothing left to take back.
    again = await shop.says(another, takes_back)
    assert await again.reaction() == "confused"
    assert await providers.provider() == "provider-a"


async def _promoted(providers: Providers) -> int:
    """Provider-b takes over; the issue where that was asked for."""
    shop = providers.shop
    issue = await providers.shadowed()
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)

    async def promoted() -> bool:
        await providers.served()
        return (await providers.flag())["variants"] == {"baseline": "provider-b"}

    await shop.eventually(promoted)
    await shop.alone()
    return issue


@pytest.mark.thorough
async def test_who_was_taken_back_serves_no_more_beside_the_next_candidate(
    providers: Providers,
) -> None:
    shop = providers.shop
    issue = await _promoted(providers)
    await providers.configure(approvals={5: 1})
    another = await providers.shadowed("provider-c")
    await shop.says(another, f"/ramp {CAPABILITY}")
    await shop.standing(another, "Approve the first stage, 5%")
    taken_back = await shop.says(issue, f"/rollback {CAPABILITY} because provider-b is too slow")
    assert await taken_back.reaction() == "+1"
    lifted = await shop.says(issue, f"/unpause {CAPABILITY} because provider-a is fine")
    assert await lifted.reaction() == "+1"
    await shop.says(another, "/approve")
    await shop.standing(another, "provider-a serves llm.summarize now, and provider-b does not")
    assert (await providers.flag())["variants"] == {"baseline": "provider-a"}


@pytest.mark.thorough
async def test_while_the_fix_of_a_candidate_waits_its_baselines_promotion_is_taken_back(
    providers: Providers,
) -> None:
    shop = providers.shop
    issue = await _promoted(providers)
    await providers.configure(approvals={25: 1})
    another = await providers.shadowed("provider-c")
    await shop.says(another, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    await providers.serve_until(0, candidate=0.9)
    await fix(providers)
    lifted = await shop.says(another, f"/unpause {CAPABILITY} because provider-c is off")
    assert await lifted.reaction() == "+1"
    answer = await shop.says(issue, f"/rollback {CAPABILITY} because provider-b is too slow")
    assert await answer.reaction() == "+1"
    assert await providers.provider() == "provider-a"
    # The fix that waits says provider-b; programs may read the file.
    committed = json.loads(await shop.alice.file("flags/flagd.json") or "{}")
    assert committed["flags"][CAPABILITY]["variants"] == {"baseline": "provider-a"}


async def _left_alone(providers: Providers, number: int, tried: str, takes_back: str) -> None:
    """What was on trial is taken back alone, and who asked hears what serves all the same."""
    shop = providers.shop
    first = await fix(providers)
    await shop.alone()
    assert await providers.provider() == "provider-b"
    if tried == "shadow":
        told = await shop.alice.get(f"pulls/{first['number']}")
        assert "`provider-b` serves as before" in told["body"]
        return
    answer = await shop.says(number, takes_back)
    assert await answer.reaction() == "confused"
    said = (await shop.mentions(number))[-1]
    assert "`provider-b` serves all of it, since its promotion" in said
    answer = await shop.says(number, f"/unpause {CAPABILITY} because provider-c is off")
    assert await answer.reaction() == "+1"
