"""Caps and budgets: what is counted, what is booked, and what follows when one is used up.

They are counted over the last 24 hours, not by the calendar. What was said is named by the day, so
that looking again says it once. What is not so any more, whatever the reason, is said to be over
while an incident about it is open.

A budget is looked at as it is, not as it changed: looking again, on another replica or after a
crash, says the same thing, and what was said already is dropped by its name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from cachetools import LRUCache
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.config import Config
from bot.limits import BudgetLimit, Caps
from bot.records import bisects, budgets, incidents, pauses
from bot.records.alerts import KIND, ConditionReport, Said, subject_of
from bot.records.audit import chain
from bot.records.bisects import TrialUse
from bot.records.budgets import (
    WARNING_PERCENT,
    Balance,
    Budget,
    BudgetChange,
    BudgetState,
    window_start,
)
from bot.records.database import reading
from bot.records.lifecycle import IllegalMove, IncidentStatus
from bot.records.pauses import PauseKind, Pausing
from bot.safety.admission import AdmissionFacts, Initiative
from bot.safety.severity import BudgetUse, severity_of
from bot.triggers import OURSELVES, SELF_WORK, Repository, Severity, Trigger

REVERTS = "cap-reverts"
HOTFIXES = "cap-hotfix-prs"
BISECTS = "cap-bisects"
REQUESTS = "cap-requests"

WORDS = {
    REVERTS: "reverts a day",
    HOTFIXES: "hotfix PRs a day",
    BISECTS: "bisects a day",
    REQUESTS: "GitHub requests an hour",
}

_SOURCE = "budgets"
"""Of what is reported here."""

DRAWN: dict[str, tuple[str, ...]] = {
    "revert": (REVERTS, HOTFIXES),
    "bisect": (BISECTS,),
}
"""By playbook: one of each of these is used by beginning it."""


def caps(config: Caps) -> dict[str, Budget]:
    """Every cap with its limit, by name."""
    limits: dict[str, int] = {
        REVERTS: config.reverts_a_day,
        HOTFIXES: config.hotfix_pull_requests_a_day,
        BISECTS: config.bisects_a_day,
    }
    daily = {name: Budget(name=name, limit=n, window="day") for name, n in limits.items()}
    return daily | {REQUESTS: requests(config)}


def requests(config: Caps) -> Budget:
    """What may be asked of GitHub."""
    return Budget(name=REQUESTS, limit=config.github_requests_an_hour, window="hour")


def watched(config: Config) -> dict[str, BudgetLimit]:
    """What warns when it is nearly used up, and pauses self-work when it is."""
    limit = BudgetLimit(
        unit="requests", limit=Decimal(config.caps.github_requests_an_hour), window="hour"
    )
    return {**config.budgets, REQUESTS: limit}


def as_budget(name: str, limit: BudgetLimit) -> Budget:
    """A configured budget in its smallest units."""
    return Budget(name=name, limit=limit.units(limit.limit), window=limit.window)


def every_budget(config: Config) -> dict[str, Budget]:
    """The configured budgets, and the caps."""
    named = {name: as_budget(name, limit) for name, limit in config.budgets.items()}
    return named | caps(config.caps)


def said(cap: Budget) -> str:
    """A cap in words, as in "the cap of 5 reverts a day"."""
    return f"{cap.limit} {WORDS[cap.name]}"


async def draw(conn: AsyncConnection, trigger: Trigger, facts: AdmissionFacts, at: datetime) -> str:
    """Count the beginning of a playbook against its caps.

    What a person asks for is counted, and never refused.

    Args:
        conn: the caller's transaction.
        trigger: what begins; under its key it is counted once, however often this is called.
        facts: whose idea it was, and the caps that it draws on.
        at: now: it counts in the day or hour of this moment.

    Returns:
        The cap that is reached, in words; an empty text where it may begin.
    """
    repository = trigger.repository.id
    for cap in facts.draws_on:
        if facts.initiative is Initiative.PERSON:
            await budgets.spend(conn, repository, cap, trigger.key, 1, at)
            continue
        if await budgets.reserve(conn, repository, cap, trigger.key, 1, at) is None:
            # It does not begin, so it has used none of the caps before this one either.
            await budgets.give_back(conn, repository, trigger.key)
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

    Raises:
        IllegalMove: the key was booked before, as another report.
    """
    if await budgets.is_entered_elsewhere(conn, repository.id, budget.name, key):
        raise IllegalMove(f"{key} was booked before in another budget")
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


async def trial_reports(
    conn: AsyncConnection, repository: Repository, caps: Caps, now: datetime
) -> list[ConditionReport]:
    """Say which of the two caps is nearly used up.

    At the cap itself a bisect says so, and asks; self-work is not held for it.
    """
    began = window_start("day", now)
    nearly = _nearly(await bisects.trials_used(conn, repository.id, now), caps)
    return [
        ConditionReport(
            repository=repository,
            source=_SOURCE,
            group_key=f"budget {name} {BudgetState.WARNING}",
            fingerprint="use",
            event=f"{name} {began.isoformat()}",
            at=now,
            firing=True,
            said=Said(
                title=f"the budget {name} is nearly used up for the last 24 hours: {said}",
                severity=Severity.LOW,
                signal="budget.overrun",
            ),
        )
        for name, said in nearly.items()
    ]


def _nearly(used: TrialUse, caps: Caps) -> dict[str, str]:
    """The caps of which a day's warning share is used, each with the amounts in words."""
    both = {
        "cap-trials": (used.trials, caps.trials_a_day, "trials"),
        "cap-ci-minutes": (int(used.minutes), caps.ci_minutes_a_day, "CI minutes"),
    }
    return {
        name: f"{amount} of {most} {unit}"
        for name, (amount, most, unit) in both.items()
        if amount * 100 >= most * WARNING_PERCENT
    }


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
                budget = as_budget(name, limit)
                balance = await budgets.balance_of(conn, repository.id, budget, now)
                if balance.state is not BudgetState.OK:
                    spent = await budgets.attributed(conn, repository.id, budget, now)
                    said = overrun(repository, limit, balance, spent, now)
                    reports.append(await _once_more(conn, said))
            reports += await trial_reports(conn, repository, config.caps, now)
            opened = await incidents.list_open(conn, repository.id)
        # What is used up is nearly used up as well.
        still = {each.group_key for each in reports}
        still |= {f"{key.rpartition(' ')[0]} {BudgetState.WARNING}" for key in still}
        for incident in opened:
            ended = over(repository, incident.group_key or "", now)
            if ended.group_key not in still and incident.subject == subject_of(ended.group):
                reports.append(ended)
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
        source=_SOURCE,
        # A warning and an overrun are two things: the second is judged on its own.
        group_key=f"budget {name} {balance.state}",
        fingerprint="use",
        event=f"{name} {balance.began_at.isoformat()} {step} of {most}",
        at=now,
        firing=True,
        renotifies=True,
        said=Said(
            title=f"the budget {name} is {'used up' if exhausted else 'nearly used up'} for this "
            f"{window}: {limit.said(used)} of {limit.said(most)} {limit.unit}",
            severity=severity,
            signal="budget.overrun",
            **(_blamed(spent, used, most) if exhausted else {}),
        ),
    )


def over(repository: Repository, group_key: str, now: datetime) -> ConditionReport:
    """What a budget says that is not used up any more: by a new window, limit or configuration.

    Args:
        repository: whose it was.
        group_key: of what was said before.
        now: the time.
    """
    return ConditionReport(
        repository=repository,
        source=_SOURCE,
        group_key=group_key,
        fingerprint="use",
        event=f"{group_key} over {now:%Y-%m-%dT%H:%M}",
        at=now,
        firing=False,
        said=Said(
            title=f"the {group_key.rpartition(' ')[0]} is open again",
            severity=Severity.LOW,
            signal="budget.overrun",
        ),
    )


async def _once_more(conn: AsyncConnection, said: ConditionReport) -> ConditionReport:
    """Tell a report apart from the same one before its incident was resolved.

    A limit that was raised and put back leaves the budget used up as it was.
    """
    here = said.repository.id
    latest = await incidents.latest_about(conn, here, KIND, subject_of(said.group))
    if latest is None or latest.status is not IncidentStatus.RESOLVED:
        return said
    return said.model_copy(update={"event": f"{said.event} after {latest.resolved_at}"})


def _blamed(spent: Mapping[str, int], used: int, limit: int) -> dict[str, Any]:
    """The one change without which the budget would not be used up; nothing where none is."""
    guilty = [cause for cause, amount in spent.items() if used - amount < limit]
    if not guilty:
        return {}
    kind, _, name = max(guilty, key=lambda cause: (spent[cause], cause)).partition(":")
    return {"pull_request": int(name)} if kind == "pull_request" else {"commit": name}
