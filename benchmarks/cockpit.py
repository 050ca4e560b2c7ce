"""How quick are the pages with 200 open and 10,000 closed incidents, and how much do they send?

    python benchmarks/cockpit.py [--visits N] [--open N] [--closed N]

The whole bot on the demo GitHub, over HTTP on loopback, one visitor. Times are from the request to
the last byte; bytes are what is sent without compression.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles

import aiohttp
import sqlalchemy as sa
import structlog

from bot.records.audit import chain
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.tables import recovery
from bot.triggers import Repository, Severity, derived_id
from demo.stage import NAME, OWNER, Stage

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.cockpit.house import House
from tests.cockpit.visitor import Visitor

_AT_ONCE = 100


async def fill(house: House, opened: int, closed: int) -> None:
    """Write incidents as they lie after years: rows, Runs, and their audit entries."""
    now, repository = house.now, house.repository
    total = opened + closed
    for start in range(0, total, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, total))
        async with house.records.begin() as conn:
            rows = [_row(repository, n, now, is_open=n < opened) for n in numbers]
            await conn.execute(sa.insert(recovery.incidents), [row for row, _ in rows])
            await conn.execute(sa.insert(recovery.runs), [run for _, run in rows])
            for row, _ in rows:
                for action in ("incident.opened", "hotfix.opened", "incident.resolved"):
                    await chain.append(
                        conn, repository.id, action, actor="alice", at=row["detected_at"],
                        incident=row["id"], run=row["id"], refs={"pull_request": row["issue"]},
                    )  # fmt: skip


def _row(
    repository: Repository, number: int, now: datetime, *, is_open: bool
) -> tuple[dict[str, object], dict[str, object]]:
    at = now - (timedelta(minutes=number + 1) if is_open else timedelta(hours=number // 4 + 9))
    identity = derived_id(f"bench:{number}", at)
    mitigated, resolved = at + timedelta(minutes=6), at + timedelta(minutes=11)
    incident = {
        "id": identity, "repository_id": repository.id, "repository": repository.full_name,
        "kind": "revert", "subject": f"pull_request:{number + 1}",
        "title": f'Revert #{number + 1} "Refactor the till, part {number}"',
        "severity": list(Severity)[number % 4],
        "status": IncidentStatus.ACTIVE if is_open else IncidentStatus.CLOSED,
        "source": "issue_comment", "opened_by": "alice", "alert_count": 1,
        "suspect": f"pull_request:{number + 1}", "detected_at": at, "acknowledged_at": at,
        "mitigated_at": None if is_open else mitigated,
        "resolved_at": None if is_open else resolved,
        "closed_at": None if is_open else resolved, "issue": number + 1, "prs": [number + 2],
        "adr": f"docs/decisions/{identity}.md", "version": 4,
    }  # fmt: skip
    waits = number % 9 == 0
    run = {
        "id": identity, "incident_id": identity, "repository_id": repository.id,
        "playbook": "revert", "playbook_version": 1, "trigger_key": f"bench:{number}",
        "trigger": {}, "inputs": {}, "actor": "alice", "dry_run": False,
        "state": (RunState.AWAITING_APPROVAL if waits else RunState.VERIFYING)
        if is_open else RunState.SUCCEEDED,
        "reason": "two reviews are missing" if is_open and waits else None,
        "created_at": at, "updated_at": at, "finished_at": None if is_open else resolved,
        "version": 3,
    }  # fmt: skip
    return incident, run


async def measure(visits: int, ask: Callable[[], Awaitable[int]]) -> tuple[float, float, int]:
    """Median and 99th percentile in milliseconds, and the bytes of one answer."""
    await ask()
    took, sent = [], 0
    for _ in range(visits):
        began = time.perf_counter()
        sent = await ask()
        took.append(1000 * (time.perf_counter() - began))
    return median(took), quantiles(took, n=100, method="inclusive")[98], sent


async def main() -> None:
    """Fill a house, visit each page, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--visits", type=int, default=100)
    arguments.add_argument("--open", type=int, default=200)
    arguments.add_argument("--closed", type=int, default=10_000)
    given = arguments.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    async with Stage(port=0, seed=1) as stage:
        stage.bot.heartbeat._give_up = lambda: None  # filling takes long; it has no siblings
        [repository] = await stage.bot.served.served()
        house = House(stage.bot.records, repository, datetime.now(UTC))
        began = time.perf_counter()
        await fill(house, given.open, given.closed)
        entries = 3 * (given.open + given.closed)
        print(
            f"{given.open:,} open and {given.closed:,} closed incidents, {entries:,} audit "
            f"entries, written in {time.perf_counter() - began:.0f} s; {given.visits} visits"
        )
        newest = derived_id("bench:0", house.now - timedelta(minutes=1))
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            visitor = Visitor(stage.bot_url, session)
            await visitor.log_in("alice")
            await visitor.get(f"/ui/audit/export?repo={OWNER}/{NAME}")
            pages = {
                "now": "/ui/",
                "now, critical only": "/ui/?severity=critical",
                "incidents": "/ui/incidents",
                "incidents, searched": "/ui/incidents?q=part+9999",
                "incident": f"/ui/incidents/{newest}",
                "ramps": "/ui/ramps",
                "audit": f"/ui/audit?repo={OWNER}/{NAME}",
                "audit, searched": f"/ui/audit?repo={OWNER}/{NAME}&q=hotfix",
                "start": "/ui/start",
                "help": "/ui/help",
            }  # fmt: skip
            print(f"\n{'page':<24}{'median ms':>12}{'p99 ms':>12}{'bytes':>12}")
            for name, path in pages.items():

                async def ask(path: str = path) -> int:
                    page = await visitor.get(path)
                    if page.status != 200:
                        raise SystemExit(f"{path}: {page.status}")
                    return len(page.text.encode())

                middle, tail, sent = await measure(given.visits, ask)
                print(f"{name:<24}{middle:>12.1f}{tail:>12.1f}{sent:>12,}")


if __name__ == "__main__":
    asyncio.run(main())
