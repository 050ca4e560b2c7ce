"""A hotfix is deployed for a look at it first: its gate waits for that, and never merges a red one.

Specification, Revert, step 3: run preview smoke + evals; ensure green.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.shop import GOOD, Clock, Shop

CONFIG = "checks:\n  smoke: [smoke]\n  preview: [preview]\n  timeout_minutes: 5\n"
LOG = "https://deploy.example/logs/7"
SITE = "https://pr-7.preview.example/"


async def _waiting_for_its_preview(shop: Shop) -> tuple[int, Any]:
    """Alice reverts, the hotfix's checks are green, and it is not deployed yet."""
    await shop.merged("Configure previews", {".github/playbooks.yml": CONFIG})
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    status = await shop.standing(broken, "I am waiting for `preview`")
    assert "| preview | preview | not reported yet |" in status
    return broken, await shop.hotfix()


async def test_a_hotfix_is_merged_only_when_its_preview_is_deployed(shop: Shop) -> None:
    broken, hotfix = await _waiting_for_its_preview(shop)
    deployment = await shop.alice.deploy(hotfix["head"]["sha"], "preview")
    await shop.alice.deployed(deployment, "in_progress", log_url=LOG)
    await shop.standing(broken, f"| [preview]({LOG}) | preview | running |")
    assert not (await shop.hotfix())["merged_at"]
    await shop.alice.deployed(deployment, "success", log_url=LOG, environment_url=SITE)
    await shop.merged_hotfix()
    assert (await shop.final_word(broken)).startswith("@alice Done: ")
    [status] = [said for said in await shop.from_bot(broken) if said.startswith("**")]
    assert f"| [preview]({SITE}) | preview | passed |" in status
    report = await shop.report_of(hotfix)
    wanted = {"environment": "preview", "state": "success", "url": SITE}
    assert report["results"]["preview"] == [wanted]
    assert report["results"]["verdict"] == "green"
    assert "Previews: `preview`." in (await shop.hotfix())["body"]


@pytest.mark.thorough
async def test_a_preview_that_failed_is_never_merged_and_its_log_is_linked(shop: Shop) -> None:
    broken, hotfix = await _waiting_for_its_preview(shop)
    head = hotfix["head"]["sha"]
    deployment = await shop.alice.deploy(head, "preview")
    await shop.alice.deployed(deployment, "error", log_url=LOG)
    status = await shop.standing(broken, "could not be deployed there, so I did not merge it")
    assert status.startswith("**Look at the preview `preview`: hotfix #")
    assert f"[log of preview]({LOG})" in status
    assert "/approve" not in status
    [asked] = await shop.asked(broken, times=1)
    assert asked.startswith("@alice Look at the preview `preview`")
    await shop.looked_again()
    assert not (await shop.hotfix())["merged_at"]
    # Deployed once more, it goes on by itself.
    again = await shop.alice.deploy(head, "preview")
    await shop.alice.deployed(again, "success", environment_url=SITE)
    await shop.merged_hotfix()
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_a_preview_that_never_comes_is_a_visible_time_out(shop: Shop, clock: Clock) -> None:
    broken, hotfix = await _waiting_for_its_preview(shop)
    deployment = await shop.alice.deploy(hotfix["head"]["sha"], "preview")
    await shop.alice.deployed(deployment, "queued")
    clock.forward(minutes=6)
    status = await shop.standing(broken, "Find out why `preview` did not report on hotfix #")
    assert "`/retry` waits once more" in status
    assert not (await shop.hotfix())["merged_at"]


@pytest.mark.thorough
async def test_an_environment_of_its_own_is_waited_for_without_being_asked_to(shop: Shop) -> None:
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `smoke`")
    hotfix = await shop.hotfix()
    head = hotfix["head"]["sha"]
    old = await shop.alice.deploy(head, "pr-6")
    await shop.alice.deployed(old, "failure", log_url=LOG)
    await shop.alice.deployed(await shop.alice.deploy(head, "gone"), "inactive")
    await shop.alice.deployed(await shop.alice.deploy(head, "staging", transient=False), "error")
    deployment = await shop.alice.deploy(head, "pr-6")
    shop.verdicts["smoke"] = "success"
    await shop.report("success", branch=hotfix["head"]["ref"])
    await shop.standing(broken, "I am waiting for `pr-6`")
    await shop.alice.deployed(deployment, "success", environment_url=SITE)
    await shop.alice.deployed(deployment, "inactive")
    await shop.merged_hotfix()
    await shop.final_word(broken)
    [row] = (await shop.report_of(hotfix))["results"]["preview"]
    assert (row["environment"], row["state"], row["url"]) == ("pr-6", "success", SITE)


@pytest.mark.thorough
async def test_where_nothing_is_deployed_this_is_looked_up_only_once_the_checks_are_green(
    shop: Shop,
) -> None:
    await shop.alone()
    broken = await shop.broken()
    before = shop.bot.github.requests.by_route("revert")
    await shop.says(broken, "/revert")
    await shop.final_word(broken)
    after = shop.bot.github.requests.by_route("revert")
    spent = {route: count - before.get(route, 0) for route, count in after.items()}
    asked = spent["GET /repos/{owner}/{repo}/deployments"]
    # Once, before the merge: the look that finds it merged reads no deployments any more.
    assert asked == 1, spent
    assert not any(count for route, count in spent.items() if "{deployment_id}" in route), spent
    report = await shop.report_of(await shop.hotfix())
    assert report["results"]["preview"] == "not configured"


@pytest.mark.thorough
async def test_a_preview_the_app_may_not_see_is_said_with_what_to_grant(shop: Shop) -> None:
    del shop.installation().permissions["deployments"]
    shop.forget_tokens()
    broken, _ = await _waiting_for_its_preview(shop)
    status = await shop.standing(broken, "`deployments: read`")
    assert "grant the App the permission" in status
