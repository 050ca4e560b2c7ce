"""How a revert ends when it does not simply turn green: each ending has its own words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fakegithub.world.model import Protection
from fakegithub.world.world import Event
from tests.shop import BAD, GOOD, Clock, Shop


async def test_the_same_failure_on_the_hotfix_says_that_the_revert_did_not_cure_it(
    shop: Shop,
) -> None:
    shop.verdicts["smoke"] = "failure"
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    status = await shop.standing(broken, "did not fix it")
    assert status.startswith("**Look for another cause: ")
    assert "bisect" in status
    hotfix = await shop.hotfix()
    assert not hotfix["merged_at"]
    [asked] = await shop.asked(broken, times=1)
    assert asked.startswith("@alice Look for another cause")


async def _failing_on_main(shop: Shop, **report: Any) -> int:
    """Main fails the check `build`, whose report says how."""
    shop.verdicts.clear()
    await shop.merged("Name the check", {".github/playbooks.yml": "checks: {smoke: [build]}\n"})
    broken = await shop.broken()
    await shop.ci.create_check_run(await shop.alice.head("main"), "build", "failure", output=report)
    return broken


@pytest.mark.thorough
async def test_a_check_that_fails_in_another_way_than_before_is_not_the_same_failure(
    shop: Shop,
) -> None:
    broken = await _failing_on_main(shop, title="test_total failed", summary="0 is not 6")
    answer = await shop.says(broken, "/revert")
    head = (await shop.hotfix())["head"]["sha"]
    report = {"title": "test_login failed", "summary": "no such user"}
    await shop.ci.create_check_run(head, "build", "failure", output=report)
    status = await shop.standing(broken, "differently than on `main`")
    assert status.startswith("**Look at `build`: on hotfix #")
    assert "did not cure" not in status
    # As it says: where it was a passing fault, and is run again, it goes on by itself.
    await shop.ci.create_check_run(head, "build", "success")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_what_the_check_complains_about_counts_more_than_its_headline(shop: Shop) -> None:
    complaint = {
        "path": "shop.py",
        "start_line": 2,
        "end_line": 2,
        "annotation_level": "failure",
        "message": "total([1, 2, 3]) is 0, not 6",
    }
    by_actions = {**complaint, "path": ".github", "message": "Process completed with exit code 1."}
    broken = await _failing_on_main(
        shop, title="2 errors", summary="-", annotations=[complaint, by_actions]
    )
    await shop.says(broken, "/revert")
    head = (await shop.hotfix())["head"]["sha"]
    moved = [{**complaint, "start_line": 7, "end_line": 7}]
    report = {"title": "Just one error", "summary": "-", "annotations": moved}
    await shop.ci.create_check_run(head, "build", "failure", output=report)
    await shop.standing(broken, "did not fix it")


@pytest.mark.thorough
async def test_an_old_check_that_fails_in_a_new_way_cannot_be_approved(shop: Shop) -> None:
    shop.verdicts.clear()
    config = {".github/playbooks.yml": "checks: {smoke: [links]}\n"}
    await shop.merged("Name the check", config)
    old = {"title": "docs/a.md leads nowhere", "summary": "-"}
    await shop.ci.create_check_run(await shop.alice.head("main"), "links", "failure", output=old)
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    head = (await shop.hotfix())["head"]["sha"]
    new = {"title": "docs/b.md leads nowhere", "summary": "-"}
    await shop.ci.create_check_run(head, "links", "failure", output=new)
    status = await shop.standing(broken, "so I did not merge it")
    assert "`/approve`" not in status


@pytest.mark.thorough
async def test_a_failure_only_the_hotfix_has_is_not_merged_and_names_the_check(shop: Shop) -> None:
    broken = await shop.broken()
    shop.verdicts["smoke"] = "failure"
    await shop.says(broken, "/revert")
    status = await shop.standing(broken, "does it fail, so I did not merge it")
    assert "`smoke`" in status
    assert "revert those with it" in status
    assert (await shop.alice.file("shop.py")) == BAD


@pytest.mark.thorough
async def test_it_goes_on_by_itself_when_the_failed_check_turns_green(shop: Shop) -> None:
    broken = await shop.broken()
    shop.verdicts["smoke"] = "failure"
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "so I did not merge it")
    hotfix = await shop.hotfix()
    await shop.report("success", branch=hotfix["head"]["ref"])
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.mentions(broken)) == 2


async def _with_an_old_failure(shop: Shop) -> int:
    """Main has a check `links` that is red since long before, and counts."""
    config = "checks:\n  smoke: [smoke, links]\n"
    shop.verdicts["links"] = "failure"
    await shop.merged("Configure checks", {".github/playbooks.yml": config})
    return await shop.broken()


@pytest.mark.thorough
async def test_a_failure_that_is_older_than_the_incident_may_be_approved_by_the_requester(
    shop: Shop,
) -> None:
    broken = await _with_an_old_failure(shop)
    answer = await shop.says(broken, "/revert")
    status = await shop.standing(broken, "already red before the incident")
    assert "`/approve`" in status.splitlines()[0]
    assert await (await shop.says(broken, "/approve")).reaction() == "+1"
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    asked, last = await shop.mentions(broken)
    assert asked.startswith("@alice Approve hotfix #")
    assert last.startswith("`alice`: Done: ")


@pytest.mark.thorough
async def test_an_approval_holds_for_one_commit_only(shop: Shop) -> None:
    broken = await _with_an_old_failure(shop)
    shop.github.protect(shop.repository, "main", Protection(reviews=1))
    await shop.says(broken, "/revert")
    await shop.standing(broken, "already red before the incident")
    await shop.says(broken, "/approve")
    await shop.standing(broken, "needs 1 more approval")
    hotfix = await shop.hotfix()
    await shop.bob.push(hotfix["head"]["ref"], {"more.py": "1\n"}, "One more thing")
    theirs = await shop.alice.head(hotfix["head"]["ref"])
    await shop.standing(broken, f"/approve {theirs[:12]}")
    await shop.says(broken, f"/approve {theirs}")
    await shop.standing(broken, "already red before the incident")
    assert not (await shop.hotfix())["merged_at"]


@pytest.mark.thorough
async def test_a_reader_cannot_approve(shop: Shop) -> None:
    broken = await _with_an_old_failure(shop)
    await shop.says(broken, "/revert")
    await shop.standing(broken, "already red before the incident")
    answer = await shop.says(broken, "/approve", shop.mallory)
    assert await answer.reaction() == "confused"
    assert not (await shop.hotfix())["merged_at"]


@pytest.mark.thorough
async def test_rejecting_closes_the_hotfix(shop: Shop) -> None:
    broken = await _with_an_old_failure(shop)
    await shop.says(broken, "/revert")
    await shop.standing(broken, "already red before the incident")
    await shop.says(broken, "/reject", shop.bob)
    last = await shop.final_word(broken)
    assert "`bob` rejected this revert" in last
    hotfix = await shop.hotfix()
    assert hotfix["state"] == "closed"
    assert not hotfix["merged_at"]


async def test_approving_where_nothing_waits_is_refused_with_words(shop: Shop) -> None:
    broken = await shop.broken()
    answer = await shop.says(broken, "/playbooks approve")
    assert await answer.reaction() == "confused"
    [said] = await shop.from_bot(broken)
    assert said.startswith("@alice Nothing is waiting for an approval here.")


async def test_without_any_check_nothing_is_merged_until_a_person_approves(shop: Shop) -> None:
    shop.verdicts.clear()
    await shop.merged("A commit no check has seen", {"other.py": "1\n"})
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    status = await shop.standing(broken, "no check says whether it is good")
    assert "I won't merge what nothing has verified" in status
    assert not (await shop.hotfix())["merged_at"]
    await shop.says(broken, "/approve")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


async def test_checks_that_never_report_are_a_visible_time_out(shop: Shop, clock: Clock) -> None:
    config = "checks:\n  smoke: [smoke, slow]\n  timeout_minutes: 1\n"
    await shop.merged("Configure checks", {".github/playbooks.yml": config})
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    status = await shop.standing(broken, "I am waiting for `slow`")
    assert "I will wait until" in status
    hotfix = await shop.hotfix()
    await shop.report("pending", "slow", branch=hotfix["head"]["ref"])
    clock.forward(minutes=2)
    status = await shop.standing(broken, "Find out why `slow` did not report")
    assert "`/retry` waits once more" in status
    await shop.report("success", "slow", branch=hotfix["head"]["ref"])
    assert await answer.reaction() == "+1"


@pytest.mark.thorough
async def test_a_check_that_broke_off_is_run_again_once_and_then_merged(shop: Shop) -> None:
    shop.verdicts.clear()
    await shop.merged("Name the check", {".github/playbooks.yml": "checks: {smoke: [build]}\n"})
    broken = await shop.broken()
    reruns: list[str] = []

    def rerun(event: Event) -> None:
        if event.repository is shop.repository and event.action == "rerequested":
            sha = event.payload["check_run"]["head_sha"]
            reruns.append(sha)
            task = asyncio.create_task(shop.ci.create_check_run(sha, "build", "success"))
            tasks.append(task)

    tasks: list[asyncio.Task[object]] = []
    shop.github.world.listen(rerun)
    answer = await shop.says(broken, "/revert")
    hotfix = await shop.hotfix()
    await shop.ci.create_check_run(hotfix["head"]["sha"], "build", "timed_out")
    assert await answer.reaction() == "+1"
    assert len(reruns) == 1
    assert len(await shop.mentions(broken)) == 1


@pytest.mark.thorough
async def test_a_check_that_breaks_off_twice_asks_a_person(shop: Shop) -> None:
    shop.verdicts.clear()
    await shop.merged("Name the check", {".github/playbooks.yml": "checks: {smoke: [build]}\n"})
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    hotfix = await shop.hotfix()
    await shop.ci.create_check_run(hotfix["head"]["sha"], "build", "cancelled")
    await shop.standing(broken, "I am waiting for `build`")
    await shop.ci.create_check_run(hotfix["head"]["sha"], "build", "timed_out")
    status = await shop.standing(broken, "broke off without a verdict")
    assert status.startswith("**Run `build` again on hotfix #")
    await shop.ci.create_check_run(hotfix["head"]["sha"], "build", "success")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_evals_that_are_configured_count_as_well(shop: Shop) -> None:
    config = "checks:\n  smoke: [smoke]\n  evals: [quality]\n"
    shop.verdicts["quality"] = "success"
    await shop.merged("Configure checks", {".github/playbooks.yml": config})
    broken = await shop.broken()
    shop.verdicts["quality"] = "failure"
    await shop.says(broken, "/revert")
    status = await shop.standing(broken, "so I did not merge it")
    assert "| quality | evals | **failed** |" in status


@pytest.mark.thorough
async def test_evals_that_are_not_configured_are_said_to_be_so(shop: Shop) -> None:
    broken = await shop.broken()
    await (await shop.says(broken, "/revert")).reaction()
    hotfix = await shop.merged_hotfix()
    assert "Evals: not configured." in hotfix["body"]
