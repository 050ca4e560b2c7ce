"""However a shadow or ramp ended without a promotion: doing as it says tries again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.playbooks.providing import CAPABILITY, Providers
from tests.playbooks.ramp.test_anomalies import ramped
from tests.playbooks.shadow.test_held import begun
from tests.shop import Clock

Ends = Callable[[Providers, Clock], Awaitable[int]]
BOUNDS = "stayed within the policy's bounds"


async def out_of_bounds(providers: Providers, _: Clock) -> int:
    issue, answer = await begun(providers)
    await providers.mirrored(600, candidate=0.6)
    assert await answer.reaction() == "confused"
    return issue


async def too_dear(providers: Providers, _: Clock) -> int:
    shadow = providers.policy["shadow"]
    await providers.configure(shadow=shadow | {"max_extra_cost_usd": 5})
    issue, answer = await begun(providers)
    generation = (await providers.flag())["metadata"]["generation"]
    dear = [
        providers.line(arm, generation, failed=False, pair_id=f"dear-{number}", cost=0.5)
        for number in range(20)
        for arm in ("baseline", "candidate")
    ]
    await providers.report(dear)
    assert await answer.reaction() == "confused"
    # "Raise `shadow.max_extra_cost_usd` … in `.github/playbooks.yml`, then …"
    await providers.configure(shadow=shadow | {"max_extra_cost_usd": 500})
    return issue


async def cancelled(providers: Providers, _: Clock) -> int:
    issue, answer = await begun(providers)
    await providers.shop.says(issue, "/cancel")
    assert await answer.reaction() == "confused"
    return issue


async def given_up(providers: Providers, clock: Clock) -> int:
    issue, answer = await begun(providers)
    clock.forward(minutes=11)
    await providers.shop.standing(issue, "Fix what is in the way, or `/cancel`")
    clock.forward(days=15)
    assert await answer.reaction() == "confused"
    return issue


async def rolled_back(providers: Providers, _: Clock) -> int:
    issue, answer = await begun(providers)
    await providers.shop.says(issue, f"/rollback {CAPABILITY} because it logs what users write")
    assert await answer.reaction() == "confused"
    return issue


async def rolled_back_from_a_ramp(providers: Providers, _: Clock) -> int:
    issue = await ramped(providers)
    await providers.serve_until(0, candidate=0.8)
    return issue


@pytest.mark.thorough
@pytest.mark.sampled("out_of_bounds")
@pytest.mark.parametrize(
    "ends", [out_of_bounds, too_dear, cancelled, given_up, rolled_back, rolled_back_from_a_ramp]
)
async def test_the_commands_that_it_says_lead_to_a_proposed_ramp(
    providers: Providers, clock: Clock, ends: Ends
) -> None:
    shop = providers.shop
    issue = await ends(providers, clock)

    async def named() -> list[str]:
        said = " ".join(await shop.mentions(issue)).split("`")
        return [each for each in said if each.startswith(("/unpause ", "/shadow "))]

    commands = list(dict.fromkeys(await shop.eventually(named)))
    await shop.alone() if ends in (rolled_back, rolled_back_from_a_ramp) else None
    for command in commands:
        if command.startswith("/unpause"):
            answer = await shop.says(issue, command.replace("…", "it is mended"))
            assert await answer.reaction() == "+1"
    [command] = [each for each in commands if each.startswith("/shadow ")]
    await shop.says(issue, command)
    await providers.mirroring()
    await providers.mirrored(1200)
    await shop.told(issue, BOUNDS, times=2 if ends is rolled_back_from_a_ramp else 1)


@pytest.mark.thorough
async def test_a_ramp_that_nobody_answered_begins_again_by_the_command_it_says(
    providers: Providers, clock: Clock
) -> None:
    shop = providers.shop
    await providers.configure(approvals={5: 1})
    issue = await providers.shadowed()
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await shop.standing(issue, "Approve the first stage, 5%, with `/approve`")
    clock.forward(days=15)
    [said] = await shop.told(issue, "nobody said how to go on", times=1)
    assert f"To try again: `/ramp {CAPABILITY}`." in said
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await shop.told(issue, "Approve the first stage", times=2)
    await shop.says(issue, "/approve")
    await providers.ramping(5)
    await providers.serve_until(0)
    await shop.told(issue, "is the active provider", times=1)


@pytest.mark.thorough
async def test_of_two_good_candidates_each_is_ramped_where_it_was_proposed(
    providers: Providers,
) -> None:
    shop = providers.shop
    first = await providers.shadowed("provider-b")
    await shop.alone()
    await providers.shadowed("provider-c")
    await shop.alone()
    await shop.says(first, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    assert (await providers.flag())["variants"]["candidate"] == "provider-b"
    back = await shop.says(first, f"/rollback {CAPABILITY} because it is slow")
    assert await back.reaction() == "+1"
    lifted = await shop.says(first, f"/unpause {CAPABILITY} because provider-b is off")
    assert await lifted.reaction() == "+1"
    # That has to be shadowed again, and takes nothing from the other one's proposal.
    await shop.alone()
    elsewhere = await shop.alice.open_issue("And now?", "The other one.")
    await shop.says(elsewhere, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    assert (await providers.flag())["variants"]["candidate"] == "provider-c"
