from __future__ import annotations

import json
from typing import Any

import pytest

from fakegithub.contract.description import Description, Exchange, json_schema
from fakegithub.contract.openapi import Contract, ContractTally
from fakegithub.faults.request_faults import SecondaryLimit, Truncate
from fakegithub.rest import repositories
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeInstallation, FakeRepository
from tests.contracts.download import OPENAPI
from tests.fakegithub.calling import as_installation

pytestmark = pytest.mark.skipif(not OPENAPI.ready, reason="run `make contracts` first")


@pytest.fixture(scope="module")
def description() -> Description:
    return Description.load(OPENAPI.path)


def exchange(
    method: str, path: str, status: int, response: Any, request: Any = None, **query: str
) -> Exchange:
    raw = b"" if request is None else json.dumps(request).encode()
    return Exchange(method, path, query, raw, status, json.dumps(response).encode())


LABEL = {
    "id": 1, "node_id": "x", "url": "http://127.0.0.1/l", "name": "bug", "description": None,
    "color": "ededed", "default": False,
}  # fmt: skip


def complaints(description: Description, one: Exchange) -> list[str]:
    return [f"{v.part}: {v.message}" for v in description.judge(one)]


def test_a_faithful_exchange_has_no_complaint(description: Description) -> None:
    request = {"name": "bug", "color": "ededed"}
    assert not complaints(description, exchange("POST", "/repos/o/r/labels", 201, LABEL, request))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        pytest.param({"id": "1"}, 'id: "1" is not of type "integer"', id="wrong type"),
        pytest.param({"description": 3}, "description: 3 is not of type", id="nullable string"),
        pytest.param({"url": "no address"}, 'url: "no address" is not a "uri"', id="no address"),
    ],
)
def test_a_wrong_answer_is_caught(
    description: Description, wrong: dict[str, Any], says: str
) -> None:
    found = complaints(description, exchange("GET", "/repos/o/r/labels/bug", 200, LABEL | wrong))
    assert len(found) == 1
    assert found[0].startswith(f"response body: {says}")


def test_an_answer_without_a_required_field_is_caught(description: Description) -> None:
    less = {key: value for key, value in LABEL.items() if key != "color"}
    assert complaints(description, exchange("GET", "/repos/o/r/labels/bug", 200, less)) == [
        'response body: (whole): "color" is a required property'
    ]


@pytest.mark.parametrize(
    ("request_body", "says"),
    [
        pytest.param({}, 'request body: (whole): "name" is a required property', id="missing"),
        pytest.param({"name": 5}, 'request body: name: 5 is not of type "string"', id="type"),
        pytest.param(
            {"name": "a", "colour": "red"},
            "request body: GitHub knows no field 'colour' here",
            id="unknown field",
        ),
    ],
)
def test_a_wrong_request_that_was_carried_out_is_caught(
    description: Description, request_body: dict[str, Any], says: str
) -> None:
    one = exchange("POST", "/repos/o/r/labels", 201, LABEL, request_body)
    assert complaints(description, one) == [says]


def test_a_wrong_request_that_was_refused_is_no_violation(description: Description) -> None:
    refusal = {"message": "Validation Failed", "documentation_url": "https://docs.github.com"}
    one = exchange("POST", "/repos/o/r/labels", 422, refusal, {"name": 5})
    assert not complaints(description, one)


def test_query_parameters_are_held_to_their_types_and_names(description: Description) -> None:
    path = "/repos/o/r/labels"
    assert not complaints(description, exchange("GET", path, 200, [], per_page="100"))
    assert complaints(description, exchange("GET", path, 200, [], per_page="many")) == [
        'query parameter per_page: (whole): "many" is not of type "integer"'
    ]
    assert complaints(description, exchange("GET", path, 200, [], perpage="100")) == [
        "query: GitHub knows no parameter 'perpage' here"
    ]


def test_an_operation_github_does_not_have_is_caught(description: Description) -> None:
    assert complaints(description, exchange("GET", "/repos/o/r/secrets-of-others", 200, {})) == [
        "path: GitHub has no such operation"
    ]
    refused = exchange("GET", "/repos/o/r/secrets-of-others", 404, {"message": "Not Found"})
    assert not complaints(description, refused)


@pytest.mark.parametrize(
    "path",
    [
        "/repos/o/r/contents/apps/deep/down/file.json",
        "/repos/o/r/git/ref/heads/hotfix/revert-1",
        "/repos/o/r/commits/heads/hotfix/revert-1/status",
        "/repos/o/r/branches/hotfix/revert-1/protection",
        "/repos/o/r/compare/main...hotfix/revert-1",
        "/repos/o/r/branches/hotfix%2Frevert-1",
    ],
)
def test_names_with_slashes_find_their_operation(description: Description, path: str) -> None:
    one = exchange("GET", path, 404, {"message": "Not Found", "documentation_url": "https://d"})
    assert not complaints(description, one)
    assert "path: GitHub has no such operation" not in complaints(
        description, exchange("GET", path, 200, {})
    )


def test_null_is_allowed_exactly_where_github_says_so() -> None:
    assert json_schema({"type": "string", "nullable": True}) == {"type": ["string", "null"]}
    assert json_schema({"type": "string", "enum": ["a"], "nullable": True})["enum"] == ["a", None]
    assert json_schema({"type": "string"}) == {"type": "string"}


async def test_a_planted_violation_is_caught_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    github = DemoGitHub()
    github.contract = Contract(OPENAPI.path, total=ContractTally())
    async with github:
        owner = github.create_user("org", organization=True)
        app = github.create_app("app", owner=owner, permissions={"contents": "read"}, events=[])
        repository = github.create_repository(owner, "r", {"a": "1"})
        caller = as_installation(github, github.install(app, owner), repository)

        await caller.get(".")
        assert github.contract.violations == []

        honest = repositories.present_full
        monkeypatch.setattr(repositories, "present_full", lambda *a: honest(*a) | {"id": "seven"})
        await caller.get(".")

    assert [str(violation) for violation in github.contract.violations] == [
        'GET /repos/org/r → 200: response body: id: "seven" is not of type "integer"'
    ]


async def test_what_a_fault_breaks_on_purpose_is_no_violation(
    github: DemoGitHub, installation: FakeInstallation, repository: FakeRepository
) -> None:
    caller = as_installation(github, installation, repository)
    before = len(github.contract.violations)
    github.faults.add(SecondaryLimit(429, None), path=repository.name)
    assert (await caller.get(".")).status == 429
    github.faults.add(Truncate(), path=repository.name)
    with pytest.raises(Exception, match=r"payload|Response"):
        await caller.get(".")
    github.faults.clear()
    assert len(github.contract.violations) == before
