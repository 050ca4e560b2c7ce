"""Every result of a check is read, on whichever page it stands."""

from __future__ import annotations

from pathlib import Path

import graphql
import pytest

from bot.github.calls import known_checks, pulls
from bot.github.client import RepositoryClient
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation, FakeRepository
from tests.conftest import CONTRACT

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
