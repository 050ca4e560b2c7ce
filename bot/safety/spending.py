"""Using what is limited: caps by the bot itself, budgets by whoever reports what was spent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records import budgets, pauses
from bot.records.audit import chain
from bot.records.budgets import Budget, BudgetChange, BudgetState
from bot.records.pauses import PauseKind, Pausing
from bot.safety.admission import AdmissionFacts, Initiative
from bot.safety.caps import said
from bot.triggers import SELF_WORK, Repository, Trigger


async def draw(conn: AsyncConnection, trigger: Trigger, facts: AdmissionFacts, at: datetime) -> str:
    """Count the beginning of a playbook against its caps.

    What a person asks for is counted, and never refused.

    Returns:
        The cap that is reached, in words; an empty text where it may begin.
    """
    repository = trigger.repository.id
    for cap in facts.draws_on:
        if facts.initiative is Initiative.PERSON:
            await budgets.spend(conn, repository, cap, trigger.key, 1, at)
            continue
        if await budgets.reserve(conn, repository, cap, trigger.key, 1, at) is None:
            return said(cap)
        await budgets.settle(conn, repository, cap, trigger.key, 1)
    return ""


async def book(
    conn: AsyncConnection,
    repository: Repository,
    budget: Budget,
    *,
    key: str,
    amount: int,
    by: str,
    at: datetime,
    attributed_to: str | None = None,
) -> BudgetChange:
    """Book what was spent of a budget; where it is used up now, self-work is paused with it.

    Make it the transaction's last statement.

    Args:
        conn: the caller's transaction.
        repository: whose budget.
        budget: with its limit as of now.
        key: what makes this report this one.
        amount: in the smallest units.
        by: who reports it.
        at: now.
        attributed_to: the merged change that spent it, if somebody knows.
    """
    change = await budgets.spend(
        conn, repository.id, budget, key, amount, at, attributed_to=attributed_to
    )
    if not change.booked:
        return change
    if change.crossed is not None:
        await chain.append(
            conn,
            repository.id,
            f"budget.{change.crossed}",
            actor=by,
            at=at,
            refs={"budget": budget.name, "attributed_to": attributed_to},
            data={"spent": change.balance.spent, "limit": budget.limit},
        )
    if change.crossed is BudgetState.EXHAUSTED:
        wish = Pausing(
            key=f"budget:{key}",
            repository_id=repository.id,
            scope=SELF_WORK,
            kind=PauseKind.THRESHOLD,
            reason=f"the budget {budget.name} is used up for this {budget.window}",
            by=by,
            at=at,
        )
        await pauses.pause(conn, wish)
    return change
