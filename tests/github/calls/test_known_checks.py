"""Every result of a check is read, on whichever page it stands."""

from __future__ import annotations

from pathlib import Path

import graphql
import pytest

from bot.github.calls import known_checks, pulls
from bot.github.calls.pulls import Merged
from bot.github.client import RepositoryClient
from bot.github.models import MergeMethod, PullRequest
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository
from tests.people import CONTRACT

SCHEMA = CONTRACT.parent / "schema.graphql"
QUERIES = {
    "suites": known_checks.MORE_SUITES,
    "runs": known_checks.MORE_RUNS,
    "pulls": known_checks.MORE_PULLS,
    "merged with": pulls.MORE_WITH_COMMIT,
}


@pytest.fixture(scope="module")
def schema() -> graphql.GraphQLSchema:
    if not SCHEMA.exists():
        pytest.skip("GitHub's GraphQL schema was not downloaded: run `make contracts`")
    text = Path(SCHEMA).read_text()
    return graphql.build_schema(text, assume_valid=True, assume_valid_sdl=True)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_every_page_is_asked_for_in_githubs_words(
    schema: graphql.GraphQLSchema, query: str
) -> None:
    assert graphql.validate(schema, graphql.parse(query)) == []


@pytest.fixture
def head(repository: FakeRepository, github: DemoGitHub) -> str:
    return github.commit(repository, {"a.txt": "a\n"}, "Add a")


async def test_a_result_behind_many_suites_of_other_checks_is_seen(
    client: RepositoryClient,
    github: DemoGitHub,
    repository: FakeRepository,
    head: str,
    other_app: tuple[FakeApp, FakeInstallation],
) -> None:
    for number in range(12):
        github.report_check(repository, other_app[0], head, f"other-{number}", "success")
    github.report_check(repository, other_app[0], head, "unit", "failure")
    [found] = await client.known_checks.of([head], "unit")
    assert found.conclusion == "failure"


async def test_every_suite_and_every_run_of_a_check_is_read(
    client: RepositoryClient,
    github: DemoGitHub,
    repository: FakeRepository,
    head: str,
    other_app: tuple[FakeApp, FakeInstallation],
) -> None:
    app, conclusions = other_app[0], ["success"] * 70
    first = github.report_check(repository, app, head, "unit", "failure")
    for _ in range(120):
        github.report_check(repository, app, head, "unit", "failure", suite=first.suite)
    for conclusion in conclusions:
        github.report_check(repository, app, head, "unit", conclusion)
    found = [each.conclusion for each in await client.known_checks.of([head], "unit")]
    assert (found.count("failure"), found.count("success")) == (121, 70)


async def test_every_result_of_a_commit_is_listed_whatever_their_number(
    client: RepositoryClient,
    github: DemoGitHub,
    repository: FakeRepository,
    head: str,
    other_app: tuple[FakeApp, FakeInstallation],
) -> None:
    for number in range(130):
        github.report_check(repository, other_app[0], head, f"check-{number}", "success")
    assert len(await client.checks.results(head)) == 130


SAID = {"title": "Bench", "summary": "Fine.", "text": '{"metrics": {"latency": 12.5}}'}


async def test_the_numbers_of_a_check_are_read_where_they_are_asked_for(
    client: RepositoryClient,
    github: DemoGitHub,
    repository: FakeRepository,
    head: str,
    other_app: tuple[FakeApp, FakeInstallation],
) -> None:
    summary = {"title": "Bench", "summary": "# Bench\n```json\n" + SAID["text"] + "\n```\n"}
    app, second = other_app[0], github.commit(repository, {"b.txt": "b\n"}, "Add b")
    github.report_check(repository, app, head, "bench", "success", output=SAID)
    github.report_check(repository, app, second, "bench", "failure", output=summary)
    github.report_check(repository, app, second, "bench", "success")
    found = await client.known_checks.of([head, second], "bench", numbers=True)
    assert [(each.sha, each.metrics) for each in found] == [
        (head, {"latency": 12.5}),
        (second, {"latency": 12.5}),
        (second, {}),
    ]
    unasked = await client.known_checks.of([head, second], "bench")
    assert unasked == tuple(each.model_copy(update={"metrics": {}}) for each in found)


async def test_numbers_behind_many_runs_are_read_too(
    client: RepositoryClient,
    github: DemoGitHub,
    repository: FakeRepository,
    head: str,
    other_app: tuple[FakeApp, FakeInstallation],
) -> None:
    app = other_app[0]
    first = github.report_check(repository, app, head, "bench", "success", output=SAID)
    for _ in range(14):
        github.report_check(
            repository, app, head, "bench", "success", suite=first.suite, output=SAID
        )
    for _ in range(14):
        github.report_check(repository, app, head, "bench", "success", output=SAID)
    found = await client.known_checks.of([head], "bench", numbers=True)
    assert [each.metrics for each in found] == [{"latency": 12.5}] * 29


async def test_numbers_of_many_commits_are_read_in_parts(
    client: RepositoryClient,
    github: DemoGitHub,
    repository: FakeRepository,
    other_app: tuple[FakeApp, FakeInstallation],
) -> None:
    commits = [github.commit(repository, {"c.txt": f"{n}\n"}, f"Set {n}") for n in range(27)]
    for sha in commits:
        github.report_check(repository, other_app[0], sha, "bench", "success", output=SAID)
    found = await client.known_checks.of(commits, "bench", numbers=True)
    assert [each.sha for each in found if each.metrics] == commits


async def merged_together(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository, count: int
) -> tuple[list[PullRequest], str]:
    """Pull requests stacked on each other that one merge brought, and its commit."""
    head, stack = repository.git.branch("main"), []
    for number in range(count):
        repository.git.update_ref(f"refs/heads/part-{number}", head)
        head = github.commit(repository, {"whole.txt": "1\n"}, f"{number}", branch=f"part-{number}")
        github.limits.windows.clear()
        stack.append(
            await client.pulls.ensure_pull_request(
                head=f"part-{number}", base="main", title="Part", body="", look_first=False
            )
        )
    outcome = await client.merging.merge(
        stack[-1].number, head_sha=stack[-1].head.sha, method=MergeMethod.MERGE, title="All"
    )
    assert isinstance(outcome, Merged)
    return stack, outcome.sha


async def test_every_pull_request_of_a_commit_is_named(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    stack, commit = await merged_together(client, github, repository, 14)
    numbers = [pull.number for pull in stack]
    assert sorted(await client.pulls.merged_with([commit])) == numbers
    assert sorted(pull.number for pull in await client.pulls.of_commit(commit)) == numbers


async def test_a_result_on_the_head_of_the_last_pull_request_of_a_commit_is_seen(
    client: RepositoryClient,
    github: DemoGitHub,
    repository: FakeRepository,
    other_app: tuple[FakeApp, FakeInstallation],
) -> None:
    stack, commit = await merged_together(client, github, repository, 14)
    for pull in stack:
        github.report_check(repository, other_app[0], pull.head.sha, "unit", "failure")
    found = await client.known_checks.of_merged_heads([commit], "unit")
    assert {each.head for each in found} == {pull.head.sha for pull in stack}


async def test_numbers_on_the_head_of_a_merged_pull_request_are_those_of_its_commit(
    client: RepositoryClient,
    github: DemoGitHub,
    repository: FakeRepository,
    other_app: tuple[FakeApp, FakeInstallation],
) -> None:
    [pull], commit = await merged_together(client, github, repository, 1)
    github.report_check(repository, other_app[0], pull.head.sha, "bench", "success", output=SAID)
    [found] = await client.known_checks.of_merged_heads([commit], "bench", numbers=True)
    assert (found.sha, found.head, found.metrics) == (commit, pull.head.sha, {"latency": 12.5})
    [unasked] = await client.known_checks.of_merged_heads([commit], "bench")
    assert unasked.metrics == {}
