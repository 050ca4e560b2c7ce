"""What may be spent in a window, and what was: reserved before, settled after.

Amounts are whole numbers of a budget's smallest unit (for money a millionth of it), never floats.
The check and the reservation are one statement under the window row's lock, so that parallel
reservations of several replicas never exceed the limit. Every function works inside the caller's
transaction and never commits.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.database import insert_into
from bot.records.lifecycle import IllegalMove, UnknownRecord
from bot.records.tables.columns import Instant
from bot.records.tables.safety import budget_entries, budget_windows
from bot.triggers import Value

LARGEST = 10**15
"""Units of one amount and of one limit: sums of thousands of them still fit 64 bits."""
WARNING_PERCENT = 80

Window = Literal["hour", "day", "week", "month"]


class BudgetState(StrEnum):
    """How full a budget is, the emptiest first."""

    OK = "ok"
    WARNING = "warning"
    EXHAUSTED = "exhausted"


class Budget(Value):
    """A limit on what may be used within a window (UTC: hours, days, weeks from Monday, months)."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    limit: int = Field(ge=0, le=LARGEST)
    window: Window


class Balance(Value):
    """One budget in one window. What is reserved may still be spent, so it counts."""

    budget: Budget
    began_at: Instant
    reserved: int = Field(ge=0)
    spent: int = Field(ge=0)

    @property
    def used(self) -> int:
        """Units gone or promised."""
        return self.reserved + self.spent

    @property
    def state(self) -> BudgetState:
        """Ok below 80%, warning from there, exhausted when nothing is left."""
        return _state(self.used, self.budget.limit)


class BudgetChange(Value):
    """What one booking did. `crossed` is the state it brought about; None if it was so before."""

    balance: Balance
    crossed: BudgetState | None
    booked: bool = True
    """False where this key was booked before: nothing changed."""


def window_start(window: Window, at: datetime) -> datetime:
    """The beginning of the window a moment falls in."""
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    match window:
        case "hour":
            return hour
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)


def window_end(window: Window, at: datetime) -> datetime:
    """The beginning of the next window."""
    start = window_start(window, at)
    longest = {"hour": 1 / 24, "day": 1, "week": 7, "month": 31}[window]
    return window_start(window, start + timedelta(days=longest))


async def reserve(
    conn: AsyncConnection, repository_id: int, budget: Budget, key: str, amount: int, at: datetime
) -> BudgetChange | None:
    """Set an amount aside before it is spent; None where it does not fit any more.

    Args:
        conn: the caller's transaction.
        repository_id: whose budget.
        budget: the budget with its limit as of now.
        key: what makes this reservation this one: asked for again it is found, not repeated.
        amount: units, more than zero.
        at: now.

    Raises:
        ValueError: the amount is not a whole number from 1 to LARGEST.
    """
    _check(amount)
    began = window_start(budget.window, at)
    await _make_window(conn, repository_id, budget.name, began)
    window = _window(repository_id, budget.name, began)
    if await _entry(conn, repository_id, budget.name, key) is not None:
        balance = await balance_of(conn, repository_id, budget, at)
        return BudgetChange(balance=balance, crossed=None, booked=False)
    fits = budget_windows.c.reserved + budget_windows.c.spent + amount <= budget.limit
    row = (
        await conn.execute(
            sa.update(budget_windows)
            .where(*window, fits)
            .values(reserved=budget_windows.c.reserved + amount)
            .returning(budget_windows)
        )
    ).first()
    if row is None:
        return None
    await conn.execute(
        sa.insert(budget_entries).values(
            repository_id=repository_id, name=budget.name, key=key, began_at=began,
            reserved=amount, spent=None, attributed_to=None, at=at,
        )
    )  # fmt: skip
    return _changed(budget, row, amount)


async def settle(
    conn: AsyncConnection, repository_id: int, budget: Budget, key: str, spent: int
) -> BudgetChange:
    """Say what was really spent of a reservation; settling it again changes nothing.

    More may have been spent than was reserved: that is a fact, and it is booked.

    Raises:
        UnknownRecord: nothing was reserved under this key.
        ValueError: `spent` is not a whole number from 0 to LARGEST.
    """
    if spent != 0:
        _check(spent)
    entry = await _entry(conn, repository_id, budget.name, key)
    if entry is None:
        raise UnknownRecord(f"nothing is reserved as {key} in the budget {budget.name}")
    settled = await conn.execute(
        sa.update(budget_entries)
        .where(
            budget_entries.c.repository_id == repository_id,
            budget_entries.c.name == budget.name,
            budget_entries.c.key == key,
            budget_entries.c.spent.is_(None),
        )
        .values(spent=spent)
    )
    if settled.rowcount == 0:
        balance = await _balance(conn, repository_id, budget, entry.began_at)
        return BudgetChange(balance=balance, crossed=None, booked=False)
    row = (
        await conn.execute(
            sa.update(budget_windows)
            .where(*_window(repository_id, budget.name, entry.began_at))
            .values(
                reserved=budget_windows.c.reserved - entry.reserved,
                spent=budget_windows.c.spent + spent,
            )
            .returning(budget_windows)
        )
    ).one()
    return _changed(budget, row, spent - entry.reserved)


async def spend(
    conn: AsyncConnection,
    repository_id: int,
    budget: Budget,
    key: str,
    amount: int,
    at: datetime,
    *,
    attributed_to: str | None = None,
) -> BudgetChange:
    """Book what somebody else has spent already: it counts even beyond the limit.

    Args:
        conn: the caller's transaction.
        repository_id: whose budget.
        budget: the budget with its limit as of now.
        key: the same again is booked once.
        amount: units, from 0 to LARGEST.
        at: now.
        attributed_to: the merged change that spends it (`pull_request:7` or `commit:SHA`).

    Raises:
        ValueError: the amount is out of bounds.
        IllegalMove: the key was booked before, with another amount or for something else.
    """
    if amount != 0:
        _check(amount)
    began = window_start(budget.window, at)
    await _make_window(conn, repository_id, budget.name, began)
    known = await _entry(conn, repository_id, budget.name, key)
    if known is not None:
        if (known.spent, known.attributed_to) != (amount, attributed_to):
            raise IllegalMove(f"{key} was booked before with other values")
        balance = await _balance(conn, repository_id, budget, known.began_at)
        return BudgetChange(balance=balance, crossed=None, booked=False)
    await conn.execute(
        sa.insert(budget_entries).values(
            repository_id=repository_id, name=budget.name, key=key, began_at=began,
            reserved=0, spent=amount, attributed_to=attributed_to, at=at,
        )
    )  # fmt: skip
    row = (
        await conn.execute(
            sa.update(budget_windows)
            .where(*_window(repository_id, budget.name, began))
            .values(spent=budget_windows.c.spent + amount)
            .returning(budget_windows)
        )
    ).one()
    return _changed(budget, row, amount)


async def give_back(conn: AsyncConnection, repository_id: int, key: str) -> None:
    """Undo every booking and reservation under a key, in all budgets: it was not used after all.

    Doing it again changes nothing.
    """
    booked = sa.select(budget_entries).where(
        budget_entries.c.repository_id == repository_id, budget_entries.c.key == key
    )
    # Always in the same order: two that give back at once never wait for each other in a ring.
    for entry in (await conn.execute(booked.order_by(budget_entries.c.name))).all():
        await _make_window(conn, repository_id, entry.name, entry.began_at)
        gone = await conn.execute(
            sa.delete(budget_entries).where(
                budget_entries.c.repository_id == repository_id,
                budget_entries.c.name == entry.name,
                budget_entries.c.key == key,
            )
        )
        if gone.rowcount == 0:
            continue
        reserved = entry.reserved if entry.spent is None else 0
        await conn.execute(
            sa.update(budget_windows)
            .where(*_window(repository_id, entry.name, entry.began_at))
            .values(
                reserved=budget_windows.c.reserved - reserved,
                spent=budget_windows.c.spent - (entry.spent or 0),
            )
        )


async def attributed(
    conn: AsyncConnection, repository_id: int, budget: Budget, at: datetime
) -> dict[str, int]:
    """Sum what was spent in the window of `at`, by the change it was attributed to."""
    began, total = window_start(budget.window, at), sa.func.sum(budget_entries.c.spent)
    query = (
        sa.select(budget_entries.c.attributed_to, total)
        .where(
            budget_entries.c.repository_id == repository_id,
            budget_entries.c.name == budget.name,
            budget_entries.c.began_at == began,
            budget_entries.c.attributed_to.is_not(None),
        )
        .group_by(budget_entries.c.attributed_to)
    )
    return {str(row[0]): int(row[1] or 0) for row in await conn.execute(query)}


async def balance_of(
    conn: AsyncConnection, repository_id: int, budget: Budget, at: datetime
) -> Balance:
    """Read how full a budget is in the window of `at`."""
    return await _balance(conn, repository_id, budget, window_start(budget.window, at))


async def _balance(
    conn: AsyncConnection, repository_id: int, budget: Budget, began: datetime
) -> Balance:
    query = sa.select(budget_windows).where(*_window(repository_id, budget.name, began))
    row = (await conn.execute(query)).first()
    reserved, spent = (0, 0) if row is None else (row.reserved, row.spent)
    return Balance(budget=budget, began_at=began, reserved=reserved, spent=spent)


async def _make_window(
    conn: AsyncConnection, repository_id: int, name: str, began: datetime
) -> None:
    """Make sure the row is there, and lock it until the transaction ends."""
    insert = insert_into(conn)
    await conn.execute(
        insert(budget_windows)
        .values(repository_id=repository_id, name=name, began_at=began, reserved=0, spent=0)
        .on_conflict_do_nothing()
    )
    lock = sa.select(budget_windows.c.name).where(*_window(repository_id, name, began))
    await conn.execute(lock.with_for_update())


def _window(repository_id: int, name: str, began: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        budget_windows.c.repository_id == repository_id,
        budget_windows.c.name == name,
        budget_windows.c.began_at == began,
    )


async def is_entered(conn: AsyncConnection, repository_id: int, name: str, key: str) -> bool:
    """Tell whether this key was counted against a budget already."""
    return await _entry(conn, repository_id, name, key) is not None


async def is_entered_elsewhere(
    conn: AsyncConnection, repository_id: int, name: str, key: str
) -> bool:
    """Tell whether this key was counted against another budget, or another repository's."""
    query = sa.select(budget_entries.c.key).where(
        budget_entries.c.key == key,
        sa.or_(budget_entries.c.repository_id != repository_id, budget_entries.c.name != name),
    )
    return (await conn.execute(query.limit(1))).first() is not None


async def _entry(
    conn: AsyncConnection, repository_id: int, name: str, key: str
) -> sa.Row[Any] | None:
    query = sa.select(budget_entries).where(
        budget_entries.c.repository_id == repository_id,
        budget_entries.c.name == name,
        budget_entries.c.key == key,
    )
    return (await conn.execute(query)).first()


def _changed(budget: Budget, row: sa.Row[Any], by: int) -> BudgetChange:
    balance = Balance(budget=budget, began_at=row.began_at, reserved=row.reserved, spent=row.spent)
    before = _state(balance.used - by, budget.limit)
    crossed = (
        balance.state
        if list(BudgetState).index(balance.state) > list(BudgetState).index(before)
        else None
    )
    return BudgetChange(balance=balance, crossed=crossed)


def _state(used: int, limit: int) -> BudgetState:
    if used >= limit:
        return BudgetState.EXHAUSTED
    return BudgetState.WARNING if used * 100 >= limit * WARNING_PERCENT else BudgetState.OK


def _check(amount: int) -> None:
    if isinstance(amount, bool) or not isinstance(amount, int) or not 1 <= amount <= LARGEST:
        raise ValueError(f"an amount is a whole number from 1 to {LARGEST}")
