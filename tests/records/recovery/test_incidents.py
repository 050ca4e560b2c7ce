"""Incidents: opened once per thing that broke, joined by everyone else."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.records import incidents
from bot.records.incidents import Incident
from bot.records.lifecycle import (
    AlreadyOpen,
    IllegalMove,
    IncidentStatus,
    StaleVersion,
    UnknownRecord,
)
from bot.triggers import Severity
from tests.records.examples import NOON, REPOSITORY, opening

MINUTE = timedelta(minutes=1)


async def moved(conn: AsyncConnection, incident: Incident, *path: str) -> Incident:
    for step, status in enumerate(path, start=1):
        incident = await incidents.move(
            conn, incident.id, IncidentStatus(status), at=NOON + step * MINUTE
        )
    return incident


async def test_the_first_trigger_opens_and_the_second_joins(conn: AsyncConnection) -> None:
    first, joined_first = await incidents.open_or_join(conn, opening("1"))
    second, joined_second = await incidents.open_or_join(conn, opening("2"))
    assert (joined_first, joined_second) == (False, True)
    assert second.id == first.id
    assert (second.alert_count, second.version) == (2, 2)


async def test_a_retry_finds_the_incident_it_opened_and_counts_nothing(
    conn: AsyncConnection,
) -> None:
    first, _ = await incidents.open_or_join(conn, opening("1"))
    assert await incidents.open_or_join(conn, opening("1")) == (first, False)


async def test_twenty_triggers_at_once_open_one_incident(engine: AsyncEngine) -> None:
    async def open_one(comment: int) -> tuple[Incident, bool]:
        async with engine.begin() as conn:
            return await incidents.open_or_join(conn, opening(str(comment)))

    results = await asyncio.gather(*map(open_one, range(20)))
    assert len({incident.id for incident, _ in results}) == 1
    assert sum(not joined for _, joined in results) == 1
    assert max(incident.alert_count for incident, _ in results) == 20


async def test_another_pull_request_is_another_incident(conn: AsyncConnection) -> None:
    await incidents.open_or_join(conn, opening("1", number=7))
    await incidents.open_or_join(conn, opening("2", number=8))
    assert [found.subject for found in await incidents.list_open(conn, REPOSITORY.id)] == [
        "pull_request:7",
        "pull_request:8",
    ]
    assert await incidents.list_open(conn, 1) == []


async def test_what_breaks_again_is_a_new_incident_that_names_the_old_one(
    conn: AsyncConnection,
) -> None:
    first, _ = await incidents.open_or_join(conn, opening("1"))
    await moved(conn, first, "mitigated", "resolved")
    second, joined = await incidents.open_or_join(conn, opening("2"))
    assert not joined
    assert second.recurrence_of == first.id


async def test_every_move_leaves_its_time(conn: AsyncConnection) -> None:
    opened, _ = await incidents.open_or_join(conn, opening())
    closed = await moved(conn, opened, "mitigated", "resolved", "closed")
    assert (closed.acknowledged_at, closed.mitigated_at) == (NOON, NOON + MINUTE)
    assert (closed.resolved_at, closed.closed_at) == (NOON + 2 * MINUTE, NOON + 3 * MINUTE)
    assert closed.version == opened.version + 3
    assert not closed.is_open


async def test_a_relapse_takes_the_recovery_times_back(conn: AsyncConnection) -> None:
    opened, _ = await incidents.open_or_join(conn, opening())
    again = await moved(conn, opened, "mitigated", "resolved", "active")
    assert (again.mitigated_at, again.resolved_at, again.is_open) == (None, None, True)


async def test_moving_to_where_it_is_changes_nothing(conn: AsyncConnection) -> None:
    opened, _ = await incidents.open_or_join(conn, opening())
    assert await moved(conn, opened, "active") == opened


async def test_an_illegal_move_says_what_is_allowed(conn: AsyncConnection) -> None:
    opened, _ = await incidents.open_or_join(conn, opening())
    with pytest.raises(IllegalMove, match="only declined, duplicate, mitigated"):
        await moved(conn, opened, "closed")


async def test_an_incident_cannot_reopen_beside_an_open_one(conn: AsyncConnection) -> None:
    first, _ = await incidents.open_or_join(conn, opening("1"))
    await moved(conn, first, "mitigated", "resolved")
    await incidents.open_or_join(conn, opening("2"))
    with pytest.raises(AlreadyOpen, match="pull_request:7 is open"):
        await moved(conn, first, "active")
    unchanged = await incidents.find(conn, first.id)
    assert unchanged is not None
    assert unchanged.status is IncidentStatus.RESOLVED


async def test_a_duplicate_names_what_it_repeats(conn: AsyncConnection) -> None:
    first, _ = await incidents.open_or_join(conn, opening("1"))
    second, _ = await incidents.open_or_join(conn, opening("2", number=8))
    duplicate = await incidents.move(
        conn, second.id, IncidentStatus.DUPLICATE, at=NOON, duplicate_of=first.id
    )
    assert (duplicate.duplicate_of, duplicate.closed_at) == (first.id, NOON)


async def test_a_decision_on_an_old_version_is_refused(conn: AsyncConnection) -> None:
    opened, _ = await incidents.open_or_join(conn, opening())
    await incidents.set_severity(conn, opened.id, Severity.CRITICAL)
    with pytest.raises(StaleVersion, match="is at version 2, not 1"):
        await incidents.move(
            conn, opened.id, IncidentStatus.MITIGATED, at=NOON, expected_version=opened.version
        )


async def test_an_incident_that_is_over_keeps_its_severity(conn: AsyncConnection) -> None:
    opened, _ = await incidents.open_or_join(conn, opening())
    for status in (IncidentStatus.MITIGATED, IncidentStatus.RESOLVED):
        await incidents.move(conn, opened.id, status, at=NOON)
    kept = await incidents.set_severity(conn, opened.id, Severity.CRITICAL)
    assert kept == await incidents.find(conn, opened.id)
    assert kept.severity is opened.severity is not Severity.CRITICAL


async def test_references_are_noted_once_and_nothing_is_forgotten(conn: AsyncConnection) -> None:
    opened, _ = await incidents.open_or_join(conn, opening())
    await incidents.refer(conn, opened.id, issue=9, adr="docs/decisions/x.md")
    first = await incidents.refer(conn, opened.id, pull_request=10)
    again = await incidents.refer(conn, opened.id, pull_request=10, issue=9)
    assert again == first
    assert (again.issue, again.adr, again.prs) == (9, "docs/decisions/x.md", (10,))
    assert await incidents.find_by_issue(conn, REPOSITORY.id, 9) == again


async def test_an_unknown_incident_is_said_to_be_unknown(conn: AsyncConnection) -> None:
    assert await incidents.find(conn, "nothing") is None
    with pytest.raises(UnknownRecord, match="no incident nothing"):
        await incidents.refer(conn, "nothing", issue=1)


async def test_a_hostile_title_is_kept_as_text(conn: AsyncConnection) -> None:
    opened, _ = await incidents.open_or_join(conn, opening(title="a\x00b'); DROP TABLE runs;--"))
    assert opened.title == "ab'); DROP TABLE runs;--"


async def test_the_latest_incidents_come_first(conn: AsyncConnection) -> None:
    for number in (7, 8, 9):
        await incidents.open_or_join(conn, opening(str(number), number=number))
    latest = await incidents.list_recent(conn, REPOSITORY.id, limit=2)
    assert len(latest) == 2
    assert latest == sorted(latest, key=lambda found: found.id, reverse=True)
