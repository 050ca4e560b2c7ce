"""No Run stands still unnoticed: what nobody executes is taken up, what is over is settled.

Three kinds of Runs need somebody to look after them:

- pending ones whose process is gone, or whose code no living replica has any more: taken up by a
  replica that can replay them, through its patches;
- pending ones that this code cannot replay (a newer release began them, and was taken back): they
  wait for that release, and people are told;
- those whose execution has ended although their row says that they are under way, because their
  journal could not be replayed or is lost: settled as failed, and people are told.

Decisions are pure functions; DBOS's tables are read and written here because it offers no call
that looks across versions (dbos 3.4.0).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa
from dbos._utils import INTERNAL_QUEUE_NAME

from bot.playbooks.steps import RETIRED_PATCHES, Patch, Step
from bot.playbooks.stored_steps import step_named

if TYPE_CHECKING:
    from dbos._sys_db import SystemDatabase

BEFORE_CODES = "1"
"""The `application_version` of every deployment before 2026-11-29."""

_UNDER_WAY = ("PENDING", "ENQUEUED", "DELAYED")
_GIVEN_UP = "CANCELLED"
_BROKEN_OFF = ("ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_REMEMBERED_MS = 15 * 24 * 3600 * 1000
"""How long ago a Run that broke off may have begun and still be told of: longer than any waits."""

_PATCHES = frozenset((*Patch, *RETIRED_PATCHES))

Fate = Literal["ours", "leave", "take up", "park"]


@dataclass(frozen=True)
class PendingExecution:
    """One pending execution as DBOS has it."""

    run: str
    executor: str
    code: str
    status: str


def replayable(names: Iterable[str]) -> bool:
    """Tell whether this code knows every step and patch of a journal."""
    return all(map(_is_known, names))


def _is_known(name: str) -> bool:
    kind, _, patches = name.partition(":")
    if kind == Step.FOLLOW_PATCHES.id:
        return _PATCHES.issuperset(filter(None, patches.split(",")))
    return name.startswith("DBOS.") or step_named(name) is not None


def fate(
    execution: PendingExecution,
    *,
    us: str,
    code: str,
    living: Mapping[str, str | None],
    known: bool,
) -> Fate:
    """Decide what becomes of a pending execution.

    Args:
        execution: what is pending.
        us: this replica.
        code: what this replica can replay.
        living: the replicas that are not silent, with what each can replay.
        known: whether this code can replay its journal.
    """
    codes = {each or BEFORE_CODES for replica, each in living.items() if replica != us} | {code}
    if execution.status == "ENQUEUED":
        # Whoever has its code takes it from the queue.
        if execution.code in codes:
            return "leave"
    elif execution.executor == us:
        if execution.code == code:
            return "ours"
    elif execution.executor in living or (execution.code in codes and execution.code != code):
        return "leave"
    return "take up" if known else "park"


class Upkeep:
    """Looks after the executions in DBOS's tables."""

    def __init__(self, system: SystemDatabase, *, us: str, code: str) -> None:
        """Prepare.

        Args:
            system: DBOS's own database.
            us: this replica.
            code: what it can replay.
        """
        self._system = system
        self._us = us
        self._code = code

    async def take_up(self, living: Mapping[str, str | None]) -> tuple[list[str], list[str]]:
        """Take up what nobody else will; the Runs taken, and those that wait for another release.

        Args:
            living: the replicas that are not silent, with what each can replay.
        """
        return await asyncio.to_thread(self._take_up, living)

    def _take_up(self, living: Mapping[str, str | None]) -> tuple[list[str], list[str]]:
        taken, parked = [], []
        with self._system.engine.begin() as connection:
            for each in self._pending(connection):
                known = replayable(self._names(connection, each.run))
                match fate(each, us=self._us, code=self._code, living=living, known=known):
                    case "take up" if self._enqueue(connection, each):
                        taken.append(each.run)
                    case "park":
                        parked.append(each.run)
        return taken, parked

    def _pending(self, connection: sa.Connection) -> list[PendingExecution]:
        """Those that are perhaps nobody's: ours under our own code never are."""
        status = self._system.tables.workflow_status
        query = sa.select(
            status.c.workflow_uuid,
            status.c.executor_id,
            status.c.application_version,
            status.c.status,
        ).where(
            status.c.status.in_(("PENDING", "ENQUEUED")),
            sa.or_(
                status.c.application_version != self._code,
                sa.and_(status.c.status == "PENDING", status.c.executor_id != self._us),
            ),
        )
        return [
            PendingExecution(row[0], row[1] or "", row[2] or BEFORE_CODES, row[3])
            for row in connection.execute(query)
        ]

    def _names(self, connection: sa.Connection, run: str) -> Sequence[str]:
        outputs = self._system.tables.operation_outputs
        query = sa.select(outputs.c.function_name).where(outputs.c.workflow_uuid == run).distinct()
        return connection.execute(query).scalars().all()

    def _enqueue(self, connection: sa.Connection, execution: PendingExecution) -> bool:
        """Put it into the queue of this code, unless somebody else was quicker."""
        status = self._system.tables.workflow_status
        moved = connection.execute(
            sa.update(status)
            .where(
                status.c.workflow_uuid == execution.run,
                status.c.status == execution.status,
                status.c.application_version == execution.code,
                sa.func.coalesce(status.c.executor_id, "") == execution.executor,
            )
            .values(
                status="ENQUEUED",
                application_version=self._code,
                owner_xid=None,
                started_at_epoch_ms=None,
                updated_at=int(time.time() * 1000),
                queue_name=sa.func.coalesce(status.c.queue_name, INTERNAL_QUEUE_NAME),
            )
        )
        return moved.rowcount > 0

    async def over(self, runs: Collection[str]) -> set[str]:
        """Pick those of these Runs whose execution has ended, or is lost."""
        if not runs:
            return set()
        status = self._system.tables.workflow_status

        def read() -> set[str]:
            query = sa.select(status.c.workflow_uuid).where(
                status.c.workflow_uuid.in_(list(runs)), status.c.status.in_(_UNDER_WAY)
            )
            with self._system.engine.connect() as connection:
                return set(runs) - set(connection.execute(query).scalars())

        return await asyncio.to_thread(read)

    async def give_up(self, run: str) -> bool:
        """End what waits for another code; False where nothing does."""
        status = self._system.tables.workflow_status

        def end() -> bool:
            with self._system.engine.begin() as connection:
                ended = connection.execute(
                    sa.update(status)
                    .where(
                        status.c.workflow_uuid == run,
                        status.c.status.in_(_UNDER_WAY),
                        status.c.application_version != self._code,
                    )
                    .values(status=_GIVEN_UP, updated_at=int(time.time() * 1000))
                )
            return ended.rowcount > 0

        return await asyncio.to_thread(end)

    async def given_up(self, runs: Collection[str]) -> set[str]:
        """Pick those of these Runs that `give_up` ended."""
        if not runs:
            return set()
        status = self._system.tables.workflow_status

        def read() -> set[str]:
            query = sa.select(status.c.workflow_uuid).where(
                status.c.workflow_uuid.in_(list(runs)), status.c.status == _GIVEN_UP
            )
            with self._system.engine.connect() as connection:
                return set(connection.execute(query).scalars())

        return await asyncio.to_thread(read)

    async def broken_off(self) -> list[str]:
        """The Runs whose execution broke off without a word in the last two weeks."""
        status = self._system.tables.workflow_status
        since = int(time.time() * 1000) - _REMEMBERED_MS

        def read() -> list[str]:
            query = sa.select(status.c.workflow_uuid).where(
                status.c.status.in_(_BROKEN_OFF), status.c.created_at > since
            )
            with self._system.engine.connect() as connection:
                return list(connection.execute(query).scalars())

        return await asyncio.to_thread(read)
