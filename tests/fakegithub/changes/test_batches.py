"""Several pull requests that land together, and such as stand on one another."""

from __future__ import annotations

from typing import Literal

import pytest

from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from tests.fakegithub.saying import Heard

Way = Literal["octopus", "rollup"]


async def _topics(alice: Person, *names: str) -> list[int]:
    return [
        await alice.open_pull_request(f"Add {name}", {name: "1\n"}, branch=name) for name in names
    ]


async def _pulls_of(alice: Person, sha: str) -> list[int]:
    return sorted(pull["number"] for pull in await alice.get(f"commits/{sha}/pulls"))


@pytest.mark.parametrize("way", ["octopus", "rollup"])
async def test_what_one_push_lands_is_merged_each_with_the_merge_that_brought_it(
    github: DemoGitHub, repository: FakeRepository, alice: Person, way: Way
) -> None:
    """https://docs.github.com/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/about-pull-request-merges#indirect-merges."""
    heard = Heard(github, repository)
    one, two, other = await _topics(alice, "one", "two", "other")
    before = await alice.head("main")
    sha = await alice.merge_together(one, two, way=way)
    assert await alice.head("main") == sha
    pulls = [await alice.pull_request(number) for number in (one, two)]
    assert [(pull["merged"], pull["state"]) for pull in pulls] == [(True, "closed")] * 2
    assert [pull["merged_by"]["login"] for pull in pulls] == ["alice", "alice"]
    assert (await alice.pull_request(other))["state"] == "open"
    closed = [e for e in heard.named("pull_request") if e.action == "closed"]
    assert [e.payload["pull_request"]["merged"] for e in closed] == [True, True]

    merges = [pull["merge_commit_sha"] for pull in pulls]
    commits = [await alice.get(f"commits/{merge}") for merge in merges]
    parents = [[parent["sha"] for parent in commit["parents"]] for commit in commits]
    heads = [pull["head"]["sha"] for pull in pulls]
    if way == "octopus":
        assert merges == [sha, sha]
        assert parents[0] == [before, *heads]
        assert await _pulls_of(alice, sha) == [one, two]
    else:
        assert merges[1] == sha != merges[0]
        assert parents == [[before, heads[0]], [merges[0], heads[1]]]
        assert await _pulls_of(alice, merges[0]) == [one]
    # The commits of each stay its own.
    assert [await _pulls_of(alice, head) for head in heads] == [[one], [two]]
    assert {await alice.file(name) for name in ("one", "two")} == {"1\n"}


async def test_a_rollup_merged_as_a_pull_request_merges_what_it_rolls_up(alice: Person) -> None:
    one, two = await _topics(alice, "one", "two")
    await alice.post("git/refs", ref="refs/heads/rollup", sha=await alice.head("main"))
    for name in ("one", "two"):
        await alice.post("merges", base="rollup", head=name, commit_message=f"Rollup of {name}")
    rollup = await alice.open_pull_request("Rollup of 2 pull requests", branch="rollup")
    sha = await alice.merge(rollup, "merge")
    pulls = [await alice.pull_request(number) for number in (one, two, rollup)]
    assert all(pull["merged"] for pull in pulls)
    assert pulls[2]["merge_commit_sha"] == sha
    assert len({pull["merge_commit_sha"] for pull in pulls}) == 3
    assert await _pulls_of(alice, sha) == [rollup]
    assert await _pulls_of(alice, pulls[0]["head"]["sha"]) == [one, rollup]


async def test_a_batch_that_is_only_moved_forward_names_its_own_last_commits(
    alice: Person,
) -> None:
    """Two of one base, the second upon the first, pushed as they are."""
    (one,) = await _topics(alice, "one")
    first = await alice.head("one")
    second = await alice.push("two", {"two": "1\n"}, "Upon it", onto=first)
    two = await alice.open_pull_request("Upon it", branch="two")
    await alice.patch("git/refs/heads/main", sha=second)
    pulls = [await alice.pull_request(number) for number in (one, two)]
    assert [pull["merge_commit_sha"] for pull in pulls] == [first, second]
    assert await _pulls_of(alice, first) == [one, two]
    assert await _pulls_of(alice, second) == [two]


async def test_a_stack_goes_to_the_base_of_what_it_stood_on_when_that_branch_is_deleted(
    github: DemoGitHub, repository: FakeRepository, alice: Person
) -> None:
    """https://docs.github.com/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/merging-a-pull-request."""
    heard = Heard(github, repository)
    (lower,) = await _topics(alice, "lower")
    await alice.push("upper", {"upper": "1\n"}, "Upon it", onto="lower")
    upper = await alice.open_pull_request("Upon it", branch="upper", base="lower")
    await alice.merge(lower, "merge")
    assert (await alice.get(f"pulls/{upper}"))["base"]["ref"] == "lower"
    await alice.delete("git/refs/heads/lower")
    pull = await alice.pull_request(upper)
    assert (pull["state"], pull["base"]["ref"]) == ("open", "main")
    assert pull["base"]["sha"] == await alice.head("main")
    edited = next(e for e in heard.named("pull_request") if e.action == "edited")
    assert edited.payload["changes"]["base"]["ref"]["from"] == "lower"
    sha = await alice.merge(upper, "merge")
    assert await _pulls_of(alice, sha) == [upper]
    assert await alice.file("upper") == "1\n"


async def test_a_stack_merged_from_the_top_lands_with_its_bottom(alice: Person) -> None:
    """The upper one is merged into the lower one's branch, which then brings both."""
    (lower,) = await _topics(alice, "lower")
    await alice.push("upper", {"upper": "1\n"}, "Upon it", onto="lower")
    upper = await alice.open_pull_request("Upon it", branch="upper", base="lower")
    inner = await alice.merge(upper, "merge")
    sha = await alice.merge(lower, "merge")
    assert await _pulls_of(alice, sha) == [lower]
    assert await _pulls_of(alice, inner) == [lower, upper]


async def test_a_base_that_is_deleted_unmerged_closes_what_stands_on_it(alice: Person) -> None:
    await _topics(alice, "lower")
    await alice.push("upper", {"upper": "1\n"}, "Upon it", onto="lower")
    upper = await alice.open_pull_request("Upon it", branch="upper", base="lower")
    await alice.delete("git/refs/heads/lower")
    assert (await alice.get(f"pulls/{upper}"))["state"] == "closed"
