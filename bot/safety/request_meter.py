"""Requests to GitHub as a budget of each repository: reserved before, settled after.

A request is no place for a transaction of its own: each process reserves some dozens at once and
settles them when they are used or their hour is over. What a crash leaves reserved counts as used
until then. Recovery, and telling people what happened, are counted and never refused.

What people without rights cause, by pull requests from forks, is in no cap: they could pause
self-work and have a Founder called. It has a share of its own, counted by each process.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.github.errors import RateLimited
from bot.limits import Caps
from bot.records import budgets
from bot.records.budgets import Budget, window_end, window_start
from bot.safety.budgets import requests

SHARE = 50
"""The part of the hour's limit that is reserved at once: a fiftieth."""

OUTSIDERS = 10
"""The part of the hour's limit that may be sent besides for people without rights: a tenth."""
EACH = 4
"""The part of that which one of them may cause: a quarter, so that three others get theirs."""

log = structlog.get_logger(__name__)


@dataclass
class _Outsiders:
    """What outsiders have caused in one repository in one hour."""

    began: datetime
    by: Counter[str] = field(default_factory=Counter)


@dataclass
class _Lease:
    """Requests set aside: in which window, under which key, how many, and how many are used."""

    budget: Budget
    began: datetime
    key: str
    amount: int
    used: int = 0
    reserved: bool = True
    """False for what recovery takes beyond the limit: it is booked as spent."""


class RequestMeter:
    """Counts requests against the cap of each repository."""

    def __init__(
        self, records: AsyncEngine, clock: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        """Prepare; `new_id` names what is reserved."""
        self._records = records
        self._clock = clock
        self._new_id = new_id
        self._limits: dict[int, Budget] = {}
        self._leases: dict[int, _Lease] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._outsiders: dict[int, _Outsiders] = {}

    def limit(self, repository_id: int, caps: Caps) -> None:
        """Learn a repository's cap; until then the default is taken."""
        self._limits[repository_id] = requests(caps)

    async def take(self, repository_id: int, *, recovery: bool) -> None:
        """Count one request that is about to be sent.

        Raises:
            RateLimited: the hour's cap is reached, and this is no recovery.
        """
        async with self._locks.setdefault(repository_id, asyncio.Lock()):
            now = self._clock()
            lease = self._leases.get(repository_id)
            if lease is None or lease.used >= lease.amount or _is_over(lease, now):
                await self._settle(repository_id)
                lease = await self._lease(repository_id, now, recovery=recovery)
            if not lease.reserved and not recovery:
                raise _used_up(lease, now)
            lease.used += 1

    def give_back(self, repository_id: int) -> None:
        """GitHub does not charge what had not changed."""
        lease = self._leases.get(repository_id)
        if lease is not None and lease.used:
            lease.used -= 1

    def take_for(self, outsider: str, repository_id: int) -> None:
        """Count one request that the work of somebody without rights causes.

        Raises:
            RateLimited: theirs, or what all of them have, is used up for this hour.
        """
        if not self.has_room_for(outsider, repository_id):
            until = window_end("hour", self._clock())
            raise RateLimited(
                f"What is done for commits in forks is used up for this hour; it goes on at "
                f"{until:%H:%M} UTC.",
                until=until,
            )
        self._caused(repository_id)[outsider] += 1

    def give_back_of(self, outsider: str, repository_id: int) -> None:
        """GitHub does not charge what had not changed."""
        caused = self._caused(repository_id)
        if caused[outsider]:
            caused[outsider] -= 1

    def has_room_for(self, outsider: str, repository_id: int) -> bool:
        """Tell whether one more would be let pass."""
        limit = (self._limits.get(repository_id) or requests(Caps())).limit
        share, caused = limit // OUTSIDERS, self._caused(repository_id)
        return caused.total() < share and caused[outsider] < max(1, share // EACH)

    def _caused(self, repository_id: int) -> Counter[str]:
        began = window_start("hour", self._clock())
        known = self._outsiders.get(repository_id)
        if known is None or known.began != began:
            known = self._outsiders[repository_id] = _Outsiders(began)
        return known.by

    async def close(self) -> None:
        """Settle what is reserved."""
        for repository_id in [*self._leases]:
            await self._settle(repository_id)

    async def _lease(self, repository_id: int, now: datetime, *, recovery: bool) -> _Lease:
        budget = self._limits.get(repository_id) or requests(Caps())
        key, began = f"requests:{self._new_id()}", window_start(budget.window, now)
        amount = max(1, budget.limit // SHARE)
        async with self._records.begin() as conn:
            held = await budgets.reserve(conn, repository_id, budget, key, amount, now)
        lease = _Lease(budget, began, key, amount, reserved=held is not None)
        if held is None and not recovery:
            raise _used_up(lease, now)
        self._leases[repository_id] = lease
        return lease

    async def _settle(self, repository_id: int) -> None:
        lease = self._leases.pop(repository_id, None)
        if lease is None:
            return
        async with self._records.begin() as conn:
            if lease.reserved:
                await budgets.settle(conn, repository_id, lease.budget, lease.key, lease.used)
            elif lease.used:
                await budgets.spend(
                    conn, repository_id, lease.budget, lease.key, lease.used, lease.began
                )


def _is_over(lease: _Lease, now: datetime) -> bool:
    return window_start(lease.budget.window, now) != lease.began


def _used_up(lease: _Lease, now: datetime) -> RateLimited:
    until = window_end(lease.budget.window, now)
    return RateLimited(
        f"The cap of {lease.budget.limit} GitHub requests an hour is reached "
        f"(`caps.github_requests_an_hour`); other work than recovery goes on at {until:%H:%M} UTC.",
        until=until,
    )
