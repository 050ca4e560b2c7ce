"""The log of what was observed of one rollout, in its order, and how its entries are packed.

Entries are numbered under a lock, so what is learnt from them does not depend on who reads them
when: a reader that died begins again from a checkpoint and comes to the same digits. Every
function works inside the caller's transaction and never commits.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.canary.baseline import FrozenBaseline
from bot.canary.counters import Counted, CounterSource
from bot.canary.judge import Breach, Continue, Hold, Promote, Verdict
from bot.canary.observations import Observation
from bot.canary.policy import Policy
from bot.records.database import insert_into
from bot.records.lifecycle import RecordError, UnknownRecord
from bot.records.tables.columns import Instant
from bot.records.tables.traffic import evidence, evidence_checkpoints, evidence_entries
from bot.triggers import Value

_LEVEL = 1
_KEPT = 256
_OBSERVATIONS = TypeAdapter(tuple[Observation, ...])


def pack(observations: Sequence[Observation]) -> bytes:
    """Write accepted observations as one JSON array, compressed."""
    written = _OBSERVATIONS.dump_json(tuple(observations), exclude_none=True)
    return zlib.compress(written, _LEVEL)


def unpack(content: bytes) -> Sequence[Observation]:
    """Read what `pack` wrote."""
    return _OBSERVATIONS.validate_json(zlib.decompress(content))


def pack_counts(counted: Counted) -> bytes:
    """Write a reading of counters, compressed."""
    return zlib.compress(counted.model_dump_json().encode(), _LEVEL)


def unpack_counts(content: bytes) -> Counted:
    """Read what `pack_counts` wrote."""
    return Counted.model_validate_json(zlib.decompress(content))


class BreachFound(Value):
    """Why a candidate must go; see `Breach`."""

    metric: str
    evidence: str
    log_e: float | None = None
    limit: float | None = None
    also: tuple[str, ...] = ()

    @classmethod
    def of(cls, breach: Breach) -> BreachFound:
        """Write a breach down."""
        return cls(
            metric=breach.metric,
            evidence=breach.evidence,
            log_e=breach.log_e,
            limit=breach.limit,
            also=breach.also,
        )

    @property
    def verdict(self) -> Breach:
        """The breach as it was judged."""
        return Breach(self.metric, self.evidence, self.log_e, self.limit, self.also)


class Judged(Value):
    """A verdict.

    Attributes:
        kind: what is concluded.
        reasons: what is missing for a promotion, or why it is held; a sentence each.
        percent: the next split, where it is promoted; None: there is none left.
        breach: what was crossed.
        notices: what people should know besides, a sentence or two each.
    """

    kind: Literal["continue", "hold", "breach", "promote"]
    reasons: tuple[str, ...] = ()
    percent: int | None = None
    breach: BreachFound | None = None
    notices: tuple[str, ...] = ()

    @classmethod
    def of(cls, verdict: Verdict) -> Judged:
        """Write a verdict down."""
        match verdict:
            case Continue(waiting, notices):
                return cls(kind="continue", reasons=waiting, notices=notices)
            case Hold(reasons, notices):
                return cls(kind="hold", reasons=reasons, notices=notices)
            case Breach():
                found = BreachFound.of(verdict)
                return cls(kind="breach", reasons=(found.evidence,), breach=found)
            case Promote(percent):
                return cls(kind="promote", percent=percent)

    @property
    def verdict(self) -> Verdict:
        """The verdict as it was judged."""
        if self.breach is not None:
            return self.breach.verdict
        match self.kind:
            case "hold":
                return Hold(self.reasons, self.notices)
            case "promote":
                return Promote(self.percent)
            case _:
                return Continue(self.reasons, self.notices)


GENESIS = "0" * 64
"""The digest of a ledger without entries."""

Trial = Literal["shadow", "ramp"]
Kind = Literal["observations", "counts", "phase"]


class AlreadyUnderWay(RecordError):
    """The capability has a shadow or ramp already."""


class EvidenceLogClosed(RecordError):
    """The shadow or ramp is over: nothing counts any more."""


class EvidenceLog(Value):
    """The head of a ledger.

    Attributes:
        attempt: the shadow's or ramp's id.
        run_id: the Run that carries it out, and is woken.
        repository_id: whose capability.
        capability: its name.
        mode: shadow or ramp.
        policy: the one it started with.
        frozen: what the shadow taught; None in a shadow.
        source: the counters it is judged by; None: observations that clients report.
        phase: index of the ramp's phase; 0 in a shadow.
        entered_at: since when.
        seq: the last entry's number; 0: none yet.
        digest: of all entries that count, each hashed with the digest before it (hex SHA-256).
        opened_at: when it began.
        seen_at: when the last observation was accepted.
        closed_at: when it ended.
        closed_seq: the last entry that counts.
        breach: why it ended, if by a breach.
    """

    attempt: str
    run_id: str
    repository_id: int
    capability: str
    mode: Trial
    policy: Policy
    frozen: FrozenBaseline | None
    source: CounterSource | None
    phase: int
    entered_at: Instant
    seq: int
    digest: str
    opened_at: Instant
    seen_at: Instant | None
    closed_at: Instant | None
    closed_seq: int | None
    breach: BreachFound | None

    @property
    def last(self) -> int:
        """The number of the last entry that counts."""
        return self.seq if self.closed_seq is None else self.closed_seq


class LogEntry(Value):
    """One entry: observations, counts from Prometheus, or that a phase was entered."""

    seq: int
    kind: Kind
    at: Instant
    content: bytes


async def open_log(
    conn: AsyncConnection,
    *,
    attempt: str,
    run_id: str,
    repository_id: int,
    capability: str,
    policy: Policy,
    at: datetime,
    frozen: FrozenBaseline | None = None,
    source: CounterSource | None = None,
) -> EvidenceLog:
    """Begin to take observations: of a ramp where the baseline is `frozen`, else of a shadow.

    The same attempt again finds its ledger.

    Raises:
        AlreadyUnderWay: the capability has another shadow or ramp.
    """
    insert = insert_into(conn)
    await conn.execute(
        insert(evidence)
        .values(
            attempt=attempt,
            run_id=run_id,
            repository_id=repository_id,
            capability=capability,
            mode="shadow" if frozen is None else "ramp",
            policy=policy.model_dump_json(),
            frozen=None if frozen is None else frozen.model_dump_json(),
            source=None if source is None else source.model_dump_json(),
            phase=0,
            entered_at=at,
            seq=0,
            digest=GENESIS,
            opened_at=at,
        )
        .on_conflict_do_nothing()
    )
    found = await find(conn, attempt)
    if found is None:
        raise AlreadyUnderWay(f"{capability} has a shadow or ramp under way already")
    return found


# Asked all the time, and made once: to make a query takes longer than to find nothing.
_ONE = sa.select(evidence).where(evidence.c.attempt == sa.bindparam("attempt"))
_IS_OPEN = evidence.c.closed_at.is_(None)
_OPEN = sa.select(evidence).where(_IS_OPEN).order_by(evidence.c.attempt)
_OPEN_THERE = _OPEN.where(evidence.c.repository_id == sa.bindparam("repository_id"))
_COUNTED = _OPEN.where(evidence.c.source.is_not(None))
_UNDER_WAY = sa.select(evidence.c.attempt).where(_IS_OPEN)


async def find(conn: AsyncConnection, attempt: str) -> EvidenceLog | None:
    """Read a ledger's head."""
    row = (await conn.execute(_ONE, {"attempt": attempt})).first()
    return None if row is None else _ledger(row)


async def open_ones(conn: AsyncConnection, repository_id: int | None = None) -> list[EvidenceLog]:
    """Read the ledgers that still take observations, of one repository or of all."""
    if repository_id is None:
        return [_ledger(row) for row in await conn.execute(_OPEN)]
    rows = await conn.execute(_OPEN_THERE, {"repository_id": repository_id})
    return [_ledger(row) for row in rows]


async def with_counters(conn: AsyncConnection) -> list[EvidenceLog]:
    """Read the open ledgers, of all repositories, that are fed from counters."""
    return [_ledger(row) for row in await conn.execute(_COUNTED)]


async def under_way(conn: AsyncConnection) -> set[str]:
    """Read the attempts whose ledgers are open, of all repositories."""
    return set(await conn.scalars(_UNDER_WAY))


async def newest(
    conn: AsyncConnection, repositories: Collection[int], *, limit: int, beyond: int = 0
) -> list[EvidenceLog]:
    """Read the ledgers of these repositories: the open ones, then the newest of the others.

    Those `beyond` so many.
    """
    query = (
        sa.select(evidence)
        .where(evidence.c.repository_id.in_(repositories))
        .order_by(
            evidence.c.closed_at.is_not(None), evidence.c.opened_at.desc(), evidence.c.attempt
        )
        .limit(limit)
        .offset(beyond)
    )
    return [_ledger(row) for row in await conn.execute(query)]


async def count_open(conn: AsyncConnection, repositories: Collection[int]) -> int:
    """Count the ledgers of these repositories that are not over."""
    is_open = evidence.c.repository_id.in_(repositories), evidence.c.closed_at.is_(None)
    query = sa.select(sa.func.count()).select_from(evidence).where(*is_open)
    return int((await conn.execute(query)).scalar_one())


async def locked(conn: AsyncConnection, attempt: str) -> EvidenceLog:
    """Read a ledger's head and keep others from adding until the transaction ends.

    Raises:
        UnknownRecord: there is no such ledger.
    """
    query = sa.select(evidence).where(evidence.c.attempt == attempt).with_for_update()
    row = (await conn.execute(query)).first()
    if row is None:
        raise UnknownRecord(f"nothing is observed for {attempt}")
    return _ledger(row)


async def append(
    conn: AsyncConnection, ledger: EvidenceLog, kind: Kind, content: bytes, *, at: datetime
) -> EvidenceLog:
    """Add an entry to a ledger read by `locked`.

    Raises:
        EvidenceLogClosed: it is over.
    """
    if ledger.closed_at is not None:
        raise EvidenceLogClosed(f"{ledger.attempt} is over: nothing counts any more")
    seq = ledger.seq + 1
    link = bytes.fromhex(ledger.digest) + f"{kind}\n".encode() + content
    digest = hashlib.sha256(link).hexdigest()
    changes: dict[str, Any] = {"seq": seq, "digest": digest}
    if kind != "phase":
        changes["seen_at"] = at
    await conn.execute(
        sa.insert(evidence_entries).values(
            attempt=ledger.attempt, seq=seq, kind=kind, at=at, content=content, digest=digest
        )
    )
    await _change(conn, ledger.attempt, changes)
    seen_at = ledger.seen_at if kind == "phase" else at
    return ledger.model_copy(update={"seq": seq, "digest": digest, "seen_at": seen_at})


async def enter_phase(
    conn: AsyncConnection, attempt: str, phase: int, *, at: datetime
) -> EvidenceLog:
    """Note that a ramp's split is that of phase `phase` now (from 0). Twice changes nothing.

    Raises:
        UnknownRecord: there is no such ledger.
        EvidenceLogClosed: the ramp is over.
    """
    ledger = await locked(conn, attempt)
    if ledger.phase >= phase:
        return ledger
    ledger = await append(conn, ledger, "phase", str(phase).encode(), at=at)
    changes = {"phase": phase, "entered_at": at}
    await _change(conn, attempt, changes)
    return ledger.model_copy(update={"phase": phase, "entered_at": at})


async def close(
    conn: AsyncConnection,
    attempt: str,
    *,
    at: datetime,
    seq: int | None = None,
    breach: BreachFound | None = None,
) -> EvidenceLog:
    """End a ledger; what ended it first stays.

    Args:
        conn: the caller's transaction.
        attempt: which.
        at: now.
        seq: the last entry that counts; None: all that are there.
        breach: why, if by a breach.

    Raises:
        UnknownRecord: there is no such ledger.
    """
    ledger = await locked(conn, attempt)
    if ledger.closed_at is not None:
        return ledger
    last = ledger.seq if seq is None else seq
    digest = ledger.digest if last == ledger.seq else await _digest_at(conn, attempt, last)
    closed = ledger.model_copy(
        update={"closed_at": at, "closed_seq": last, "digest": digest, "breach": breach}
    )
    said = None if breach is None else breach.model_dump(mode="json")
    changes = {"closed_at": at, "closed_seq": last, "digest": digest, "breach": said}
    await _change(conn, attempt, changes)
    return closed


async def entries(
    conn: AsyncConnection, attempt: str, *, after: int, until: int, limit: int = 50
) -> Sequence[LogEntry]:
    """Read up to `limit` entries in their order, those that follow `after` up to `until`."""
    query = (
        sa.select(evidence_entries)
        .where(
            evidence_entries.c.attempt == attempt,
            evidence_entries.c.seq > after,
            evidence_entries.c.seq <= until,
        )
        .order_by(evidence_entries.c.seq)
        .limit(limit)
    )
    rows = (await conn.execute(query)).all()
    return [_entry(row) for row in rows]


async def last_of_kind(conn: AsyncConnection, attempt: str, kind: Kind) -> LogEntry | None:
    """Read the last entry of a kind."""
    query = (
        sa.select(evidence_entries)
        .where(evidence_entries.c.attempt == attempt, evidence_entries.c.kind == kind)
        .order_by(evidence_entries.c.seq.desc())
        .limit(1)
    )
    row = (await conn.execute(query)).first()
    return None if row is None else _entry(row)


async def checkpoint(conn: AsyncConnection, attempt: str) -> tuple[int, bytes] | None:
    """Read what was learnt so far, and from how many entries."""
    query = sa.select(evidence_checkpoints).where(evidence_checkpoints.c.attempt == attempt)
    row = (await conn.execute(query)).first()
    return None if row is None else (row.seq, bytes(row.content))


async def save_checkpoint(conn: AsyncConnection, attempt: str, seq: int, content: bytes) -> None:
    """Keep what was learnt from the entries up to `seq`; an older one never replaces a newer."""
    insert = insert_into(conn)
    await conn.execute(
        insert(evidence_checkpoints)
        .values(attempt=attempt, seq=seq, content=content)
        .on_conflict_do_update(
            index_elements=[evidence_checkpoints.c.attempt],
            set_={"seq": seq, "content": content},
            where=evidence_checkpoints.c.seq < seq,
        )
    )


async def prune(conn: AsyncConnection, *, now: datetime, keep: timedelta) -> int:
    """Forget entries older than `keep` that a checkpoint holds; how many.

    The last counts stay: the next ones are counted from there.
    """
    covered = (
        sa.select(evidence_checkpoints.c.seq)
        .where(evidence_checkpoints.c.attempt == evidence_entries.c.attempt)
        .scalar_subquery()
    )
    others = evidence_entries.alias()
    last_counts = (
        sa.select(sa.func.coalesce(sa.func.max(others.c.seq), 0))
        .where(others.c.attempt == evidence_entries.c.attempt, others.c.kind == "counts")
        .scalar_subquery()
    )
    done = await conn.execute(
        sa.delete(evidence_entries).where(
            evidence_entries.c.at < now - keep,
            evidence_entries.c.seq <= covered,
            evidence_entries.c.seq != last_counts,
        )
    )
    return done.rowcount


async def _change(conn: AsyncConnection, attempt: str, changes: dict[str, Any]) -> None:
    await conn.execute(sa.update(evidence).where(evidence.c.attempt == attempt).values(**changes))


async def _digest_at(conn: AsyncConnection, attempt: str, seq: int) -> str:
    if seq == 0:
        return GENESIS
    query = sa.select(evidence_entries.c.digest).where(
        evidence_entries.c.attempt == attempt, evidence_entries.c.seq == seq
    )
    return str((await conn.execute(query)).scalar_one())


def _entry(row: sa.Row[Any]) -> LogEntry:
    return LogEntry(seq=row.seq, kind=row.kind, at=row.at, content=bytes(row.content))


def _ledger(row: sa.Row[Any]) -> EvidenceLog:
    columns = dict(row._mapping)
    for name, kind in _OPENED_WITH.items():
        if columns[name] is not None:
            columns[name] = _parsed(kind, columns[name])
    return EvidenceLog.model_validate(columns)


_OPENED_WITH: dict[str, type[BaseModel]] = {
    "policy": Policy, "frozen": FrozenBaseline, "source": CounterSource,
}  # fmt: skip


# What a ledger was opened with never changes, and it is read at every look.
@lru_cache(_KEPT)
def _parsed(kind: type[BaseModel], text: str) -> BaseModel:
    return kind.model_validate_json(text)
