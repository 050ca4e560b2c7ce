"""A candidate's whole way, started from the cockpit plan by plan, and looked at on its pages."""

from __future__ import annotations

import re

import pytest

from tests.cockpit.asking import answered, start
from tests.cockpit.conftest import Arrives
from tests.cockpit.visitor import Page, Visitor
from tests.playbooks.providing import CAPABILITY, Providers, providers
from tests.shop import Shop

__all__ = ["providers"]


async def _newest(visitor: Visitor, shop: Shop) -> str:
    """The address of the shadow or ramp that began last."""
    page = await visitor.get(f"/ui/ramps?repo={shop.name}")
    address = re.search(r'href="(/ui/ramps/[^"]+)"', page.text)
    assert address
    return address[1]


@pytest.mark.thorough
async def test_a_candidate_is_shadowed_ramped_and_rolled_back_plan_by_plan(
    providers: Providers, arrives: Arrives
) -> None:
    shop = providers.shop
    alice = await arrives("alice")

    early = await start(alice, shop, f"/ramp {CAPABILITY}")
    assert "Nothing would be done No candidate for llm.summarize has been shadowed" in early.words
    nobody = await start(alice, shop, f"/rollback {CAPABILITY}")
    assert "there is nothing to roll back" in nobody.words
    wrong = await start(alice, shop, f"/shadow {CAPABILITY} provider-z")
    assert "provider-z is not a candidate" in wrong.words
    assert "Start it" not in early.words + nobody.words + wrong.words

    plan = await start(alice, shop, f"/shadow {CAPABILITY} provider-b")
    assert "provider-a goes on serving everybody" in plan.words
    assert "A verdict needs 100 pairs of answers." in plan.words
    assert "Can be made good: /cancel ends it; what the copies cost stays spent" in plan.words
    assert await providers.flag() == {}
    shadowing = await alice.press(plan, "/shadow")
    await providers.mirroring()
    await providers.mirrored()
    assert await answered(alice, shop, shadowing) == "Done."

    page = await alice.get(await _newest(alice, shop))
    assert "How close it is to being called off" in page.words
    assert "Now: errors : no sign answers lost : no sign" in page.words

    plan = await start(alice, shop, f"/ramp {CAPABILITY}")
    assert "provider-b serves 5% of llm.summarize , provider-a the rest." in plan.words
    assert "Then 25%, 50%, 100%" in plan.words
    assert f"/rollback {CAPABILITY} gives all of it back within a second" in plan.words
    assert await providers.percent() == 0
    ramping = await alice.press(plan, "/ramp")
    await providers.ramping(5)
    skipped = await start(alice, shop, f"/ramp {CAPABILITY} 50")
    assert "would skip a stage" in skipped.words
    onward = await start(alice, shop, f"/ramp {CAPABILITY} 25")
    assert "This is your yes to 25%." in onward.words
    await providers.serve_until(25)

    address = await _newest(alice, shop)

    async def observed() -> Page | None:
        await providers.served(16)
        now = await alice.get(address)
        found = re.search(r"([\d.]+)% configured, ([\d.]+)% observed", now.words)
        return now if found and abs(float(found[1]) - float(found[2])) < 3 else None

    page = await shop.eventually(observed)
    [curve] = re.findall(r'<polyline points="([^"]+)" class="curve s0"', page.text)
    heights = [point.partition(",")[2] for point in curve.split()]
    assert len(set(heights)) >= 2  # the evidence moved
    assert re.search(
        r"5% 5% [45]\.\d% of [\d,]+ requests .{3,90} : good enough 25% 25% ", page.words
    )

    plan = await start(alice, shop, f"/rollback {CAPABILITY}", "answers are empty")
    assert "provider-a serves all of llm.summarize again, within a second" in plan.words
    assert re.search(r"provider-b has \d+% now\.", plan.words)
    assert "severity is filed, and the Founder hears of it." in plan.words
    assert await providers.percent() >= 25
    await alice.press(plan, "/rollback")
    await providers.serve_until(0)
    await answered(alice, shop, ramping)
    page = await alice.get(address)
    assert "All traffic went back: answers are empty" in page.words
    assert "answers are empty" in page.words
