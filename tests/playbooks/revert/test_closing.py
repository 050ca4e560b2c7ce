"""A person closes an incident's issue, or opens it again: then so is the incident."""

from __future__ import annotations

from typing import Any

import pytest

from bot.records import incidents
from bot.records.audit import chain
from bot.records.lifecycle import IncidentStatus
from demo.person import Person
from fakegithub.deliveries.delivery_faults import Lose
from tests.playbooks.revert.test_afterwards import merged_onto_a_moved_base
from tests.shop import Clock, Shop


async def _left(shop: Shop) -> int:
    """The hotfix was merged, main stayed red, and somebody cancelled the watching."""
    broken = await merged_onto_a_moved_base(shop)
    await shop.standing(broken, "I am waiting for `smoke` there")
    await shop.report("failure", branch="main")
    await shop.asked(broken, times=1)
    await shop.says(broken, "/cancel")
    await shop.final_word(broken)
    return broken


async def _no_longer_watched(shop: Shop) -> int:
    """The issue of an incident that nobody watches."""
    await _left(shop)
    [issue] = await shop.incidents()
    assert issue["state"] == "open"
    return int(issue["number"])


async def _close(person: Person, issue: int) -> None:
    await person.patch(f"issues/{issue}", state="closed", state_reason="completed")


async def _becomes(shop: Shop, issue: int, status: IncidentStatus) -> None:
    async def reached() -> bool:
        async with shop.bot.read_only.connect() as conn:
            found = await incidents.find_by_issue(conn, shop.repository.id, issue)
        return found is not None and found.status is status

    await shop.eventually(reached)


async def _report_says(shop: Shop, status: str) -> Any:
    hotfix = await shop.hotfix()

    async def said() -> Any:
        found = await shop.report_of(hotfix)
        return found if found["status"] == status else None

    return await shop.eventually(said)


@pytest.mark.thorough
async def test_closing_the_issue_of_an_unwatched_incident_resolves_it_and_reopening_takes_it_up(
    shop: Shop,
) -> None:
    issue = await _no_longer_watched(shop)
    await _close(shop.bob, issue)
    await _becomes(shop, issue, IncidentStatus.RESOLVED)
    report = await _report_says(shop, "resolved")
    assert report["outcome"] == "confirmed"
    assert report["timeline"][-1]["what"] == "closed by bob"
    adr = await shop.alice.file(report["adr"], "main")
    assert adr is not None
    assert 'outcome: "confirmed"' in adr
    assert "closed by bob." in adr
    assert await shop.alice.file(report["adr"], "playbooks/records") == adr
    async with shop.bot.read_only.connect() as conn:
        entries = await chain.read(conn, shop.repository.id)
    [entry] = [each for each in entries if each.action == "incident.resolved"]
    assert entry.actor == "bob"
    assert entry.data == {"reason": "its issue was closed as completed"}
    assert (await shop.from_bot(issue)) == []  # the records say so; nobody need be notified
    await _opened_again_it_is_taken_up_until_it_is_closed_once_more(shop, issue)


async def _opened_again_it_is_taken_up_until_it_is_closed_once_more(shop: Shop, issue: int) -> None:
    await shop.bob.patch(f"issues/{issue}", state="open")
    await _becomes(shop, issue, IncidentStatus.ACTIVE)
    assert (await _report_says(shop, "active"))["outcome"] == "failed"
    [said] = await shop.eventually(lambda: shop.from_bot(issue))
    assert said.startswith("This incident is open again. Ask for the same revert as before")
    await _close(shop.alice, issue)
    await _becomes(shop, issue, IncidentStatus.RESOLVED)


@pytest.mark.thorough
async def test_an_issue_opened_again_after_a_day_asks_for_an_incident_of_its_own(
    shop: Shop, clock: Clock
) -> None:
    issue = await _no_longer_watched(shop)
    await _close(shop.bob, issue)
    await _becomes(shop, issue, IncidentStatus.RESOLVED)
    clock.forward(hours=30)
    await shop.bob.patch(f"issues/{issue}", state="open")
    [said] = await shop.eventually(lambda: shop.from_bot(issue))
    assert said.startswith("@bob Ask again for what you need, as in `/revert #…`")
    assert "more than" in said
    await _becomes(shop, issue, IncidentStatus.RESOLVED)


@pytest.mark.thorough
@pytest.mark.parametrize("issues", ["on", "off", "deleted"])
async def test_what_a_run_left_open_is_resolved_by_a_word_whatever_became_of_its_issue(
    shop: Shop, issues: str
) -> None:
    shop.repository.has_issues = issues != "off"
    broken = await _left(shop)
    [hotfix] = await shop.hotfixes()
    run = await shop.last_run()
    assert run is not None
    if issues == "off":
        await shop.standing(broken, "Comment `/cancel` here once `main` is green")
    if issues == "deleted":
        [issue] = await shop.incidents()
        del shop.repository.issues[issue["number"]]
    await shop.says(hotfix["number"], "/cancel")
    await shop.told(hotfix["number"], "nothing was under way here any more, so", times=1)
    async with shop.bot.read_only.connect() as conn:
        found = await incidents.find(conn, run.incident_id or "")
    assert found is not None
    assert found.status is IncidentStatus.RESOLVED
    if issues == "on":
        assert (await shop.alice.issue(found.issue or 0))["state"] == "closed"


async def _at_work(shop: Shop) -> tuple[int, Any]:
    """A revert that waits for its checks: the broken pull request, and the incident's issue."""
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    [issue] = await shop.incidents()
    return broken, issue


async def test_closing_the_issue_while_a_run_is_at_work_says_how_to_stop_it(shop: Shop) -> None:
    _, issue = await _at_work(shop)
    await _close(shop.bob, issue["number"])
    [said] = await shop.eventually(lambda: shop.from_bot(issue["number"]))
    assert said.startswith("@bob `/cancel` stops me: closing this issue did not")
    await _becomes(shop, issue["number"], IncidentStatus.ACTIVE)


@pytest.mark.thorough
async def test_an_issue_that_was_deleted_meanwhile_is_nothing_to_close_by_hand(shop: Shop) -> None:
    broken, issue = await _at_work(shop)
    del shop.repository.issues[issue["number"]]
    await shop.report("success", branch=(await shop.hotfix())["head"]["ref"])
    await shop.merged_hotfix()
    last = await shop.final_word(broken)
    assert "Done: " in last
    assert "by hand" not in last


@pytest.mark.thorough
async def test_an_issue_that_was_closed_too_early_is_open_again_where_somebody_is_needed(
    shop: Shop,
) -> None:
    broken = await merged_onto_a_moved_base(shop)
    await shop.standing(broken, "I am waiting for `smoke` there")
    [issue] = await shop.incidents()
    await _close(shop.bob, issue["number"])
    await shop.told(issue["number"], "`/cancel` stops me", times=1)
    await shop.report("failure", branch="main")
    await shop.asked(broken, times=1)
    assert (await shop.alice.issue(issue["number"]))["state"] == "open"
    await shop.says(broken, "/cancel")
    await shop.final_word(broken)
    await _close(shop.bob, issue["number"])
    await _becomes(shop, issue["number"], IncidentStatus.RESOLVED)


@pytest.mark.thorough
@pytest.mark.parametrize("told", [True, False])
async def test_an_issue_whose_label_was_taken_off_resolves_its_incident_as_well(
    shop: Shop, clock: Clock, *, told: bool
) -> None:
    issue = await _no_longer_watched(shop)
    await shop.bob.unlabel(issue, "incident")
    if not told:
        shop.github.faults.on_delivery(Lose(recorded=False), event="^issues$")
    await _close(shop.bob, issue)
    await shop.looked_again()
    clock.forward(minutes=3)
    await _becomes(shop, issue, IncidentStatus.RESOLVED)


@pytest.mark.thorough
async def test_who_may_not_write_resolves_nothing_by_closing(shop: Shop) -> None:
    issue = await _no_longer_watched(shop)
    shop.github.set_collaborator(shop.repository, "mallory", "triage")
    await _close(shop.mallory, issue)
    [said] = await shop.eventually(lambda: shop.from_bot(issue))
    assert "needs write access to this repository; you have triage" in said
    assert said.startswith("@mallory Resolving an incident by closing its issue")
    await _becomes(shop, issue, IncidentStatus.MITIGATED)
