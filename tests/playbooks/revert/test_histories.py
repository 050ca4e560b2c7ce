"""Hard histories: whatever was merged, undoing it gives what `git revert` would give."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.playbooks.revert.landings import KINDS, commit
from tests.shop import BAD, GOOD, Shop


async def _commit(
    shop: Shop,
    entries: list[dict[str, Any]],
    message: str,
    *,
    branch: str = "main",
    message_parents: list[str] | None = None,
) -> str:
    """Commit raw tree entries: modes and objects as given."""
    alice = shop.alice
    parent = await alice.head(branch)
    base = (await alice.get(f"git/commits/{parent}"))["tree"]["sha"]
    tree = await alice.post("git/trees", base_tree=base, tree=entries)
    commit = await alice.post(
        "git/commits", message=message, tree=tree["sha"], parents=message_parents or [parent]
    )
    await alice.patch(f"git/refs/heads/{branch}", sha=commit["sha"])
    return str(commit["sha"])


async def _entries(shop: Shop, branch: str = "main") -> dict[str, tuple[str, str]]:
    head = await shop.alice.head(branch)
    tree = await shop.alice.get(f"git/trees/{head}", recursive="1")
    return {
        each["path"]: (each["mode"], each["sha"])
        for each in tree["tree"]
        if each["type"] != "tree" and not each["path"].startswith(("docs/", "apps/"))
    }


async def _reverted(shop: Shop, sha: str) -> dict[str, tuple[str, str]]:
    """Revert a commit, and give main's files then."""
    issue = await shop.alice.open_issue("It broke")
    answer = await shop.says(issue, f"/revert {sha}")
    assert await answer.reaction() == "+1", await shop.from_bot(issue)
    return await _entries(shop)


async def _blob(shop: Shop, content: str, encoding: str = "utf-8") -> str:
    return str((await shop.alice.post("git/blobs", content=content, encoding=encoding))["sha"])


@pytest.mark.sampled("merge")
@pytest.mark.parametrize("method", ["squash", "merge", "rebase"])
async def test_however_it_was_merged_all_of_the_pull_request_is_undone(
    shop: Shop, method: str
) -> None:
    await shop.bob.push("work", {"shop.py": BAD}, "Faster totals")
    await shop.bob.push("work", {"cart.py": "1\n"}, "And a cart")
    await shop.bob.push("work", {"cart.py": "2\n"}, "A better cart")
    number = await shop.bob.open_pull_request("Faster totals", branch="work")
    before = await _entries(shop)
    await shop.alice.push("main", {"other.py": "1\n"}, "Something else, meanwhile")
    await shop.bob.merge(number, method)
    await (await shop.says(number, "/revert")).reaction()
    after = await _entries(shop)
    assert after.pop("other.py")
    assert after == before


@pytest.mark.thorough
async def test_a_stack_is_undone_newest_first_in_one_hotfix(shop: Shop) -> None:
    first = await shop.merged("Faster totals", {"shop.py": BAD})
    second = await shop.merged("Faster still", {"shop.py": BAD + "# faster\n"})
    answer = await shop.says(second, f"/revert #{first} #{second}")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    hotfix = await shop.hotfix()
    assert f"#{first}" in hotfix["title"]
    assert f"#{second}" in hotfix["title"]
    assert len(await shop.incidents()) == 1


@pytest.mark.thorough
async def test_a_pull_request_that_was_partly_reverted_loses_the_rest(shop: Shop) -> None:
    broken = await shop.merged("Totals and a cart", {"shop.py": BAD, "cart.py": "1\n"})
    await shop.alice.push("main", {"cart.py": None}, "No cart after all")
    assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert await shop.alice.file("cart.py") is None


async def test_a_revert_of_a_revert_brings_the_work_back_and_supersedes_the_first_decision(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    await (await shop.says(broken, "/revert")).reaction()
    first = await shop.hotfix()
    answer = await shop.says(first["number"], "/revert because it was not the cause")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == BAD
    second = (await shop.hotfixes())[0]
    merge = (await shop.alice.pull_request(second["number"]))["merge_commit_sha"]
    changed = {
        file["filename"]: file["status"]
        for file in (await shop.alice.get(f"commits/{merge}"))["files"]
        if file["filename"].startswith("docs/decisions/")
    }
    assert sorted(changed.values()) == ["added", "modified"]
    old = next(path for path, status in changed.items() if status == "modified")
    new = next(path for path, status in changed.items() if status == "added")
    text = await shop.alice.file(old)
    assert text is not None
    assert f'status: "superseded by {new.rpartition("/")[2]}"' in text
    assert 'outcome: "confirmed"' in text
    assert 'status: "accepted"' in (await shop.alice.file(new) or "")


@pytest.mark.thorough
async def test_the_records_of_the_first_incident_survive_a_revert_of_its_hotfix(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    await (await shop.says(broken, "/revert")).reaction()
    first = await shop.hotfix()
    identity = await shop.incident_of(first)
    path = f"apps/orchestrator/orchestrator/incidents/revert-{identity}.json"
    before = await shop.alice.file(path)
    await (await shop.says(first["number"], "/revert")).reaction()
    assert await shop.alice.file(path) == before
    assert json.loads(before or "")["status"] == "resolved"


@pytest.mark.thorough
async def test_a_rename_and_a_mode_change_are_undone(shop: Shop) -> None:
    before = await _entries(shop)
    blob = before["shop.py"][1]
    sha = await _commit(
        shop,
        [
            {"path": "shop.py", "mode": "100644", "type": "blob", "sha": None},
            {"path": "src/shop.py", "mode": "100755", "type": "blob", "sha": blob},
        ],
        "Move the shop",
    )
    await shop.alice.push("main", {"other.py": "1\n"}, "Meanwhile")
    after = await _reverted(shop, sha)
    assert after.pop("other.py")
    assert after == before


@pytest.mark.thorough
async def test_binary_files_come_back_byte_for_byte(shop: Shop) -> None:
    old, new = await _blob(shop, "AAECAwT/", "base64"), await _blob(shop, "/wQDAgEA", "base64")
    entry = {"path": "logo.bin", "mode": "100644", "type": "blob"}
    await _commit(shop, [{**entry, "sha": old}], "A logo")
    before = await _entries(shop)
    sha = await _commit(shop, [{**entry, "sha": new}], "Another logo")
    assert await _reverted(shop, sha) == before


@pytest.mark.thorough
async def test_symbolic_links_and_submodules_come_back(shop: Shop) -> None:
    link, other = await _blob(shop, "shop.py"), await _blob(shop, "README.md")
    links = {"path": "latest", "mode": "120000", "type": "blob"}
    module = {"path": "vendor/lib", "mode": "160000", "type": "commit"}
    await _commit(shop, [{**links, "sha": link}, {**module, "sha": "1" * 40}], "Point at things")
    before = await _entries(shop)
    sha = await _commit(
        shop, [{**links, "sha": other}, {**module, "sha": "2" * 40}], "Point elsewhere"
    )
    assert await _reverted(shop, sha) == before
    assert before["vendor/lib"] == ("160000", "1" * 40)


@pytest.mark.thorough
async def test_pointers_of_large_files_are_reverted_as_the_text_they_are(shop: Shop) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n"
    await shop.alice.push("main", {"model.bin": pointer.format("a" * 64)}, "Model 1")
    sha = await shop.alice.push("main", {"model.bin": pointer.format("b" * 64)}, "Model 2")
    await _reverted(shop, sha)
    assert await shop.alice.file("model.bin") == pointer.format("a" * 64)


@pytest.mark.thorough
async def test_more_than_three_hundred_files_are_one_hotfix(shop: Shop) -> None:
    many = {f"pages/{number:03}.md": f"page {number}\n" for number in range(320)}
    await shop.alice.push("main", many, "Pages")
    before = await _entries(shop)
    changed = {path: text + "changed\n" for path, text in many.items()}
    sha = await shop.alice.push("main", {**changed, "pages/000.md": None}, "Rewrite the pages")
    assert await _reverted(shop, sha) == before


@pytest.mark.thorough
async def test_a_workflow_file_needs_a_permission_that_is_named_and_retry_goes_on(
    shop: Shop,
) -> None:
    path = ".github/workflows/ci.yml"
    workflow = "on: workflow_dispatch\njobs: {a: {runs-on: x, steps: [{run: 'true'}]}}\n"
    await shop.alice.push("main", {path: workflow}, "CI")
    broken = await shop.merged("Faster CI", {path: workflow.replace("true", "false")})
    installation = shop.installation()
    installation.permissions.pop("workflows", None)
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "confused"
    [said] = await shop.mentions(broken)
    assert "workflows=write" in said
    assert "`/retry`" in said
    status = await shop.standing(broken, "Fix the cause, then comment `/retry`")
    assert "workflows=write" in status
    [issue] = await shop.incidents()
    assert "Fix the cause" in issue["body"]
    installation.permissions["workflows"] = "write"
    shop.forget_tokens()
    try:
        assert await (await shop.says(issue["number"], "/retry")).reaction() == "+1"
    finally:
        installation.permissions.pop("workflows")
        shop.forget_tokens()
    assert await shop.alice.file(path) == workflow
    assert len(await shop.incidents()) == 1
    hotfix = await shop.merged_hotfix()
    assert hotfix["head"]["ref"].endswith("-2")


@pytest.mark.thorough
async def test_a_file_that_was_deleted_since_is_a_conflict_with_its_name(shop: Shop) -> None:
    await shop.alice.push("main", {"cart.py": "1\n"}, "A cart")
    broken = await shop.merged("A better cart", {"cart.py": "2\n"})
    await shop.alice.push("main", {"cart.py": None}, "No cart")
    await shop.says(broken, "/revert")
    status = await shop.standing(broken, "Resolve 1 conflicting path")
    assert "`cart.py` (modify/delete)" in status


@pytest.mark.thorough
async def test_a_pull_request_merged_into_another_branch_is_reverted_there(shop: Shop) -> None:
    await shop.alice.push("release", {"notes.md": "1\n"}, "Start a release", onto="main")
    await shop.report("success", branch="release")
    broken = await shop.merged("Notes", {"notes.md": "2\n"}, base="release")
    assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    assert await shop.alice.file("notes.md", "release") == "1\n"
    assert await shop.alice.file("notes.md") is None
    hotfix = await shop.hotfix()
    assert hotfix["base"]["ref"] == "release"


@pytest.mark.thorough
async def test_where_the_commits_cannot_be_told_it_asks_for_them(shop: Shop) -> None:
    start = await shop.alice.head("main")
    broken = await shop.broken()
    rewritten = await shop.alice.push("rewritten", {"shop.py": BAD}, "Rewritten", onto=start)
    await shop.olivia.call("PATCH", "git/refs/heads/main", {"sha": rewritten, "force": True})
    answer = await shop.says(broken, "/revert")
    assert await answer.reaction() == "confused"
    [said] = await shop.mentions(broken)
    assert f"I cannot tell which commits #{broken} brought" in said
    assert "`/revert SHA" in said
    assert await (await shop.says(broken, f"/revert {rewritten}")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_files_beside_our_records_are_reverted_like_any_other(shop: Shop) -> None:
    theirs = {
        "self/tool.py": "tool\n",
        "docs/decisions/loader.js": "load()\n",
        "docs/decisions/20250101-old.md": "# Old\n",
        "docs/decisions/20250101-01h00000000000000000000000-like-ours.md": "# Like ours\n",
        "apps/orchestrator/orchestrator/incidents/revert-01h00000000000000000000000.json": "{}\n",
        "self/spec_report.json": "{}\n",
        "flags/flagd.json": "{}\n",
    }
    broken = await shop.merged("Faster, decided", {"shop.py": BAD, **theirs})
    assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    for path in theirs:
        assert await shop.alice.file(path) is None, path
    assert "Left as they are" not in (await shop.from_bot(broken))[0]


@pytest.mark.thorough
async def test_what_we_wrote_stays_and_is_named_where_it_is_reverted(shop: Shop) -> None:
    broken = await shop.broken()
    await (await shop.says(broken, "/revert")).reaction()
    first = await shop.hotfix()
    await (await shop.says(first["number"], "/revert")).reaction()
    identity = await shop.incident_of(first)
    body = (await shop.hotfixes())[0]["body"]
    assert "Left as they are, because I wrote them: `" in body
    assert f"incidents/revert-{identity}.json`" in body
    assert await shop.alice.file("shop.py") == BAD


@pytest.mark.thorough
async def test_what_is_stacked_on_it_stays_and_is_named(shop: Shop) -> None:
    two = await KINDS["stack, merged"](shop)
    await shop.alice.label(two.first, "playbook:revert")
    hotfix = await shop.merged_hotfix()
    assert hotfix["title"] == f'Revert #{two.first} "First"'
    words = f"#{two.second} came by the same merge, and stays: only the commits of #{two.first} go."
    assert words in hotfix["body"]
    await shop.standing(two.first, words)
    assert await shop.alice.file("a.py") is None
    assert await shop.alice.file("b.py") == "b\n"


@pytest.mark.thorough
async def test_what_was_squashed_together_is_asked_about_and_the_command_that_is_named_works(
    shop: Shop,
) -> None:
    two = await KINDS["stack, both squashed"](shop)
    assert await (await shop.says(two.first, "/revert")).reaction() == "confused"
    [said] = await shop.mentions(two.first)
    assert f"#{two.first} cannot be reverted without #{two.second}" in said
    command = f"/revert #{two.first} #{two.second}"
    assert f"`{command}`" in said
    assert await shop.hotfixes() == []
    assert await (await shop.says(two.first, command)).reaction() == "+1"
    assert await shop.alice.file("a.py") is None
    assert await shop.alice.file("b.py") is None
    hotfix = await shop.hotfix()
    assert f"#{two.second}" in hotfix["title"]


@pytest.mark.thorough
async def test_what_builds_on_it_is_asked_about_instead_of_left_in_conflict(shop: Shop) -> None:
    await shop.bob.push("base", {"a.py": "one\ntwo\n"}, "A", onto="main")
    await shop.bob.push("more", {"a.py": "one\nTWO\n"}, "B", onto="base")
    one = await shop.bob.open_pull_request("First", branch="base")
    two = await shop.bob.open_pull_request("Second", branch="more", base="base")
    await shop.bob.merge(two, "merge")
    await shop.bob.merge(one, "merge")
    assert await (await shop.says(one, "/revert")).reaction() == "confused"
    [said] = await shop.mentions(one)
    assert "they build on each other" in said
    assert f"`/revert #{one} #{two}`" in said
    assert await (await shop.says(one, f"/revert #{one} #{two}")).reaction() == "+1"
    assert await shop.alice.file("a.py") is None


async def test_a_merge_of_main_into_work_is_never_undone(shop: Shop) -> None:
    await shop.bob.push("work", {"cart.py": "1\n"}, "A cart", onto="main")
    other = await shop.merged("Other", {"other.py": "1\n"})
    heads = [await shop.alice.head(each) for each in ("work", "main")]
    update = await commit(shop, heads, {"other.py": "1\n"}, "Merge main into work")
    await shop.alice.patch("git/refs/heads/work", sha=update)
    number = await shop.bob.open_pull_request("A cart", branch="work")
    await shop.bob.merge(number, "merge")
    assert await (await shop.says(number, f"/revert {update}")).reaction() == "confused"
    [said] = await shop.mentions(number)
    assert f"would undo #{other} as well" in said
