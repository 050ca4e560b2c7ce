"""https://docs.github.com/rest/repos/forks, and pull requests whose head is in one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from demo.person import Person
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository
from fakegithub.world.roles import RoleName
from tests.fakegithub.saying import Heard, refused
from tests.people import People


@pytest.fixture
async def fork(eve: Person) -> AsyncIterator[Person]:
    """Eve, who may not write here, at work on her fork."""
    async with await eve.fork() as fork:
        yield fork


async def test_anybody_forks_what_they_can_read_once(
    eve: Person, repository: FakeRepository
) -> None:
    made = await eve.post("forks")
    assert made["full_name"] == f"eve/{repository.name}"
    assert (made["fork"], made["parent"]["full_name"]) == (True, repository.full_name)
    assert made["permissions"]["push"] is True
    assert (await eve.post("forks"))["id"] == made["id"]
    assert [each["id"] for each in await eve.get("forks")] == [made["id"]]
    about = await eve.get("")
    assert (about["fork"], about["forks_count"]) == (False, 1)


async def test_a_fork_has_branches_of_its_own_and_the_same_commits(
    eve: Person, alice: Person, fork: Person
) -> None:
    assert await fork.head("main") == await eve.head("main")
    sha = await fork.push("topic", {"a": "b"}, "Change")
    with refused(404):
        await eve.head("topic")
    # All forks share one store of objects.
    assert (await eve.get(f"commits/{sha}"))["sha"] == sha
    with refused(403):
        await eve.push("topic", {"a": "b"}, "Not here")
    with refused(403):
        await alice.elsewhere(fork.repository).push("topic", {"a": "c"}, "Not there")


async def test_a_pull_request_from_a_fork_says_where_its_head_is(
    github: DemoGitHub, repository: FakeRepository, eve: Person, fork: Person
) -> None:
    heard = Heard(github, repository)
    number = await eve.propose_from(fork, "Change", {"a": "b"}, branch="topic")
    pull = await eve.pull_request(number)
    assert (pull["head"]["label"], pull["head"]["ref"]) == ("eve:topic", "topic")
    assert pull["head"]["repo"]["full_name"] == fork.repository
    assert pull["base"]["repo"]["full_name"] == repository.full_name
    assert pull["author_association"] == "NONE"
    assert pull["mergeable"] is True
    assert [each["filename"] for each in await eve.get(f"pulls/{number}/files")] == ["a"]
    assert await eve.get("pulls", head="eve:topic")
    assert await eve.get("pulls", head="octo-org:topic") == []
    opened = heard.named("pull_request")[0].payload
    assert opened["pull_request"]["head"]["repo"]["fork"] is True
    with refused(422, "already exists for eve:topic"):
        await eve.post("pulls", title="Again", head="eve:topic", base="main")


async def test_it_follows_pushes_to_the_fork_and_no_branch_here_of_that_name(
    github: DemoGitHub, repository: FakeRepository, eve: Person, alice: Person, fork: Person
) -> None:
    number = await eve.propose_from(fork, "Change", {"a": "b"}, branch="topic")
    heard = Heard(github, repository)
    await alice.push("topic", {"other": "x"}, "Mine")
    assert (await eve.pull_request(number))["head"]["sha"] != await alice.head("topic")
    sha = await fork.push("topic", {"a": "c"}, "More")
    assert (await eve.pull_request(number))["head"]["sha"] == sha
    assert [each.action for each in heard.named("pull_request")] == ["synchronize"]
    assert [each.payload["ref"] for each in heard.named("push")] == ["refs/heads/topic"]
    own = await alice.post("pulls", title="Mine", head="topic", base="main")
    await alice.delete("git/refs/heads/topic")
    states = [(await eve.pull_request(each))["state"] for each in (number, own["number"])]
    assert states == ["open", "closed"]
    await fork.delete("git/refs/heads/topic")
    assert (await eve.pull_request(number))["state"] == "closed"


async def test_checks_of_its_commit_name_no_pull_request(
    github: DemoGitHub, people: People, installation: FakeInstallation, app: FakeApp,
    repository: FakeRepository, eve: Person, alice: Person, fork: Person,
) -> None:  # fmt: skip
    """https://docs.github.com/webhooks/webhook-events-and-payloads#check_run."""
    del app
    heard = Heard(github, repository)
    hands = people.installed(installation)
    number = await eve.propose_from(fork, "Change", {"a": "b"}, branch="topic")
    sha = (await eve.pull_request(number))["head"]["sha"]
    run = await hands.create_check_run(sha, "unit", "success")
    assert run["pull_requests"] == []
    assert heard.named("check_run")[-1].payload["check_run"]["pull_requests"] == []
    here = await alice.open_pull_request("Here", {"b": "c"}, branch="here")
    run = await hands.create_check_run(await alice.head("here"), "unit", "success")
    assert [each["number"] for each in run["pull_requests"]] == [here]


@pytest.mark.parametrize("method", ["merge", "squash", "rebase"])
async def test_it_is_merged_like_any_other(
    repository: FakeRepository, eve: Person, alice: Person, fork: Person, method: str
) -> None:
    repository.delete_branch_on_merge = True
    number = await eve.propose_from(fork, "Change", {"a": "b"}, branch="topic")
    with refused(403):
        await eve.merge(number)
    sha = await alice.merge(number, method)
    assert await alice.file("a") == "b"
    if method == "merge":
        message = (await alice.get(f"commits/{sha}"))["commit"]["message"]
        assert message.startswith(f"Merge pull request #{number} from eve/topic")
    assert await fork.head("topic")  # nobody's branch but its owner's
    assert (await alice.get(f"commits/{sha}/pulls"))[0]["number"] == number


async def test_its_branch_is_not_updated_by_who_may_not_push_there(
    eve: Person, alice: Person, fork: Person
) -> None:
    number = await eve.propose_from(fork, "Change", {"a": "b"}, branch="topic")
    await alice.push("main", {"z": "z"}, "Meanwhile")
    with refused(403):
        await alice.put(f"pulls/{number}/update-branch")


async def test_a_private_repository_is_forked_by_who_may_read_it(
    github: DemoGitHub, people: People, repository: FakeRepository
) -> None:
    repository.private = True
    with refused(404):
        await people("eve", RoleName.NONE).post("forks")
    mallory = people("mallory", RoleName.READ)
    assert (await mallory.post("forks"))["private"] is True
    del github
