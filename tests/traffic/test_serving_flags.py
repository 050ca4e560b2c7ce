"""The flag document and OFREP over HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.traffic import allocation
from bot.traffic.flagd import Allocation, Split, check_flags, is_candidate
from tests.intake.api.providing import SHOP, Client, Served
from tests.traffic.trials import CAPABILITY, REPOSITORY, START, ramping, shadowing

DOCUMENT = "/r/acme/app/flags/flagd.json"
ALL = "/r/acme/app/ofrep/v1/evaluate/flags"
ONE = f"{ALL}/{CAPABILITY}"

pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.fixture
def client(client: Client) -> Client:
    client.caller = "reader"
    return client


async def decide(engine: AsyncEngine, split: Split, capability: str = CAPABILITY) -> Allocation:
    async with engine.begin() as conn:
        return await allocation.set_traffic(
            conn,
            REPOSITORY,
            capability,
            split,
            allocation.Decided(at=START, actor="alice", why="a stage"),
        )


def key_of(arm: str, percent: int) -> str:
    wanted = arm == "candidate"
    split = ramping(percent)
    return next(
        key for key in map(str, range(1000)) if is_candidate(CAPABILITY, split, key) == wanted
    )


async def test_the_document_is_valid_and_changes_at_once(
    client: Client, engine: AsyncEngine
) -> None:
    status, before, tag = await client.get(DOCUMENT)
    assert status == 200
    assert json.loads(before)["flags"] == {}
    await decide(engine, ramping(5))
    status, text, new_tag = await client.get(DOCUMENT, If_None_Match=str(tag))
    document = json.loads(text)
    check_flags(document)
    assert (status, document["metadata"]["generation"]) == (200, 1)
    assert new_tag != tag
    assert (await client.get(DOCUMENT, If_None_Match=f"W/{new_tag}"))[0] == 304


async def test_a_flag_is_evaluated_with_its_reason_and_generation(
    client: Client, engine: AsyncEngine
) -> None:
    await decide(engine, ramping(25))
    for arm, provider in (("baseline", "provider-a"), ("candidate", "provider-b")):
        status, answer, _ = await client.ask(
            ONE, {"context": {"targetingKey": key_of(arm, 25), "plan": "gold"}}
        )
        assert (status, answer) == (
            200,
            {
                "key": CAPABILITY,
                "value": provider,
                "variant": arm,
                "reason": "SPLIT",
                "metadata": {"generation": 1, "mode": "ramp"},
            },
        )


@pytest.mark.parametrize("body", [{}, {"context": {}}, {"context": {"targetingKey": ""}}])
async def test_without_a_key_the_baseline_serves(
    client: Client, engine: AsyncEngine, body: object
) -> None:
    await decide(engine, ramping(100))
    _, answer, _ = await client.ask(ONE, body)
    assert (answer["value"], answer["reason"]) == ("provider-a", "DEFAULT")


async def test_where_nobody_is_on_trial_the_answer_is_static(
    client: Client, engine: AsyncEngine
) -> None:
    await decide(engine, Split(baseline="provider-a"))
    _, answer, _ = await client.ask(ONE, {"context": {"targetingKey": "k"}})
    assert (answer["variant"], answer["reason"]) == ("baseline", "STATIC")


async def test_an_unknown_flag_says_what_to_do(client: Client) -> None:
    status, answer, _ = await client.ask(ONE, {"context": {"targetingKey": "k"}})
    assert (status, answer["errorCode"], answer["key"]) == (404, "FLAG_NOT_FOUND", CAPABILITY)
    assert "use the default" in answer["errorDetails"]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", "PARSE_ERROR"),
        (b"[" * 100_00, "PARSE_ERROR"),
        (b"\xff", "PARSE_ERROR"),
        (b"[]", "INVALID_CONTEXT"),
        (b'{"context": 1}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 1}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "\\ud800"}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "' + b"k" * 5000 + b'"}}', "INVALID_CONTEXT"),
        (b"k" * 70_000, "INVALID_CONTEXT"),
    ],
)
@pytest.mark.parametrize("path", [ONE, ALL])
async def test_a_context_that_cannot_be_used_is_refused_in_the_protocols_words(
    client: Client, engine: AsyncEngine, raw: bytes, code: str, path: str
) -> None:
    await decide(engine, ramping(5))
    status, answer, _ = await client.ask(path, raw=raw)
    assert (status, answer["errorCode"]) == (400, code)
    assert answer["errorDetails"]


async def test_all_flags_come_at_once_with_a_tag(client: Client, engine: AsyncEngine) -> None:
    await decide(engine, ramping(25))
    await decide(engine, shadowing(), "llm.translate")
    body = {"context": {"targetingKey": key_of("candidate", 25)}}
    status, answer, tag = await client.ask(ALL, body)
    assert status == 200
    assert [(each["key"], each["value"]) for each in answer["flags"]] == [
        (CAPABILITY, "provider-b"),
        ("llm.translate", "provider-a"),
        ("self-work", True),
    ]
    assert (await client.ask(ALL, body, If_None_Match=str(tag)))[0] == 304
    other = {"context": {"targetingKey": key_of("baseline", 25)}}
    assert (await client.ask(ALL, other, If_None_Match=str(tag)))[0] == 200
    await decide(engine, ramping(50))
    assert (await client.ask(ALL, body, If_None_Match=str(tag)))[0] == 200


async def test_short_paths_work_while_one_repository_is_served(
    client: Client, engine: AsyncEngine, served: Served
) -> None:
    await decide(engine, ramping(5))
    assert (await client.get("/flags/flagd.json"))[0] == 200
    assert (await client.ask("/ofrep/v1/evaluate/flags", {}))[0] == 200
    assert (await client.ask(f"/ofrep/v1/evaluate/flags/{CAPABILITY}", {}))[0] == 200
    served.repositories += (SHOP,)
    status, text, _ = await client.get("/flags/flagd.json")
    assert status == 409
    assert "/r/OWNER/REPO/flags/flagd.json" in json.loads(text)["detail"]
    assert (await client.get(DOCUMENT))[0] == 200


@pytest.mark.parametrize("path", [DOCUMENT, "/flags/flagd.json"])
@pytest.mark.parametrize(("token", "status"), [("unknown", 401), ("nowhere", 404)])
async def test_only_who_may_read_the_repository_is_told(
    client: Client, path: str, token: str, status: int
) -> None:
    client.caller = token
    assert (await client.get(path))[0] == status


async def test_many_clients_at_once_each_see_what_was_decided_before_they_asked(
    client: Client, engine: AsyncEngine
) -> None:
    body = {"context": {"targetingKey": key_of("candidate", 5)}}
    for percent in (5, 25, 50):
        generation = (await decide(engine, ramping(percent))).generation
        answers = await asyncio.gather(*(client.ask(ONE, body) for _ in range(40)))
        assert {each[1]["metadata"]["generation"] for each in answers} == {generation}
