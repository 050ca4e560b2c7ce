"""What `/metrics` says of the records: by what stands there, and where they are away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.metrics import FRESH_S, RecordsCollector
from bot.records.database import reading
from bot.records.tables.intake import inbox
from bot.records.tables.recovery import incidents, runs
from bot.records.tables.traffic import evidence, servings
from tests.plugins.postgres import postgres_server
from tests.records.conftest import engine, migrated_postgresql, migrated_sqlite, url

__all__ = ["engine", "migrated_postgresql", "migrated_sqlite", "postgres_server", "url"]

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def records(engine: AsyncEngine) -> AsyncEngine:
    return engine


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed for whoever asks again."""
    clock = [1000.0]
    monkeypatch.setattr("bot.metrics.time.monotonic", lambda: clock[0])
    return clock


def values(collector: RecordsCollector) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in collector.collect()
        for sample in family.samples
    }


def incident(number: int, **more: Any) -> dict[str, Any]:
    row = {
        "id": f"i{number}", "repository_id": 1, "repository": "acme/shop", "kind": "revert",
        "subject": f"pull_request:{number}", "title": "t", "severity": "high", "status": "active",
        "source": "api", "opened_by": "alice", "alert_count": 1, "detected_at": NOW - HOUR,
        "prs": [], "version": 1, "mitigated_at": None,
    }  # fmt: skip
    return row | more


def run(number: int, state: str, **more: Any) -> dict[str, Any]:
    row = {
        "id": f"r{number}", "repository_id": 1, "playbook": "revert", "playbook_version": 1,
        "trigger_key": f"k{number}", "trigger": {}, "inputs": {}, "actor": "alice",
        "dry_run": False, "state": state, "created_at": NOW - HOUR, "updated_at": NOW - HOUR,
        "version": 1, "standing": None, "finished_at": None,
    }  # fmt: skip
    return row | more


async def put(engine: AsyncEngine, table: sa.Table, *rows: dict[str, Any]) -> None:
    async with engine.begin() as conn:
        await conn.execute(sa.insert(table), list(rows))


async def test_it_says_what_waits_since_when_and_how_bad_it_is(
    records: AsyncEngine, passed: list[float]
) -> None:
    asks = {"state": "needs you", "headline": "h", "at": (NOW - 3 * HOUR).isoformat()}
    await put(
        records, runs,
        run(1, "running"), run(2, "verifying", standing=asks), run(3, "awaiting approval"),
        run(4, "failed", finished_at=NOW, standing=asks),
    )  # fmt: skip
    await put(
        records, incidents,
        incident(1), incident(2, severity="critical"), incident(3, status="closed"),
        incident(4, status="mitigated", mitigated_at=NOW - HOUR + timedelta(minutes=4)),
    )  # fmt: skip
    entry = {"key": "a", "payload": {}, "received_at": NOW - timedelta(minutes=2), "done_at": None}
    await put(records, inbox, entry, entry | {"key": "b", "done_at": NOW})
    log = {
        "attempt": "at1", "run_id": "r1", "repository_id": 1, "capability": "llm.summarize",
        "mode": "ramp", "policy": "{}", "phase": 1, "entered_at": NOW, "seq": 7, "digest": "d",
        "opened_at": NOW, "seen_at": NOW - HOUR, "closed_at": None,
    }  # fmt: skip
    await put(records, evidence, log, log | {"attempt": "at0", "closed_at": NOW})
    serving = {
        "repository_id": 1, "generation": 1, "capability": "llm.summarize", "attempt": "at1",
        "split": {"percent": 5}, "actor": "alice", "why": "w", "at": NOW,
    }  # fmt: skip
    await put(records, servings, serving, serving | {"generation": 2, "split": {"percent": 25}})

    collector = RecordsCollector(reading(records), lambda: NOW)
    await collector.look()
    said = values(collector)
    assert said["playbooks_records_readable",] == 1
    assert said["playbooks_runs", "revert", "running"] == 1
    assert ("playbooks_runs", "revert", "failed") not in said
    assert said["playbooks_waiting_for_person", "revert"] == 2
    since = said["playbooks_waiting_for_person_since_timestamp_seconds", "revert"]
    assert since == (NOW - 3 * HOUR).timestamp()
    assert said["playbooks_incidents_open", "critical"] == 1
    assert said["playbooks_incidents_open", "high"] == 2
    assert said["playbooks_incidents_open", "low"] == 0
    assert said["playbooks_inbox_entries",] == 1
    assert said["playbooks_inbox_oldest_age_seconds",] == 120
    assert said["playbooks_ramp_share_ratio", "at1", "ramp"] == 0.25
    assert said["playbooks_ramp_evidence_entries", "at1", "ramp"] == 7
    assert not [key for key in said if "at0" in key]
    assert said["playbooks_time_to_mitigate_seconds_count",] == 1
    assert said["playbooks_time_to_mitigate_seconds_sum",] == 240

    # An incident counts once, however often it is looked at; one that is new is added.
    passed[0] += FRESH_S
    later = incident(5, status="resolved", mitigated_at=NOW)
    await put(records, incidents, later)
    await collector.look()
    assert values(collector)["playbooks_time_to_mitigate_seconds_count",] == 2


async def test_records_that_are_away_are_said_and_nothing_old_is_told_of_them(
    records: AsyncEngine, passed: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = RecordsCollector(reading(records), lambda: NOW)
    await collector.look()
    assert values(collector)["playbooks_replicas",] == 0

    def away(_: object) -> None:
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("the server closed the connection"))

    monkeypatch.setattr(collector, "_read", away)
    # Whoever asks again at once is told the same: strangers do not read the database.
    await collector.look()
    assert values(collector)["playbooks_records_readable",] == 1
    passed[0] += FRESH_S
    await collector.look()
    said = values(collector)
    assert said["playbooks_records_readable",] == 0
    assert ("playbooks_replicas",) not in said
