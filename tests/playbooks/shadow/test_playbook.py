"""Shadow, as people meet it."""

from __future__ import annotations

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
