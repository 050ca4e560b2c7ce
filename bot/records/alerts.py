"""Alerts: what each condition said last, and the groups of conditions that are one incident each.

What is known after any number of reports that cross each other depends on the reports alone, not on
the order or number of their arrivals: the newest word about a condition counts, by its sender's own
clock, and of two words of one moment the recovery. Words of one sender cross within seconds; what
fires well after its recovery was heard fires again, whatever moment it names: Alertmanager lets an
alert that timed out come back with the `startsAt` it had. A moment far in the future gives way to a
word of the present. Every function works inside the caller's
transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records import incidents
from bot.records.database import insert_into
from bot.records.lifecycle import REOPEN_WINDOW, IncidentStatus
from bot.records.tables.columns import Instant
from bot.records.tables.intake import alert_conditions, alert_events, alert_groups
from bot.triggers import Repository, Severity, Value

SignalName = Literal["slo.breach", "eval.drop", "safety.violation", "budget.overrun", "alert"]

WELL_AFTER = timedelta(minutes=1)
"""After a recovery was heard, by our clock. Until then a firing word may have been overtaken by it:
senders that are replicated wait up to half a minute for each other, and repeat what timed out."""

TOO_FAR_AHEAD = timedelta(minutes=30)
"""A moment so far from now is a mistake, such as local time that is said to be UTC."""
_LONGEST_KEY = 500
"""Characters of a sender's key that are kept to show; what tells keys apart is their hash."""


KIND = "alert"
"""Of the incidents about groups."""


def subject_of(group: str) -> str:
    """What the incidents about a group are about."""
    return f"alerts:{group}"


class Said(Value):
    """What a report says about its condition.

    Attributes:
        title: what is wrong, one line of the sender's words.
        severity: how bad it is.
        signal: which sort of trouble it is; `alert` where nobody said.
        pull_request: the pull request it blames, if it names one.
        commit: likewise a commit.
        capability: likewise a capability.
        url: where people see more.
    """

    title: str
    severity: Severity
    signal: SignalName = "alert"
    pull_request: int | None = Field(default=None, gt=0)
    commit: str | None = Field(default=None, pattern=r"^[0-9a-f]{7,40}$")
    capability: str | None = None
    url: str | None = None


class ConditionReport(Value):
    """One word about one condition.

    Attributes:
        repository: which repository it concerns.
        source: whose format it came in.
        group_key: conditions with the same are one incident.
        fingerprint: tells conditions of a group apart.
        event: the sender's id of this very report, where it has one: a repeat is dropped.
        at: when the condition began to be as it is, by the sender's clock.
        firing: whether something is wrong.
        unseen: whether the sender left conditions out; None: it does not tell.
        opens_on_recovery: whether a recovery alone says that something had begun. False for
            senders that report the end of what they never reported the beginning of.
        renotifies: whether the sender says of what goes on that it fires, by moments of their own.
        said: everything else.
    """

    repository: Repository
    source: str
    group_key: str
    fingerprint: str
    event: str | None = None
    at: Instant
    firing: bool
    unseen: bool | None = None
    opens_on_recovery: bool = True
    renotifies: bool = False
    said: Said

    @property
    def group(self) -> str:
        """The group's key in the records."""
        named = f"{self.repository.id}\n{self.source}\n{self.group_key}"
        return hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()[:32]


class Condition(Value):
    """The newest word about one condition, and when we heard it (None: before this was kept)."""

    fingerprint: str
    at: Instant
    firing: bool
    said: Said
    heard_at: Instant | None = None


class ConditionGroup(Value):
    """A group of conditions. `received` counts reports; `run` is the Run that follows it."""

    id: str
    repository_id: int
    source: str
    group_key: str
    title: str
    episode: int
    followed: bool
    unseen: bool
    received: int
    run: str
    conditions: tuple[Condition, ...] = ()

    @property
    def is_clear(self) -> bool:
        """Whether every condition has cleared; what is unseen may still be wrong."""
        return not self.unseen and not any(each.firing for each in self.conditions)


class GroupMoved(Value):
    """A group about which something new was said; `begins` where a Run has to follow it."""

    group: ConditionGroup
    repository: Repository
    begins: bool


def supersedes(report: ConditionReport, known: Condition | None, now: datetime) -> bool:
    """Whether a report that is heard now tells more than what is known of its condition."""
    if known is None:
        return True
    if (report.at, not report.firing) > (known.at, not known.firing):
        return True
    if known.at - now > TOO_FAR_AHEAD and report.at <= now:
        # Until that moment no word by a right clock would count.
        return True
    fires_again = report.firing and not known.firing
    return fires_again and (known.heard_at is None or now - known.heard_at >= WELL_AFTER)


async def take(
    conn: AsyncConnection, reports: Sequence[ConditionReport], *, at: datetime
) -> list[GroupMoved]:
    """Take reports in; a repeat or an older word changes nothing but the count.

    A group that nobody follows begins a new episode when one of its conditions fires, when the last
    one clears while its incident is open still, or when it is heard of for the first time: who only
    hears of the end knows that it had begun, unless the sender reports ends of what it did not
    report (`ConditionReport.opens_on_recovery`). What a person cancelled begins no other one while
    its senders only say again what they had said.

    Returns:
        The groups about which there is news. Whoever begins following one says so by `follow`.
    """
    fresh = await _without_repeats(conn, reports, at)
    by_group: dict[str, list[ConditionReport]] = {}
    for report in fresh:
        by_group.setdefault(report.group, []).append(report)
    if not by_group:
        return []
    known = await _locked(conn, by_group)
    moved = []
    for id_, told in by_group.items():
        before = known[id_]
        after, changed = _merged(before, told, at)
        is_first = before.episode == 0 and any(report.opens_on_recovery for report in told)
        begins = not before.followed and (
            is_first or await _begins_again(conn, before, after, told, changed, at)
        )
        if begins:
            after = after.model_copy(update={"episode": before.episode + 1, "followed": True})
        await _store(conn, after, changed)
        if begins or (before.followed and _is_news(before, after)):
            moved.append(GroupMoved(group=after, repository=told[-1].repository, begins=begins))
    return moved


async def follow(conn: AsyncConnection, group: str, run: str) -> None:
    """Note which Run follows a group's present episode from now on."""
    await conn.execute(
        sa.update(alert_groups).where(alert_groups.c.id == group).values(run=run, followed=True)
    )


async def find(conn: AsyncConnection, group: str, *, lock: bool = False) -> ConditionGroup | None:
    """Read a group with its conditions; with `lock`, nobody changes it until the commit."""
    query = sa.select(alert_groups).where(alert_groups.c.id == group)
    row = (await conn.execute(query.with_for_update() if lock else query)).first()
    if row is None:
        return None
    conditions = await _conditions(conn, [group])
    return _group(row, conditions.get(group, ()))


async def let_go(conn: AsyncConnection, group: str) -> None:
    """Nobody follows the group any more: what fires next begins a new episode."""
    await conn.execute(
        sa.update(alert_groups).where(alert_groups.c.id == group).values(followed=False)
    )


async def _begins_again(
    conn: AsyncConnection,
    before: ConditionGroup,
    after: ConditionGroup,
    told: Sequence[ConditionReport],
    changed: Mapping[str, Condition],
    at: datetime,
) -> bool:
    """Whether a group that nobody follows, and that was heard of before, is to be followed."""
    if before.is_clear and after.is_clear:
        return False
    latest = await incidents.latest_about(conn, after.repository_id, KIND, subject_of(after.id))
    if after.is_clear:
        return latest is not None and latest.is_open
    if latest is None or latest.status is not IncidentStatus.DECLINED:
        return True
    was = {each.fingerprint: each for each in before.conditions}
    is_recent = latest.closed_at is not None and at - latest.closed_at <= REOPEN_WINDOW
    repeated = {each.fingerprint for each in told if each.renotifies and is_recent}

    def is_new(now: Condition) -> bool:
        known = was.get(now.fingerprint)
        if known is None or not known.firing or now.fingerprint not in repeated:
            return now.firing
        return now.firing and now.said.severity.rank > known.said.severity.rank

    return any(is_new(each) for each in changed.values())


def _is_news(before: ConditionGroup, after: ConditionGroup) -> bool:
    """Whether whoever follows the group should look at once; the rest is seen in time."""
    return before.is_clear != after.is_clear or _severities(before) != _severities(after)


def _severities(group: ConditionGroup) -> set[Severity]:
    return {each.said.severity for each in group.conditions if each.firing}


def _merged(
    before: ConditionGroup, told: Sequence[ConditionReport], now: datetime
) -> tuple[ConditionGroup, dict[str, Condition]]:
    conditions = {each.fingerprint: each for each in before.conditions}
    changed: dict[str, Condition] = {}
    unseen, title = before.unseen, before.title
    for report in told:
        unseen = unseen if report.unseen is None else report.unseen
        if supersedes(report, conditions.get(report.fingerprint), now):
            condition = Condition(
                fingerprint=report.fingerprint,
                at=report.at,
                firing=report.firing,
                said=report.said,
                heard_at=now,
            )
            conditions[report.fingerprint] = changed[report.fingerprint] = condition
            title = title or report.said.title
    after = before.model_copy(
        update={
            "conditions": tuple(conditions.values()),
            "unseen": unseen,
            "title": title,
            "received": before.received + len(told),
        }
    )
    return after, changed


async def _without_repeats(
    conn: AsyncConnection, reports: Sequence[ConditionReport], at: datetime
) -> list[ConditionReport]:
    named = {
        (each.repository.id, _kept_key(each.event)): each
        for each in reports
        if each.event is not None
    }
    if not named:
        return list(reports)
    insert = insert_into(conn)(alert_events).values(
        [{"repository_id": id_, "key": key, "received_at": at} for id_, key in named]
    )
    rows = await conn.execute(
        insert.on_conflict_do_nothing().returning(alert_events.c.repository_id, alert_events.c.key)
    )
    new = {(row.repository_id, row.key) for row in rows}
    first = [named[key] for key in named if key in new]
    return [each for each in reports if each.event is None] + first


async def _locked(
    conn: AsyncConnection, told: dict[str, list[ConditionReport]]
) -> dict[str, ConditionGroup]:
    # The rows must be there before they can be locked, in one order for all.
    rows = [
        {
            "id": id_,
            "repository_id": reports[0].repository.id,
            "source": reports[0].source,
            "group_key": _kept_key(reports[0].group_key),
            "title": "",
            "episode": 0,
            "followed": False,
            "unseen": False,
            "received": 0,
            "run": "",
        }
        for id_, reports in sorted(told.items())
    ]
    await conn.execute(insert_into(conn)(alert_groups).values(rows).on_conflict_do_nothing())
    query = (
        sa.select(alert_groups)
        .where(alert_groups.c.id.in_(sorted(told)))
        .order_by(alert_groups.c.id)
        .with_for_update()
    )
    found = (await conn.execute(query)).all()
    conditions = await _conditions(conn, list(told))
    return {row.id: _group(row, conditions.get(row.id, ())) for row in found}


async def _conditions(
    conn: AsyncConnection, groups: Sequence[str]
) -> dict[str, tuple[Condition, ...]]:
    query = (
        sa.select(alert_conditions)
        .where(alert_conditions.c.group_id.in_(groups))
        .order_by(alert_conditions.c.group_id, alert_conditions.c.fingerprint)
    )
    found: dict[str, list[Condition]] = {}
    for row in await conn.execute(query):
        condition = Condition(
            fingerprint=row.fingerprint,
            at=row.at,
            firing=row.firing,
            said=row.said,
            heard_at=row.heard_at,
        )
        found.setdefault(row.group_id, []).append(condition)
    return {group: tuple(each) for group, each in found.items()}


async def _store(
    conn: AsyncConnection, group: ConditionGroup, changed: dict[str, Condition]
) -> None:
    values = group.model_dump(include={"title", "episode", "followed", "unseen", "received"})
    await conn.execute(
        sa.update(alert_groups).where(alert_groups.c.id == group.id).values(**values)
    )
    if not changed:
        return
    rows = [
        {
            "group_id": group.id,
            "fingerprint": each.fingerprint,
            "at": each.at,
            "firing": each.firing,
            "said": each.said.model_dump(mode="json"),
            "heard_at": each.heard_at,
        }
        for each in changed.values()
    ]
    insert = insert_into(conn)(alert_conditions).values(rows)
    await conn.execute(
        insert.on_conflict_do_update(
            index_elements=[alert_conditions.c.group_id, alert_conditions.c.fingerprint],
            set_={name: insert.excluded[name] for name in ("at", "firing", "said", "heard_at")},
        )
    )


def _kept_key(key: str) -> str:
    """The key, or its beginning and its hash where it is too long to be kept or indexed."""
    # PostgreSQL keeps no NUL characters.
    key = key.replace("\x00", "\ufffd")
    if len(key) <= _LONGEST_KEY:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
    return f"{key[:_LONGEST_KEY]}… sha256:{digest}"


def _group(row: sa.Row[Any], conditions: tuple[Condition, ...]) -> ConditionGroup:
    return ConditionGroup.model_validate({**dict(row._mapping), "conditions": conditions})
