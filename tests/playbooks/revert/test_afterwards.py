"""After the merge, or too late for it: what becomes of an incident that did not end smoothly."""

from __future__ import annotations

from typing import Any

import pytest

from tests.shop import GOOD, Clock, Shop


async def merged_onto_a_moved_base(shop: Shop) -> int:
    """The hotfix is green, another change lands before it, and CI says nothing of the result."""
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    hotfix = await shop.hotfix()
    await shop.alice.push("main", {"other.py": "1\n"}, "Another change")
    await shop.report("success", branch=hotfix["head"]["ref"])
    await shop.merged_hotfix()
    return broken


async def test_a_branch_that_is_red_after_the_merge_needs_a_person_and_stays_open(
    shop: Shop,
) -> None:
    broken = await merged_onto_a_moved_base(shop)
    await shop.standing(broken, "I am waiting for `smoke` there")
    await shop.report("failure", branch="main")
    status = await shop.standing(broken, "did not turn green there")
    assert status.startswith("**Look at `main`: the hotfix is merged as ")
    hotfix = await shop.hotfix()
    [asked] = await shop.asked(broken, times=1)
    assert asked.startswith("@alice Look at `main`")
    assert f"/revert #{hotfix['number']}" in asked
    [issue] = await shop.incidents()
    assert issue["state"] == "open"
    assert "I will keep looking" in asked
    report = await shop.report_of(hotfix)
    assert (report["status"], report["outcome"]) == ("mitigated", "failed")


@pytest.mark.thorough
async def test_the_incident_is_resolved_once_the_branch_is_green_again(shop: Shop) -> None:
    broken = await merged_onto_a_moved_base(shop)
    await shop.standing(broken, "I am waiting for `smoke` there")
    await shop.report("failure", branch="main")
    await shop.asked(broken, times=1)
    await shop.alice.push("main", {"other.py": "2\n"}, "Mend the other change")
    await shop.looked_again()
    [issue] = await shop.incidents()
    assert issue["state"] == "open"  # nothing has reported on the new head
    await shop.report("success", branch="main")
    last = await shop.final_word(broken)
    assert last.startswith("`alice`: Done: `main` is green again (")
    assert len(await shop.mentions(broken)) == 2
    [issue] = await shop.incidents()
    assert (issue["state"], issue["state_reason"]) == ("closed", "completed")
    hotfix = await shop.hotfix()
    report = await shop.report_of(hotfix)
    assert (report["status"], report["outcome"]) == ("resolved", "confirmed")
    told = [event["what"] for event in report["timeline"]]
    assert told[-2:] == ["main is red after the merge", "incident resolved"]
    adr = await shop.alice.file(report["adr"], "main")
    assert adr is not None
    assert "`main` did not turn green" in adr or "main did not turn green" in adr
    assert 'outcome: "confirmed"' in adr


@pytest.mark.thorough
async def test_the_incident_is_resolved_when_the_failed_check_is_run_again_and_passes(
    shop: Shop,
) -> None:
    broken = await merged_onto_a_moved_base(shop)
    await shop.standing(broken, "I am waiting for `smoke` there")
    merge = await shop.alice.head("main")
    await shop.report("failure", branch="main")
    await shop.asked(broken, times=1)
    # By now the records are home, in a commit that no check runs on.
    assert await shop.alice.head("main") != merge
    await shop.alice.set_status(merge, "success", "smoke")
    assert "`main` is green again (" in await shop.final_word(broken)


@pytest.mark.thorough
async def test_the_records_of_one_incident_do_not_hide_which_checks_count_for_the_next(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.final_word(broken)
    again = await shop.broken()
    before = (await shop.alice.get(f"commits/{await shop.alice.head('main')}"))["parents"][0]["sha"]
    assert "[skip ci]" in (await shop.alice.get(f"commits/{before}"))["commit"]["message"]
    assert await (await shop.says(again, "/revert")).reaction() == "+1"
    assert len(await shop.mentions(again)) == 1  # nobody had to say which check is good
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_watching_a_red_branch_after_the_merge_can_be_cancelled(shop: Shop) -> None:
    broken = await merged_onto_a_moved_base(shop)
    await shop.standing(broken, "I am waiting for `smoke` there")
    await shop.report("failure", branch="main")
    await shop.asked(broken, times=1)
    assert await (await shop.says(broken, "/cancel")).reaction() == "+1"
    last = await shop.final_word(broken)
    assert last.startswith("`alice`: Close this incident's issue once `main` is green: ")
    report = await shop.report_of(await shop.hotfix())
    assert (report["status"], report["outcome"]) == ("mitigated", "failed")
    [issue] = await shop.incidents()
    assert issue["state"] == "open"


@pytest.mark.thorough
async def test_a_branch_that_stays_red_after_the_merge_is_watched_for_two_weeks(
    shop: Shop, clock: Clock
) -> None:
    broken = await merged_onto_a_moved_base(shop)
    await shop.standing(broken, "I am waiting for `smoke` there")
    await shop.report("failure", branch="main")
    await shop.asked(broken, times=1)
    clock.forward(days=15)
    last = await shop.final_word(broken)
    assert "`smoke` has not turned green since the hotfix was merged" in last
    assert "I stopped watching" in last
    [issue] = await shop.incidents()
    assert issue["state"] == "open"


@pytest.mark.thorough
async def test_a_hotfix_nobody_sees_to_for_two_weeks_is_given_up_and_left_open(
    shop: Shop, clock: Clock
) -> None:
    shop.verdicts["smoke"] = "failure"
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "did not fix it")
    clock.forward(days=13)
    await shop.looked_again()
    assert len(await shop.mentions(broken)) == 1
    clock.forward(days=2)
    last = await shop.final_word(broken)
    hotfix = await shop.hotfix()
    assert f"Merge or close hotfix #{hotfix['number']} yourself: I stopped waiting" in last
    assert "Comment `/revert` again to start over." in last
    assert hotfix["state"] == "open"
    assert await answer.reaction() == "confused"
    [issue] = await shop.incidents()
    assert (issue["state"], issue["state_reason"]) == ("closed", "not_planned")
    # Whoever merges it all the same has the change undone.
    await shop.bob.merge(hotfix["number"])
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
@pytest.mark.parametrize("ends", ["/cancel", "by hand"])
async def test_what_ended_without_a_merge_begins_anew_by_the_command_it_says(
    shop: Shop, ends: str
) -> None:
    shop.verdicts["smoke"] = "pending"
    broken = await shop.broken()
    await shop.says(broken, "/revert because totals are zero")
    await shop.standing(broken, "I am waiting for")
    hotfix = (await shop.hotfix())["number"]
    if ends == "/cancel":
        await shop.says(broken, "/cancel")
    else:
        await shop.alice.patch(f"pulls/{hotfix}", state="closed")
    last = await shop.final_word(broken)
    [command] = [part for part in last.split("`") if part.startswith("/revert")]
    if ends != "/cancel":
        await shop.alice.patch(f"pulls/{hotfix}", state="open")
        await shop.says(hotfix, "/retry")
        await shop.told(hotfix, f"ended without a merge. Comment `{command}` to", times=1)
    shop.verdicts["smoke"] = "success"
    assert await (await shop.says(broken, command)).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_a_cancel_that_comes_a_moment_after_the_merge_says_that_it_is_merged(
    shop: Shop,
) -> None:
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    hotfix = await shop.hotfix()
    shop.verdicts["smoke"] = "success"
    with shop.holding_back(f"{shop.name}/pulls/{hotfix['number']}$", method="GET") as looks:
        await shop.says(broken, "/cancel", shop.bob)
        await shop.eventually(looks)
        await shop.alice.merge(hotfix["number"])
    assert await answer.reaction() == "+1"
    last = await shop.final_word(broken)
    assert last.startswith("@alice Done: ")
    assert "cancelled" not in last
    assert await shop.alice.file("shop.py") == GOOD
    report = await shop.report_of(await shop.hotfix())
    assert (report["status"], report["outcome"]) == ("resolved", "confirmed")


@pytest.mark.thorough
async def test_of_several_pending_approvals_an_id_names_one(shop: Shop) -> None:
    config = "checks:\n  smoke: [smoke, links]\n"
    shop.verdicts["links"] = "failure"
    await shop.merged("Configure checks", {".github/playbooks.yml": config})
    one = await shop.merged("One", {"one.py": "1\n"})
    other = await shop.merged("Other", {"other.py": "2\n"})
    issue = await shop.alice.open_issue("Two things are wrong")
    await shop.says(issue, f"/revert #{one}")
    await shop.asked(issue, times=1)
    await shop.says(issue, f"/revert #{other}")
    await shop.asked(issue, times=2)
    assert await (await shop.says(issue, "/approve")).reaction() == "confused"
    said = (await shop.from_bot(issue))[-1]
    assert said.startswith("@alice Several wait for an approval. Say which:")
    [line] = [row for row in said.splitlines() if "Other" in row]
    assert "One" not in line, line
    assert ": revert in #" in line
    command = line.split("`")[1]
    assert await (await shop.says(issue, command)).reaction() == "+1"
    hotfix = await shop.eventually(lambda: _merged(shop, other))
    assert hotfix["merged_at"]
    assert await shop.alice.file("one.py") == "1\n"
    assert await shop.alice.file("other.py") is None
    assert await (await shop.says(issue, "/approve")).reaction() == "+1"
    await shop.eventually(lambda: _merged(shop, one))


async def _merged(shop: Shop, number: int) -> Any:
    found = [pull for pull in await shop.hotfixes() if f"#{number} " in pull["title"]]
    return found[0] if found and found[0]["merged_at"] else None
