"""Reports of alerts go to disk in groups, and a Run begins for every group that begins to fire.

What was said, and the Trigger that follows from it, are one transaction: a process that dies
leaves both or neither, and without an answer the sender says it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.intake.inbox import GroupCommit, Inbox
from bot.records import alerts
from bot.records.alerts import ConditionReport, GroupMoved
from bot.triggers import (
    Actor,
    ActorKind,
    Source,
    SourceKind,
    TriageRequest,
    Trigger,
    derived_id,
)

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 500
"""Reports that one transaction takes."""


@dataclass(frozen=True)
class _Said:
    reports: Sequence[ConditionReport]
    sender: str


class AlertIntake:
    """Takes reports. Safe for several replicas on one database."""

    def __init__(
        self,
        records: AsyncEngine,
        inbox: Inbox,
        *,
        wake: Callable[[str], Awaitable[None]],
        clock: Callable[[], datetime],
    ) -> None:
        """Prepare.

        Args:
            records: where alerts are kept.
            inbox: takes the Triggers, in the same database.
            wake: tells a Run that its group moved; quick, and its failure loses nothing.
            clock: tells the time (UTC).
        """
        self._records = records
        self._inbox = inbox
        self._wake = wake
        self._clock = clock
        self._moved: list[str] = []
        self._said = GroupCommit(
            self._commit,
            most=MOST_AT_ONCE,
            size=lambda said: len(said.reports),
            answered=self._wake_moved,
        )

    async def take(self, reports: Sequence[ConditionReport], sender: str) -> None:
        """Store reports and return once they are committed.

        Args:
            reports: what was said.
            sender: whose token said it.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: nothing was stored; the sender must say it again.
        """
        await self._said.put(_Said(reports, sender))

    async def _commit(self, batch: Sequence[_Said]) -> list[None]:
        now = self._clock()
        woken: list[str] = []
        async with self._records.begin() as conn:
            senders = {report.group: each.sender for each in batch for report in each.reports}
            reports = [report for each in batch for report in each.reports]
            triggers = []
            for moved in await alerts.take(conn, reports, at=now):
                if not moved.begins:
                    woken.append(moved.group.run)
                    continue
                trigger = _trigger(moved, senders[moved.group.id], now)
                run = derived_id(trigger.key, trigger.received_at)
                await alerts.follow(conn, moved.group.id, run)
                triggers.append(trigger)
            await self._inbox.put_within(conn, triggers)
        if triggers:
            self._inbox.arrived.set()
        self._moved += woken
        return [None] * len(batch)

    async def _wake_moved(self) -> None:
        woken, self._moved = self._moved, []
        for run in woken:
            try:
                await self._wake(run)
            except Exception:
                log.exception("a hint was lost; the Run will look again by itself")


def _trigger(moved: GroupMoved, sender: str, now: datetime) -> Trigger:
    group = moved.group
    url = next((each.said.url for each in group.conditions if each.said.url), None)
    return Trigger(
        source=Source(kind=SourceKind.ALERT, object_id=f"{group.id}:{group.episode}", url=url),
        repository=moved.repository,
        actor=Actor(kind=ActorKind.MACHINE, login=sender),
        received_at=now,
        request=TriageRequest(group=group.id, episode=group.episode),
    )
