"""The caps of trials and CI minutes as a signal: 80% warns, once, as it does of a budget.

They are counted over the last 24 hours, not by the calendar. What was said is named by the day, so
that looking again says it once; a cap that was nearly used up when the day began, and is not any
more, is said to be over.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.limits import Caps
from bot.records import trials
from bot.records.alerts import ConditionReport, Said
from bot.records.budgets import WARNING_PERCENT, window_start
from bot.records.trials import TrialUse
from bot.triggers import Repository, Severity


async def trial_reports(
    conn: AsyncConnection, repository: Repository, caps: Caps, now: datetime
) -> list[ConditionReport]:
    """Say which of the two caps is nearly used up, and which no longer is.

    At the cap itself a bisect says so, and asks; self-work is not held for it.
    """
    began = window_start("day", now)
    nearly = _nearly(await trials.use(conn, repository.id, now), caps)
    earlier = _nearly(await trials.use(conn, repository.id, began, until=began), caps)
    warned = [_report(repository, name, began, now, said) for name, said in nearly.items()]
    over = [_report(repository, name, began, began) for name in earlier if name not in nearly]
    return warned + over


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


def _report(
    repository: Repository, name: str, began: datetime, at: datetime, said: str | None = None
) -> ConditionReport:
    title = f"{name} is well below its limit again"
    if said is not None:
        title = f"{name} is nearly used up for the last 24 hours: {said}"
    return ConditionReport(
        repository=repository,
        source="budgets",
        group_key=f"budget {name} warning",
        fingerprint="use",
        event=f"{name} {began.isoformat()}{'' if said is not None else ' over'}",
        at=at,
        firing=said is not None,
        said=Said(title=f"the budget {title}", severity=Severity.LOW, signal="budget.overrun"),
    )
