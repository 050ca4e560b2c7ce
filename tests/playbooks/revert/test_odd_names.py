"""Branches, files and checks with whatever names git and GitHub allow."""

from __future__ import annotations

import json

import pytest

from bot.config import CONFIG_PATH
from tests.shop import Shop

BRANCH = "rel/1.x#2+é%41&日本'(@x)"
PROPOSED = "bob's/#1%20é"
FILE = "dir #1/ü %20?&[x]~.txt"
CHECK = '🚀 deploy / `prod` | <b>x</b> "q" @alice #1 --> ' + "y" * 150


@pytest.mark.thorough
async def test_what_has_odd_names_is_reverted_and_called_by_them(shop: Shop) -> None:
    shop.verdicts.clear()
    shop.verdicts[CHECK] = "success"
    config = f"checks: {{smoke: [{json.dumps(CHECK, ensure_ascii=False)}]}}\n"
    for branch in ("main", BRANCH):
        await shop.alice.push(branch, {CONFIG_PATH: config, FILE: "good\n"}, "Begin")
    broken = await shop.bob.open_pull_request(
        "Break", {FILE: "bad\n", "more é.txt": "x\n"}, branch=PROPOSED, base=BRANCH
    )
    await shop.bob.merge(broken)
    await shop.says(broken, "/revert")
    hotfix = await shop.merged_hotfix()
    assert await shop.alice.file(FILE, BRANCH) == "good\n"
    assert await shop.alice.file("more é.txt", BRANCH) is None
    assert hotfix["base"]["ref"] == BRANCH
    [said] = await shop.told(broken, "Done:", times=1)
    assert f"`{BRANCH}`" in said


@pytest.mark.thorough
async def test_a_name_that_githubs_api_cannot_carry_is_said(shop: Shop) -> None:
    git = shop.repository.git
    head = await shop.alice.head("main")
    blob = git.write("blob", b"x\n").encode()
    listed = git.run("ls-tree", "-z", head) + b"100644 blob " + blob + b"\tcaf\xe9.txt\0"
    tree = git.run("mktree", "-z", data=listed).decode().strip()
    made = await shop.alice.post("git/commits", message="Odd", tree=tree, parents=[head])
    await shop.alice.patch("git/refs/heads/main", sha=made["sha"])
    issue = await shop.alice.open_issue("It broke")
    await shop.says(issue, f"/revert {made['sha']}")
    [said] = await shop.told(issue, "is not UTF-8", times=1)
    assert r"`caf\xe9.txt`" in said
    assert "with git itself" in said


@pytest.mark.thorough
@pytest.mark.parametrize("mode", ["100644", "120000"])
async def test_what_stands_where_the_folder_of_records_would_be_stays_there(
    shop: Shop, mode: str
) -> None:
    before = await shop.alice.head("main")
    entry = {"path": "docs/decisions", "mode": mode, "type": "blob", "content": "../adr"}
    base = (await shop.alice.get(f"git/commits/{before}"))["tree"]["sha"]
    tree = await shop.alice.post("git/trees", base_tree=base, tree=[entry])
    added = await shop.alice.post(
        "git/commits", message="Not a folder", tree=tree["sha"], parents=[before]
    )
    await shop.alice.patch("git/refs/heads/main", sha=added["sha"])
    await shop.alice.set_status(added["sha"], "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    hotfix = await shop.merged_hotfix()
    [said] = await shop.told(broken, "Done:", times=1)
    assert "has no room: no folder stands where its own would be" in said
    report = await shop.report_of(hotfix)
    assert (await shop.alice.file(report["adr"], "playbooks/records") or "").startswith("---")
    found = await shop.alice.get("git/trees/main", recursive="1")
    assert [each["mode"] for each in found["tree"] if each["path"] == "docs/decisions"] == [mode]
