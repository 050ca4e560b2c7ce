"""Rollback, as people meet it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.records import notifications
from tests.playbooks.providing import CAPABILITY, ROOT, Providers


async def fix(providers: Providers) -> Any:
    """Wait for the only fix pull request of a rollback."""

    async def found() -> Any:
        pulls = await providers.shop.alice.get("pulls", state="all")
        fixes = [p for p in pulls if p["head"]["ref"].startswith("fix/rollback-")]
        return fixes[0] if fixes else None

    return await providers.shop.eventually(found)


async def report_of(providers: Providers, pull: Any, ref: str) -> Any:
    """The rollback's report on a branch."""
    identity = await providers.shop.incident_of(pull)
    path = f"{ROOT}/incidents/rollback-{identity}.json"
    return json.loads(await providers.shop.alice.file(path, ref) or "null")


async def at_25(providers: Providers) -> int:
    """A ramp that has come to 25%; the issue where it was asked for."""
    # Not further, however much is reported while it goes bad.
    await providers.configure(approvals={50: 1})
    issue = await providers.shadowed()
    await providers.shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    await providers.serve_until(25)
    return issue


async def broken_at_25(providers: Providers) -> int:
    """A candidate that goes bad at 25% and is rolled back; the issue where the ramp was asked."""
    issue = await at_25(providers)
    await providers.serve_until(0, candidate=0.9)
    return issue


async def test_a_breach_ends_in_an_incident_a_fix_and_a_plan(providers: Providers) -> None:
    shop = providers.shop
    issue = await broken_at_25(providers)
    assert await providers.provider() == "provider-a"
    pull = await fix(providers)
    report = await report_of(providers, pull, pull["head"]["ref"])
    assert report["anomaly"]["metric"] == "error"
    assert report["traffic"]["before"] == 25
    assert report["severity"] == "high"
    assert report["reshadow"]["needed"]
    assert report["reshadow"]["command"] == f"/shadow {CAPABILITY} provider-b"
    assert report["reshadow"]["salt"] == "2"
    assert report["diffs"]["error"]["verdict"] == "breach"
    [incident] = await shop.incidents()
    assert {label["name"] for label in incident["labels"]} == {"incident", "severity:high"}
    assert f"`/shadow {CAPABILITY} provider-b`" in incident["body"]
    flags = json.loads(await shop.alice.file("flags/flagd.json", pull["head"]["ref"]) or "{}")
    assert flags["flags"][CAPABILITY] == await providers.flag()
    assert flags["flags"][CAPABILITY]["metadata"]["paused"] is True
    identity = await shop.incident_of(pull)
    async with shop.bot.read_only.connect() as conn:
        told = await notifications.of_incident(conn, identity)
    [founder] = [each for each in told if each.audience == "founder"]
    assert founder.title.startswith("HIGH in ")
    assert founder.body == f"Roll {CAPABILITY} back from provider-b"
    # The fix would take the flag from the next candidate, and its anomaly would join this one.
    lifted = await shop.says(issue, f"/unpause {CAPABILITY} because it is better now")
    assert await lifted.reaction() == "+1"
    again = await shop.says(issue, f"/shadow {CAPABILITY} provider-b")
    assert await again.reaction() == "confused"
    said = (await shop.mentions(issue))[-1]
    assert f"The rollback of `{CAPABILITY}` is not over: #{incident['number']}." in said
    assert f"Merge #{pull['number']}, or comment `/approve` or `/cancel` there" in said
    await shop.alice.merge(pull["number"])
    await shop.alone()
    report = await report_of(providers, pull, "main")
    assert report["outcome"] == "confirmed"
    assert report["status"] == "resolved"


@pytest.mark.thorough
async def test_a_person_takes_a_ramp_back(providers: Providers) -> None:
    shop = providers.shop
    issue = await providers.shadowed()
    ramp = await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    answer = await shop.says(issue, f"/rollback {CAPABILITY} because answers are empty")
    assert await answer.reaction() == "+1"
    assert await ramp.reaction() == "confused"
    assert await providers.provider() == "provider-a"
    pull = await fix(providers)
    assert pull["merged_at"]
    report = await report_of(providers, pull, "main")
    assert report["anomaly"] == {
        "kind": "person",
        "metric": None,
        "said": "answers are empty",
        "log_e": None,
        "limit": None,
        "also": [],
    }
    answer = await shop.says(issue, f"/ramp {CAPABILITY}")
    assert await answer.reaction() == "confused"
    assert "is paused" in (await shop.mentions(issue))[-1]


@pytest.mark.thorough
async def test_what_is_promoted_can_still_be_taken_back(providers: Providers) -> None:
    shop = providers.shop
    issue = await providers.shadowed()
    ramp = await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    await providers.serve_until(0)
    assert await ramp.reaction() == "+1"
    assert await providers.provider() == "provider-b"
    answer = await shop.says(issue, f"/rollback {CAPABILITY} because it forgets the numbers")
    assert await answer.reaction() == "+1"
    assert await providers.provider() == "provider-a"
    answer = await shop.says(issue, f"/rollback {CAPABILITY}")
    assert await answer.reaction() == "confused"
    assert "there is nothing to roll back" in (await shop.mentions(issue))[-1]
