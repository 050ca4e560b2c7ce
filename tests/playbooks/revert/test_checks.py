"""What CI does to a hotfix besides passing and failing: each must end without a person, or ask."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from bot.records.audit import chain
from fakegithub.world.model import FakeInstallation
from fakegithub.world.refusals import Status
from tests.shop import GOOD, Clock, Shop

STILL_RUNNING = "This workflow is already running"
"""What GitHub says to a job as long as another one of its workflow run is under way."""


async def _broken_while_unit_passes(shop: Shop, smoke: str = "unit") -> int:
    """The check `unit` counts and passes on main, also of the pull request that breaks it."""
    shop.attempts["unit"] = ["success"]
    config = f"checks: {{smoke: [{smoke}]}}\n"
    await shop.merged("Name the check", {".github/playbooks.yml": config})
    await _passed(shop)
    broken = await shop.broken()
    await _passed(shop)
    return broken


async def _passed(shop: Shop) -> None:
    head = await shop.alice.head("main")

    async def passed() -> bool:
        return (await shop.alice.check_runs(head)).get("unit") == "success"

    await shop.eventually(passed)


async def _reported(shop: Shop, context: str) -> None:
    head = await shop.alice.head("main")

    async def reported() -> bool:
        status = await shop.alice.get(f"commits/{head}/status")
        return context in {each["context"] for each in status["statuses"]}

    await shop.eventually(reported)


@pytest.mark.thorough
async def test_a_wait_says_since_when_it_runs_and_how_long_it_took_before(
    shop: Shop, ci_app: FakeInstallation
) -> None:
    shop.verdicts.clear()
    await shop.merged("Name the check", {".github/playbooks.yml": "checks: {smoke: [unit]}\n"})
    ran = shop.github.report_check(
        shop.repository, ci_app.app, await shop.alice.head("main"), "unit", "success"
    )
    ran.started_at -= timedelta(minutes=7)
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    status = await shop.standing(broken, "I am waiting for `unit`")
    assert "`unit` has not begun yet; on `main` it took about 7 minutes." in status
    head = (await shop.hotfix())["head"]["sha"]
    shop.github.report_check(shop.repository, ci_app.app, head, "unit", None)
    status = await shop.standing(broken, "`unit` has been running since ")
    assert "On `main` it took about 7 minutes, so I expect it by " in status


@pytest.mark.thorough
async def test_a_cancelled_check_is_settled_by_a_newer_run_in_another_suite(
    shop: Shop, ci_app: FakeInstallation
) -> None:
    shop.verdicts.clear()
    await shop.merged("Name the check", {".github/playbooks.yml": "checks: {smoke: [unit]}\n"})
    broken = await shop.broken()
    asked = await shop.says(broken, "/revert")
    head = (await shop.hotfix())["head"]["sha"]
    app, repository = ci_app.app, shop.repository
    running = shop.github.report_check(repository, app, head, "other", None)
    shop.github.report_check(repository, app, head, "unit", "cancelled", suite=running.suite)
    shop.github.report_check(repository, app, head, "unit", "success")
    assert await asked.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    [last] = await shop.mentions(broken)
    assert "again" not in last


@pytest.mark.thorough
async def test_a_newer_failure_in_another_suite_beats_an_older_success(
    shop: Shop, ci_app: FakeInstallation
) -> None:
    shop.verdicts.clear()
    config = "checks: {smoke: [unit, slow]}\n"
    await shop.merged("Name the checks", {".github/playbooks.yml": config})
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    head = (await shop.hotfix())["head"]["sha"]
    app, repository = ci_app.app, shop.repository
    shop.github.report_check(repository, app, head, "unit", "success")
    shop.github.report_check(repository, app, head, "unit", "failure")
    await shop.alice.set_status(head, "success", "slow")
    await shop.standing(broken, "Look at `unit`")
    assert not (await shop.hotfix())["merged_at"]


@pytest.mark.thorough
async def test_a_check_that_reports_only_on_the_default_branch_is_not_waited_for(
    shop: Shop,
) -> None:
    shop.deploys["deploy"] = "success"
    await shop.merged("Deploy", {"notes.txt": "1\n"})
    await _reported(shop, "deploy")
    broken = await shop.broken()
    asked = await shop.says(broken, "/revert")
    assert await asked.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_where_nothing_reports_on_pull_requests_a_person_is_asked_soon(
    shop: Shop, clock: Clock
) -> None:
    shop.verdicts.clear()
    shop.deploys["deploy"] = "success"
    await shop.merged("Deploy", {"notes.txt": "1\n"})
    await _reported(shop, "deploy")
    broken = await shop.broken()
    asked = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `deploy`")
    clock.forward(minutes=11)
    await shop.standing(broken, "no check says whether it is good")
    await shop.says(broken, "/approve")
    assert await asked.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_a_check_that_fails_once_by_chance_is_run_again_and_nobody_is_woken(
    shop: Shop,
) -> None:
    shop.attempts["unit"] = ["failure", "success"]
    await shop.merged("Name the check", {".github/playbooks.yml": "checks: {smoke: [unit]}\n"})
    broken = await shop.broken()
    asked = await shop.says(broken, "/revert")
    assert await asked.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.mentions(broken)) == 1


@pytest.mark.thorough
async def test_a_check_that_stays_red_wakes_a_person_who_hears_that_it_was_run_again(
    shop: Shop,
) -> None:
    broken = await _broken_while_unit_passes(shop)
    shop.attempts["unit"] = ["failure"]
    await shop.says(broken, "/revert")
    said = await shop.standing(broken, "so I did not merge it")
    assert "I had it run once more, in case it failed by chance" in said
    runs = [run for run in shop.repository.check_runs.values() if run.name == "unit"]
    head = (await shop.hotfix())["head"]["sha"]
    assert [run.conclusion for run in runs if run.head_sha == head] == ["failure"] * 2


@pytest.mark.thorough
async def test_a_check_that_cannot_be_run_again_wakes_a_person_at_once_and_says_so(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    shop.verdicts["smoke"] = "failure"
    await shop.says(broken, "/revert")
    said = await shop.standing(broken, "so I did not merge it")
    assert "GitHub cannot run `smoke` again for me" in said


@pytest.mark.thorough
async def test_where_github_refuses_to_run_it_again_a_person_is_asked_at_once(
    shop: Shop,
) -> None:
    broken = await _broken_while_unit_passes(shop)
    shop.attempts["unit"] = ["failure", "success"]
    shop.repository.refusals.refuse("rerun")
    await shop.says(broken, "/revert")
    said = await shop.standing(broken, "so I did not merge it")
    assert "GitHub cannot run `unit` again for me" in said


@pytest.mark.thorough
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "never"])
async def test_a_check_beside_which_others_run_is_run_again_once_github_takes_it(
    shop: Shop, clock: Clock, for_ever: bool
) -> None:
    broken = await _broken_while_unit_passes(shop)
    shop.attempts["unit"] = ["failure", "success"]
    times = None if for_ever else 2
    early = shop.repository.refusals.refuse("rerun", message=STILL_RUNNING, times=times)
    await shop.says(broken, "/revert")

    async def asked() -> bool:
        return early.refused > 1

    await shop.eventually(asked)
    if for_ever:
        clock.forward(hours=2)
        said = await shop.standing(broken, "so I did not merge it")
        assert "GitHub cannot run `unit` again for me" in said
    else:
        await shop.merged_hotfix()
        assert len(await shop.asked(broken, times=1)) == 1


@pytest.mark.thorough
async def test_a_check_that_does_not_begin_can_be_waved_through_once_the_others_are_green(
    shop: Shop, clock: Clock
) -> None:
    config = "checks: {smoke: [smoke, deploy]}\n"
    await shop.merged("Name the checks", {".github/playbooks.yml": config})
    broken = await shop.broken()
    asked = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `deploy`")
    clock.forward(minutes=11)
    said = await shop.standing(broken, "without `deploy`: `/approve`")
    assert "did not even start" in said
    await shop.says(broken, "/approve")
    assert await asked.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    report = await shop.report_of(await shop.merged_hotfix())
    assert "unstarted (deploy): approved by alice" in {e["what"] for e in report["timeline"]}
    async with shop.bot.read_only.connect() as conn:
        entries = await chain.read(conn, shop.repository.id)
    [given] = [e for e in entries if getattr(e, "action", "") == "approval.given"]
    assert given.refs["checks"] == ["deploy"]


@pytest.mark.thorough
async def test_a_refusal_in_passing_is_looked_at_again_and_nobody_is_told(shop: Shop) -> None:
    broken = await shop.broken()
    refused = shop.repository.refusals.refuse("merge", times=2)
    asked = await shop.says(broken, "/revert")
    assert await asked.reaction() == "+1"
    assert refused.refused == 2
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.mentions(broken)) == 1


@pytest.mark.thorough
@pytest.mark.parametrize("status", [403, 404, 405, 422])
async def test_a_refusal_that_does_not_pass_is_told_in_the_end(shop: Shop, status: Status) -> None:
    broken = await shop.broken()
    shop.repository.refusals.refuse("merge", status, message="Merging is off for now")
    asked = await shop.says(broken, "/revert")
    assert "Merging is off for now" in await shop.standing(broken, "GitHub refuses to merge")
    shop.repository.refusals.accept("merge")
    assert await asked.reaction() == "+1"


async def _red_after_the_merge(shop: Shop, *, when_run_again: Sequence[str]) -> int:
    """The base moves under a green hotfix, and `unit` fails once on what they are together."""
    broken = await _broken_while_unit_passes(shop, "unit, lint")
    shop.verdicts["lint"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "lint")
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `lint`")
    del shop.attempts["unit"]
    shop.verdicts["lint"] = "success"
    await shop.alice.push("main", {"other.py": "1\n"}, "Another change")
    await shop.report("success", "lint", branch=(await shop.hotfix())["head"]["ref"])
    await shop.merged_hotfix()
    await shop.standing(broken, "on `main`")
    shop.attempts["unit"] = list(when_run_again)
    await shop.ci.create_check_run(await shop.alice.head("main"), "unit", "failure")
    return broken


async def test_a_check_that_fails_once_by_chance_after_the_merge_wakes_nobody(shop: Shop) -> None:
    early = shop.repository.refusals.refuse("rerun", message=STILL_RUNNING, times=3)
    broken = await _red_after_the_merge(shop, when_run_again=("success",))
    last = await shop.final_word(broken)
    assert early.refused == 3
    assert last.startswith("@alice Done: ")
    assert len(await shop.mentions(broken)) == 1
    report = await shop.report_of(await shop.hotfix())
    assert (report["status"], report["outcome"]) == ("resolved", "confirmed")
    assert "main is red after the merge" not in {each["what"] for each in report["timeline"]}


@pytest.mark.thorough
async def test_after_the_merge_a_check_that_often_flaked_is_run_again_more_often(
    shop: Shop,
) -> None:
    for number in range(8):
        await shop.alice.push("main", {"past.txt": f"{number}\n"}, "One of the past")
        for conclusion in ("failure", "success"):
            await shop.ci.create_check_run(await shop.alice.head("main"), "unit", conclusion)
    # Where it flaked seldom, the second failure wakes somebody: see the test below.
    broken = await _red_after_the_merge(shop, when_run_again=("failure", "success"))
    [said] = await shop.asked(broken, times=1)
    assert said.startswith("@alice Done: ")


@pytest.mark.thorough
async def test_a_check_that_stays_red_after_the_merge_wakes_a_person_after_it_ran_again(
    shop: Shop,
) -> None:
    broken = await _red_after_the_merge(shop, when_run_again=("failure",))
    [asked] = await shop.asked(broken, times=1)
    assert asked.startswith("@alice Look at `main`")
    # By this Run or by the judge of red checks, whoever was first.
    head = (await shop.hotfix())["merge_commit_sha"]
    runs = [run for run in shop.repository.check_runs.values() if run.name == "unit"]
    assert [run.conclusion for run in runs if run.head_sha == head].count("failure") >= 2
