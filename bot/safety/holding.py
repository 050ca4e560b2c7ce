"""Self-work is paused because a signal says so: the judge's `Hold`, kept in the records."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records import pauses
from bot.records.pauses import PauseKind, Pausing
from bot.triggers import OURSELVES, SELF_WORK, Trigger


async def hold_self_work(
    conn: AsyncConnection,
    trigger: Trigger,
    *,
    key: str,
    reason: str,
    is_safety: bool,
    at: datetime,
) -> None:
    """Pause self-work; a pause for safety is lifted by a person only.

    Args:
        conn: the caller's transaction.
        trigger: what is judged; its repository is the one.
        key: what makes this wish this one.
        reason: why, in plain text.
        is_safety: whether something happened that must not happen.
        at: now.
    """
    # What a person let go on is not held again for the very same failure; safety is.
    wanted = Pausing(
        key=key if not is_safety else f"{key}:{trigger.key}",
        once=not is_safety,
        repository_id=trigger.repository.id,
        scope=SELF_WORK,
        kind=PauseKind.SAFETY if is_safety else PauseKind.THRESHOLD,
        reason=reason,
        by=OURSELVES.login,
        at=at,
    )
    await pauses.pause(conn, wanted)
