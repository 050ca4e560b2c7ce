"""The HTTP API over real HTTP and a real database."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.intake.api.incidents import Accepted, Api, DeclinedRequest, StoredRecords
from bot.intake.http.auth import Callers, read_tokens
from bot.intake.http.problems import as_problem
from bot.intake.inbox import Inbox
from bot.records import incidents, runs
from bot.records.audit import chain
from bot.records.lifecycle import RunState
from bot.triggers import (
    ActorKind,
    CommitTarget,
    PullRequestTarget,
    Repository,
    RevertRequest,
    Severity,
    SourceKind,
    Trigger,
    derived_id,
)
from tests.intake.conftest import Clock
from tests.intake.waiting import rows

APP = Repository(id=11, owner="Acme", name="app", installation_id=22)
SHOP = Repository(id=12, owner="Acme", name="shop", installation_id=22)
OTHER = Repository(id=13, owner="globex", name="app", installation_id=23)
PLACE = "apps/orchestrator/orchestrator/incidents/revert-{}.json"


def entry(name: str, role: str, reaches: str) -> str:
    return f"{name}:{role}:{reaches}:{hashlib.sha256(name.encode()).hexdigest()}"


TOKENS = read_tokens(
    [
        entry("app-only", "write", "acme/app"),
        entry("all-of-acme", "maintain", "acme/*"),
        entry("reader", "read", "acme/app"),
        entry("nowhere", "write", "initech/*"),
    ]
)


@dataclass
class Served:
    """The repositories of the installations, as the test says."""

    repositories: tuple[Repository, ...] = (APP, SHOP, OTHER)

    async def served(self) -> tuple[Repository, ...]:
        return self.repositories


@dataclass
class Reception:
    """Opens an incident and a run in the real records, as the real reception does."""

    database: AsyncEngine
    declines: str | None = None
    accepted: list[Trigger] = field(default_factory=list)

    async def may_begin(self, _: Trigger) -> None:
        if self.declines:
            raise DeclinedRequest(self.declines)

    async def __call__(self, trigger: Trigger) -> Accepted:
        self.accepted.append(trigger)
        id_ = derived_id(trigger.key, trigger.received_at)
        opening = incidents.Opening(
            id=id_,
            repository=trigger.repository,
            kind="revert",
            subject="pull_request:7",
            title="Revert #7",
            severity=Severity.HIGH,
            source="api",
            opened_by=trigger.actor.login,
            detected_at=trigger.received_at,
        )
        async with self.database.begin() as connection:
            incident, _ = await incidents.open_or_join(connection, opening)
            run = await runs.start(
                connection,
                f"revert-{id_}",
                trigger,
                playbook="revert",
                at=trigger.received_at,
                incident_id=incident.id,
            )
            await chain.append(
                connection,
                trigger.repository.id,
                "incident.opened",
                actor=trigger.actor.login,
                at=trigger.received_at,
                incident=incident.id,
            )
        return Accepted(
            run=run.id,
            incident=incident.id,
            artifact_path=PLACE.format(incident.id),
            ref="playbooks/records",
            issue_url="https://github.com/acme/app/issues/9",
        )


@dataclass
class Client:
    """Calls the API as the holder of one token."""

    session: aiohttp.ClientSession
    base: str
    token: str | None = "app-only"  # noqa: S105 - its name, and in these tests also its secret

    async def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        sent = dict(headers or {})
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = body
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.request(
            method, self.base + path, data=data, headers=sent
        ) as response:
            text = await response.text()
            if response.status >= 400 and path != "/readyz":
                assert response.content_type == "application/problem+json"
            is_json = response.content_type.endswith("json")
            return response.status, json.loads(text) if is_json else text

    async def revert(self, body: Any, key: str | None = None) -> tuple[int, Any]:
        headers = {"Idempotency-Key": key} if key is not None else {}
        return await self.call("POST", "/incidents/revert", body, headers)

    def holding(self, token: str | None) -> Client:
        return Client(self.session, self.base, token)


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
def reception(database: AsyncEngine) -> Reception:
    return Reception(database)


@pytest.fixture
def faults() -> dict[str, str | None]:
    return {"database": None, "github": None}


@pytest.fixture
def warnings() -> dict[str, str]:
    return {}


@pytest.fixture
async def client(
    http: aiohttp.ClientSession,
    database: AsyncEngine,
    inbox: Inbox,
    served: Served,
    reception: Reception,
    faults: dict[str, str | None],
    warnings: dict[str, str],
    clock: Clock,
    registry: CollectorRegistry,
) -> AsyncIterator[Client]:
    ids = count(1)

    async def ready() -> dict[str, str | None]:
        return faults

    api = Api(
        callers=Callers(TOKENS, served),
        records=StoredRecords(database),
        inbox=inbox,
        may_begin=reception.may_begin,
        accept=reception,
        ready=ready,
        warnings=lambda: warnings,
        clock=clock,
        new_id=lambda: f"request-{next(ids)}",
        registry=registry,
        public_url="https://playbooks.example/",
        version="0.1.0",
    )
    app = web.Application(middlewares=[as_problem])
    app.add_routes(api.routes())
    async with TestServer(app) as server:
        yield Client(http, str(server.make_url("")).rstrip("/"))


BODY = {"pull_request": 7, "reason": "logins fail"}


async def test_a_revert_is_accepted_with_its_run_incident_links_and_artifact(
    client: Client, reception: Reception, database: AsyncEngine
) -> None:
    status, answer = await client.revert(BODY)
    (trigger,) = reception.accepted
    id_ = derived_id(trigger.key, trigger.received_at)
    assert (status, answer) == (
        202,
        {
            "run": f"revert-{id_}",
            "incident": id_,
            "links": {
                "incident": f"https://playbooks.example/incidents/{id_}",
                "run": f"https://playbooks.example/runs/revert-{id_}",
                "issue": "https://github.com/acme/app/issues/9",
            },
            "artifact": {"path": PLACE.format(id_), "ref": "playbooks/records"},
        },
    )
    assert trigger.request == RevertRequest(
        targets=(PullRequestTarget(number=7),), reason="logins fail"
    )
    assert (trigger.actor.kind, trigger.actor.login) == (ActorKind.MACHINE, "app-only")
    assert trigger.source.kind is SourceKind.API
    assert trigger.repository == APP
    assert [Trigger.model_validate(row.payload) for row in await rows(database)] == [trigger]


async def test_a_commit_and_a_severity_may_be_named(client: Client, reception: Reception) -> None:
    body = {"commit": "3F2A9C1", "reason": " logins\nfail ", "severity": "critical"}
    status, _ = await client.revert(body)
    assert status == 202
    assert reception.accepted[0].request == RevertRequest(
        targets=(CommitTarget(sha="3f2a9c1"),), reason="logins fail", severity=Severity.CRITICAL
    )


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"\xff", b'{"reason": "\xc3"}', b'{"reason": "\\ud800"}', {},
        {"reason": "x"},
        {"pull_request": 7},
        {"pull_request": 7, "commit": "abcdef1", "reason": "x"},
        {"pull_request": 0, "reason": "x"},
        {"pull_request": "7", "reason": "x"},
        {"pull_request": True, "reason": "x"},
        {"pull_request": 10**30, "reason": "x"},
        {"commit": "main", "reason": "x"},
        {"commit": "abc", "reason": "x"},
        {"commit": "abcdef1\n", "reason": "x"},
        {"pull_request": 7, "reason": ""},
        {"pull_request": 7, "reason": " \u0000 "},
        {"pull_request": 7, "reason": "x" * 2001},
        {"pull_request": 7, "reason": "x", "severity": "urgent"},
        {"pull_request": 7, "reason": "x", "severty": "low"},
        {"pull_request": 7, "reason": "x", "repository": "app"},
        {"pull_request": 7, "reason": "x", "repository": "../../x"},
    ],
)  # fmt: skip
async def test_a_body_that_cannot_be_read_is_refused_naming_the_field(
    client: Client, reception: Reception, body: Any, snapshot: Any
) -> None:
    status, problem = await client.revert(body)
    assert status == 400
    assert problem == snapshot
    assert reception.accepted == []


async def test_too_much_is_refused(client: Client) -> None:
    assert (await client.revert({"pull_request": 7, "reason": "x" * 70_000}))[0] == 413


async def test_only_json_is_taken(client: Client) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, problem = await client.call("POST", "/incidents/revert", b"pull_request=7", form)
    assert status == 415
    assert "application/json" in problem["detail"]


@pytest.mark.parametrize("token", [None, "", "wrong", "app-only2"])
async def test_without_a_known_token_nothing_is_done(
    client: Client, reception: Reception, token: str | None
) -> None:
    stranger = client.holding(token)
    for method, path in (
        ("POST", "/incidents/revert"),
        ("GET", "/incidents"),
        ("GET", f"/incidents/{'0' * 26}"),
        ("GET", "/runs/x"),
        ("GET", "/audit"),
    ):
        assert (await stranger.call(method, path, BODY if method == "POST" else None))[0] == 401
    assert reception.accepted == []


async def test_a_reader_may_not_revert(client: Client, reception: Reception) -> None:
    status, problem = await client.holding("reader").revert(BODY)
    assert (status, reception.accepted) == (403, [])
    assert "needs write" in problem["detail"]


async def test_a_token_that_reaches_several_repositories_must_name_one(
    client: Client, reception: Reception, snapshot: Any
) -> None:
    many = client.holding("all-of-acme")
    assert await many.revert(BODY) == (400, snapshot)
    assert (await many.revert(BODY | {"repository": "acme/SHOP"}))[0] == 202
    assert reception.accepted[0].repository == SHOP


async def test_a_repository_the_token_does_not_reach_does_not_exist_for_it(
    client: Client, reception: Reception, snapshot: Any
) -> None:
    assert await client.revert(BODY | {"repository": "globex/app"}) == (404, snapshot)
    assert await client.holding("nowhere").revert(BODY) == (409, snapshot)
    assert reception.accepted == []


async def test_the_same_idempotency_key_is_the_same_run_also_twenty_times_at_once(
    client: Client, database: AsyncEngine, clock: Clock
) -> None:
    answers = await asyncio.gather(*(client.revert(BODY, key="k-1") for _ in range(20)))
    clock.move(3600)
    answers.append(await client.revert(BODY, key="k-1"))
    assert {status for status, _ in answers} == {202}
    assert len({answer["run"] for _, answer in answers}) == 1
    assert len(await rows(database)) == 1


async def test_without_a_key_a_second_request_is_another_one(
    client: Client, database: AsyncEngine
) -> None:
    first, second = await client.revert(BODY), await client.revert(BODY)
    assert first[1]["run"] != second[1]["run"]
    assert first[1]["incident"] == second[1]["incident"]
    assert len(await rows(database)) == 2


async def test_a_key_used_with_another_body_is_refused(client: Client, snapshot: Any) -> None:
    await client.revert(BODY, key="k-1")
    assert await client.revert(BODY | {"pull_request": 8}, key="k-1") == (422, snapshot)


async def test_a_key_used_for_another_repository_or_route_is_refused(
    client: Client, reception: Reception
) -> None:
    acme = client.holding("all-of-acme")
    both = [BODY | {"repository": name} for name in ("acme/app", "acme/shop")]
    at_once = await asyncio.gather(*(acme.revert(body, key="k-2") for body in both))
    assert sorted(status for status, _ in at_once) == [202, 422]
    first = both[[status for status, _ in at_once].index(202)]
    assert [(await acme.revert(body, key="k-2"))[0] for body in both] == [
        202 if body is first else 422 for body in both
    ]
    search = {"repository": first["repository"], "bad": "main", "reason": "logins fail"}
    key = {"Idempotency-Key": "k-2"}
    assert (await acme.call("POST", "/incidents/bisect", search, key))[0] == 422
    assert {each.repository.full_name.lower() for each in reception.accepted} == {
        first["repository"]
    }


async def test_the_keys_of_two_tokens_do_not_meet(client: Client, database: AsyncEngine) -> None:
    await client.revert(BODY, key="k-1")
    body = BODY | {"repository": "acme/app", "pull_request": 8}
    assert (await client.holding("all-of-acme").revert(body, key="k-1"))[0] == 202
    assert len(await rows(database)) == 2


@pytest.mark.parametrize("key", ["", "ä", "x" * 256])
async def test_a_key_that_is_no_key_is_refused(client: Client, key: str) -> None:
    assert (await client.revert(BODY, key=key))[0] == 400


async def test_a_declined_request_says_why_and_is_not_carried_out_later(
    client: Client, reception: Reception, database: AsyncEngine
) -> None:
    reception.declines = "A revert of #7 is under way."
    for _ in range(2):
        status, problem = await client.revert(BODY, key="k-1")
        assert (status, problem["detail"]) == (409, "A revert of #7 is under way.")
    assert await rows(database) == []
    # The key is not used up by that.
    reception.declines = None
    assert (await client.revert(BODY, key="k-1"))[0] == 202


async def test_incidents_runs_and_the_audit_chain_can_be_read(client: Client) -> None:
    _, accepted = await client.revert(BODY)
    reader = client.holding("reader")
    _, listed = await reader.call("GET", "/incidents?limit=5")
    _, one = await reader.call("GET", f"/incidents/{accepted['incident']}")
    _, run = await reader.call("GET", f"/runs/{accepted['run']}")
    _, chain = await reader.call("GET", "/audit?after=0&repository=acme/app")
    assert [each["id"] for each in listed["incidents"]] == [accepted["incident"]]
    assert listed["next"] is None
    _, first = await reader.call("GET", "/incidents?limit=1")
    assert first["next"] == accepted["incident"]
    _, rest = await reader.call("GET", f"/incidents?limit=1&before={first['next']}")
    assert rest == {"incidents": [], "next": None}
    assert one["incident"]["status"] == "active"
    assert run["run"]["incident_id"] == accepted["incident"]
    assert [entry["action"] for entry in chain["entries"]] == ["incident.opened"]
    assert chain["next"] is None
    _, page = await reader.call("GET", "/audit?limit=1")
    assert page["next"] == 1


async def test_where_no_incident_came_of_a_request_the_answer_says_why(
    client: Client, database: AsyncEngine, reception: Reception, clock: Clock
) -> None:
    await client.revert(BODY)
    reader, trigger = client.holding("reader"), reception.accepted[0]
    source = trigger.source.model_copy(update={"index": 1})
    trigger = trigger.model_copy(update={"source": source})
    id_ = derived_id(trigger.key, trigger.received_at)
    path = f"/incidents/{id_}"
    async with database.begin() as conn:
        await runs.start(conn, id_, trigger, playbook="bisect", at=clock())
    _, early = await reader.call("GET", path)
    assert early["detail"] == f"No incident is opened yet: /runs/{id_} says how far it is."
    async with database.begin() as conn:
        await runs.move(conn, id_, RunState.FAILED, at=clock(), reason="Nothing is red.")
    status, late = await reader.call("GET", path)
    assert (status, late["detail"]) == (404, "No incident was opened. Nothing is red.")


async def test_what_happened_elsewhere_cannot_be_read(client: Client, served: Served) -> None:
    _, accepted = await client.revert(BODY)
    served.repositories = (SHOP,)
    for path in (f"/incidents/{accepted['incident']}", f"/runs/{accepted['run']}"):
        assert (await client.call("GET", path))[0] == 404
        assert (await client.holding("all-of-acme").call("GET", path))[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/incidents?limit=0", "/incidents?before=x", "/incidents?limit=x", "/incidents?limit=999",
        "/audit?after=-1",
        "/audit?page=2", "/incidents?repository=x", "/audit?after=9223372036854775808",
    ],
)  # fmt: skip
async def test_a_query_that_cannot_be_read_is_refused(client: Client, path: str) -> None:
    status, problem = await client.call("GET", path)
    assert status == 400
    assert problem["errors"][0]["field"] in path


@pytest.mark.parametrize("id_", ["x", "0" * 26, "..%2f..", "%00", "a" * 5000, "ü"])
async def test_an_unknown_id_is_not_found(client: Client, id_: str) -> None:
    assert (await client.call("GET", f"/incidents/{id_}"))[0] == 404
    assert (await client.call("GET", f"/runs/{id_}"))[0] == 404


async def test_another_method_is_refused_naming_the_right_one(client: Client) -> None:
    status, problem = await client.call("GET", "/incidents/revert")
    assert (status, problem["detail"]) == (405, "/incidents/revert takes POST.")
    assert (await client.call("DELETE", "/incidents"))[0] == 405


@pytest.mark.parametrize("path", ["/incidents/", "/INCIDENTS/revert", "/providers/ramp/5/", "/x"])
async def test_an_address_that_nothing_serves_is_a_problem_document_too(
    client: Client, path: str
) -> None:
    status, problem = await client.call("POST", path)
    assert (status, problem["status"]) == (404, 404)
    assert problem["detail"].startswith(f"Nothing is served at {path}.")


async def test_a_fault_of_ours_is_a_problem_document_without_details(
    client: Client, served: Served
) -> None:
    served.repositories = None  # type: ignore[assignment]
    status, problem = await client.revert(BODY)
    assert status == 500
    assert "NoneType" not in json.dumps(problem)


async def test_health_and_readiness_need_no_token(
    client: Client, faults: dict[str, str | None], warnings: dict[str, str]
) -> None:
    anyone = client.holding(None)
    assert await anyone.call("GET", "/healthz") == (200, {"ok": True})
    ok = {"ok": True, "parts": {"database": "ok", "github": "ok"}}
    assert await anyone.call("GET", "/readyz") == (200, ok)
    warnings["installation 5"] = "the App is suspended"
    assert await anyone.call("GET", "/readyz") == (200, ok | {"warnings": dict(warnings)})
    faults["github"] = "401: the private key does not belong to the App"
    status, answer = await anyone.call("GET", "/readyz")
    assert (status, answer["ok"], answer["parts"]["github"]) == (503, False, faults["github"])


async def test_metrics_are_served(client: Client) -> None:
    status, text = await client.holding(None).call("GET", "/metrics")
    assert status == 200
    assert isinstance(text, str)


async def test_the_description_names_every_route_and_its_shapes(client: Client) -> None:
    status, described = await client.holding(None).call("GET", "/openapi.json")
    assert status == 200
    assert described["openapi"] == "3.1.0"
    revert = described["paths"]["/incidents/revert"]["post"]
    schemas = described["components"]["schemas"]
    assert revert["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "RevertBody"
    )
    assert set(schemas["RevertBody"]["properties"]) == {
        "repository", "pull_request", "commit", "reason", "severity",
    }  # fmt: skip
    assert set(schemas["AcceptedAnswer"]["properties"]) == {"run", "incident", "links", "artifact"}
    refs = [part.split('"')[0] for part in json.dumps(described).split("#/components/schemas/")[1:]]
    assert set(refs) <= set(schemas)


async def test_the_page_for_people_names_every_route_and_runs_no_script(client: Client) -> None:
    status, page = await client.holding(None).call("GET", "/api-docs")
    assert status == 200
    assert "POST /incidents/revert" in page
    assert "<script" not in page
