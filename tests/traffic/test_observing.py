"""Observations over HTTP: durable before they are confirmed, and each counted once."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.records.tables.traffic import observed_events
from bot.traffic import evidence_log as ledgers
from bot.traffic.evaluation import Evaluations
from bot.traffic.ingest import forget_expired
from tests.canary.traffic import policy
from tests.intake.api.providing import SHOP, Client, Served
from tests.traffic.conftest import Clock
from tests.traffic.test_ledger import begin
from tests.traffic.trials import START, observed

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""


def line(**changes: Any) -> dict[str, Any]:
    found = {
        "event_id": "e-1",
        "capability": "llm.summarize",
        "arm": "candidate",
        "generation": 1,
        "time": "2026-01-01T00:00:00Z",
        "latency": 0.2,
        "error": False,
    }
    return {name: value for name, value in (found | changes).items() if value is not ...}


def lines(count: int, **more: Any) -> list[dict[str, Any]]:
    return [json.loads(each.model_dump_json(exclude_none=True)) for each in observed(count, **more)]


async def counted(engine: AsyncEngine) -> int:
    ledger, course = await Evaluations(engine).current("ramp-1")
    del ledger
    return sum(course.settled().assigned.counts)  # type: ignore[union-attr]


async def test_what_is_accepted_counts(client: Client, engine: AsyncEngine) -> None:
    await begin(engine)
    status, answer = await client.report(lines(500))
    assert (status, answer) == (202, {"accepted": 500, "duplicates": 0, "rejected": []})
    assert await counted(engine) == 500


async def test_the_same_lines_again_change_nothing(client: Client, engine: AsyncEngine) -> None:
    await begin(engine)
    await client.report(lines(300))
    assert (await client.report(lines(300)))[1] == {
        "accepted": 0,
        "duplicates": 300,
        "rejected": [],
    }
    status, answer = await client.report([*lines(300), *lines(50, seed=1)])
    assert (status, answer["accepted"], answer["duplicates"]) == (202, 50, 300)
    assert await counted(engine) == 350


async def test_the_same_lines_at_the_same_time_count_once(
    client: Client, engine: AsyncEngine
) -> None:
    await begin(engine)
    answers = await asyncio.gather(*(client.report(lines(200)) for _ in range(8)))
    assert sum(answer["accepted"] for _, answer in answers) == 200
    assert sum(answer["duplicates"] for _, answer in answers) == 7 * 200
    assert await counted(engine) == 200


@on_sqlite
async def test_every_wrong_line_is_named_and_the_others_count(
    client: Client, engine: AsyncEngine
) -> None:
    await begin(engine)
    wrong = [
        line(event_id="nan", latency=float("nan")),
        line(event_id="negative", cost=-1),
        line(event_id="late", time="2025-12-31T22:00:00Z"),
        line(event_id="early", time="2026-01-01T00:06:00Z"),
        line(event_id="where", capability="llm.unknown"),
        line(event_id="old", generation=7),
        line(event_id="arm", arm="other"),
        line(event_id="nothing", latency=..., error=...),
        line(event_id="half", revenue=1.0),
        line(event_id="more", colour="red"),
        b"not json",
        b"[]",
        b"x" * 5000,
    ]
    status, answer = await client.report([line(), *wrong, b"", line(event_id="e-2")])
    assert (status, answer["accepted"]) == (202, 2)
    said = {(each["line"], each["field"]) for each in answer["rejected"]}
    assert said == {
        (2, "latency"),
        (3, "cost"),
        (4, "time"),
        (5, "time"),
        (6, "capability"),
        (7, "generation"),
        (8, "arm"),
        (9, None),
        (10, "spend"),
        (11, "colour"),
        (12, None),
        (13, None),
        (14, None),
    }
    assert await counted(engine) == 2


@on_sqlite
async def test_lines_of_which_none_counts_are_refused(client: Client, engine: AsyncEngine) -> None:
    await begin(engine)
    status, answer = await client.report([line(arm="other"), line(latency=-1)])
    assert status == 422
    assert answer["detail"].startswith("None of the 2 lines counts. Line 1: arm must be 'baseline'")
    assert [each["field"] for each in answer["errors"]] == ["line 1: arm", "line 2: latency"]


@on_sqlite
async def test_without_a_shadow_or_ramp_nothing_is_taken(client: Client) -> None:
    status, answer = await client.report([line()])
    assert status == 422
    assert "has no shadow or ramp now; these have: none" in answer["detail"]


@on_sqlite
async def test_when_it_is_over_nothing_counts_any_more(client: Client, engine: AsyncEngine) -> None:
    await begin(engine)
    async with engine.begin() as conn:
        await ledgers.close(conn, "ramp-1", at=START)
    assert (await client.report([line()]))[0] == 422


@on_sqlite
@pytest.mark.parametrize(("count", "status"), [(0, 400), (10_001, 413)])
async def test_too_few_and_too_many_lines_are_refused(
    client: Client, count: int, status: int
) -> None:
    got, answer = await client.report([b"{}"] * count)
    assert got == status
    assert "1 to 10,000 lines" in answer["detail"]


@on_sqlite
async def test_a_body_beyond_the_cap_is_not_read(client: Client) -> None:
    status, answer, _ = await client.ask("/providers/observations", raw=b" " * (17 << 20))
    assert status == 413
    assert "at most 16 MiB" in answer["detail"]


@on_sqlite
@pytest.mark.parametrize(("token", "status"), [("reader", 403), ("unknown", 401)])
async def test_only_a_token_that_may_report_is_heard(
    client: Client, engine: AsyncEngine, token: str, status: int
) -> None:
    await begin(engine)
    client.caller = token
    assert (await client.report([line()]))[0] == status


@on_sqlite
async def test_where_several_could_be_meant_the_repository_is_named(
    client: Client, engine: AsyncEngine, served: Served
) -> None:
    await begin(engine)
    served.repositories += (SHOP,)
    client.caller = "everywhere"
    assert (await client.report([line()]))[0] == 400
    assert (await client.report([line()], repository="acme/app"))[0] == 202
    assert (await client.report([line()], repository="acme/shop"))[0] == 422
    assert (await client.report([line()], repo="acme/app"))[0] == 400


@on_sqlite
async def test_revenue_comes_when_its_window_is_over(
    client: Client, engine: AsyncEngine, clock: Clock
) -> None:
    await begin(engine)
    late = line(event_id="r-1", latency=..., error=..., revenue=0.4, spend=0.02)
    status, answer = await client.report([late])
    assert (status, answer["errors"][0]["field"]) == (422, "line 1: revenue")
    clock.move(25 * 3600)
    assert (await client.report([late]))[0] == 202
    clock.move(8 * 24 * 3600)
    assert (await client.report([late | {"event_id": "r-2"}]))[0] == 422


@on_sqlite
async def test_keys_are_needed_where_the_split_is_by_key(
    client: Client, engine: AsyncEngine
) -> None:
    await begin(engine, rules=policy(unit="key"))
    assert (await client.report([line()]))[1]["errors"][0]["field"] == "line 1: key"
    assert (await client.report([line(key="user-1")]))[0] == 202


@on_sqlite
async def test_pairs_are_needed_in_a_shadow(client: Client, engine: AsyncEngine) -> None:
    await begin(engine, "shadow-1", shadow=True)
    assert (await client.report([line()]))[1]["errors"][0]["field"] == "line 1: pair_id"
    pair = [line(event_id=arm, arm=arm, pair_id="p") for arm in ("baseline", "candidate")]
    assert (await client.report(pair))[1]["accepted"] == 2


async def test_events_are_remembered_only_as_long_as_they_could_come_again(
    client: Client, engine: AsyncEngine, clock: Clock
) -> None:
    await begin(engine)
    await client.report(lines(100))
    async with engine.begin() as conn:
        assert await forget_expired(conn, now=clock() + timedelta(minutes=60), most=500) == 0
        assert await forget_expired(conn, now=clock() + timedelta(minutes=71), most=60) == 60
        assert await forget_expired(conn, now=clock() + timedelta(minutes=71), most=500) == 40
        left = await conn.execute(sa.select(sa.func.count()).select_from(observed_events))
        assert left.scalar_one() == 0
