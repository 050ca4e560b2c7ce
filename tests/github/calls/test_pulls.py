"""Pull requests are opened once, and merged only at the commit that was verified."""

from __future__ import annotations

import pytest

from bot.github.calls.pulls import HeadMoved, Merged, NotYet
from bot.github.client import GitHub, RepositoryClient
from bot.github.models import MergeMethod, PullRequest, RequiredCheck
from fakegithub.faults.request_faults import Drop, Fail, FailAfter, Truncate
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository, FakeUser, Protection
from tests.github.conftest import Person

LOST = [FailAfter(502), Drop(), Truncate(), Fail(500), Drop(done=False)]
HOTFIX = "hotfix/revert-01j"


@pytest.fixture
def head(github: DemoGitHub, repository: FakeRepository) -> str:
    """The hotfix branch, one commit ahead of main."""
    repository.git.update_ref(f"refs/heads/{HOTFIX}", repository.git.branch("main"))
    return github.commit(repository, {"fixed.txt": "fixed\n"}, "Fix", branch=HOTFIX)


async def open_pull(
    client: RepositoryClient, *, again: bool = False, draft: bool = False
) -> PullRequest:
    return await client.pulls.ensure_pull_request(
        head=HOTFIX,
        base="main",
        title="Revert “x”",
        body="Why.",
        draft=draft,
        look_first=again,
    )


async def test_a_pull_request_is_opened_once(
    client: RepositoryClient, bot: GitHub, head: str
) -> None:
    pull = await open_pull(client)
    assert bot.requests.total("revert") == 1
    assert (pull.head.sha, pull.head.ref, pull.base.ref, pull.state) == (
        head, HOTFIX, "main", "open",
    )  # fmt: skip
    assert not pull.is_from_fork
    assert (await open_pull(client, again=True)).number == pull.number
    # Even when nobody said that the step may have run already.
    assert (await open_pull(client)).number == pull.number


@pytest.mark.parametrize("fault", LOST, ids=repr)
@pytest.mark.parametrize("lag", [0.0, 3.0], ids=["lists up to date", "lists lag"])
async def test_a_lost_answer_leaves_exactly_one_pull_request(
    client: RepositoryClient,
    github: DemoGitHub,
    repository: FakeRepository,
    head: str,
    fault: Fail,
    lag: float,
) -> None:
    del head
    github.faults.lag.seconds = lag
    github.faults.add(fault, method="POST", path=r"/pulls$")
    pull = await open_pull(client)
    assert list(repository.issues) == [pull.number]


async def test_a_closed_pull_request_of_the_same_branch_is_not_opened_again(
    client: RepositoryClient, repository: FakeRepository, head: str
) -> None:
    del head
    pull = await open_pull(client)
    for _ in range(2):
        assert (await client.pulls.close(pull.number)).state == "closed"
    assert (await open_pull(client, again=True)).number == pull.number
    assert len(repository.issues) == 1


async def test_a_pull_request_is_read_whole(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository, head: str
) -> None:
    pull = await open_pull(client)
    await client.labels.add(pull.number, ["incident"])
    await client.pulls.update(pull.number, body="New summary.", title="t" * 300)
    read = await client.pulls.get(pull.number)
    assert (read.body, read.labels, len(read.title)) == ("New summary.", ("incident",), 256)
    assert read.mergeable is not False
    assert [commit.sha for commit in await client.pulls.commits(pull.number)] == [head]
    assert [file.filename async for file in client.pulls.files(pull.number)] == ["fixed.txt"]
    assert [found.number async for found in client.pulls.list(head=HOTFIX)] == [pull.number]
    assert [found.number for found in await client.pulls.of_commit(head)] == [pull.number]
    assert await client.pulls.reviews(pull.number) == ()
    assert (await client.issues.get(pull.number)).is_pull_request
    assert await client.pulls.find(404) is None
    del github, repository


@pytest.mark.parametrize("method", list(MergeMethod))
async def test_merging_gives_the_commit_on_the_base(
    client: RepositoryClient, repository: FakeRepository, head: str, method: MergeMethod
) -> None:
    pull = await open_pull(client)
    outcome = await client.merging.merge(
        pull.number, head_sha=head, method=method, title="Revert it", message="Because."
    )
    assert isinstance(outcome, Merged)
    assert repository.git.branch("main") == outcome.sha
    merged = await client.pulls.get(pull.number)
    assert merged.is_merged
    assert merged.merge_commit_sha == outcome.sha
    again = await client.merging.merge(
        pull.number, head_sha=head, method=method, title="Revert it", look_first=True
    )
    assert again == outcome


@pytest.mark.parametrize("fault", LOST, ids=repr)
async def test_a_merge_whose_answer_is_lost_is_a_merge(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository, head: str, fault: Fail
) -> None:
    pull = await open_pull(client)
    github.faults.add(fault, method="PUT", path="/merge$")
    outcome = await client.merging.merge(
        pull.number, head_sha=head, method=MergeMethod.MERGE, title="Revert it"
    )
    assert outcome == Merged(repository.git.branch("main") or "")


async def test_a_head_that_moved_is_not_merged(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository, head: str
) -> None:
    pull = await open_pull(client)
    moved = github.commit(repository, {"evil.txt": "x"}, "Sneak in", branch=HOTFIX)
    outcome = await client.merging.merge(
        pull.number, head_sha=head, method=MergeMethod.SQUASH, title="Revert it"
    )
    assert outcome == HeadMoved(moved)


async def test_a_head_that_github_calls_modified_and_shows_as_it_was_is_asked_again_later(
    client: RepositoryClient, repository: FakeRepository, head: str
) -> None:
    pull = await open_pull(client)
    refused = "Head branch was modified. Review and try the merge again."
    repository.refusals.refuse("merge", 409, message=refused)
    outcome = await client.merging.merge(
        pull.number, head_sha=head, method=MergeMethod.SQUASH, title="Revert it"
    )
    assert isinstance(outcome, NotYet)
    assert outcome.passing


async def test_what_a_rule_forbids_is_said_and_not_merged(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository, head: str
) -> None:
    github.protect(repository, "main", Protection(checks=[("test", None)], reviews=1))
    pull = await open_pull(client)
    outcome = await client.merging.merge(
        pull.number, head_sha=head, method=MergeMethod.SQUASH, title="Revert it"
    )
    assert isinstance(outcome, NotYet)
    assert outcome.reason.startswith("GitHub refuses to merge now: ")
    assert not (await client.pulls.get(pull.number)).is_merged


async def test_reviews_tell_who_said_what_about_which_commit(
    client: RepositoryClient, head: str, person: Person, wendy: FakeUser
) -> None:
    pull = await open_pull(client)
    await person(wendy, f"pulls/{pull.number}/reviews", {"event": "APPROVE", "body": "Go."})
    (review,) = await client.pulls.reviews(pull.number)
    assert (review.user.login, review.state, review.commit_id) == (wendy.login, "APPROVED", head)


async def test_the_branch_tells_what_it_asks_of_a_merge(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    assert (await client.branch_rules("main")).allows_direct_commits
    github.protect(
        repository,
        "main",
        Protection(
            checks=[("test", None), ("gate", 7)], reviews=2, linear_history=True, push_users=[]
        ),
    )
    client.forget_rules()
    rules = await client.branch_rules("main")
    assert rules.required_checks == (
        RequiredCheck(name="gate", integration_id=7),
        RequiredCheck(name="test"),
    )
    assert (rules.required_reviews, rules.linear_history, rules.restricted_pushes) == (
        2,
        True,
        True,
    )
    assert rules.complete
    assert MergeMethod.MERGE not in rules.merge_methods


async def test_without_administration_the_rules_are_said_to_be_incomplete(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    github.faults.clear()
    github.protect(repository, "main", Protection(checks=[("test", None)], reviews=2))
    for installation in github.world.installations.values():
        installation.permissions.pop("administration", None)
    rules = await client.branch_rules("main")
    assert not rules.complete
    assert rules.required_checks == (RequiredCheck(name="test"),)
