"""A revert that conflicts needs a person's hands, and only those; a base that moves needs none."""

from __future__ import annotations

from typing import Any

import pytest

from fakegithub.faults.writes import Write
from tests.shop import BAD, GOOD, Shop


async def _conflicting(shop: Shop) -> int:
    broken = await shop.broken()
    later = BAD.replace("return 0", "return 0  # nobody knows why")
    await shop.alice.push("main", {"shop.py": later}, "Say what is odd")
    return broken


async def test_a_conflict_opens_a_draft_that_says_what_who_and_how(shop: Shop) -> None:
    broken = await _conflicting(shop)
    await shop.says(broken, "/revert")
    status = await shop.standing(broken, "Resolve 1 conflicting path on")
    hotfix = await shop.hotfix()
    assert hotfix["draft"]
    assert "- `shop.py` (contents), changed since by alice in [" in status
    assert "`git fetch origin && git switch hotfix/revert-" in status
    assert "<<<<<<<" in (await shop.alice.file("shop.py", hotfix["head"]["ref"]) or "")
    [asked] = await shop.asked(broken, times=1)
    assert asked.startswith("@alice Resolve 1 conflicting path")


async def test_a_person_resolves_it_marks_it_ready_and_another_answers_for_it(
    shop: Shop,
) -> None:
    broken = await _conflicting(shop)
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "Resolve 1 conflicting path on")
    hotfix = await shop.hotfix()
    theirs = await shop.bob.push(hotfix["head"]["ref"], {"shop.py": GOOD}, "Resolve")
    await _mark_ready(shop, hotfix["number"])
    await shop.standing(broken, f"/approve {theirs[:12]}")
    assert await (await shop.says(broken, f"/approve {theirs[:12]}")).reaction() == "+1"
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    said = await shop.mentions(broken)
    assert [each.startswith("@alice ") for each in said] == [True, False, False]


async def _mark_ready(shop: Shop, number: int) -> None:
    node = (await shop.alice.pull_request(number))["node_id"]
    mutation = (
        "mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) "
        "{ pullRequest { isDraft } } }"
    )
    answer = await shop.alice.graphql(mutation, id=node)
    assert "errors" not in answer


@pytest.mark.thorough
async def test_marked_ready_with_the_markers_still_in_it_is_never_merged(shop: Shop) -> None:
    broken = await _conflicting(shop)
    await shop.says(broken, "/revert")
    await shop.standing(broken, "Resolve 1 conflicting path on")
    hotfix = await shop.hotfix()
    await _mark_ready(shop, hotfix["number"])
    await shop.says(broken, "/retry")
    await shop.looked_again()
    assert not (await shop.hotfix())["merged_at"]
    await shop.standing(broken, "Resolve 1 conflicting path on")


async def _waiting(shop: Shop) -> tuple[int, Any, Any]:
    """A hotfix that waits for its smoke check."""
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    return broken, answer, await shop.hotfix()


@pytest.mark.thorough
async def test_a_base_that_moved_elsewhere_leaves_the_hotfix_as_it_is(shop: Shop) -> None:
    broken, answer, hotfix = await _waiting(shop)
    shop.verdicts["smoke"] = "success"
    await shop.alice.push("main", {"other.py": "1\n"}, "Elsewhere")
    await shop.report("success", branch=hotfix["head"]["ref"])
    assert await answer.reaction() == "+1"
    merged = await shop.merged_hotfix()
    assert merged["head"]["sha"] == hotfix["head"]["sha"]
    assert await shop.alice.file("shop.py") == GOOD
    assert await shop.alice.file("other.py") == "1\n"
    assert (await shop.report_of(merged))["outcome"] == "confirmed"
    del broken


def _list(first: str, last: str) -> str:
    return "\n".join([first, *(f"item {number}" for number in range(20)), last]) + "\n"


@pytest.mark.thorough
async def test_a_base_that_moved_where_merging_would_leave_some_is_recomputed_and_verified_again(
    shop: Shop,
) -> None:
    await shop.alice.push("main", {"list.txt": _list("old", "old")}, "A list")
    broken = await shop.merged("Renew both ends", {"list.txt": _list("new", "new")})
    await shop.alice.push("main", {"list.txt": _list("old", "new")}, "Take one end back")
    shop.verdicts.clear()
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    hotfix = await shop.hotfix()
    # What was taken back by hand returns: the hotfix, merged as it is, would leave it.
    await shop.alice.push("main", {"list.txt": _list("new", "new")}, "Land it again")

    async def recomputed() -> Any:
        now = await shop.hotfix()
        return now if now["head"]["sha"] != hotfix["head"]["sha"] else None

    again = await shop.eventually(recomputed)
    parents = (await shop.alice.get(f"git/commits/{again['head']['sha']}"))["parents"]
    assert hotfix["head"]["sha"] in {parent["sha"] for parent in parents}
    assert not again["merged_at"]
    await shop.report("success", branch=again["head"]["ref"])
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("list.txt") == _list("old", "old")
    assert (await shop.report_of(again))["refs"]["commit"] == again["head"]["sha"]


@pytest.mark.thorough
@pytest.mark.parametrize("commits", ["one commit", "two to the same line"])
@pytest.mark.parametrize("when", ["meanwhile", "before"])
async def test_what_somebody_reverts_by_hand_needs_no_hotfix(
    shop: Shop, commits: str, when: str
) -> None:
    await shop.bob.push("work", {"shop.py": BAD}, "Faster totals")
    if commits != "one commit":
        await shop.bob.push("work", {"shop.py": BAD.replace("0", "-0")}, "Faster still")
    broken = await shop.bob.open_pull_request("Faster totals", branch="work")
    shop.verdicts.clear()
    await shop.bob.merge(broken, "rebase")
    if when == "meanwhile":
        await shop.says(broken, "/revert")
        await shop.standing(broken, "I am waiting for")
    if commits != "one commit":
        await shop.alice.push("main", {"shop.py": BAD}, "Not that fast")
    await shop.alice.push("main", {"shop.py": GOOD}, "Back to sums")
    if when == "before":
        await shop.says(broken, "/revert")
        await shop.told(broken, "It is already reverted on `main`", times=1)
        assert await shop.hotfixes() == []
    else:
        last = await shop.final_word(broken)
        assert "was reverted on `main` by someone else" in last
        assert (await shop.hotfix())["state"] == "closed"


@pytest.mark.thorough
async def test_of_two_sets_that_overlap_the_smaller_is_needless_after_the_larger(
    shop: Shop,
) -> None:
    one, two, three = [
        await shop.merged(f"Totals {n}", {"shop.py": f"{GOOD}# {n}\n"}) for n in (1, 2, 3)
    ]
    shop.verdicts.clear()
    await shop.says(one, f"/revert #{one} #{two} #{three}")
    await shop.says(two, f"/revert #{two} #{three}")
    for number in (one, two):
        await shop.standing(number, "I am waiting for")
    [larger] = [each for each in await shop.hotfixes() if "Totals 1" in each["title"]]
    await shop.report("success", branch=larger["head"]["ref"])
    await shop.told(two, f"#{two} and #{three} were reverted on `main` by someone else", times=1)
    assert {each["state"] for each in await shop.hotfixes()} == {"closed"}
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_a_base_that_comes_to_conflict_asks_a_person_and_then_goes_on(shop: Shop) -> None:
    broken, answer, hotfix = await _waiting(shop)
    later = BAD.replace("return 0", "return 0  # nobody knows why")
    await shop.alice.push("main", {"shop.py": later}, "Say what is odd")
    status = await shop.standing(broken, "Resolve 1 conflicting path on")
    assert "`shop.py` (contents)" in status
    shop.verdicts["smoke"] = "success"
    branch = hotfix["head"]["ref"]
    main = await shop.alice.head("main")
    ours = await shop.alice.head(branch)
    base = (await shop.alice.get(f"git/commits/{main}"))["tree"]["sha"]
    tree = await shop.alice.post(
        "git/trees",
        base_tree=base,
        tree=[{"path": "shop.py", "mode": "100644", "type": "blob", "content": GOOD}],
    )
    commit = await shop.alice.post(
        "git/commits", message="Resolve", tree=tree["sha"], parents=[ours, main]
    )
    await shop.alice.patch(f"git/refs/heads/{branch}", sha=commit["sha"])
    await shop.standing(broken, f"/approve {commit['sha'][:12]}")
    await shop.says(broken, f"/approve {commit['sha']}", shop.bob)
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_a_hotfix_a_person_merges_is_noticed_and_recorded(shop: Shop) -> None:
    broken, answer, hotfix = await _waiting(shop)
    await shop.bob.merge(hotfix["number"])
    assert await answer.reaction() == "+1"
    report = await shop.report_of(await shop.merged_hotfix())
    assert report["merge"]["method"] == "by hand"
    del broken


@pytest.mark.thorough
async def test_a_hotfix_a_person_closes_ends_the_incident(shop: Shop) -> None:
    broken, answer, hotfix = await _waiting(shop)
    await shop.bob.patch(f"pulls/{hotfix['number']}", state="closed")
    said = await shop.final_word(broken)
    assert "was closed without merging, and `main` is as it was." in said
    assert await answer.reaction() == "confused"
    report = await shop.report_of(hotfix, "playbooks/records")
    assert (report["status"], report["outcome"]) == ("declined", "failed")


@pytest.mark.parametrize(
    "drafts", [True, pytest.param(False, marks=pytest.mark.thorough)], ids=["drafts", "no drafts"]
)
async def test_a_conflict_that_goes_away_needs_nobodys_hands(shop: Shop, drafts: bool) -> None:
    if not drafts:
        shop.repository.private, shop.repository.plan = True, "pro"
    broken = await _conflicting(shop)
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "Resolve 1 conflicting path on")
    await shop.alice.push("main", {"shop.py": BAD}, "Take the remark back")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    hotfix = await shop.merged_hotfix()
    assert not hotfix["draft"]
    assert hotfix["title"].startswith("Revert #")
    assert (await shop.report_of(hotfix))["outcome"] == "confirmed"


@pytest.mark.thorough
async def test_a_conflict_that_somebody_settled_on_the_branch_itself_is_over(shop: Shop) -> None:
    broken = await _conflicting(shop)
    await shop.says(broken, "/revert")
    await shop.standing(broken, "Resolve 1 conflicting path on")
    await shop.alice.push("main", {"shop.py": GOOD}, "Sum them again")
    assert "by someone else" in await shop.final_word(broken)
    hotfix = await shop.hotfix()
    assert hotfix["state"] == "closed"
    [incident] = await shop.incidents()
    assert incident["state"] == "closed"


@pytest.mark.thorough
async def test_a_conflict_that_lasts_is_asked_about_once_however_the_branch_moves(
    shop: Shop,
) -> None:
    broken = await _conflicting(shop)
    await shop.says(broken, "/revert")
    await shop.standing(broken, "Resolve 1 conflicting path on")
    hotfix = await shop.hotfix()
    for number in range(2):
        await shop.alice.push("main", {f"other{number}.py": "1\n"}, "Elsewhere")
        await shop.looked_again()
    await shop.asked(broken, times=1)
    assert (await shop.hotfix())["head"]["sha"] == hotfix["head"]["sha"]


async def _to_be_computed_again(shop: Shop) -> tuple[int, Any, dict[str, str | None]]:
    """A hotfix that waits for CI, and what makes a new one necessary once it is pushed to main."""
    await shop.alice.push("main", {"list.txt": _list("old", "old")}, "A list")
    new: dict[str, str | None] = {"list.txt": _list("new", "new")}
    broken = await shop.merged("Renew both ends", new, method="rebase")
    await shop.alice.push("main", {"list.txt": _list("old", "new")}, "Take one end back")
    shop.verdicts.clear()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    return broken, await shop.hotfix(), new


async def _computed_again(shop: Shop) -> tuple[int, Any]:
    """A hotfix that had to be computed again on a base that moved, so that it holds a merge."""
    broken, hotfix, new = await _to_be_computed_again(shop)
    await shop.alice.push("main", new, "Land it again")

    async def recomputed() -> Any:
        now = await shop.hotfix()
        return now if now["head"]["sha"] != hotfix["head"]["sha"] else None

    return broken, await shop.eventually(recomputed)


@pytest.mark.parametrize("what", ["pushes", pytest.param("deletes", marks=pytest.mark.thorough)])
async def test_whoever_is_faster_than_the_new_computation_is_heard(shop: Shop, what: str) -> None:
    broken, hotfix, new = await _to_be_computed_again(shop)
    branch = hotfix["head"]["ref"]
    theirs: list[str] = []

    async def meanwhile(_: Write) -> None:
        if what == "deletes":
            await shop.bob.delete(f"git/refs/heads/{branch}")
        else:
            theirs.append(await shop.bob.push(branch, {"list.txt": "a better list\n"}, "Mine"))

    def moves(write: Write) -> bool:
        return write.method == "PATCH" and write.path.endswith(branch)

    shop.github.faults.before_write(1, meanwhile, shop.installation().app, moves)
    await shop.alice.push("main", new, "Land it again")
    if what == "deletes":
        assert "was closed without merging" in await shop.final_word(broken)
    else:
        await shop.standing(broken, "it contains commits that I did not make")
        assert await shop.alice.head(branch) == theirs[0]


@pytest.mark.thorough
async def test_what_a_rebase_would_leave_out_is_merged_in_another_way(shop: Shop) -> None:
    shop.repository.allow_squash_merge = False
    _, hotfix = await _computed_again(shop)
    await shop.report("success", branch=hotfix["head"]["ref"])
    await shop.merged_hotfix()
    assert await shop.alice.file("list.txt") == _list("old", "old")


@pytest.mark.thorough
async def test_where_only_a_rebase_is_allowed_and_none_would_do_the_way_on_is_named(
    shop: Shop,
) -> None:
    broken, hotfix = await _computed_again(shop)
    shop.repository.allow_squash_merge = shop.repository.allow_merge_commit = False
    await shop.report("success", branch=hotfix["head"]["ref"])
    status = await shop.standing(broken, "takes rebases only")
    assert "Comment `/cancel`, then `/revert`" in status
    assert await (await shop.says(broken, "/cancel")).reaction() == "+1"
    shop.verdicts["smoke"] = "success"
    assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    assert await shop.alice.file("list.txt") == _list("old", "old")


UPDATES = pytest.param("update", marks=pytest.mark.thorough)
ALL = pytest.param("update and creation", marks=pytest.mark.thorough)


@pytest.mark.parametrize("refused", ["merges", UPDATES, ALL])
async def test_a_hotfix_that_cannot_be_moved_is_made_once_more_beside_it(
    shop: Shop, refused: str
) -> None:
    if refused == "merges":
        shop.repository.allow_squash_merge = shop.repository.allow_merge_commit = False
    broken, hotfix, new = await _to_be_computed_again(shop)
    branch, rules = hotfix["head"]["ref"], {"update", "creation"} & {*refused.split()}
    if rules:
        shop.github.restrict_refs(shop.repository, "hotfix/**", rules=rules)
    shop.verdicts["smoke"] = "success"
    await shop.alice.push("main", new, "Land it again")
    if "creation" in rules:
        said = await shop.standing(broken, "or let me make it fit: `main` has moved")
        assert "bypass list" in said
        assert [each["state"] for each in await shop.hotfixes()] == ["open"]
        shop.repository.rulesets.clear()
        await shop.says(broken, "/retry")
    await shop.eventually(lambda: _merged(shop))
    assert await shop.alice.file("list.txt") == _list("old", "old")
    assert "is reverted on `main`" in await shop.final_word(broken)
    last, *before = await shop.hotfixes()
    assert (await shop.report_of(last))["refs"]["branch"] == last["head"]["ref"]
    if "creation" in rules:
        assert not before
        return
    assert last["head"]["ref"] == f"{branch}-2"
    assert [each["state"] for each in before] == ["closed"]
    assert f"#{last['number']} takes the place of this hotfix" in before[0]["body"]


async def _merged(shop: Shop) -> bool:
    return any(each["merged_at"] for each in await shop.hotfixes())
