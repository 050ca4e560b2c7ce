"""Splits a capability's traffic, and keeps the flag document in step."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.canary.baseline import FrozenBaseline
from bot.canary.counters import CounterSource
from bot.github.client import RepositoryClient
from bot.playbooks.incident import record_files
from bot.playbooks.incident.record_files import BroughtHome, RecordFile
from bot.playbooks.rollout.capability import CapabilitySettings, lift_latch
from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.records import runs
from bot.records.branch_record import RecordStore
from bot.records.lifecycle import RunState
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.allocation import Decided
from bot.traffic.flagd import Allocation, Split, flag_document, written
from bot.triggers import OURSELVES


async def document(records: AsyncEngine, repository_id: int) -> str:
    """Write the document of a repository as it is served now."""
    async with records.connect() as conn:
        return written(flag_document(await allocation.of_repository(conn, repository_id)))


async def commit(
    github: RepositoryClient,
    store: RecordStore,
    records: AsyncEngine,
    repository_id: int,
    path: str,
    message: str,
    *,
    look_first: bool,
) -> BroughtHome:
    """Commit the document to the default branch, or to the rolling pull request of outcomes."""
    rules = await github.branch_rules((await github.about()).default_branch)
    file = RecordFile(path=path, content=await document(records, repository_id))
    return await record_files.bring_home(
        github, store, [file], message, rules=rules, look_first=look_first
    )


class TrafficControl:
    """Moves the traffic of one capability while a candidate is on trial."""

    def __init__(
        self, run: Run, repository_id: int, attempt: str, plan: CapabilitySettings
    ) -> None:
        """Take it in hand; nothing is moved yet."""
        self._run = run
        self._repository = repository_id
        self._attempt = attempt
        self._settled = plan

    async def open(
        self,
        step: Step,
        split: Split,
        now: datetime,
        *,
        asked_for: str,
        why: str,
        frozen: FrozenBaseline | None = None,
        source: CounterSource | None = None,
    ) -> None:
        """Open the ledger, and serve the first split.

        Args:
            step: what this is called among the Run's steps.
            split: what is served from now on.
            now: the time.
            asked_for: why a latch left by a rollback may be lifted.
            why: the split is served.
            frozen: what the shadow taught of the baseline; None: this is the shadow.
            source: the counters it is judged by; None: observations that clients report.

        Raises:
            StepFailed: the capability is paused, or has another shadow or ramp.
        """
        plan = self._settled

        async def change(conn: AsyncConnection) -> Allocation:
            await runs.move(conn, self._run.id, RunState.VERIFYING, at=now)
            await lift_latch(conn, self._repository, plan.capability, at=now, why=asked_for)
            await ledgers.open_log(
                conn,
                attempt=self._attempt,
                run_id=self._run.id,
                repository_id=self._repository,
                capability=plan.capability,
                policy=plan.policy,
                frozen=frozen,
                source=source,
                at=now,
            )
            return await self.serve(conn, split, now, why)

        await self._run.write(step, Allocation, change)

    async def close(self, step: Step, split: Split, now: datetime, *, why: str) -> bool:
        """Close the ledger although nothing is wrong, and serve this; False if it is over."""

        async def change(conn: AsyncConnection) -> bool:
            ledger = await ledgers.locked(conn, self._attempt)
            if ledger.closed_at is not None:
                return False
            await ledgers.close(conn, self._attempt, at=now)
            await self.serve(conn, split, now, why)
            return True

        return await self._run.write(step, bool, change)

    async def serve(
        self, conn: AsyncConnection, split: Split, now: datetime, why: str
    ) -> Allocation:
        """Serve a split from now on, within the caller's transaction."""
        return await allocation.set_traffic(
            conn,
            self._repository,
            self._settled.capability,
            split,
            Decided(
                at=now,
                actor=OURSELVES.login,
                why=why,
                run=self._run.id,
                incident=self._attempt,
            ),
        )
