"""Shadow, as people meet it."""

from __future__ import annotations

import re

import pytest

from tests.playbooks.providing import CAPABILITY, Providers


async def test_a_good_candidate_gets_a_ramp_proposed_with_its_report(providers: Providers) -> None:
    shop = providers.shop
    issue = await providers.shadowed()
    last = (await shop.mentions(issue))[-1]
    assert f"Ramp it with `/ramp {CAPABILITY}`" in last
    report = await providers.file("provider_shadow_diffs")
    assert report["verdict"] == "promote"
    assert report["pairs"]["n"] == 400
    assert report["seed"] == "20260101"
    assert set(report["curve"][-1]["log_e"]) == {"error", "dropouts"}
    [shadow] = await shop.alice.issues(labels="shadow", state="all")
    assert "Evidence against the candidate, over time" in shadow["body"]
    assert "answers lost" in shadow["body"]
    assert (await providers.flag())["metadata"]["mode"] == "steady"
    assert await providers.provider() == "provider-a"


@pytest.mark.thorough
async def test_shadow_and_ramp_say_since_when_they_run_and_how_long_they_take_yet(
    providers: Providers,
) -> None:
    shop = providers.shop
    await providers.configure(
        shadow={"sample_rate": 1, "min_pairs": 400, "max_hours": 12},
        stages=[
            {"percent": 5, "min_bake": "0s", "min_n": 20},
            {"percent": 25, "min_bake": "90m", "min_n": 20},
            {"percent": 100, "min_bake": "3h", "min_n": 20},
        ],
    )
    issue = await shop.alice.open_issue("Try provider-b", "")
    await shop.says(issue, f"/shadow {CAPABILITY} provider-b")
    await providers.mirroring()
    status = await shop.standing(issue, "Requests have been mirrored since ")
    assert "It is too early to say when the verdict comes" in status
    assert re.search(r"I will ask you by \d\d:\d\d UTC on \d+ \w+\.", status)
    await providers.mirrored(100)
    await shop.standing(issue, "At the pace so far the verdict is ")
    await providers.mirrored(400)
    await shop.standing(issue, "stayed within the policy's bounds")
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    await providers.serve_until(25)
    await providers.served(600)
    status = await shop.standing(issue, "At the pace so far the next step is about 90 minutes away")
    assert "The stages after it take 3 hours at least." in status
    assert "This stage began at " in status
    await shop.says(issue, "/cancel")


async def test_a_bad_candidate_is_not_proposed_and_no_user_sees_it(providers: Providers) -> None:
    shop = providers.shop
    issue = await shop.alice.open_issue("Try provider-b", "")
    answer = await shop.says(issue, f"/shadow {CAPABILITY} provider-b")
    await providers.mirroring()
    await providers.mirrored(600, candidate=0.6)
    assert await answer.reaction() == "confused"
    assert "is not good enough" in (await shop.mentions(issue))[-1]
    assert (await providers.file("provider_shadow_diffs"))["verdict"] == "breach"
    assert await providers.provider() == "provider-a"
    answer = await shop.says(issue, f"/ramp {CAPABILITY}")
    assert await answer.reaction() == "confused"
    assert "No candidate" in (await shop.mentions(issue))[-1]
