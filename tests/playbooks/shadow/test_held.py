"""What keeps a shadow from a verdict, what ends it early, and that no user ever sees any of it."""

from __future__ import annotations

import pytest

from tests.playbooks.providing import CAPABILITY, Providers
from tests.shop import Answer, Clock


async def begun(providers: Providers) -> tuple[int, Answer]:
    issue = await providers.shop.alice.open_issue("Try provider-b", "")
    answer = await providers.shop.says(issue, f"/shadow {CAPABILITY} provider-b")
    await providers.mirroring()
    return issue, answer


@pytest.mark.thorough
async def test_a_mirror_that_falls_silent_is_held_and_goes_on_by_itself(
    providers: Providers, clock: Clock
) -> None:
    issue, answer = await begun(providers)
    await providers.mirrored(20)
    clock.forward(minutes=11)
    said = await providers.shop.standing(issue, "Fix what is in the way, or `/cancel`")
    assert "No observation for 11 min" in said
    assert "is the mirror still on?" in said
    await providers.mirrored()
    assert await answer.reaction() == "+1"
    assert f"Ramp it with `/ramp {CAPABILITY}`" in (await providers.shop.mentions(issue))[-1]


async def test_a_mirror_that_loses_answers_is_held(providers: Providers, clock: Clock) -> None:
    shop = providers.shop
    issue, answer = await begun(providers)
    generation = (await providers.flag())["metadata"]["generation"]
    alone = [
        providers.line("baseline", generation, failed=False, pair_id=f"alone-{number}")
        for number in range(40)
    ]
    await providers.report(alone)
    await providers.mirrored(200)
    clock.forward(minutes=6)
    await providers.mirrored(10)
    said = await shop.standing(issue, "is held")
    assert "Only 84.0% of mirrored requests have both answers; 98.0% are needed." in said
    assert "40 by the baseline only" in said
    await shop.says(issue, "/cancel")
    assert await answer.reaction() == "confused"
    assert "was cancelled by `alice`" in (await shop.mentions(issue))[-1]
    assert (await providers.flag())["metadata"]["mode"] == "steady"


async def test_it_stops_at_its_cap_on_extra_cost(providers: Providers) -> None:
    shop = providers.shop
    await providers.configure(shadow=providers.policy["shadow"] | {"max_extra_cost_usd": 5})
    issue, answer = await begun(providers)
    generation = (await providers.flag())["metadata"]["generation"]
    dear = [
        providers.line(arm, generation, failed=False, pair_id=f"dear-{number}", cost=0.5)
        for number in range(20)
        for arm in ("baseline", "candidate")
    ]
    await providers.report(dear)
    assert await answer.reaction() == "confused"
    said = (await shop.mentions(issue))[-1]
    assert "it reached its cap on extra cost" in said
    assert "The candidate's answers cost 10.00 USD; 5 is the cap." in said
    assert (await providers.flag())["metadata"]["mode"] == "steady"
    assert (await providers.file("provider_shadow_diffs"))["extra_cost_usd"] == 10.0


@pytest.mark.thorough
async def test_a_shadow_is_rolled_back_and_its_capability_paused(providers: Providers) -> None:
    shop = providers.shop
    issue, shadow = await begun(providers)
    answer = await shop.says(issue, f"/rollback {CAPABILITY} because it logs what users write")
    assert await answer.reaction() == "+1"
    assert await shadow.reaction() == "confused"
    assert (await providers.flag())["metadata"]["paused"] is True
    [incident] = await shop.incidents()
    assert "got copies of requests of `llm.summarize`, unseen by users" in incident["body"]
    assert "Reason given: it logs what users write" in incident["body"]
    again = await shop.says(issue, f"/shadow {CAPABILITY} provider-b")
    assert await again.reaction() == "confused"
    assert "is paused" in (await shop.mentions(issue))[-1]


@pytest.mark.thorough
async def test_where_nothing_ever_fails_a_person_may_want_the_ramp_all_the_same(
    providers: Providers, clock: Clock
) -> None:
    shop = providers.shop
    issue, answer = await begun(providers)
    # Nothing differs, so no evidence says which of the two fails less.
    await providers.mirrored(200, baseline=0, candidate=0)
    clock.forward(minutes=11)
    said = await shop.standing(issue, "Or `/approve` it as it is")
    assert "Not yet sure that it fails less than 20 times as often as the baseline" in said
    approved = await shop.says(issue, "/approve")
    assert await approved.reaction() == "+1"
    assert await answer.reaction() == "+1"
    assert (
        "`alice` approved `provider-b` for `llm.summarize` as it is"
        in (await shop.mentions(issue))[-1]
    )
    assert (await providers.file("provider_shadow_diffs"))["verdict"] == "hold"
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
