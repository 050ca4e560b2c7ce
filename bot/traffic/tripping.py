"""The circuit breaker: the candidate loses its traffic, and the evidence stands still."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.traffic import ledger as ledgers
from bot.traffic import servings
from bot.traffic.ledger import Ledger
from bot.traffic.split import Serving
from bot.traffic.verdicts import BreachFound
from bot.triggers import Value


class Tripped(Value):
    """What tripping left behind. `first`: nobody else had tripped or ended it before."""

    ledger: Ledger
    serving: Serving
    first: bool


async def trip(
    conn: AsyncConnection,
    attempt: str,
    breach: BreachFound,
    *,
    at: datetime,
    actor: str,
    seq: int | None = None,
    above: int = 0,
    run: str | None = None,
    incident: str | None = None,
) -> Tripped:
    """Give everything to the baseline, latch it there, and close the ledger; twice is once.

    For every anomaly of a shadow or ramp: what the guard sees, an alert, a person's word. Make
    this the transaction's last statement.

    Args:
        conn: the caller's transaction.
        attempt: the shadow or ramp.
        breach: what happened.
        at: now.
        actor: who found it.
        seq: the last entry that counts; None: all.
        above: see `servings.set_traffic`.
        run: the Run that trips it, if one does.
        incident: what it belongs to.

    Raises:
        UnknownRecord: there is no such shadow or ramp.
    """
    before = await ledgers.locked(conn, attempt)
    closed = await ledgers.close(conn, attempt, at=at, seq=seq, breach=breach)
    serving = await servings.pause(
        conn,
        closed.repository_id,
        closed.capability,
        baseline=closed.policy.baseline,
        at=at,
        actor=actor,
        why=breach.evidence,
        above=above,
        run=run,
        incident=incident,
    )
    return Tripped(ledger=closed, serving=serving, first=before.closed_at is None)
