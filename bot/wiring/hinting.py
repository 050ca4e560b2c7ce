"""Who is told that something changed on GitHub: the Runs that watch it, and the keepers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.intake.github.meanings import Hint
from bot.records.recovery import runs
from bot.safety.flag_keeper import FlagSync
from bot.safety.gatekeeper import GateReporter
from bot.safety.records_keeper import RecordsBranch
from bot.specs.keeper import SpecReports
from bot.triggers import Repository

log = structlog.get_logger(__name__)


_OUR_RECORDS = "refs/heads/playbooks/"
"""No configuration counts there, and nothing is merged from there without a pull request."""


class RunHints:
    """Passes hints on. A hint only says "look again": to lose one costs time, never work."""

    def __init__(
        self,
        records: AsyncEngine,
        *,
        specs: SpecReports,
        gatekeeper: GateReporter,
        flag_keeper: FlagSync,
        records_keeper: RecordsBranch,
        hint: Callable[[str], Awaitable[None]],
        serves: Callable[[Repository], Awaitable[bool]],
        is_known: Callable[[Repository], bool],
    ) -> None:
        """Prepare.

        Args:
            records: say which Runs watch what.
            specs: keeps spec reports.
            gatekeeper: keeps the gate.
            flag_keeper: keeps flag documents.
            records_keeper: keeps records branches.
            hint: wakes one Run.
            serves: whether the App is installed somewhere; may ask GitHub.
            is_known: the same, where that is known without asking.
        """
        self._records = records
        self._specs = specs
        self._gatekeeper = gatekeeper
        self._flag_keeper = flag_keeper
        self._records_keeper = records_keeper
        self._hint = hint
        self._serves = serves
        self._is_known = is_known
        self._asking: set[asyncio.Task[None]] = set()

    async def pass_on(self, hint: Hint) -> None:
        """Wake whoever watches what a delivery was about, where the App is installed."""
        if self._is_known(hint.repository):
            return await self._pass_on(hint)
        # GitHub waits for an answer meanwhile: whether it is one of ours is asked beside.
        asking = asyncio.create_task(self._if_served(hint), name="hint")
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        return None

    async def _if_served(self, hint: Hint) -> None:
        try:
            if await self._serves(hint.repository):
                await self._pass_on(hint)
            else:
                log.debug(
                    "a hint from where the App is not installed",
                    repository=hint.repository.full_name,
                )
        except Exception:
            log.exception("a hint was lost; the Run will look again by itself")

    async def _pass_on(self, hint: Hint) -> None:
        self._specs.heard(
            hint.repository, hint.pull_requests, hint.head_sha, outsider=hint.outsider
        )
        self._stir_keepers(hint)
        heads = {sha for sha in (hint.head_sha, hint.former_sha) if sha is not None}
        async with self._records.connect() as conn:
            woken = await runs.watching(
                conn, hint.repository.id, heads=heads, pull_requests=hint.pull_requests
            )
        for run in woken:
            await self._hint(run)

    def _stir_keepers(self, hint: Hint) -> None:
        ref = hint.ref or ""
        if hint.head_sha and "gh-readonly-queue/" in ref:
            self._gatekeeper.merge_group(hint.repository, hint.head_sha, ref)
        elif ref.startswith("refs/heads/"):
            if not ref.startswith(_OUR_RECORDS):
                self._gatekeeper.pushed(hint.repository)
            self._flag_keeper.pushed(hint.repository)
            self._records_keeper.pushed(hint.repository, ref)
        elif hint.about_pull_request:
            self._gatekeeper.pull_request(
                hint.repository,
                hint.pull_requests,
                hint.labels,
                by_outsider=hint.outsider is not None,
            )
        else:
            self._gatekeeper.stirred(hint.repository)
