"""Exactly what was asked is reverted, however it landed, and whatever landed with it."""

from __future__ import annotations

import pytest

from bot.triggers import CommitTarget, PullRequestTarget
from tests.playbooks.revert.landings import FIRST, KINDS, SECOND, planned
from tests.shop import Shop

ALWAYS = {"shop.py", "later.py"}
SQUASHED = {"stack, then squashed", "stack, both squashed"}
TOGETHER = {
    "octopus",
    "rollup",
    "stack, merged",
    "stack, squashed into it",
    "stack, rebased into it",
    "stack, then squashed",
    "stack, both squashed",
    "stack, then rebased",
}
"""One step of main brought both."""


@pytest.mark.sampled("squash", "stack, rebased into it")
@pytest.mark.parametrize("kind", KINDS)
async def test_only_what_was_asked_for_goes_and_the_others_are_named(shop: Shop, kind: str) -> None:
    two = await KINDS[kind](shop)
    await shop.alice.push("main", {"later.py": "later\n"}, "Later")

    plan, files = await planned(shop, PullRequestTarget(number=two.first))
    asked = plan.root
    if kind in SQUASHED or kind == "picked twice":
        assert asked.kind == "declined", asked
        assert f"#{two.second}" in asked.reason
        assert f"`/revert #{two.first} #{two.second}`" in asked.remedy
    else:
        assert asked.kind == "plan", asked
        assert files == ALWAYS | SECOND, "only the first one's files go"
        [offender] = asked.offenders
        others = {two.second, *([two.extra] if two.extra else [])}
        beside = set(offender.beside)
        # A merge of its own inside the rollup is taken whole: nothing else came by that.
        alone = offender.commits != (two.merge,) and len(offender.commits) == 1
        assert beside == (set() if alone or kind not in TOGETHER else others), offender

    plan, files = await planned(shop, PullRequestTarget(number=two.second))
    other = plan.root
    if kind in SQUASHED:
        assert other.kind == "declined", other
        assert f"`/revert #{two.second} #{two.first}`" in other.remedy
    elif kind != "picked twice":
        assert other.kind == "plan", other
        assert files == ALWAYS | FIRST

    both = [PullRequestTarget(number=number) for number in (two.first, two.second)]
    plan, files = await planned(shop, *both)
    assert plan.root.kind == "plan", plan.root
    assert files == ALWAYS
    assert {offender.number for offender in plan.root.offenders} == {two.first, two.second}


@pytest.mark.sampled("rollup")
@pytest.mark.parametrize(
    "kind",
    ["squash", "rebase", "octopus", "pushed stack", "rollup", "stack, merged",
     "stack, both squashed", "picked twice"],
)  # fmt: skip
async def test_the_sha_of_a_merge_names_everybody_it_brought_and_the_sha_of_a_commit_only_that(
    shop: Shop, kind: str
) -> None:
    two = await KINDS[kind](shop)
    await shop.alice.push("main", {"later.py": "later\n"}, "Later")

    plan, files = await planned(shop, CommitTarget(sha=two.merge))
    merge = plan.root
    if kind == "picked twice":
        assert merge.kind == "declined", merge
        assert f"`/revert #{two.first} #{two.second}`" in merge.remedy
        return
    if kind == "pushed stack":
        # It merged one into the other and was pushed as it is: whose work it was is asked.
        assert merge.kind == "declined", merge
        assert f"#{two.first}" in merge.reason
        assert "`/revert #NUMBER`" in merge.remedy
        return
    assert merge.kind == "plan", merge
    named = {offender.number for offender in merge.offenders if offender.number}
    if kind in TOGETHER:
        assert files == ALWAYS
        assert named >= {two.first, two.second}
    else:
        assert named == {two.first}
        assert files == ALWAYS | SECOND

    if two.own is not None:
        plan, files = await planned(shop, CommitTarget(sha=two.own))
        assert plan.root.kind == "plan", plan.root
        assert plan.root.commits == (two.own,)
        assert files == ALWAYS | SECOND | {"a2.py"}


async def test_what_was_merged_before_the_default_branch_was_renamed_is_found_on_it(
    shop: Shop,
) -> None:
    await shop.alice.push("production", {"notes.md": "live\n"}, "Live", onto="main")
    broken = await shop.broken()
    merge = await shop.alice.head("main")
    # By the old name, it looks like a branch that was merged into another and is over.
    released = await shop.alice.post("pulls", title="Release", head="main", base="production")
    await shop.alice.merge(released["number"], "merge")
    await shop.olivia.post("branches/main/rename", new_name="trunk")
    for target in (PullRequestTarget(number=broken), CommitTarget(sha=merge)):
        plan, _ = await planned(shop, target)
        assert plan.root.kind == "plan", plan.root
        [offender] = plan.root.offenders
        assert (plan.root.base, offender.number, offender.commits) == ("trunk", broken, (merge,))
