"""Protected branches: the rules are obeyed, and what they ask for is said."""

from __future__ import annotations

from typing import Any

import pytest

from demo.person import Person
from fakegithub.access.credentials import issue_token
from fakegithub.world.model import FakeInstallation, Protection
from tests.shop import GOOD, Shop


def _protect(shop: Shop, **rules: Any) -> None:
    shop.github.protect(shop.repository, "main", Protection(**rules))


def _require_reviews(shop: Shop, count: int, *, code_owner: bool = False) -> None:
    parameters = {
        "dismiss_stale_reviews_on_push": False,
        "require_code_owner_review": code_owner,
        "require_last_push_approval": False,
        "required_approving_review_count": count,
        "required_review_thread_resolution": False,
    }
    rule = {"type": "pull_request", "parameters": parameters}
    shop.github.add_ruleset(shop.repository, "reviews", [rule])


async def test_a_missing_review_is_awaited_by_name_with_a_link_and_then_merged(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    _protect(shop, reviews=1)
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "needs 1 more approval")
    hotfix = await shop.hotfix()
    await shop.alice.post(f"pulls/{hotfix['number']}/requested_reviewers", reviewers=["bob"])
    status = await shop.standing(broken, "Asked: @bob.")
    assert status.startswith(f"**Review hotfix #{hotfix['number']}: ")
    runs = await shop.alice.check_runs(hotfix["head"]["sha"])
    assert runs["hotfix"] == "success"
    await shop.bob.review(hotfix["number"])
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.mentions(broken)) == 2


@pytest.mark.thorough
async def test_a_review_a_ruleset_asks_for_is_counted(shop: Shop) -> None:
    broken = await shop.broken()
    _require_reviews(shop, 2)
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "needs 2 more approvals")
    number = (await shop.hotfix())["number"]
    await shop.bob.review(number)
    await shop.standing(broken, "needs 1 more approval")
    await shop.olivia.review(number)
    assert await answer.reaction() == "+1"


@pytest.mark.thorough
@pytest.mark.parametrize("required", [False, True], ids=["free", "required"])
async def test_a_review_that_asks_for_changes_is_named(shop: Shop, *, required: bool) -> None:
    shop.verdicts.clear()
    broken = await shop.broken()
    if required:
        _protect(shop, reviews=1)
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `smoke`")
    hotfix = await shop.hotfix()
    # Whoever may only read holds nothing.
    await shop.mallory.review(hotfix["number"], "REQUEST_CHANGES", "I like it broken")
    await shop.bob.review(hotfix["number"], "REQUEST_CHANGES", "Not like this")
    await shop.report("success", branch=hotfix["head"]["ref"])
    await shop.standing(broken, "Settle it with `bob`, whose")
    await shop.bob.review(hotfix["number"], "APPROVE")
    assert await answer.reaction() == "+1"


@pytest.mark.thorough
async def test_outcomes_go_through_a_pull_request_where_pushes_need_one(shop: Shop) -> None:
    broken = await shop.broken()
    _protect(shop, reviews=1)
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "needs 1 more approval")
    await shop.bob.review((await shop.hotfix())["number"])
    assert await answer.reaction() == "+1"
    pulls = await shop.alice.get("pulls", state="open")
    [outcomes] = [pull for pull in pulls if pull["head"]["ref"] == "playbooks/outcomes"]
    assert outcomes["title"] == "Record the outcomes of incidents"
    files = await shop.alice.get(f"pulls/{outcomes['number']}/files")
    assert {each["status"] for each in files} == {"modified"}


@pytest.mark.thorough
async def test_a_required_check_that_never_reports_is_asked_about(shop: Shop, clock: Any) -> None:
    broken = await shop.broken()
    _protect(shop, checks=[("smoke", None), ("legal", None)])
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `legal`")
    clock.forward(hours=2)
    await shop.standing(broken, "Find out why `legal` did not report")


@pytest.mark.thorough
async def test_a_rule_that_appears_while_waiting_is_obeyed(shop: Shop) -> None:
    shop.verdicts.clear()
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `smoke`")
    _protect(shop, checks=[("security", None)])
    hotfix = await shop.hotfix()
    await shop.report("success", branch=hotfix["head"]["ref"])
    await shop.standing(broken, "I am waiting for `security`")
    await shop.report("success", "security", branch=hotfix["head"]["ref"])
    assert await answer.reaction() == "+1"


async def test_linear_history_and_signed_commits_get_a_signed_squash(shop: Shop) -> None:
    broken = await shop.broken()
    _protect(shop, linear_history=True, signatures=True)
    assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    hotfix = await shop.merged_hotfix()
    merge = (await shop.alice.pull_request(hotfix["number"]))["merge_commit_sha"]
    commit = (await shop.alice.get(f"commits/{merge}"))["commit"]
    assert commit["verification"]["verified"]


@pytest.mark.thorough
async def test_restricted_pushes_leave_the_merge_to_a_person_and_notice_it(shop: Shop) -> None:
    broken = await shop.broken()
    _protect(shop, push_users=["alice"], push_apps=[])
    answer = await shop.says(broken, "/revert")
    status = await shop.standing(broken, "GitHub refuses to merge it")
    assert "not authorized to push" in status
    hotfix = await shop.hotfix()
    await shop.alice.merge(hotfix["number"])
    assert await answer.reaction() == "+1"
    pulls = await shop.alice.get("pulls", state="open")
    assert [pull["head"]["ref"] for pull in pulls] == ["playbooks/outcomes"]


@pytest.mark.thorough
async def test_auto_merge_switched_off_makes_no_difference(shop: Shop) -> None:
    shop.repository.allow_auto_merge = False
    broken = await shop.broken()
    _protect(shop, checks=[("smoke", None)])
    assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_a_branch_that_must_be_up_to_date_gets_a_new_commit_never_a_forced_one(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    _protect(shop, checks=[("smoke", None)], strict=True)
    shop.verdicts["smoke"] = "pending"
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    first = (await shop.hotfix())["head"]["sha"]
    shop.github.commit(shop.repository, {"other.py": "1\n"}, "Meanwhile")
    shop.verdicts["smoke"] = "success"
    await shop.report("success", branch=(await shop.hotfix())["head"]["ref"])

    async def moved() -> bool:
        return (await shop.hotfix())["head"]["sha"] != first

    await shop.eventually(moved)
    assert await answer.reaction() == "+1"
    second = (await shop.hotfix())["head"]["sha"]
    parents = (await shop.alice.get(f"git/commits/{second}"))["parents"]
    assert first in {parent["sha"] for parent in parents}


@pytest.mark.thorough
async def test_a_base_branch_renamed_while_waiting_is_followed(shop: Shop) -> None:
    shop.verdicts.clear()
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    hotfix = await shop.hotfix()
    await shop.olivia.post("branches/main/rename", new_name="trunk")
    await shop.olivia.push("trunk", {"other.py": "1\n"}, "Meanwhile")
    shop.verdicts["smoke"] = "success"
    await shop.report("success", branch=hotfix["head"]["ref"])
    await shop.merged_hotfix()
    merge = (await shop.alice.pull_request(hotfix["number"]))["merge_commit_sha"]
    await shop.alice.set_status(merge, "success", "smoke")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py", "trunk") == GOOD
    assert "is reverted on `trunk` (" in await shop.final_word(broken)
    assert (await shop.report_of(hotfix, "trunk"))["outcome"] == "confirmed"


@pytest.mark.thorough
async def test_a_code_owner_whose_review_is_missing_is_named(shop: Shop) -> None:
    await shop.alice.push("main", {".github/CODEOWNERS": "*.py @olivia @bob\n"}, "Who owns what")
    broken = await shop.broken()
    _require_reviews(shop, 1, code_owner=True)
    answer = await shop.says(broken, "/revert")
    status = await shop.standing(broken, "needs 1 more approval")
    assert "One has to be a code owner's." in status
    number = (await shop.hotfix())["number"]
    await shop.alice.review(number)
    status = await shop.standing(broken, "waits for a code owner")
    assert status.startswith(
        f"**Review hotfix #{number}: it is green and waits for a code owner: @olivia or @bob.**"
    )
    assert "App cannot approve its own work" in status
    await shop.bob.review(number)
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_another_apps_check_of_the_same_name_does_not_stand_for_the_pinned_one(
    shop: Shop, ci_app: FakeInstallation
) -> None:
    shop.verdicts.clear()
    broken = await shop.broken()
    _protect(shop, checks=[("build", ci_app.app.id)])
    stranger = shop.github.create_app(
        f"stranger-{shop.repository.name}",
        owner=shop.repository.owner,
        permissions={"checks": "write"},
        events=[],
    )
    token = issue_token(shop.github.world, shop.github.install(stranger, ci_app.account), None)
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `build`")
    head = (await shop.hotfix())["head"]["sha"]
    async with Person(shop.github.url, token.token, shop.name) as someone:
        await someone.create_check_run(head, "build", "success")
    await shop.looked_again()
    await shop.standing(broken, "I am waiting for `build`")
    await shop.ci.create_check_run(head, "build", "success")
    assert await answer.reaction() == "+1"


@pytest.mark.parametrize("who", ["a person", pytest.param("the bot", marks=pytest.mark.thorough)])
async def test_a_hotfix_that_was_given_another_base_brings_nothing_of_it_to_the_broken_branch(
    shop: Shop, who: str
) -> None:
    shop.verdicts["smoke"] = "pending"
    start = await shop.alice.head("main")
    await shop.alice.set_status(start, "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    hotfix = await shop.hotfix()
    await shop.bob.post("git/refs", ref="refs/heads/other", sha=await shop.bob.head("main"))
    await shop.bob.push("other", {"secret.py": "x\n"}, "Nobody reviewed this")
    await shop.bob.patch(f"pulls/{hotfix['number']}", base="other")
    if who == "a person":
        await shop.bob.merge(hotfix["number"])
    else:
        await shop.report("success", branch=hotfix["head"]["ref"])
    last = await shop.final_word(broken)
    assert last.startswith("@alice See to `main`, which is as it was: hotfix #"), last
    assert "was merged into `other`" in last
    assert await shop.alice.file("secret.py", "main") is None
    assert await shop.alice.file("shop.py", "main") != GOOD
    [incident] = await shop.incidents()
    assert incident["state"] == "open"
    shop.verdicts["smoke"] = "success"
    assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    assert await shop.alice.file("shop.py", "main") == GOOD
    assert await shop.alice.file("secret.py", "main") is None


@pytest.mark.thorough
async def test_a_branch_set_back_after_the_merge_stays_where_it_was_set_to(shop: Shop) -> None:
    good = await shop.alice.head("main")
    broken = await shop.broken()
    # Green on its own, and red where it met what else was pushed.
    shop.deploys["smoke"] = "failure"
    await shop.says(broken, "/revert")
    hotfix = await shop.merged_hotfix()
    await shop.alice.push("main", {"other.py": "1\n"}, "Elsewhere")
    await shop.alice.patch("git/refs/heads/main", sha=good, force=True)
    await shop.looked_again()
    await shop.says(broken, "/cancel")
    await shop.final_word(broken)
    merge = (await shop.alice.pull_request(hotfix["number"]))["merge_commit_sha"]
    commits = await shop.alice.get("commits", sha="main")
    assert merge not in [each["sha"] for each in commits]


@pytest.mark.thorough
async def test_a_yes_holds_for_a_base_branch_that_is_being_renamed(shop: Shop) -> None:
    shop.verdicts.clear()
    await shop.merged("A commit that nothing checked", {"notes.txt": "1\n"})
    broken = await shop.broken()
    await shop.says(broken, "/revert", shop.bob)
    await shop.standing(broken, "no check says whether it is good")
    hotfix = await shop.hotfix()
    with shop.holding_back(f"pulls/{hotfix['number']}/reviews$", method="GET") as looks:
        await shop.eventually(looks)
        await shop.olivia.post("branches/main/rename", new_name="trunk")
        answer = await shop.says(broken, "/approve", shop.olivia)
        assert await answer.reaction() == "+1"
    assert "is reverted on `trunk` (" in await shop.final_word(broken)
