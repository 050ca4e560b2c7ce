"""Any anomaly gives all traffic back at once, whatever the ramp is waiting for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import yaml

from tests.playbooks.alerts.alerting import Sender, alert
from tests.playbooks.providing import CAPABILITY, ROOT, Providers
from tests.shop import Clock


async def ramped(providers: Providers, percent: int = 5) -> int:
    """A ramp under way that has reached its share; the issue where it was asked for."""
    issue = await providers.shadowed()
    await providers.shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    await providers.serve_until(percent)
    return issue


async def rolled_back(providers: Providers, issue: int) -> str:
    """Wait until users are served by the baseline only; what the ramp said of it."""
    await providers.ramping(0)
    assert await providers.provider() == "provider-a"

    async def told() -> str | None:
        said = await providers.shop.mentions(issue)
        return next((each for each in said if "the ramp was rolled back" in each), None)

    return str(await providers.shop.eventually(told))


@pytest.mark.thorough
async def test_a_breach_while_an_approval_is_waited_for(providers: Providers) -> None:
    await providers.configure(approvals={50: 1})
    issue = await ramped(providers, 25)
    await providers.served()
    await providers.shop.standing(issue, "Approve the stage of 50%")
    for _ in range(3):
        await providers.served(candidate=0.9)
    assert "fails more often" in await rolled_back(providers, issue)


@pytest.mark.thorough
async def test_what_is_not_the_candidates_fault_is_said_and_takes_nothing_back(
    providers: Providers, clock: Clock
) -> None:
    shop = providers.shop
    issue = await ramped(providers)
    [ramp] = await shop.alice.issues(labels="ramp")
    assert "errors, odds 20 times as high: needs" in ramp["body"]
    assert "at this traffic" in ramp["body"]
    for _ in range(2):
        await providers.served(2000, keyed=True)
    await shop.standing(issue, "Only the first request of a key counts. Set unit: key.")
    clock.forward(minutes=11)
    await shop.standing(issue, "UTC: silence counts from then.")
    assert await providers.percent() == 5


@pytest.mark.thorough
async def test_silence(providers: Providers, clock: Clock) -> None:
    issue = await ramped(providers)
    for _ in range(12):
        clock.forward(minutes=1)
        await asyncio.sleep(1.2)  # the guard looks
    assert "No observation for" in await rolled_back(providers, issue)


@pytest.mark.thorough
async def test_a_split_that_is_not_the_configured_one(providers: Providers) -> None:
    issue = await ramped(providers)
    await providers.served(split=60)
    assert "Traffic is not split as configured" in await rolled_back(providers, issue)
    # The data was at fault, not the candidate: its shadow still counts.
    [incident] = await providers.shop.eventually(providers.shop.incidents)
    await providers.shop.says(incident["number"], "/cancel")
    await providers.shop.alone()
    unpaused = await providers.shop.says(issue, f"/unpause {CAPABILITY} because it reports again")
    assert await unpaused.reaction() == "+1"
    await providers.shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    salt = (await providers.flag())["targeting"]["if"][1]["fractional"][0]["cat"][0]
    assert salt == f"{CAPABILITY}:2:"


@pytest.mark.thorough
async def test_one_arm_only(providers: Providers, clock: Clock) -> None:
    issue = await ramped(providers)
    await providers.served(2000, split=0)
    clock.forward(seconds=61)
    assert "Traffic is not split as configured" in await rolled_back(providers, issue)


@pytest.mark.thorough
async def test_a_report_from_outside(providers: Providers) -> None:
    issue = await ramped(providers, 25)
    status, answer = await providers.post(
        "/incidents/rollback",
        {
            "repository": providers.shop.name,
            "capability": CAPABILITY,
            "reason": "ErrorBudgetBurn fires",
        },
    )
    assert status == 202, answer
    assert answer["artifact"]["ref"] == "playbooks/records"
    assert "ErrorBudgetBurn fires" in await rolled_back(providers, issue)


@pytest.mark.thorough
@pytest.mark.parametrize("renamed", [False, True])
async def test_an_alert_that_names_the_capability(providers: Providers, renamed: bool) -> None:
    shop = providers.shop
    issue = await ramped(providers)
    if renamed:
        text = yaml.safe_dump({"capabilities": {"llm.short": providers.policy}})
        await shop.alice.push("main", {".github/playbooks.yml": text}, "A better name")
        answer = await shop.says(issue, f"/pause {CAPABILITY} because it was renamed")
        assert await answer.reaction() == "+1"
    burning = alert("ErrorBudgetBurn", capability=CAPABILITY)
    await Sender(shop, providers.http).alertmanager("burn", burning)
    assert "alert" in await rolled_back(providers, issue)

    async def reported() -> Any:
        pulls = await shop.alice.get("pulls", state="all")
        found = [p for p in pulls if p["head"]["ref"].startswith("fix/rollback-")]
        if not found:
            return None
        identity = await shop.incident_of(found[0])
        path = f"{ROOT}/incidents/rollback-{identity}.json"
        return json.loads(await shop.alice.file(path, found[0]["head"]["ref"]) or "null")

    report = await shop.eventually(reported)
    assert report["anomaly"]["kind"] == "alert"
    assert report["severity"] == "critical"


@pytest.mark.thorough
async def test_an_alert_where_only_proposals_are_made_asks_people_on_the_ramps_issue(
    providers: Providers,
) -> None:
    shop = providers.shop
    await ramped(providers)
    proposing = yaml.safe_dump(
        {"capabilities": {CAPABILITY: providers.policy}, "triggers": {"autonomy": "propose"}}
    )
    careful = await shop.merged("Only propose", {".github/playbooks.yml": proposing})
    assert await (await shop.says(careful, "/approve", shop.olivia)).reaction() == "+1"
    sender = Sender(shop, providers.http)
    await sender.alertmanager("burn", alert("ErrorBudgetBurn", capability=CAPABILITY))
    incident = await sender.incident("active")
    [ramp] = await shop.alice.issues(labels="ramp")

    async def asked() -> str | None:
        said = await shop.from_bot(ramp["number"])
        return next((each for each in said if each.startswith("Comment `/rollback")), None)

    said = await shop.eventually(asked)
    assert said.startswith(f"Comment `/rollback {CAPABILITY}` to give all traffic")
    assert f"(incident #{incident.issue})" in said
    issue = await shop.alice.issue(incident.issue or 0)
    assert f"comment `/rollback {CAPABILITY}` here, or leave it" in issue["body"]
    assert await providers.percent() == 5


@pytest.mark.thorough
async def test_a_stale_commit_of_the_flags_does_not_ramp_again(providers: Providers) -> None:
    shop = providers.shop
    issue = await ramped(providers, 25)

    async def committed() -> str | None:
        text = await shop.alice.file("flags/flagd.json")
        flag = json.loads(text or "{}").get("flags", {}).get(CAPABILITY, {})
        return text if "targeting" in flag else None

    stale = await shop.eventually(committed)
    await providers.served(candidate=0.9)
    await providers.served(candidate=0.9)
    await rolled_back(providers, issue)
    before = await providers.document()
    await shop.alice.push("main", {"flags/flagd.json": stale}, "An older state of the flags")
    await shop.looked_again()
    assert await providers.document() == before
    assert await providers.provider() == "provider-a"


@pytest.mark.thorough
async def test_a_paused_ramp_keeps_its_share_until_it_may_go_on(providers: Providers) -> None:
    shop = providers.shop
    issue = await ramped(providers)
    await (await shop.says(issue, f"/pause {CAPABILITY} because we move house")).reaction()
    await providers.configure(max_silence="20m")
    for _ in range(4):
        await providers.served(600)
    await shop.standing(issue, "The capability is paused: we move house")
    assert await providers.percent() == 5
    [ramp] = await shop.alice.issues(labels="ramp")
    assert "the new one counts for the next ramp" in ramp["body"]
    await (await shop.says(issue, f"/unpause {CAPABILITY} because we arrived")).reaction()
    await providers.serve_until(25)
