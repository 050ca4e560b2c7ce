"""How far each bisect has come, and the trials a repository used of its caps.

Reports are written at the end; this is what people look at before.

Every function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.database import insert_into
from bot.records.documents.reports import TrialMade, Verification
from bot.records.tables.recovery import progress, runs, trials
from bot.triggers import Value


class Bar(Value):
    """A stretch of the searched range, and the probability that the culprit is in it.

    `first` counts the commits of the range from 1, oldest first; `sha` is the likeliest of them.
    """

    first: int
    count: int
    sha: str
    probability: float


class Suspected(Value):
    """A commit that might be the culprit; `subject` is the first line of its message, if read."""

    sha: str
    probability: float
    subject: str = ""


MOST_SUSPECTS = 20
"""Of a long list, the likeliest are kept to be shown."""


class BisectProgress(Value):
    """A bisect under way or at its end."""

    kind: Literal["bisect"] = "bisect"
    check: str | None
    base: str
    good: str
    bad: str
    commits: int
    known_results: int
    status: str
    culprit: str | None
    confidence: float
    reason: str
    p_no_culprit: float
    p_before_range: float
    rounds: int
    bars: tuple[Bar, ...]
    suspects: tuple[Suspected, ...]
    trials: tuple[TrialMade, ...]
    trials_left: int
    verification: Verification | None
    seed: str | None
    notes: tuple[str, ...] = ()
    numeric: str | None = None


async def put_progress(
    conn: AsyncConnection,
    run_id: str,
    repository_id: int,
    document: BisectProgress,
    *,
    at: datetime,
) -> None:
    """Show this from now on; each change counts the version up."""
    insert = insert_into(conn)
    content = document.model_dump(mode="json")
    await conn.execute(
        insert(progress)
        .values(
            run_id=run_id,
            repository_id=repository_id,
            document=content,
            version=1,
            updated_at=at,
        )
        .on_conflict_do_update(
            index_elements=[progress.c.run_id],
            set_={"document": content, "version": progress.c.version + 1, "updated_at": at},
        )
    )


async def progress_of(conn: AsyncConnection, run_id: str) -> BisectProgress | None:
    """Read what a Run shows; None if it shows nothing."""
    query = sa.select(progress.c.document).where(progress.c.run_id == run_id)
    document = await conn.scalar(query)
    return None if document is None else BisectProgress.model_validate(document)


WINDOW = timedelta(days=1)
"""What "a day" is: the last 24 hours, whatever the calendar says."""

_LOCK = 0x747269616C730000  # "trials": one counter per repository on PostgreSQL


class TrialCaps(Value):
    """What all bisects of one repository may use together; minutes are those of their trials."""

    trials_per_day: int
    minutes_per_day: int
    at_once: int


class TrialUse(Value):
    """What they have used of it."""

    trials: int
    minutes: float
    at_once: int


async def trials_used(conn: AsyncConnection, repository_id: int, now: datetime) -> TrialUse:
    """Count the trials of the last 24 hours, their minutes, and those under way.

    A trial that was never settled counts as under way only while its Run is live.

    Args:
        conn: the caller's transaction.
        repository_id: whose.
        now: the end of the 24 hours.
    """
    rows = await conn.execute(
        sa.select(trials.c.begun_at, trials.c.ended_at, runs.c.finished_at)
        .join(runs, runs.c.id == trials.c.run_id)
        .where(trials.c.repository_id == repository_id, trials.c.begun_at > now - WINDOW)
    )
    count, seconds, at_once = 0, 0.0, 0
    for begun, ended, run_over in rows:
        count += 1
        seconds += max(0.0, ((ended or run_over or now) - begun).total_seconds())
        at_once += ended is None and run_over is None
    return TrialUse(trials=count, minutes=seconds / 60, at_once=at_once)


async def reserve_trials(
    conn: AsyncConnection,
    *,
    run_id: str,
    name: str,
    repository_id: int,
    at: datetime,
    caps: TrialCaps,
    beyond_day: bool = False,
) -> TrialUse | None:
    """Note that a trial begins; None, or what is used already where a cap forbids it.

    Args:
        conn: the caller's transaction.
        run_id: the Run that wants it.
        name: the trial's name within the Run.
        repository_id: whose caps count.
        at: now.
        caps: the caps.
        beyond_day: whether a person allowed it to go beyond what a day may take.
    """
    if conn.dialect.name == "postgresql":
        key = (_LOCK ^ repository_id) & 0x7FFF_FFFF_FFFF_FFFF
        await conn.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
    used = await trials_used(conn, repository_id, at)
    spent = used.trials >= caps.trials_per_day or used.minutes >= caps.minutes_per_day
    if used.at_once >= caps.at_once or (spent and not beyond_day):
        return used
    await conn.execute(
        sa.insert(trials).values(
            run_id=run_id, name=name, repository_id=repository_id, begun_at=at, ended_at=None
        )
    )
    return None


async def settle_trials(
    conn: AsyncConnection, run_id: str, names: Sequence[str], at: datetime
) -> None:
    """Note that trials have ended; one that has ended already keeps its time."""
    await conn.execute(
        sa.update(trials)
        .where(
            trials.c.run_id == run_id, trials.c.name.in_(list(names)), trials.c.ended_at.is_(None)
        )
        .values(ended_at=at)
    )
