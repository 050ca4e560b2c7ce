"""https://docs.github.com/rest/pulls."""

from __future__ import annotations

from demo.person import Person
from fakegithub.rules.requirements import compute_mergeable
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository
from fakegithub.world.roles import RoleName
from tests.fakegithub.saying import Heard, refused
from tests.people import People


async def test_a_pull_request_says_what_it_changes(
    github: DemoGitHub, alice: Person, repository: FakeRepository
) -> None:
    heard = Heard(github, repository)
    number = await alice.open_pull_request(
        "Greet louder", {"src/app.py": "print('HELLO')\n", "LICENSE": "MIT\n"}, branch="louder"
    )
    pull = await alice.pull_request(number)
    assert (pull["commits"], pull["additions"], pull["deletions"]) == (1, 2, 1)
    assert (pull["mergeable"], pull["mergeable_state"]) == (True, "clean")
    assert pull["head"]["ref"] == "louder"
    files = await alice.get(f"pulls/{number}/files")
    assert {file["filename"] for file in files} == {"src/app.py", "LICENSE"}
    (commit,) = await alice.get(f"pulls/{number}/commits")
    assert commit["sha"] == pull["head"]["sha"] == await alice.head("louder")
    opened = heard.named("pull_request")[0].payload
    assert (opened["action"], opened["number"]) == ("opened", number)


async def test_mergeability_worked_out_after_the_merge_changes_nothing(
    alice: Person, repository: FakeRepository
) -> None:
    number = await alice.open_pull_request("Change", {"a": "b"}, branch="topic")
    await alice.merge(number, "squash")
    pull = repository.issues[number].pull
    assert pull
    # Somebody asked before the merge, and the answer is worked out when nothing else is to be done.
    compute_mergeable(repository, pull)
    assert pull.merge_commit_sha == await alice.head("main")


async def test_mergeable_is_unknown_at_first(alice: Person) -> None:
    """https://docs.github.com/rest/guides/using-the-rest-api-to-interact-with-your-git-database#checking-mergeability-of-pull-requests."""
    number = await alice.open_pull_request("Change", {"a": "b"}, branch="topic")
    first = await alice.get(f"pulls/{number}")
    assert (first["mergeable"], first["mergeable_state"]) == (None, "unknown")
    assert (await alice.pull_request(number))["mergeable"] is True


async def test_a_second_pull_request_of_the_same_branches_is_refused(alice: Person) -> None:
    """https://docs.github.com/rest/pulls/pulls#create-a-pull-request: 422."""
    await alice.open_pull_request("One", {"a": "b"}, branch="topic")
    with refused(422, "already exists for octo-org:topic"):
        await alice.open_pull_request("Two", branch="topic")


async def test_a_pull_request_needs_commits_and_branches(alice: Person) -> None:
    await alice.post("git/refs", ref="refs/heads/same", sha=await alice.head("main"))
    with refused(422, "No commits between main and same"):
        await alice.open_pull_request("Nothing", branch="same")
    with refused(422, "head"):
        await alice.open_pull_request("No branch", branch="nothing")


async def test_it_is_found_by_head_and_state(alice: Person) -> None:
    number = await alice.open_pull_request("One", {"a": "b"}, branch="topic")
    await alice.patch(f"pulls/{number}", state="closed")
    assert await alice.get("pulls", head="octo-org:topic") == []
    (found,) = await alice.get("pulls", head="octo-org:topic", state="all")
    assert found["number"] == number


async def test_it_follows_its_branch_and_closes_with_it(
    github: DemoGitHub, alice: Person, repository: FakeRepository
) -> None:
    number = await alice.open_pull_request("One", {"a": "b"}, branch="topic")
    heard = Heard(github, repository)
    sha = await alice.push("topic", {"a": "c"}, "Two")
    assert (await alice.pull_request(number))["head"]["sha"] == sha
    await alice.delete("git/refs/heads/topic")
    assert (await alice.get(f"pulls/{number}"))["state"] == "closed"
    assert [e.action for e in heard.named("pull_request")] == ["synchronize", "closed"]
    with refused(422, "cannot be reopened"):
        await alice.patch(f"pulls/{number}", state="open")


async def test_a_pushed_merge_marks_the_pull_request_as_merged(
    alice: Person,
) -> None:
    """https://docs.github.com/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/about-pull-request-merges#indirect-merges."""
    number = await alice.open_pull_request("One", {"a": "b"}, branch="topic")
    await alice.patch("git/refs/heads/main", sha=await alice.head("topic"))
    assert (await alice.get(f"pulls/{number}"))["merged"] is True


async def test_nobody_approves_their_own_pull_request(alice: Person, bot: Person) -> None:
    """https://docs.github.com/pull-requests/collaborating-with-pull-requests/reviewing-changes-in-pull-requests/about-pull-request-reviews."""
    number = await bot.open_pull_request("By the App", {"a": "b"}, branch="topic")
    with refused(422, "Can not approve your own pull request"):
        await bot.review(number)
    assert (await bot.review(number, "COMMENT", "Note"))["state"] == "COMMENTED"
    assert (await alice.review(number))["state"] == "APPROVED"


async def test_a_review_and_its_comments_are_heard(
    github: DemoGitHub, alice: Person, eve: Person, repository: FakeRepository
) -> None:
    number = await alice.open_pull_request("One", {"src/app.py": "x\n"}, branch="topic")
    heard = Heard(github, repository)
    await eve.review(number, "REQUEST_CHANGES", "/revert")
    comment = await eve.post(
        f"pulls/{number}/comments", body="here", path="src/app.py", line=1, side="RIGHT",
        commit_id=await alice.head("topic"),
    )  # fmt: skip
    reply = await alice.post(f"pulls/{number}/comments/{comment['id']}/replies", body="/help")
    assert reply["in_reply_to_id"] == comment["id"]
    await alice.post(f"pulls/comments/{comment['id']}/reactions", content="eyes")
    assert [e.action for e in heard.named("pull_request_review")] == ["submitted"]
    (review,) = heard.named("pull_request_review")
    assert review.payload["review"]["body"] == "/revert"
    said = [e.payload["comment"]["body"] for e in heard.named("pull_request_review_comment")]
    assert said == ["here", "/help"]


async def test_a_reviewer_must_be_a_collaborator_and_not_the_author(
    alice: Person, people: People
) -> None:
    people("mona", RoleName.ADMIN), people("eve", RoleName.NONE)
    number = await alice.open_pull_request("One", {"a": "b"}, branch="topic")
    asked = await alice.post(f"pulls/{number}/requested_reviewers", reviewers=["mona"])
    assert [user["login"] for user in asked["requested_reviewers"]] == ["mona"]
    for login in ("alice", "eve"):
        with refused(422):
            await alice.post(f"pulls/{number}/requested_reviewers", reviewers=[login])


async def test_a_branch_rename_takes_its_pull_requests_along(mona: Person) -> None:
    """https://docs.github.com/rest/branches/branches#rename-a-branch."""
    number = await mona.open_pull_request("One", {"a": "b"}, branch="topic")
    await mona.post("branches/main/rename", new_name="trunk")
    pull = await mona.pull_request(number)
    assert (pull["state"], pull["base"]["ref"]) == ("open", "trunk")
    assert (await mona.get(""))["default_branch"] == "trunk"


async def test_a_branch_rename_closes_the_pull_request_that_comes_from_it(mona: Person) -> None:
    """https://samvera.atlassian.net/wiki/spaces/samvera/pages/643596289."""
    number = await mona.open_pull_request("Add", {"a.txt": "1\n"}, branch="add")
    await mona.post("branches/add/rename", new_name="other")
    assert (await mona.pull_request(number))["state"] == "closed"
