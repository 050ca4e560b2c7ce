"""The circuit breaker: the candidate loses its traffic, and the evidence stands still."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.traffic import ledger as ledgers
from bot.traffic import servings
from bot.traffic.ledger import EvidenceLog
from bot.traffic.servings import Decided
from bot.traffic.split import Allocation
from bot.traffic.verdicts import BreachFound
from bot.triggers import Value


class Tripped(Value):
    """What tripping left behind.

    Attributes:
        ledger: the evidence, closed.
        serving: who serves now.
        first: it was this call that ended it; else it had ended before, and nothing was changed.
    """

    ledger: EvidenceLog
    serving: Allocation | None
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

    For every anomaly of a ramp: what the guard sees, an alert, a person's word. A ramp that has
    ended already is left as it ended. Make this the transaction's last statement.

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
    if before.closed_at is not None:
        serving = await servings.find(conn, before.repository_id, before.capability)
        return Tripped(ledger=before, serving=serving, first=False)
    closed = await ledgers.close(conn, attempt, at=at, seq=seq, breach=breach)
    serving = await servings.pause(
        conn,
        closed.repository_id,
        closed.capability,
        Decided(at=at, actor=actor, why=breach.evidence, run=run, incident=incident),
        baseline=closed.policy.baseline,
        above=above,
    )
    return Tripped(ledger=closed, serving=serving, first=True)
