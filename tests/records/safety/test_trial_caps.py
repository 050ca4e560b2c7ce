"""Caps of trials and CI minutes warn at 80%, once a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.limits import Caps
from bot.records import runs
from bot.records.bisects import TrialCaps, reserve_trials, settle_trials
from bot.safety.budgets import trial_reports
from bot.triggers import Severity
from tests.records.examples import REPOSITORY, trigger

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROOM = TrialCaps(trials_per_day=1000, minutes_per_day=10_000, at_once=1000)


async def tried(conn: AsyncConnection, count: int, *, minutes: int = 1) -> None:
    """So many trials begin at noon, each taking so long."""
    run = await runs.start(conn, "one", trigger("one"), playbook="bisect", at=NOON)
    for number in range(count):
        await reserve_trials(
            conn, run_id=run.id, name=str(number), repository_id=REPOSITORY.id, at=NOON, caps=ROOM
        )
    names = [str(number) for number in range(count)]
    await settle_trials(conn, run.id, names, NOON + timedelta(minutes=minutes))


@pytest.mark.parametrize(("count", "warned"), [(7, 0), (8, 1), (12, 1)])
async def test_from_80_percent_on_it_warns(conn: AsyncConnection, count: int, warned: int) -> None:
    await tried(conn, count)
    found = await trial_reports(conn, REPOSITORY, Caps(trials_a_day=10), NOON)
    assert len(found) == warned
    for each in found:
        assert each.firing
        assert each.said.severity is Severity.LOW
        assert f"cap-trials is nearly used up for the last 24 hours: {count} of 10 trials" in (
            each.said.title
        )


async def test_the_minutes_are_a_cap_of_their_own(conn: AsyncConnection) -> None:
    await tried(conn, 2, minutes=45)
    [found] = await trial_reports(
        conn, REPOSITORY, Caps(ci_minutes_a_day=100), NOON + timedelta(hours=2)
    )
    assert "cap-ci-minutes is nearly used up for the last 24 hours: 90 of 100" in found.said.title


async def test_a_day_says_it_once(conn: AsyncConnection) -> None:
    caps = Caps(trials_a_day=10)
    await tried(conn, 9)
    said = [
        (await trial_reports(conn, REPOSITORY, caps, NOON + timedelta(hours=hours)))[0]
        for hours in (0, 1, 13)
    ]
    assert said[0].event == said[1].event != said[2].event
    assert await trial_reports(conn, REPOSITORY, caps, NOON + timedelta(hours=25)) == []
