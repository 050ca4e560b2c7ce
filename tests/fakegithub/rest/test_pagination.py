"""https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from demo.person import Person
from fakegithub.changes import statuses
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeIssue, FakePullRequest, FakeRepository

_LISTS = {
    "check-suites": ("commits/{sha}/check-suites", "check_suites", 101),
    "check-runs": ("commits/{sha}/check-runs", "check_runs", 101),
    "check-runs of a suite": ("check-suites/{suite}/check-runs", "check_runs", 101),
    "statuses": ("commits/{sha}/statuses", None, 101),
    "combined status": ("commits/{sha}/status", "statuses", 101),
    # Each of them takes its time to be shown.
    "pull requests of a commit": ("commits/{sha}/pulls", None, 31),
}


async def _make(
    what: str,
    many: int,
    github: DemoGitHub,
    repository: FakeRepository,
    app: FakeApp,
    alice: Person,
) -> tuple[str, int]:
    """Have many of something on a commit; the commit, and the suite they are in, if any."""
    main, now = await alice.head("main"), github.world.now()
    sha = await alice.push("topic", {"a": "1"}, "One commit")
    suite = github.report_check(repository, app, sha, "check-0", "success").suite
    for number in range(1, many):
        match what:
            case "check-suites" | "check-runs":
                github.report_check(repository, app, sha, f"check-{number}", "success")
            case "check-runs of a suite":
                github.report_check(repository, app, sha, f"check-{number}", "success", suite=suite)
    for number in range(many):
        match what:
            case "statuses" | "combined status":
                name = f"status-{number}"
                statuses.create(github.world, repository, sha, "success", name, app.bot)
            case "pull requests of a commit":
                # Opened by hand each would take its time.
                pull = FakePullRequest(github.world.new_id(), "topic", sha, "main", main)
                issue = FakeIssue(github.world.new_id(), number + 1, app.bot, "One", None, now, now)
                issue.pull = pull
                repository.issues[issue.number] = issue
    return sha, suite.id


@pytest.mark.parametrize("what", _LISTS)
async def test_a_list_comes_in_pages_of_thirty_and_of_a_hundred_at_most(
    github: DemoGitHub, repository: FakeRepository, app: FakeApp, alice: Person, what: str
) -> None:
    path, wrap, many = _LISTS[what]
    sha, suite = await _make(what, many, github, repository, app, alice)
    path = path.format(sha=sha, suite=suite)
    for asked, size in (({}, 30), ({"per_page": "100"}, 100), ({"per_page": "1000"}, 100)):
        seen: list[int] = []
        page: dict[str, str] = dict(asked)
        pages = -(-many // size)
        for number in range(1, pages + 1):
            status, answer, headers = await alice.request("GET", path, params=page)
            assert status == 200
            items: list[dict[str, Any]] = answer if wrap is None else answer[wrap]
            seen += [item["id"] for item in items]
            assert wrap is None or answer["total_count"] == many
            found = re.findall(r'<([^>]+)>; rel="(\w+)"', headers.get("Link", ""))
            links = {relation: dict(parse_qsl(urlsplit(url).query)) for url, relation in found}
            first, last = number == 1, number == pages
            assert set(links) == {
                *(() if first else ("prev", "first")), *(() if last else ("next", "last"))
            }  # fmt: skip
            if not last:
                assert len(items) == size
                page = links["next"]
                assert page == {**asked, "page": str(number + 1)}
                assert links["last"]["page"] == str(pages)
        assert len(seen) == len(set(seen)) == many
