"""What a budget's state says as a signal: 80% warns, 100% is an incident, and who spent it.

A budget is looked at as it is, not as it changed: looking again, on another replica or after a
crash, says the same thing, and what was said already is dropped by its name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from cachetools import LRUCache
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.config import Config
from bot.limits import BudgetLimit
from bot.records import budgets
from bot.records.alerts import ConditionReport, Said
from bot.records.budgets import Balance, BudgetState, window_start
from bot.records.database import reading
from bot.safety.caps import budget as budget_of
from bot.safety.caps import watched
from bot.safety.severity import BudgetUse, severity_of
from bot.safety.trial_caps import trial_reports
from bot.triggers import OURSELVES, Repository, Severity

_A_MOMENT = timedelta(microseconds=1)


class ReportSink(Protocol):
    """Stores reports before it returns."""

    async def __call__(self, reports: Sequence[ConditionReport], sender: str) -> None:
        """Take reports in."""


class Overruns:
    """Looks at the budgets of a repository and passes on what they say."""

    def __init__(
        self, records: AsyncEngine, take: ReportSink, clock: Callable[[], datetime]
    ) -> None:
        """Prepare; `take` is where signals go."""
        self._records = records
        self._take = take
        self._clock = clock
        self._said: LRUCache[tuple[int, str | None], None] = LRUCache(10_000)

    async def look(self, repository: Repository, config: Config) -> None:
        """Say what every configured budget is worth saying now; nothing twice."""
        now, reports = self._clock(), []
        async with reading(self._records).connect() as conn:
            for name, limit in watched(config).items():
                budget = budget_of(name, limit)
                balance = await budgets.balance_of(conn, repository.id, budget, now)
                if balance.state is not BudgetState.OK:
                    spent = await budgets.attributed(conn, repository.id, budget, now)
                    reports.append(overrun(repository, limit, balance, spent, now))
                    continue
                before = window_start(limit.window, now) - _A_MOMENT
                earlier = await budgets.balance_of(conn, repository.id, budget, before)
                if earlier.state is not BudgetState.OK:
                    began = window_start(limit.window, now)
                    reports += [over(repository, each, began) for each in _levels(earlier)]
            reports += await trial_reports(conn, repository, config.caps, now)
        news = [each for each in reports if (repository.id, each.event) not in self._said]
        if news:
            await self._take(news, OURSELVES.login)
            self._said.update(dict.fromkeys((repository.id, each.event) for each in news))


Look = Callable[[Repository, Config], Awaitable[None]]


def overrun(
    repository: Repository,
    limit: BudgetLimit,
    balance: Balance,
    spent: Mapping[str, int],
    now: datetime,
) -> ConditionReport:
    """What a budget that is nearly or wholly used up says.

    Args:
        repository: whose it is.
        limit: the budget as configured.
        balance: how full it is.
        spent: in this window, by what it was attributed to.
        now: the time.
    """
    most, used = balance.budget.limit, balance.used
    share = used / most if most else float(used > 0) + 1.0
    # A tenth of the limit beyond it is news; every cent is not.
    beyond = min((used - most) * 10 // (most or 1), 90)
    step = 8 if balance.state is BudgetState.WARNING else 10 + beyond
    severity = severity_of(BudgetUse(share=share, still_spending=step > 10)) or Severity.LOW
    name, window = balance.budget.name, balance.budget.window
    exhausted = balance.state is BudgetState.EXHAUSTED
    return ConditionReport(
        repository=repository,
        source="budgets",
        group_key=_group(balance),
        fingerprint="use",
        event=f"{name} {balance.began_at.isoformat()} {step}",
        at=now,
        firing=True,
        said=Said(
            title=f"the budget {name} is {'used up' if exhausted else 'nearly used up'} for this "
            f"{window}: {limit.said(used)} of {limit.said(most)} {limit.unit}",
            severity=severity,
            signal="budget.overrun",
            **(_blamed(spent, used, most) if exhausted else {}),
        ),
    )


def over(repository: Repository, earlier: Balance, began: datetime) -> ConditionReport:
    """What a budget says when a new window has begun."""
    name = earlier.budget.name
    return ConditionReport(
        repository=repository,
        source="budgets",
        group_key=_group(earlier),
        fingerprint="use",
        event=f"{name} {earlier.began_at.isoformat()} {earlier.state} over",
        at=began,
        firing=False,
        said=Said(
            title=f"the budget {name} is open again: a new {earlier.budget.window} has begun",
            severity=Severity.LOW,
            signal="budget.overrun",
        ),
    )


def _group(balance: Balance) -> str:
    """A warning and an overrun are two things: the second is judged afresh."""
    return f"budget {balance.budget.name} {balance.state}"


def _levels(balance: Balance) -> tuple[Balance, ...]:
    """What a budget may have said in its window: that it was nearly, and that it was used up."""
    if balance.state is BudgetState.WARNING:
        return (balance,)
    nearly = balance.model_copy(update={"spent": balance.budget.limit - 1, "reserved": 0})
    return (nearly, balance) if nearly.state is BudgetState.WARNING else (balance,)


def _blamed(spent: Mapping[str, int], used: int, limit: int) -> dict[str, Any]:
    """The one change without which the budget would not be used up; nothing where none is."""
    guilty = [cause for cause, amount in spent.items() if used - amount < limit]
    if not guilty:
        return {}
    kind, _, name = max(guilty, key=lambda cause: (spent[cause], cause)).partition(":")
    return {"pull_request": int(name)} if kind == "pull_request" else {"commit": name}
