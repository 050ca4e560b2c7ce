"""Are the audit chains what they were? Checked in the background, said with its time.

Each chain is read as a whole and judged with the anchors that lie outside the database. That takes
a moment for long chains, so pages show the last verdict, and looking at one has it checked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.records.audit import chain
from bot.records.audit.anchors import Anchor
from bot.records.audit.chain import AuditEntry, UnreadableRow
from bot.records.audit.verify import Verdict, verify
from bot.triggers import Repository

log = structlog.get_logger(__name__)

CHECK_EVERY = timedelta(minutes=2)
_CHAINS_AT_ONCE = 200


@dataclass(frozen=True)
class ChainCheck:
    """What was found about a chain, and when. `entries` is how long it was then."""

    verdict: Verdict
    at: datetime
    entries: int
    took: timedelta

    def is_old(self, now: datetime) -> bool:
        """Whether to check again: long chains more rarely, so that checking stays a small part."""
        return now - self.at > max(CHECK_EVERY, 20 * self.took)


class Chains:
    """Remembers the last verdict on each chain."""

    def __init__(
        self,
        records: AsyncEngine,
        anchors: Callable[[Repository], Awaitable[Sequence[Anchor]]],
        signing_key: Ed25519PrivateKey,
        clock: Callable[[], datetime],
    ) -> None:
        """Prepare; `anchors` reads a repository's signed heads from outside the database."""
        self._records = records
        self._anchors = anchors
        self._key = signing_key
        self._clock = clock
        self._known: dict[int, ChainCheck] = {}
        self._checking: dict[int, asyncio.Task[ChainCheck]] = {}

    def last(self, repository: Repository) -> ChainCheck | None:
        """What was found last; None if nothing yet. A verdict grown old is renewed meanwhile."""
        known = self._known.get(repository.id)
        if known is None or known.is_old(self._clock()):
            self._begin(repository)
        return known

    async def now(self, repository: Repository) -> ChainCheck:
        """Check a chain as it is now, or wait for the check under way."""
        return await asyncio.shield(self._begin(repository))

    async def close(self) -> None:
        """Stop checking."""
        for task in list(self._checking.values()):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    def _begin(self, repository: Repository) -> asyncio.Task[ChainCheck]:
        running = self._checking.get(repository.id)
        if running is None:
            running = asyncio.create_task(self._check(repository))
            self._checking[repository.id] = running
            running.add_done_callback(lambda task: self._ended(repository.id, task))
        return running

    def _ended(self, repository_id: int, task: asyncio.Task[ChainCheck]) -> None:
        self._checking.pop(repository_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a chain could not be checked", repository=repository_id, why=str(error))

    async def _check(self, repository: Repository) -> ChainCheck:
        began = asyncio.get_running_loop().time()
        entries: list[AuditEntry | UnreadableRow] = []
        async with self._records.connect() as conn:
            head = await chain.head_of(conn, repository.id)
            # A part at a time: reading a long chain must not keep everybody else waiting.
            while part := await chain.read(
                conn, repository.id, after=entries[-1].seq if entries else 0, limit=_CHAINS_AT_ONCE
            ):
                entries += part
                await asyncio.sleep(0)
        anchors = await self._anchors(repository)
        verdict = await asyncio.to_thread(verify, entries, anchors, self._key.public_key(), head)
        took = timedelta(seconds=asyncio.get_running_loop().time() - began)
        checked = ChainCheck(verdict=verdict, at=self._clock(), entries=len(entries), took=took)
        self._known[repository.id] = checked
        return checked
