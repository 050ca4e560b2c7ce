"""Merge queue, auto-merge and drafts. https://docs.github.com/graphql/reference/mutations."""

from __future__ import annotations

import asyncio
from typing import Any

import graphql
import pytest

from demo.person import Person
from fakegithub.graphql.schema import SCHEMA
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository, Protection
from tests.fakegithub.saying import Heard, refused
from tests.people import CONTRACT, People

_OFFICIAL = CONTRACT.parent / "schema.graphql"

_ENQUEUE = """
mutation($id: ID!, $head: GitObjectID) {
  enqueuePullRequest(input: {pullRequestId: $id, expectedHeadOid: $head}) {
    mergeQueueEntry { state position headCommit { oid } } } }
"""
_AUTO_MERGE = """
mutation($id: ID!) {
  enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: SQUASH}) {
    pullRequest { autoMergeRequest { mergeMethod enabledBy { login } } } } }
"""
_STATE = """
query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) {
    id state isDraft mergeable mergeStateStatus reviewDecision isInMergeQueue
    headRefOid mergeQueueEntry { position state } } } }
"""


async def _state(person: Person, number: int) -> dict[str, Any]:
    owner, _, name = person.repository.partition("/")
    answer = await person.graphql(_STATE, owner=owner, name=name, number=number)
    return dict(answer["data"]["repository"]["pullRequest"])


def _queue(repository: FakeRepository, github: DemoGitHub) -> None:
    queue = {
        "type": "merge_queue",
        "parameters": {
            "check_response_timeout_minutes": 60, "grouping_strategy": "ALLGREEN",
            "max_entries_to_build": 5, "max_entries_to_merge": 5, "merge_method": "SQUASH",
            "min_entries_to_merge": 1, "min_entries_to_merge_wait_minutes": 0,
        },
    }  # fmt: skip
    check = {
        "type": "required_status_checks",
        "parameters": {
            "strict_required_status_checks_policy": False,
            "required_status_checks": [{"context": "ci"}],
        },
    }
    github.add_ruleset(repository, "queue", [queue, check])


async def _green(alice: Person, branch: str, files: dict[str, str | None]) -> int:
    number = await alice.open_pull_request(branch.title(), files, branch=branch)
    await alice.set_status(await alice.head(branch), "success")
    return number


async def test_a_queue_takes_the_place_of_merging(
    github: DemoGitHub, repository: FakeRepository, alice: Person, bot: Person
) -> None:
    """https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/configuring-pull-request-merges/managing-a-merge-queue."""
    _queue(repository, github)
    number = await _green(alice, "topic", {"a": "1"})
    with refused(405, "Changes must be made through the merge queue"):
        await bot.merge(number)
    heard = Heard(github, repository)
    state = await _state(bot, number)
    answer = await bot.graphql(_ENQUEUE, id=state["id"], head=state["headRefOid"])
    entry = answer["data"]["enqueuePullRequest"]["mergeQueueEntry"]
    assert (entry["state"], entry["position"]) == ("AWAITING_CHECKS", 1)
    (asked,) = heard.named("merge_group")
    group = asked.payload["merge_group"]
    assert asked.action == "checks_requested"
    assert group["head_sha"] == entry["headCommit"]["oid"]
    assert group["head_ref"].startswith(f"refs/heads/gh-readonly-queue/main/pr-{number}-")

    await alice.set_status(group["head_sha"], "success")
    await asyncio.sleep(0)
    pull = await alice.get(f"pulls/{number}")
    assert (pull["merged"], pull["merge_commit_sha"]) == (True, group["head_sha"])
    assert await alice.head("main") == group["head_sha"]
    assert heard.named("merge_group")[-1].payload["reason"] == "merged"


async def test_a_red_entry_leaves_the_queue_and_those_behind_are_tested_anew(
    github: DemoGitHub, repository: FakeRepository, alice: Person
) -> None:
    _queue(repository, github)
    first = await _green(alice, "one", {"one": "1"})
    second = await _green(alice, "two", {"two": "2"})
    heard = Heard(github, repository)
    for number in (first, second):
        await alice.graphql(_ENQUEUE, id=(await _state(alice, number))["id"])
    assert (await _state(alice, second))["mergeQueueEntry"]["position"] == 2

    heads = [e.payload["merge_group"]["head_sha"] for e in heard.named("merge_group")]
    await alice.set_status(heads[0], "failure")
    await asyncio.sleep(0)
    assert (await _state(alice, first))["isInMergeQueue"] is False
    assert (await alice.get(f"pulls/{first}"))["state"] == "open"
    dequeued = [e for e in heard.named("pull_request") if e.action == "dequeued"]
    assert dequeued[0].payload["reason"] == "CI_FAILURE"

    anew = repository.queue[0].head_sha
    assert anew not in heads
    await alice.set_status(anew, "success")
    await asyncio.sleep(0)
    assert (await alice.get(f"pulls/{second}"))["merged"] is True
    assert await alice.file("one") is None


async def test_auto_merge_merges_when_the_last_requirement_is_met(
    github: DemoGitHub, repository: FakeRepository, alice: Person, bot: Person
) -> None:
    """https://docs.github.com/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/automatically-merging-a-pull-request."""
    number = await bot.open_pull_request("Topic", {"a": "1"}, branch="topic")
    identity = (await _state(bot, number))["id"]
    answer = await bot.graphql(_AUTO_MERGE, id=identity)
    assert answer["errors"][0]["message"] == "Auto merge is not allowed for this repository"
    repository.allow_auto_merge = True
    answer = await bot.graphql(_AUTO_MERGE, id=identity)
    assert "clean status" in answer["errors"][0]["message"]

    github.protect(repository, "main", Protection(reviews=1))
    answer = await bot.graphql(_AUTO_MERGE, id=identity)
    order = answer["data"]["enablePullRequestAutoMerge"]["pullRequest"]["autoMergeRequest"]
    assert order["mergeMethod"] == "SQUASH"
    assert (await _state(bot, number))["reviewDecision"] == "REVIEW_REQUIRED"
    await alice.review(number)
    await asyncio.sleep(0)
    assert (await alice.get(f"pulls/{number}"))["merged"] is True


async def test_a_draft_becomes_ready_and_a_draft_again(alice: Person) -> None:
    number = await alice.open_pull_request("Topic", {"a": "1"}, branch="topic", draft=True)
    identity = (await _state(alice, number))["id"]
    for mutation, draft in (
        ("markPullRequestReadyForReview", False),
        ("convertPullRequestToDraft", True),
    ):
        await alice.graphql(
            f"mutation($id: ID!) {{ {mutation}(input: {{pullRequestId: $id}}) "
            "{ pullRequest { isDraft } } }",
            id=identity,
        )
        assert (await _state(alice, number))["isDraft"] is draft


async def test_errors_come_with_status_200_and_a_type(
    people: People, installation: FakeInstallation, alice: Person, app: FakeApp
) -> None:
    """https://docs.github.com/graphql/guides/forming-calls-with-graphql."""
    del app
    number = await alice.open_pull_request("Topic", {"a": "1"}, branch="topic")
    identity = (await _state(alice, number))["id"]
    weak = people.installed(installation, {"pull_requests": "read"})
    answer = await weak.graphql(_ENQUEUE, id=identity)
    assert answer["errors"][0]["type"] == "FORBIDDEN"
    answer = await alice.graphql(_ENQUEUE, id="bm90aGluZzox")
    assert answer["errors"][0]["type"] == "NOT_FOUND"
    answer = await alice.graphql("{ viewer { login nothing } }")
    assert "nothing" in answer["errors"][0]["message"]
    answer = await alice.graphql("{ viewer { login } rateLimit { remaining } }")
    assert answer["data"]["viewer"]["login"] == "alice"


_SUITES = """
query($owner: String!, $name: String!, $sha: GitObjectID!, $first: Int, $after: String,
      $filter: CheckSuiteFilter) {
  repository(owner: $owner, name: $name) { object(oid: $sha) { ... on Commit {
    checkSuites(first: $first, after: $after, filterBy: $filter) {
      totalCount pageInfo { hasNextPage hasPreviousPage endCursor }
      nodes { checkRuns(first: 10) { nodes { name } pageInfo { hasNextPage } } } } } } } }
"""


async def test_a_long_list_goes_on_behind_its_cursor(
    github: DemoGitHub, repository: FakeRepository, app: FakeApp, alice: Person
) -> None:
    """https://docs.github.com/graphql/guides/using-pagination-in-the-graphql-api."""
    sha = await alice.head("main")
    names = [f"check-{number}" for number in range(12)]
    for name in names:
        github.report_check(repository, app, sha, name, "success")
    asked = {"owner": repository.owner.login, "name": repository.name, "sha": sha}

    async def suites(**more: Any) -> dict[str, Any]:
        answer = await alice.graphql(_SUITES, **asked, **more)
        assert "errors" not in answer, answer
        return dict(answer["data"]["repository"]["object"]["checkSuites"])

    def listed(page: dict[str, Any]) -> list[str]:
        return [run["name"] for suite in page["nodes"] for run in suite["checkRuns"]["nodes"]]

    first = await suites(first=10)
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"]) == (12, True)
    last = await suites(first=10, after=first["pageInfo"]["endCursor"])
    assert (last["pageInfo"]["hasNextPage"], last["pageInfo"]["hasPreviousPage"]) == (False, True)
    assert listed(first) + listed(last) == names
    assert listed(await suites(first=10, filter={"checkName": "check-11"})) == ["check-11"]
    assert listed(await suites(first=10, filter={"appId": 1})) == []
    for wrong, words in (
        ({"first": 101}, "exceeds the `first` limit of 100"),
        ({}, "You must provide a `first` or `last`"),
        ({"first": 1, "after": "nothing"}, "valid cursor"),
    ):
        answer = await alice.graphql(_SUITES, **asked, **wrong)
        assert words in answer["errors"][0]["message"]


@pytest.mark.skipif(not _OFFICIAL.exists(), reason="GitHub's schema was not downloaded")
def test_our_schema_is_a_part_of_githubs() -> None:
    """A field here that GitHub lacks, or with another type, would be a lie."""
    ours = graphql.build_schema(SCHEMA)
    theirs = graphql.build_schema(_OFFICIAL.read_text(encoding="utf-8"), assume_valid=True)
    lies = []
    for name, kind in ours.type_map.items():
        other = theirs.type_map.get(name)
        if name.startswith("__") or name in ("Minimizable",):
            continue
        if other is None:
            lies.append(name)
        elif isinstance(kind, graphql.GraphQLEnumType):
            assert isinstance(other, graphql.GraphQLEnumType)
            lies += [f"{name}.{value}" for value in kind.values if value not in other.values]
        elif isinstance(kind, graphql.GraphQLObjectType | graphql.GraphQLInputObjectType):
            assert isinstance(other, type(kind))
            for field, described in kind.fields.items():
                official = other.fields.get(field)
                if official is None or str(official.type) != str(described.type):
                    lies.append(f"{name}.{field}: {official and official.type}")
    assert lies == []
