"""The page of budgets and caps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from aiohttp import web

from bot.cockpit.permissions import VisibleRepository
from bot.cockpit.request import AccessRule, PageRoute, Visit
from bot.cockpit.scoped_records import ScopedRecords
from bot.config import Config
from bot.errors import Passing
from bot.github.errors import GitHubError
from bot.limits import BudgetLimit
from bot.records.budgets import BudgetState, window_end
from bot.safety.budgets import WORDS, every_budget
from bot.triggers import Repository

log = structlog.get_logger(__name__)
_PATIENCE = 3.0
"""Seconds to wait for a configuration that is not known yet."""


@dataclass(frozen=True)
class WindowUse:
    """One budget or cap in its present window; `share` is of its limit, more than 1 if over it."""

    seen: VisibleRepository
    name: str
    used: str
    limit: str
    share: float
    state: BudgetState
    window: str
    is_cap: bool
    ends_at: datetime


class Spending:
    """Reads balances; what is configured says which there are."""

    def __init__(self, config_of: Callable[[Repository], Awaitable[Config]]) -> None:
        """`config_of` gives the configuration in force."""
        self._config_of = config_of

    async def read(
        self,
        window: ScopedRecords,
        seen: Sequence[VisibleRepository],
        now: datetime,
        *,
        unused: bool = False,
    ) -> tuple[WindowUse, ...]:
        """Read the configured budgets of these repositories, and their caps, the fullest first.

        Args:
            window: the records.
            seen: the repositories; each costs a question to GitHub, now and then.
            now: the time.
            unused: whether to read the caps as well that nothing was drawn on.
        """
        configs = await asyncio.gather(*(self._config(each.repository) for each in seen))
        found = []
        for each, config in zip(seen, configs, strict=True):
            if config is None:
                continue
            for name, budget in every_budget(config).items():
                balance = await window.balance(each.repository.id, budget, now)
                limit = config.budgets.get(name)
                if limit is None and not balance.used and not unused:
                    continue
                found.append(
                    WindowUse(
                        seen=each,
                        name=WORDS.get(name, name),
                        used=_said(limit, balance.used),
                        limit=_said(limit, budget.limit),
                        share=balance.used / budget.limit if budget.limit else 1.0,
                        state=balance.state,
                        window=budget.window,
                        is_cap=limit is None,
                        ends_at=window_end(budget.window, now),
                    )
                )
        return tuple(sorted(found, key=lambda spent: -spent.share))

    async def _config(self, repository: Repository) -> Config | None:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._config_of(repository)
        except (TimeoutError, Passing, GitHubError) as fault:
            log.warning("no budgets to show", repository=repository.full_name, why=str(fault))
            return None


def _said(limit: BudgetLimit | None, units: int) -> str:
    return f"{units:,}" if limit is None else f"{limit.said(units)} {limit.unit}"


PER_PAGE = 12
"""Repositories: each is asked for its configuration."""


class BudgetPages:
    """`/ui/budgets`."""

    def __init__(self, spending: Spending) -> None:
        """Show what `spending` reads."""
        self._spending = spending

    def routes(self) -> tuple[PageRoute, ...]:
        """Its address."""
        return (PageRoute("GET", "/budgets", self.page, AccessRule.SIGNED_IN),)

    async def page(self, visit: Visit) -> web.StreamResponse:
        """Show the budgets of some repositories, by name, from the one that follows `after`."""
        sight, chosen = visit.narrowed()
        after = visit.query.get("after", "").lower()
        named = sorted(sight.seen.values(), key=lambda each: each.repository.full_name.lower())
        left = [each for each in named if each.repository.full_name.lower() > after]
        shown = left[:PER_PAGE]
        async with visit.window(sight) as window:
            spent = await self._spending.read(window, shown, visit.now, unused=True)
        return visit.page(
            "budgets.html",
            chosen=chosen,
            shown=[(each, [one for one in spent if one.seen is each]) for each in shown],
            more=shown[-1].repository.full_name if len(left) > len(shown) else None,
            total=len(named),
        )
