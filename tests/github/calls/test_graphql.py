"""The merge queue, which GitHub offers by GraphQL only."""

from __future__ import annotations

from pathlib import Path

import graphql
import pytest

from bot.github.calls import pulls
from bot.github.calls.checks import CheckReport
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import NotFound, Unprocessable
from bot.github.models import PullRequest
from fakegithub.faults.request_faults import (
    Drop,
    FailAfter,
    SecondaryLimit,
    Truncate,
)
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository, Ruleset
from tests.github.conftest import Time
from tests.people import CONTRACT

SCHEMA = CONTRACT.parent / "schema.graphql"
HOTFIX = "hotfix/revert-01j"


@pytest.fixture(scope="module")
def schema() -> graphql.GraphQLSchema:
    if not SCHEMA.exists():
        pytest.skip("GitHub's GraphQL schema was not downloaded: run `make contracts`")
    # The published schema defines a field twice, so it is not checked itself.
    text = Path(SCHEMA).read_text()
    return graphql.build_schema(text, assume_valid=True, assume_valid_sdl=True)


@pytest.mark.parametrize(
    "query",
    [pulls.ENQUEUE, pulls.ENTRY, pulls.READY],
    ids=["enqueue", "entry", "ready"],
)
def test_every_query_is_one_github_understands(schema: graphql.GraphQLSchema, query: str) -> None:
    assert graphql.validate(schema, graphql.parse(query)) == []


@pytest.fixture
async def pull(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> PullRequest:
    repository.git.update_ref(f"refs/heads/{HOTFIX}", repository.git.branch("main"))
    github.commit(repository, {"fixed.txt": "fixed\n"}, "Fix", branch=HOTFIX)
    return await client.pulls.ensure_pull_request(
        head=HOTFIX, base="main", title="Revert", body="", look_first=False
    )


@pytest.fixture
def queue(github: DemoGitHub, repository: FakeRepository, time: Time) -> None:
    """A merge queue for main."""
    now, identity = time.moment(), github.world.new_id()
    parameters = {
        "check_response_timeout_minutes": 5,
        "grouping_strategy": "ALLGREEN",
        "max_entries_to_build": 5,
        "max_entries_to_merge": 5,
        "merge_method": "MERGE",
        "min_entries_to_merge": 1,
        "min_entries_to_merge_wait_minutes": 1,
    }
    rules = [
        {"type": "merge_queue", "parameters": parameters},
        {
            "type": "required_status_checks",
            "parameters": {
                "required_status_checks": [{"context": "test"}],
                "strict_required_status_checks_policy": False,
            },
        },
    ]
    repository.rulesets[identity] = Ruleset(
        identity, "queue", "active", "branch", ["refs/heads/main"], [], rules, now, now
    )


async def test_graphql_is_held_back_and_asked_again_like_everything_else(
    client: RepositoryClient, pull: PullRequest, github: DemoGitHub, time: Time, bot: GitHub
) -> None:
    github.faults.add(SecondaryLimit(403, 7), path="/api/graphql")
    github.faults.add(Truncate(), path="/api/graphql")
    assert await client.merging.queue_entry(pull) is None
    assert time.waits == [7, 2]
    assert bot.requests.by_route("revert")["POST /graphql#mergeQueueEntry"] == 3


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("fault", [None, FailAfter(502), Drop(), Truncate()], ids=repr)
async def test_a_pull_request_enters_the_merge_queue_once(
    client: RepositoryClient,
    pull: PullRequest,
    github: DemoGitHub,
    repository: FakeRepository,
    fault: FailAfter | None,
) -> None:
    rules = await client.branch_rules("main")
    assert rules.merge_queue
    await _pass(client, pull.head.sha)
    assert await client.merging.queue_entry(pull) is None
    if fault is not None:
        github.faults.add(fault, path="/api/graphql")
    entry = await client.merging.enqueue(pull, head_sha=pull.head.sha)
    assert await client.merging.queue_entry(pull) == entry
    assert await client.merging.enqueue(pull, head_sha=pull.head.sha) == entry
    assert len(repository.queue) == 1


@pytest.mark.usefixtures("queue")
async def test_a_head_that_moved_is_not_enqueued(
    client: RepositoryClient, pull: PullRequest, repository: FakeRepository
) -> None:
    await _pass(client, pull.head.sha)
    with pytest.raises(Unprocessable, match="refuses"):
        await client.merging.enqueue(pull, head_sha="f" * 40)
    assert repository.queue == []


async def test_what_graphql_does_not_find_is_not_found(
    client: RepositoryClient, pull: PullRequest
) -> None:
    with pytest.raises(NotFound):
        await client.merging.queue_entry(pull.model_copy(update={"node_id": "PR_nothing"}))


async def _pass(client: RepositoryClient, sha: str) -> None:
    await client.checks.ensure_check_run(
        head_sha=sha,
        name="test",
        external_id="1",
        report=CheckReport("ok", "ok", "success"),
        look_first=False,
    )
