"""A shop whose evals really run, as jobs of GitHub Actions: they can be run again."""

from __future__ import annotations

from typing import Any

from bot.playbooks.incident.record_files import commit_edits
from bot.records import pauses
from bot.records.audit import chain
from bot.records.pauses import Pause
from bot.traffic.flagd import flag_document, written
from tests.playbooks.revert.landings import seen
from tests.shop import Shop

WORKFLOW = """name: evals
on: [push]
jobs:
  evals:
    steps:
      - uses: actions/checkout@v4
      - run: COMMAND
"""
STEADY = "test ! -e broken"
FLAKY = 'test ! -e flaky || test "$GITHUB_RUN_ATTEMPT" != 1'
CONFIG = """checks:
  smoke: [smoke]
  evals: [evals]
  slo: [slo]
  safety: [safety]
"""


async def with_evals(
    shop: Shop, command: str = STEADY, *, config: str = CONFIG, job: str = "evals"
) -> None:
    """Give the shop its evals and a past in which they passed."""
    workflow = WORKFLOW.replace("COMMAND", command).replace("  evals:", f"  {job}:")
    files: dict[str, str | None] = {
        ".github/workflows/evals.yml": workflow,
        ".github/playbooks.yml": config,
    }
    await shop.alice.push("main", files, "Evaluate")
    await evaluated(shop, job)
    await shop.alice.push("main", {"notes.txt": "all is well\n"}, "Write a note")
    await evaluated(shop, job)


async def evaluated(shop: Shop, job: str = "evals") -> str | None:
    """Wait until the evals on main have ended; their conclusion."""
    head = await shop.alice.head("main")

    async def ended() -> str | None:
        return (await shop.alice.check_runs(head)).get(job)

    return str(await shop.eventually(ended))


async def breaks(shop: Shop, *labels: str, file: str = "broken") -> int:
    """Bob merges a pull request that breaks the evals; its number."""
    number = await shop.bob.open_pull_request(
        "Cheaper prompts", {file: "yes\n"}, branch=f"cheaper-{shop.repository.name}"
    )
    if labels:
        await shop.alice.label(number, *labels)
    await shop.bob.merge(number)
    return number


async def flags_committed(shop: Shop) -> None:
    """The bot commits a flag document to main, as a ramp does."""
    github = shop.bot.github.repository(seen(shop), playbook="flags")
    document = written(flag_document([]))
    await commit_edits(
        github, "main", {"flags/flagd.json": lambda _: document}, "Flags: 5%\n\n[skip ci]",
        start="main",
    )  # fmt: skip


async def judged(shop: Shop) -> Any:
    """Wait until a check was judged; the last judgement in the audit chain."""
    return await audited(shop, "check.judged")


async def audited(shop: Shop, action: str) -> Any:
    """Wait until this is in the audit chain; the last such entry."""

    async def last() -> Any:
        async with shop.bot.read_only.connect() as conn:
            entries = await chain.read(conn, shop.repository.id)
        found = [e for e in entries if getattr(e, "action", "") == action]
        return found[-1] if found else None

    return await shop.eventually(last)


async def self_work_pause(shop: Shop) -> Pause | None:
    """The pause of self-work in force."""
    async with shop.bot.read_only.connect() as conn:
        return await pauses.in_force(conn, shop.repository.id, "self-work")
