"""The audit chain: what was done, in rows that can only be added and that depend on each other.

One chain per repository. `entry_hash = SHA-256(domain tag ‖ prev_hash ‖ canonical JSON of the
entry)`, the JSON as in RFC 8785. The head row is locked while appending, so that two appends can
never follow the same entry.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import rfc8785
import sqlalchemy as sa
from pydantic import Field, JsonValue, TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records.database import insert_into
from bot.records.tables.columns import Instant, from_rfc3339, rfc3339
from bot.records.tables.safety import audit_entries, audit_heads
from bot.triggers import Value

DOMAIN = b"incident-playbooks/audit/1\x00"
GENESIS = "0" * 64
"""The previous hash of a repository's first entry."""

_LARGEST_EXACT = 2**53 - 1  # RFC 8785, section 3.2.2.3: JSON numbers are doubles
_OBJECT = TypeAdapter(dict[str, JsonValue])


class AuditHead(Value):
    """The end of a repository's chain."""

    repository_id: int
    seq: int = Field(ge=1)
    head_hash: str = Field(pattern=r"^[0-9a-f]{64}$")


class AuditEntry(Value):
    """One link of a chain. `refs` are the things it is about, `data` everything else."""

    repository_id: int
    seq: int
    time: Instant
    actor: str
    action: str
    incident: str | None
    run: str | None
    refs: dict[str, JsonValue]
    data: dict[str, JsonValue]
    prev_hash: str
    entry_hash: str

    @property
    def head(self) -> AuditHead:
        """The chain's end as of this entry."""
        return AuditHead(repository_id=self.repository_id, seq=self.seq, head_hash=self.entry_hash)

    def computed_hash(self) -> str:
        """Compute the hash this entry must have, from everything but its own hash."""
        body = {
            "repository_id": str(self.repository_id),
            "seq": str(self.seq),
            "time": rfc3339(self.time),
            "actor": self.actor,
            "action": self.action,
            "incident": self.incident,
            "run": self.run,
            "refs": self.refs,
            "data": self.data,
        }
        link = DOMAIN + bytes.fromhex(self.prev_hash) + rfc8785.dumps(body)
        return hashlib.sha256(link).hexdigest()


class UnreadableRow(Value):
    """A row that no append could have written; `why` says what is wrong with it."""

    seq: int
    why: str


async def append(
    conn: AsyncConnection,
    repository_id: int,
    action: str,
    *,
    actor: str,
    at: datetime,
    incident: str | None = None,
    run: str | None = None,
    refs: dict[str, JsonValue] | None = None,
    data: dict[str, JsonValue] | None = None,
) -> AuditEntry:
    """Add an entry to a repository's chain. Make it the transaction's last statement.

    The chain's head stays locked until the transaction ends, so nothing slow may follow. Numbers
    beyond 2^53 in `refs` and `data` are written as text.

    Args:
        conn: the caller's transaction, begun by an engine of `open_database`.
        repository_id: whose chain.
        action: what was done, say `incident.opened`.
        actor: who did it.
        at: when.
        incident: the id of the Incident it belongs to.
        run: the id of the Run it belongs to.
        refs: what it is about: commits, pull requests, branches, paths.
        data: everything else worth keeping: reasons, results, seeds.

    Raises:
        ValueError: `refs` or `data` hold a number that is not finite, or text that is no Unicode.
    """
    head = await _locked_head(conn, repository_id)
    unhashed = AuditEntry(
        repository_id=repository_id,
        seq=(head.seq if head else 0) + 1,
        time=at,
        actor=actor,
        action=action,
        incident=incident,
        run=run,
        refs=exact(refs or {}),
        data=exact(data or {}),
        prev_hash=head.head_hash if head else GENESIS,
        entry_hash="",
    )
    entry = unhashed.model_copy(update={"entry_hash": unhashed.computed_hash()})
    await conn.execute(sa.insert(audit_entries).values(_row(entry)))
    await conn.execute(
        sa.update(audit_heads)
        .where(audit_heads.c.repository_id == repository_id)
        .values(seq=entry.seq, head_hash=entry.entry_hash)
    )
    return entry


async def head_of(conn: AsyncConnection, repository_id: int) -> AuditHead | None:
    """Read the end of a repository's chain; None if nothing was ever appended."""
    query = sa.select(audit_heads).where(
        audit_heads.c.repository_id == repository_id, audit_heads.c.seq > 0
    )
    row = (await conn.execute(query)).first()
    return None if row is None else AuditHead.model_validate(dict(row._mapping))


async def repositories(conn: AsyncConnection) -> list[int]:
    """List the repositories that have a chain, or the rest of one."""
    entries = sa.select(audit_entries.c.repository_id)
    heads = sa.select(audit_heads.c.repository_id).where(audit_heads.c.seq > 0)
    return sorted((await conn.execute(entries.union(heads))).scalars())


async def read(
    conn: AsyncConnection, repository_id: int, *, after: int = 0, limit: int | None = None
) -> list[AuditEntry | UnreadableRow]:
    """Read a chain in order, from the entry that follows number `after`; checks nothing."""
    query = (
        sa.select(audit_entries)
        .where(audit_entries.c.repository_id == repository_id, audit_entries.c.seq > after)
        .order_by(audit_entries.c.seq)
        .limit(limit)
    )
    return [_entry(row) for row in await conn.execute(query)]


_AT_ONCE = 200


async def whole(
    conn: AsyncConnection, repository_id: int
) -> tuple[list[AuditEntry | UnreadableRow], AuditHead | None]:
    """Read all of a chain and its head as they belong together, also while it grows.

    A part at a time: reading a long chain must not keep everybody else waiting.
    """
    entries: list[AuditEntry | UnreadableRow] = []
    while True:
        head = await head_of(conn, repository_id)
        last = entries[-1].seq if entries else 0
        part = await read(conn, repository_id, after=last, limit=_AT_ONCE)
        if not part:
            return entries, head
        entries += part
        await asyncio.sleep(0)


async def numbered(
    conn: AsyncConnection, repository_id: int, numbers: Sequence[int]
) -> list[AuditEntry | UnreadableRow]:
    """Read the entries with these numbers, newest first; checks nothing."""
    query = (
        sa.select(audit_entries)
        .where(audit_entries.c.repository_id == repository_id, audit_entries.c.seq.in_(numbers))
        .order_by(audit_entries.c.seq.desc())
    )
    return [_entry(row) for row in await conn.execute(query)]


async def of_incident(conn: AsyncConnection, incident_id: str) -> list[AuditEntry]:
    """Read the entries of one Incident in order: its story."""
    query = (
        sa.select(audit_entries)
        .where(audit_entries.c.incident == incident_id)
        .order_by(audit_entries.c.seq)
    )
    entries = [_entry(row) for row in await conn.execute(query)]
    return [entry for entry in entries if isinstance(entry, AuditEntry)]


async def _locked_head(conn: AsyncConnection, repository_id: int) -> AuditHead | None:
    # The row must exist before it can be locked, also for the first two appends of a repository.
    insert = insert_into(conn)
    first = insert(audit_heads).values(repository_id=repository_id, seq=0, head_hash=GENESIS)
    await conn.execute(first.on_conflict_do_nothing())
    query = sa.select(audit_heads).where(audit_heads.c.repository_id == repository_id)
    row = (await conn.execute(query.with_for_update())).one()
    return None if row.seq == 0 else AuditHead.model_validate(dict(row._mapping))


def exact(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Turn numbers JSON cannot carry exactly into text, and 5.0 into what it is read back as."""
    return _OBJECT.validate_json(rfc8785.dumps(_with_large_numbers_as_text(value)))


def _with_large_numbers_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_large_numbers_as_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_large_numbers_as_text(item) for item in value]
    if isinstance(value, int | float) and _LARGEST_EXACT < abs(value) < math.inf:
        return str(value)
    return value


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {
        **entry.model_dump(),
        "time": rfc3339(entry.time),
        "refs": rfc8785.dumps(entry.refs).decode(),
        "data": rfc8785.dumps(entry.data).decode(),
    }


def _entry(row: sa.Row[Any]) -> AuditEntry | UnreadableRow:
    columns = dict(row._mapping)
    try:
        entry = AuditEntry.model_validate(
            {
                **columns,
                "time": from_rfc3339(columns["time"]),
                "refs": json.loads(columns["refs"]),
                "data": json.loads(columns["data"]),
            },
            strict=True,
        )
        written = _row(entry)
    except (TypeError, ValueError, RecursionError) as error:
        return UnreadableRow(seq=int(row.seq), why=f"it cannot be read ({type(error).__name__})")
    changed = [name for name, value in columns.items() if written[name] != value]
    if changed:
        return UnreadableRow(seq=entry.seq, why=f"{', '.join(changed)} is not in canonical form")
    return entry
