"""https://docs.github.com/rest/pulls/pulls#merge-a-pull-request."""

from __future__ import annotations

import pytest

from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from tests.fakegithub.saying import Heard, refused


async def _two_commits(alice: Person) -> int:
    await alice.push("topic", {"a": "1\n"}, "Add a")
    await alice.push("topic", {"b": "2\n"}, "Add b")
    return await alice.open_pull_request("Add both", branch="topic", body="Closes #1")


async def _head(person: Person, branch: str = "main") -> dict[str, object]:
    return dict(await person.get(f"commits/{branch}"))


def _message(commit: dict[str, object]) -> str:
    return str(commit["commit"]["message"])  # type: ignore[index]


async def test_a_merge_keeps_the_commits_under_a_merge_commit(alice: Person) -> None:
    """https://docs.github.com/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/about-pull-request-merges."""
    number, before, topic = await _two_commits(alice), await alice.head("main"), "topic"
    sha = await alice.merge(number, "merge")
    commit = await _head(alice)
    assert [p["sha"] for p in commit["parents"]] == [before, await alice.head(topic)]  # type: ignore[attr-defined]
    assert _message(commit) == f"Merge pull request #{number} from octo-org/topic\n\nAdd both"
    pull = await alice.get(f"pulls/{number}")
    assert (pull["merged"], pull["merge_commit_sha"], pull["state"]) == (True, sha, "closed")
    assert pull["merged_by"]["login"] == "alice"
    assert pull["commits"] == 2


async def test_a_squash_is_one_verified_commit_that_names_the_pull_request(
    alice: Person, mona: Person
) -> None:
    number, before = await _two_commits(alice), await alice.head("main")
    await mona.merge(number, "squash")
    commit = await _head(alice)
    assert [p["sha"] for p in commit["parents"]] == [before]  # type: ignore[attr-defined]
    assert _message(commit) == f"Add both (#{number})\n\n* Add a\n\n* Add b"
    assert commit["author"]["login"] == "alice"  # type: ignore[index]
    assert commit["committer"]["login"] == "web-flow"  # type: ignore[index]
    assert commit["commit"]["verification"]["verified"] is True  # type: ignore[index]


async def test_a_squash_of_one_commit_takes_that_commits_message(alice: Person) -> None:
    await alice.push("topic", {"a": "1"}, "Add a\n\nBecause.")
    number = await alice.open_pull_request("Some other title", branch="topic")
    await alice.merge(number, "squash")
    assert _message(await _head(alice)) == f"Add a (#{number})\n\nBecause."


async def test_a_rebase_repeats_each_commit_without_a_signature(alice: Person) -> None:
    number = await _two_commits(alice)
    await alice.push("main", {"other": "x"}, "Meanwhile")
    sha = await alice.merge(number, "rebase")
    listed = await alice.get("commits")
    assert [_message(c) for c in listed[:3]] == ["Add b", "Add a", "Meanwhile"]
    assert listed[0]["sha"] == sha
    assert listed[0]["commit"]["verification"]["verified"] is False
    assert sha != await alice.head("topic")


@pytest.mark.parametrize("method", ["merge", "squash", "rebase"])
async def test_the_pull_request_is_found_from_what_it_brought(alice: Person, method: str) -> None:
    """https://docs.github.com/rest/commits/commits#list-pull-requests-associated-with-a-commit."""
    number = await _two_commits(alice)
    await alice.push("main", {"other": "x"}, "Meanwhile")
    sha = await alice.merge(number, method)
    (found,) = await alice.get(f"commits/{sha}/pulls")
    assert found["number"] == number
    meanwhile = (await alice.get("commits", path="other"))[0]["sha"]
    assert await alice.get(f"commits/{meanwhile}/pulls") == []


async def test_a_head_that_moved_since_it_was_looked_at_is_409(alice: Person) -> None:
    number, seen = await _two_commits(alice), await alice.head("topic")
    await alice.push("topic", {"c": "3"}, "Sneaked in")
    with refused(409, "Head branch was modified"):
        await alice.put(f"pulls/{number}/merge", sha=seen)
    await alice.put(f"pulls/{number}/merge", sha=await alice.head("topic"))


async def test_conflicts_drafts_and_closed_pull_requests_are_405(alice: Person) -> None:
    number = await alice.open_pull_request("Mine", {"src/app.py": "1\n"}, branch="topic")
    draft = await alice.open_pull_request("Later", {"d": "1"}, branch="draft", draft=True)
    await alice.push("main", {"src/app.py": "2\n"}, "Theirs")
    pull = await alice.pull_request(number)
    assert (pull["mergeable"], pull["mergeable_state"]) == (False, "dirty")
    with refused(405, "not mergeable"):
        await alice.merge(number)
    with refused(405, "draft"):
        await alice.merge(draft)
    await alice.patch(f"pulls/{draft}", state="closed")
    with refused(405):
        await alice.merge(draft)


async def test_a_merge_method_that_is_switched_off_is_405(
    alice: Person, repository: FakeRepository
) -> None:
    repository.allow_squash_merge = False
    number = await _two_commits(alice)
    with refused(405, "Squash merges are not allowed"):
        await alice.merge(number, "squash")


async def test_merging_twice_merges_once(alice: Person) -> None:
    number = await _two_commits(alice)
    await alice.merge(number)
    before = await alice.head("main")
    with refused(405):
        await alice.merge(number)
    assert await alice.head("main") == before


async def test_merging_closes_what_it_says_it_closes_and_is_heard(
    github: DemoGitHub, alice: Person, repository: FakeRepository
) -> None:
    """https://docs.github.com/issues/tracking-your-work-with-issues/using-issues/linking-a-pull-request-to-an-issue."""
    issue = await alice.open_issue("Bug")
    assert issue == 1
    heard = Heard(github, repository)
    number = await _two_commits(alice)
    await alice.merge(number)
    assert (await alice.issue(issue))["state"] == "closed"
    (closed,) = [e for e in heard.named("pull_request") if e.action == "closed"]
    assert closed.payload["pull_request"]["merged"] is True
    push = heard.named("push")[-1].payload
    assert push["ref"] == "refs/heads/main"
    assert push["head_commit"]["id"] == await alice.head("main")


async def test_the_branch_is_deleted_where_that_is_asked_for(
    alice: Person, repository: FakeRepository
) -> None:
    repository.delete_branch_on_merge = True
    await alice.merge(await _two_commits(alice))
    with refused(404):
        await alice.head("topic")


async def test_a_branch_behind_its_base_is_brought_up_to_date(alice: Person) -> None:
    """https://docs.github.com/rest/pulls/pulls#update-a-pull-request-branch."""
    number = await _two_commits(alice)
    with refused(422):
        await alice.put(f"pulls/{number}/update-branch")
    await alice.push("main", {"other": "x"}, "Meanwhile")
    with refused(422, "expected head sha"):
        await alice.put(f"pulls/{number}/update-branch", expected_head_sha="1" * 40)
    await alice.put(f"pulls/{number}/update-branch")
    assert await alice.file("other", "topic") == "x"


async def test_branches_merge_into_branches(alice: Person) -> None:
    """https://docs.github.com/rest/branches/branches#merge-a-branch."""
    await alice.push("topic", {"a": "1"}, "Add a")
    assert (await alice.request("POST", "merges", {"base": "main", "head": "topic"}))[0] == 201
    assert (await alice.request("POST", "merges", {"base": "main", "head": "topic"}))[0] == 204
    await alice.push("topic", {"README.md": "one"}, "One")
    await alice.push("main", {"README.md": "two"}, "Two")
    assert (await alice.request("POST", "merges", {"base": "main", "head": "topic"}))[0] == 409


async def test_who_may_only_read_does_not_merge(alice: Person, eve: Person) -> None:
    number = await _two_commits(alice)
    with refused(403):
        await eve.merge(number)
