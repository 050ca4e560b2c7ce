"""Ramp, as people meet it."""

from __future__ import annotations

from bot.records import incidents, runs, steps
from tests.playbooks.providing import CAPABILITY, Providers


async def test_a_good_candidate_passes_every_stage_and_becomes_active(
    providers: Providers,
) -> None:
    shop = providers.shop
    issue = await providers.shadowed()
    answer = await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    await providers.serve_until(0)
    assert await answer.reaction() == "+1"
    assert "is the active provider" in (await shop.mentions(issue))[-1]
    assert await providers.provider() == "provider-b"
    report = await providers.file("ramp_reports")
    assert report["verdict"] == "promote"
    assert [stage["percent"] for stage in report["stages"]] == [5, 25, 50, 95, 100]
    assert {stage["ended"] for stage in report["stages"]} == {"promote"}
    async with shop.bot.read_only.connect() as conn:
        shadow = await incidents.find(conn, report["shadow"])
        [run] = await runs.of_incident(conn, report["id"])
        undone = {step.name: step.compensation for step in await steps.of_run(conn, run.id)}
    assert shadow is not None
    assert shadow.status == "closed"
    # Who is served is a step that touches the world: how it is taken back is noted with it.
    assert "/rollback" in (undone["promote-candidate"] or "")
    assert "increase-traffic" in undone


async def test_a_breach_gives_everything_back_and_files_an_incident(providers: Providers) -> None:
    shop = providers.shop
    issue = await providers.shadowed()
    answer = await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    await providers.serve_until(25)
    await providers.serve_until(0, candidate=0.8)
    assert await answer.reaction() == "confused"
    assert "the ramp was rolled back" in (await shop.mentions(issue))[-1]
    assert await providers.provider() == "provider-a"
    assert (await providers.flag())["metadata"]["paused"] is True
