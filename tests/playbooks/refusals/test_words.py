"""Where GitHub refuses something, people read what, why, and what they can do now."""

from __future__ import annotations

import pytest

from tests.shop import BAD, GOOD, Shop


@pytest.mark.thorough
async def test_a_locked_conversation_is_told_of_on_the_hotfix(shop: Shop) -> None:
    broken = await shop.broken()
    shop.repository.issues[broken].locked = True
    await shop.alice.comment(broken, "/revert")
    hotfix = await shop.merged_hotfix()

    async def told() -> bool:
        body = (await shop.alice.pull_request(hotfix["number"]))["body"]
        return f"comment on #{broken} (the conversation is locked)" in body

    await shop.eventually(told)
    [issue] = await shop.incidents()

    async def last_word() -> bool:
        said = await shop.from_bot(issue["number"])
        return any(body.startswith("@alice Done: ") for body in said)

    await shop.eventually(last_word)


@pytest.mark.thorough
async def test_what_is_left_to_do_by_hand_stands_in_the_last_word(shop: Shop) -> None:
    broken = await shop.broken()
    shop.github.restrict_refs(shop.repository, "hotfix/**", rules=["deletion"])
    await shop.alice.comment(broken, "/revert")
    last = await shop.final_word(broken)
    hotfix = await shop.hotfix()
    assert "Done: " in last
    assert f"- delete the branch `{hotfix['head']['ref']}` (a ruleset forbids it" in last


@pytest.mark.thorough
async def test_a_refused_branch_names_the_branches_and_the_bypass_list(shop: Shop) -> None:
    ruleset = shop.github.restrict_refs(shop.repository, "hotfix/**", "playbooks/**")
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "confused"
    status = await shop.standing(broken, "Fix the cause")
    assert "add the App to the bypass list of the ruleset that covers hotfix/" in status
    shop.repository.rulesets.pop(ruleset.id)
    await shop.says(broken, "/retry")
    await shop.merged_hotfix()
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_without_drafts_a_conflict_is_an_ordinary_pull_request_that_a_person_merges(
    shop: Shop,
) -> None:
    shop.repository.private, shop.repository.plan = True, "pro"
    broken = await shop.broken()
    later = BAD.replace("return 0", "return 0  # nobody knows why")
    await shop.alice.push("main", {"shop.py": later}, "Say what is odd")
    answer = await shop.says(broken, "/revert")
    status = await shop.standing(broken, "yourself")
    assert "Resolve 1 conflicting path on" in status
    assert "- `shop.py` (contents)" in status
    hotfix = await shop.hotfix()
    assert not hotfix["draft"]
    assert hotfix["title"].startswith("Action required: Revert #")

    async def says_so() -> bool:
        checks = await shop.alice.check_runs(hotfix["head"]["sha"])
        return checks.get("hotfix") == "action_required"

    await shop.eventually(says_so)
    await shop.bob.push(hotfix["head"]["ref"], {"shop.py": GOOD}, "Resolve")
    await shop.standing(broken, "Merge hotfix #")
    await shop.looked_again()
    assert not (await shop.hotfix())["merged_at"]
    await shop.bob.merge(hotfix["number"])
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_without_issues_commands_on_the_hotfix_find_the_incident(shop: Shop) -> None:
    shop.repository.has_issues = False
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    hotfix = await shop.hotfix()
    await shop.says(hotfix["number"], "/cancel")
    last = await shop.final_word(broken)
    assert "cancelled this revert" in last
    assert (await shop.hotfix())["state"] == "closed"


async def test_a_permission_that_the_app_lacks_is_still_told(shop: Shop) -> None:
    broken = await shop.broken()
    shop.repository.refusals.refuse("tree")
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "confused"
    assert "may not do POST" in await shop.standing(broken, "Fix the cause")


@pytest.mark.thorough
async def test_checks_that_cannot_be_read_after_the_merge_leave_it_reverted(shop: Shop) -> None:
    broken = await shop.broken()

    def hide() -> None:
        shop.installation().permissions = {
            name: level
            for name, level in shop.installation().app.permissions.items()
            if name not in ("checks", "statuses")
        }
        shop.forget_tokens()

    shop.github.upon_merge(shop.repository, hide)
    answer = await shop.says(broken, "/revert")
    await answer.reaction()
    assert await shop.alice.file("shop.py") == GOOD
    run = await shop.last_run()
    assert run is not None
    assert run.state == "succeeded", run.reason
    last = (await shop.mentions(broken))[-1]
    assert "reverted" in last
    assert "Fix the cause" not in last
    # What was merged is what was verified; that the check could not be told is said.
    assert "the App lacks checks=write" in last
    [issue] = await shop.incidents()
    assert issue["state"] == "closed"
