"""What cannot be reverted is refused with one comment: why, and what to do."""

from __future__ import annotations

import re

import pytest

from tests.shop import BAD, GOOD, Shop


async def _refusal(shop: Shop, number: int, words: str) -> str:
    answer = await shop.says(number, words)
    assert await answer.reaction() == "confused"
    [said] = await shop.mentions(number)
    assert not await shop.incidents()
    assert not await shop.hotfixes()
    return said


async def test_an_open_pull_request_has_nothing_to_revert(shop: Shop) -> None:
    number = await shop.bob.open_pull_request("Faster", {"shop.py": BAD}, branch="faster")
    assert "is not merged, so there is nothing to revert" in await _refusal(shop, number, "/revert")


async def test_a_pull_request_closed_unmerged_has_nothing_to_revert(shop: Shop) -> None:
    number = await shop.bob.open_pull_request("Faster", {"shop.py": BAD}, branch="faster")
    await shop.bob.patch(f"pulls/{number}", state="closed")
    assert "was closed without being merged" in await _refusal(shop, number, "/revert")


async def test_an_unknown_number_is_said_to_be_unknown(shop: Shop) -> None:
    broken = await shop.broken()
    said = await _refusal(shop, broken, "/revert #4711")
    assert "There is no pull request #4711 in this repository." in said


async def test_an_issues_number_is_said_to_be_an_issue(shop: Shop) -> None:
    issue = await shop.alice.open_issue("Totals are zero")
    said = await _refusal(shop, issue, f"/revert #{issue}")
    assert f"#{issue} is an issue, not a pull request." in said


async def test_an_unknown_commit_is_said_to_be_unknown(shop: Shop) -> None:
    broken = await shop.broken()
    said = await _refusal(shop, broken, "/revert 0123456789abcdef")
    assert "There is no commit `0123456789abcdef` on a branch" in said


async def test_a_commit_on_an_unprotected_branch_is_refused(shop: Shop) -> None:
    sha = await shop.bob.push("idea", {"idea.py": "1\n"}, "An idea")
    issue = await shop.alice.open_issue("Undo the idea")
    said = await _refusal(shop, issue, f"/revert {sha}")
    assert "is neither on `main` nor on a protected branch" in said


async def test_what_is_already_reverted_says_by_which_commit(shop: Shop) -> None:
    broken = await shop.broken()
    sha = await shop.alice.push("main", {"shop.py": GOOD}, "Back to sums")
    said = await _refusal(shop, broken, "/revert")
    assert "It is already reverted on `main` by " in said
    assert sha[:6] in said
    assert "something else broke them" in said


async def test_a_change_that_is_gone_without_a_trace_is_an_empty_revert(shop: Shop) -> None:
    broken = await shop.broken()
    await shop.alice.push("main", {"shop.py": GOOD, "more.py": "1\n"}, "Sums, and more")
    assert "It is already reverted on `main`" in await _refusal(shop, broken, "/revert")


async def test_different_branches_need_a_command_each(shop: Shop) -> None:
    await shop.alice.push("release", {"notes.md": "1\n"}, "Start a release")
    one = await shop.broken()
    other = await shop.merged("Notes", {"notes.md": "2\n"}, base="release")
    said = await _refusal(shop, one, f"/revert #{one} #{other}")
    assert "These went to different branches: `main`, `release`." in said


async def test_hostile_titles_and_reasons_stay_words(shop: Shop) -> None:
    victim = await shop.alice.open_issue("Keep me open")
    title = f"Fixes #{victim} [skip ci] @mallory <img src=x> `code` **bold** \u202eevil"
    broken = await shop.merged(title, {"shop.py": BAD})
    answer = await shop.says(
        broken, f"/revert because fixes #{victim} [skip ci] @mallory <b>x</b> | a | [l](http://x.y)"
    )
    assert await answer.reaction() == "+1"
    assert (await shop.alice.issue(victim))["state"] == "open"
    hotfix = await shop.merged_hotfix()
    merge = (await shop.alice.pull_request(hotfix["number"]))["merge_commit_sha"]
    message = (await shop.alice.get(f"git/commits/{merge}"))["message"]
    for text in (message, hotfix["title"]):
        assert "[skip ci]" not in text
        assert "@mallory" not in text
        assert "\u202e" not in text
        assert f"#{victim}" not in text
    [issue] = await shop.incidents()
    for body in (hotfix["body"], issue["body"], *await shop.from_bot(broken)):
        assert "@mallory" not in body
        assert "<b>" not in body
        assert "[l](http" not in body


@pytest.mark.thorough
async def test_a_hostile_branch_name_stays_a_name(shop: Shop) -> None:
    base = "release/`x`|<b>_@mallory_<i>"
    await shop.alice.push(base, {"notes.md": "1\n"}, "Start a release")
    broken = await shop.merged("Notes", {"notes.md": "2\n"}, base=base)
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "+1"
    hotfix = await shop.hotfix()
    assert hotfix["base"]["ref"] == base
    for body in (
        hotfix["body"],
        (await shop.incidents())[0]["body"],
        await shop.standing(broken, ""),
    ):
        assert "<b>" not in body
        # GitHub looks for no mention inside <code>.
        assert "@mallory" not in re.sub("<code>.*?</code>", "", body)


@pytest.mark.thorough
async def test_an_invalid_config_leaves_the_last_good_one_in_force_and_says_so(shop: Shop) -> None:
    good = "artifacts:\n  root: reports\n"
    number = await shop.merged("Configure", {".github/playbooks.yml": good})
    # Where records go counts once a Founder approved it.
    assert await (await shop.says(number, "/approve", shop.olivia)).reaction() == "+1"
    await shop.merged("Break it", {".github/playbooks.yml": "artefacts:\n  root: elsewhere\n"})
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    status = await shop.standing(broken, "I am waiting for")
    assert "its last good version is in force" in status
    assert "Did you mean 'artifacts'?" in status
    hotfix = await shop.hotfix()
    identity = await shop.incident_of(hotfix)
    path = f"reports/incidents/revert-{identity}.json"
    assert await shop.alice.file(path, hotfix["head"]["ref"])
