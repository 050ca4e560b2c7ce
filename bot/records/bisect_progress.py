"""How far a Run is, in a form that can be shown while it is at work.

Reports are written at the end; this is what people look at before. Every function works inside
the caller's transaction and never commits.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.documents.bisect_report import TrialMade, Verification
from bot.records.tables.recovery import progress
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
    seed: str
    notes: tuple[str, ...] = ()


async def put(
    conn: AsyncConnection,
    run_id: str,
    repository_id: int,
    document: BisectProgress,
    *,
    at: datetime,
) -> None:
    """Show this from now on; each change counts the version up."""
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
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


async def of_run(conn: AsyncConnection, run_id: str) -> BisectProgress | None:
    """Read what a Run shows; None if it shows nothing."""
    query = sa.select(progress.c.document).where(progress.c.run_id == run_id)
    document = await conn.scalar(query)
    return None if document is None else BisectProgress.model_validate(document)
