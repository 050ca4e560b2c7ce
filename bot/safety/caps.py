"""The bot's own caps as budgets: which there are, and what each playbook draws on them."""

from __future__ import annotations

from decimal import Decimal

from bot.config import Config
from bot.limits import BudgetLimit, Caps
from bot.records.budgets import Budget

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


def budget(name: str, limit: BudgetLimit) -> Budget:
    """A configured budget in its smallest units."""
    return Budget(name=name, limit=limit.units(limit.limit), window=limit.window)


def every_budget(config: Config) -> dict[str, Budget]:
    """The configured budgets, and the caps."""
    named = {name: budget(name, limit) for name, limit in config.budgets.items()}
    return named | caps(config.caps)


def said(cap: Budget) -> str:
    """A cap in words, as in "the cap of 5 reverts a day"."""
    return f"{cap.limit} {WORDS[cap.name]}"
