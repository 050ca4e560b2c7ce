"""Who is served by whom just now: the shares of each capability, and changes of them.

Every function works inside the caller's transaction and never commits. What is committed is
served at once: whoever answers a client reads the newest rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.canary.policy import Provider
from bot.records.audit import chain
from bot.records.database import insert_into, reading
from bot.records.lifecycle import RecordError
from bot.records.tables.traffic import flag_documents, servings
from bot.traffic.flagd import Allocation, Split, check_flags, flag_document


class CandidatePaused(RecordError):
    """The capability is paused: no candidate gets anything until somebody lifts the pause."""


class AttemptOver(RecordError):
    """Another shadow or ramp has the capability now, or it was taken back to the baseline."""


@dataclass(frozen=True)
class Decided:
    """Who decided about the traffic, when and why: for whoever reads it later.

    Attributes:
        at: when (UTC).
        actor: who.
        why: in words for people.
        run: the Run that decided, if one did.
        incident: what it belongs to.
    """

    at: datetime
    actor: str
    why: str
    run: str | None = None
    incident: str | None = None


async def find(conn: AsyncConnection, repository_id: int, capability: str) -> Allocation | None:
    """Read who serves a capability; None: nothing was ever decided, so its baseline does."""
    query = (
        sa.select(servings)
        .where(servings.c.repository_id == repository_id, servings.c.capability == capability)
        .order_by(servings.c.generation.desc())
        .limit(1)
    )
    row = (await conn.execute(query)).first()
    return None if row is None else _serving(row)


async def of_repository(conn: AsyncConnection, repository_id: int) -> list[Allocation]:
    """Read who serves each capability of a repository, by the capability's name."""
    return await of_repositories(conn, [repository_id])


async def of_repositories(
    conn: AsyncConnection, repository_ids: Collection[int]
) -> list[Allocation]:
    """Read who serves each capability of these repositories, by repository and name."""
    same = servings.alias()
    newest = sa.select(sa.func.max(same.c.generation)).where(
        same.c.repository_id == servings.c.repository_id,
        same.c.capability == servings.c.capability,
    )
    query = (
        sa.select(servings)
        .where(
            servings.c.repository_id.in_(repository_ids),
            servings.c.generation == newest.scalar_subquery(),
        )
        .order_by(servings.c.repository_id, servings.c.capability)
    )
    return [_serving(row) for row in await conn.execute(query)]


async def history(conn: AsyncConnection, repository_id: int, capability: str) -> list[Allocation]:
    """Read every change of who serves a capability, oldest first."""
    query = (
        sa.select(servings)
        .where(servings.c.repository_id == repository_id, servings.c.capability == capability)
        .order_by(servings.c.generation)
    )
    return [_serving(row) for row in await conn.execute(query)]


async def of_attempt(conn: AsyncConnection, attempt: str) -> list[Allocation]:
    """Read what a shadow or ramp had served, oldest first."""
    query = sa.select(servings).where(servings.c.attempt == attempt).order_by(servings.c.generation)
    return [_serving(row) for row in await conn.execute(query)]


async def set_traffic(
    conn: AsyncConnection,
    repository_id: int,
    capability: str,
    split: Split,
    decided: Decided,
    *,
    above: int = 0,
) -> Allocation:
    """Decide who serves a capability from now on. The same split again changes nothing.

    Its audit entry is appended: make this the transaction's last statement.

    Args:
        conn: the caller's transaction.
        repository_id: whose capability.
        capability: its name.
        split: how requests are split.
        decided: by whom, when and why.
        above: the new generation is above this one; give the committed document's, so that it
            never looks newer than what is served.

    Raises:
        CandidatePaused: the split favours a candidate while the capability is paused.
        AttemptOver: the split's attempt came to its end, or another ramp is in force.
    """
    await _lock(conn, repository_id)
    now = await find(conn, repository_id, capability)
    if now is not None and now.split == split and now.generation > above:
        return now
    if now is not None and now.paused is not None and split.favours_candidate:
        raise CandidatePaused(
            f"{capability} is paused ({now.paused}): lift the pause before a candidate gets traffic"
        )
    await _hold_to_its_turn(conn, now, split)
    return await _add(
        conn,
        Allocation(
            repository_id=repository_id,
            capability=capability,
            generation=max(await _generation(conn, repository_id), above) + 1,
            split=split,
            paused=None if now is None else now.paused,
            actor=decided.actor,
            why=decided.why,
            at=decided.at,
        ),
        action="traffic.set",
        decided=decided,
    )


async def pause(
    conn: AsyncConnection,
    repository_id: int,
    capability: str,
    decided: Decided,
    *,
    baseline: Provider,
    above: int = 0,
) -> Allocation:
    """Give everything to the baseline, and latch it there until `lift_pause`.

    A paused capability stays as it is: the first reason is kept. Its audit entry is appended:
    make this the transaction's last statement.

    Args:
        conn: the caller's transaction.
        repository_id: whose capability.
        capability: its name.
        decided: by whom, when and why.
        baseline: who serves where nothing was ever decided; else the one in force does.
        above: as for `set_traffic`.
    """
    await _lock(conn, repository_id)
    now = await find(conn, repository_id, capability)
    split = Split(baseline=baseline) if now is None else at_baseline(now.split)
    if now is not None and now.paused and now.split == split and now.generation > above:
        return now
    return await _add(
        conn,
        Allocation(
            repository_id=repository_id,
            capability=capability,
            generation=max(await _generation(conn, repository_id), above) + 1,
            split=split,
            paused=(now.paused if now else None) or decided.why,
            actor=decided.actor,
            why=decided.why,
            at=decided.at,
        ),
        action="traffic.paused",
        decided=decided,
    )


async def lift_pause(
    conn: AsyncConnection,
    repository_id: int,
    capability: str,
    decided: Decided,
) -> Allocation | None:
    """Let candidates get traffic again; the split stays. None: nothing was ever decided.

    Its audit entry is appended: make this the transaction's last statement.
    """
    await _lock(conn, repository_id)
    now = await find(conn, repository_id, capability)
    if now is None or now.paused is None:
        return now
    generation = await _generation(conn, repository_id) + 1
    lifted = now.model_copy(
        update={
            "generation": generation,
            "paused": None,
            "actor": decided.actor,
            "why": decided.why,
            "at": decided.at,
        }
    )
    return await _add(conn, lifted, action="traffic.unpaused", decided=decided)


async def renew(conn: AsyncConnection, serving: Allocation, *, above: int) -> Allocation:
    """Decide the same again under a newer generation, where `above` is not below the present one.

    Nothing changes but the number, so there is no audit entry of its own.
    """
    await _lock(conn, serving.repository_id)
    newest = await _generation(conn, serving.repository_id)
    if newest > above:
        return serving
    renewed = serving.model_copy(update={"generation": above + 1})
    await _insert(conn, renewed)
    return renewed


def at_baseline(split: Split) -> Split:
    """The same capability with nobody on trial."""
    return Split(baseline=split.baseline, salt=split.salt)


async def _hold_to_its_turn(conn: AsyncConnection, now: Allocation | None, split: Split) -> None:
    """Refuse an attempt that came to its end: a Run that lagged behind must not ramp again."""
    if split.attempt is None or now is None or now.split.attempt == split.attempt:
        return
    if now.split.mode == "ramp":
        raise AttemptOver(f"{now.capability} is in the hands of another ramp, {now.split.attempt}")
    if await of_attempt(conn, split.attempt):
        raise AttemptOver(f"{split.attempt} is over: {now.why}")


async def _lock(conn: AsyncConnection, repository_id: int) -> None:
    # The row must exist before it can be locked, also for a repository's first change.
    insert = insert_into(conn)
    first = insert(flag_documents).values(repository_id=repository_id, generation=0)
    await conn.execute(first.on_conflict_do_nothing())
    await _generation(conn, repository_id)


async def _generation(conn: AsyncConnection, repository_id: int) -> int:
    query = sa.select(flag_documents.c.generation).where(
        flag_documents.c.repository_id == repository_id
    )
    return int((await conn.execute(query.with_for_update())).scalar_one())


async def _add(
    conn: AsyncConnection, serving: Allocation, *, action: str, decided: Decided
) -> Allocation:
    await _insert(conn, serving)
    await chain.append(
        conn,
        serving.repository_id,
        action,
        actor=serving.actor,
        at=serving.at,
        incident=decided.incident,
        run=decided.run,
        refs={"capability": serving.capability, "generation": serving.generation},
        data={"split": serving.split.model_dump(mode="json"), "why": serving.why},
    )
    return serving


async def _insert(conn: AsyncConnection, serving: Allocation) -> None:
    check_flags(flag_document([serving]))
    await conn.execute(
        sa.insert(servings).values(
            repository_id=serving.repository_id,
            generation=serving.generation,
            capability=serving.capability,
            attempt=serving.split.attempt,
            split=serving.split.model_dump(mode="json"),
            paused=serving.paused,
            actor=serving.actor,
            why=serving.why,
            at=serving.at,
        )
    )
    await conn.execute(
        sa.update(flag_documents)
        .where(flag_documents.c.repository_id == serving.repository_id)
        .values(generation=serving.generation)
    )


def _serving(row: sa.Row[Any]) -> Allocation:
    columns = dict(row._mapping)
    del columns["attempt"]
    return Allocation.model_validate(columns)


class NewestAllocations:
    """Clients that ask at the same time share one read, which begins after all of them asked."""

    def __init__(self, database: AsyncEngine) -> None:
        """Read from the records database."""
        self._database = reading(database)
        self._under_way: dict[int, asyncio.Task[Sequence[Allocation]]] = {}
        self._next: dict[int, asyncio.Task[Sequence[Allocation]]] = {}

    async def servings(self, repository_id: int) -> Sequence[Allocation]:
        """Who serves each capability of a repository now."""
        waiting = self._next.get(repository_id)
        if waiting is None:
            waiting = asyncio.create_task(self._read(repository_id))
            self._next[repository_id] = waiting
        return await asyncio.shield(waiting)

    async def _read(self, repository_id: int) -> Sequence[Allocation]:
        before = self._under_way.get(repository_id)
        if before is not None:
            await asyncio.wait([before])
        self._under_way[repository_id] = self._next.pop(repository_id)
        async with self._database.connect() as conn:
            return await of_repository(conn, repository_id)
