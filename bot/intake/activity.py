"""In which repositories is anything going on, and what moved in the others?

Deliveries drive the bot. What none told is found by one look at many repositories
(`bot/github/calls/activity.py`); only where something moved is anything read. A repository with
something under way is looked at by itself, each minute.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import sqlalchemy as sa
from cachetools import LRUCache
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.github.calls.activity import RepositoryActivity
from bot.records import gate_reports, incidents, pauses, runs
from bot.records.database import reading
from bot.records.tables.intake import alert_conditions, alert_groups, readings
from bot.records.tables.recovery import record_looks
from bot.triggers import Repository

RECENT = 5
"""For so many rounds after anything happened in a repository it is looked at by itself."""


@dataclass(frozen=True)
class KnownState:
    """What our records say of a repository that nothing is remembered of yet."""

    read_until: datetime | None = None
    """Issues and pull requests that changed until then were read."""
    heads: Collection[str] = ()
    """Heads, of pull requests and merge groups, on which the gate was said."""
    records: str | None = None
    """The head of the records branch that was found in order; None where nothing was put there."""


@dataclass(frozen=True)
class Moves:
    """What moved in a repository, so far as somebody has to look at it."""

    issues: bool = False
    """An issue or pull request: it may hold a comment, review, label or closing nobody told."""
    pulls: bool = False
    """A pull request: it may hold a spec report."""
    checks: bool = False
    """A check of the default branch's head may have failed."""
    gate: bool = False
    """A head may not have its gate."""
    config: bool = False
    """The configuration is another, or may be."""
    head: bool = False
    """The default branch moved."""
    records: bool = False
    """The records branch does not stand where the bot left it."""

    def __bool__(self) -> bool:
        """Whether anything moved."""
        return any(getattr(self, each.name) for each in fields(self))


def moves(before: RepositoryActivity | None, now: RepositoryActivity, known: KnownState) -> Moves:
    """Decide what has to be looked at.

    Args:
        before: the last look; None at the first one since the start.
        now: this look.
        known: what our records say.
    """
    heads = now.heads | {sha for _, sha in now.groups}
    unsaid = not heads <= set(known.heads)
    displaced = known.records is not None and now.records != known.records
    if before is None:
        new = now.issues_at is not None and (
            known.read_until is None or now.issues_at > known.read_until
        )
        return Moves(issues=new, pulls=new, checks=now.is_red, gate=unsaid, records=displaced)
    head = before.head != now.head
    return Moves(
        issues=before.issues_at != now.issues_at,
        pulls=before.pulls_at != now.pulls_at,
        checks=now.is_red and (head or before.checks != now.checks),
        gate=unsaid,
        config=before.config != now.config,
        head=head,
        records=displaced and before.records != now.records,
    )


class ActivityWatch:
    """Knows where something is under way, and what was seen the last time."""

    def __init__(
        self,
        records: AsyncEngine,
        *,
        served: Callable[[], Awaitable[Sequence[Repository]]],
        is_first: Callable[[], Awaitable[bool]],
        clock: Callable[[], datetime],
        every: timedelta,
    ) -> None:
        """Prepare.

        Args:
            records: say what is under way.
            served: gives the repositories that can be read.
            is_first: whether it is this replica that looks; one does at a time.
            clock: tells the time (UTC).
            every: time between two rounds.
        """
        self._records = records
        self._served = served
        self.is_first = is_first
        self._clock = clock
        self._recent_for = every * RECENT
        self._heard: LRUCache[int, datetime] = LRUCache(10_000)
        self._seen: dict[int, RepositoryActivity] = {}
        self._without_gate: set[int] = set()

    def heard(self, repository: Repository) -> None:
        """Take notice that something happened there."""
        self._heard[repository.id] = self._clock()

    async def due(self) -> Sequence[Repository]:
        """Return the repositories with something under way; none where another replica looks.

        An open incident, a Run that waits, a pause, an alert that fires, or anything that happened
        in the last minutes.
        """
        if not await self.is_first():
            return ()
        under_way = await self.under_way()
        return [each for each in await self._served() if each.id in under_way]

    async def under_way(self) -> set[int]:
        """Name the repositories with something under way."""
        now = self._clock()
        async with reading(self._records).connect() as conn:
            found = {each.repository_id for each in await incidents.list_open(conn)}
            found |= {each.repository_id for each in await runs.list_live(conn)}
            found |= {each.repository_id for each in await pauses.all_in_force(conn)}
            firing = (
                sa.select(alert_groups.c.repository_id)
                .join(alert_conditions, alert_conditions.c.group_id == alert_groups.c.id)
                .where(alert_conditions.c.firing)
                .distinct()
            )
            found |= set((await conn.execute(firing)).scalars())
        # Either way: a clock that was set back must not keep one for ever.
        return found | {
            key for key, at in [*self._heard.items()] if abs(now - at) <= self._recent_for
        }

    async def compare(self, seen: Mapping[int, RepositoryActivity]) -> dict[int, Moves]:
        """Say what moved since the look before, where anything did, and remember this one."""
        changed = {
            key: now
            for key, now in seen.items()
            if self._seen.get(key) != now or key in self._without_gate
        }
        if not changed:
            return {}
        async with reading(self._records).connect() as conn:
            known = await _known(conn, changed)
        found = {
            key: moves(self._seen.get(key), now, known.get(key, KnownState()))
            for key, now in changed.items()
        }
        self._seen.update(changed)
        self._without_gate -= changed.keys()
        self._without_gate |= {key for key, each in found.items() if each.gate}
        return {key: each for key, each in found.items() if each}


async def _known(
    conn: AsyncConnection, seen: Mapping[int, RepositoryActivity]
) -> dict[int, KnownState]:
    """Read what our records say of these repositories, in three queries."""
    heads: dict[int, set[str]] = {key: set() for key in seen}
    wanted = {sha for now in seen.values() for sha in now.heads}
    wanted |= {sha for now in seen.values() for _, sha in now.groups}
    for key, sha in await gate_reports.said_on(conn, seen, wanted):
        heads[key].add(sha)
    marks = sa.select(readings.c.repository_id, readings.c.read_until).where(
        readings.c.repository_id.in_(seen)
    )
    looks = sa.select(record_looks.c.repository_id, record_looks.c.head).where(
        record_looks.c.repository_id.in_(seen)
    )
    until = {row[0]: row[1] for row in await conn.execute(marks)}
    records = {row[0]: row[1] for row in await conn.execute(looks)}
    return {key: KnownState(until.get(key), heads[key], records.get(key) or None) for key in seen}
