"""The pages of the audit chain, and whether it is whole.

Each chain is read as a whole and judged with the anchors that lie outside the database. That takes
a moment for long chains, so pages show the last verdict, and looking at one has it checked again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.cockpit.permissions import VisibleRepository
from bot.cockpit.render import HEADERS
from bot.cockpit.request import AccessRule, PageRefused, PageRoute, Visit, whole_number, words
from bot.cockpit.text import about, action_said, chain_said
from bot.errors import Passing
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.playbooks.incident.record_files import read_record
from bot.records.audit import chain
from bot.records.audit.anchors import ANCHORS_PATH, Anchor, public_pem, read_anchors, sign
from bot.records.audit.chain import AuditEntry, UnreadableRow
from bot.records.audit.verify import Verdict, verify
from bot.triggers import Repository

log = structlog.get_logger(__name__)


class AnchorsInGit:
    """Reads them from the records branch. Where GitHub is not reached, there are none to go by."""

    def __init__(self, github: GitHub) -> None:
        """Ask `github`."""
        self._github = github

    async def read(self, repository: Repository) -> Sequence[Anchor]:
        """Read the anchors of one repository's chain."""
        client = self._github.repository(repository, playbook="cockpit")
        try:
            found = await read_record(client, ANCHORS_PATH)
        except (Passing, GitHubError):
            return ()
        if found is None:
            return ()
        anchors = read_anchors(found)
        return [each for each in anchors if each.repository_id == repository.id]


CHECK_EVERY = timedelta(minutes=2)
MOST_IN_A_ROUND = 12
"""Chains that are checked in such a time because a list shows them."""
_NEVER = datetime.min.replace(tzinfo=UTC)


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
        self._round_at, self._left = _NEVER, 0

    def last(self, repository: Repository) -> ChainCheck | None:
        """What was found last; None if nothing yet. A verdict grown old is renewed meanwhile."""
        known = self._known.get(repository.id)
        if known is None or known.is_old(self._clock()):
            self._begin(repository)
        return known

    def known(self, repositories: Sequence[Repository]) -> Mapping[int, ChainCheck]:
        """What was found last; of these, what is due longest is renewed meanwhile, a few at a time.

        Each asks GitHub for its anchors.
        """
        now = self._clock()
        if now - self._round_at > CHECK_EVERY:
            self._round_at, self._left = now, MOST_IN_A_ROUND
        checks = [(self._known.get(each.id), each) for each in repositories]
        for known, each in sorted(checks, key=lambda due: due[0].at if due[0] else _NEVER):
            is_due = known is None or known.is_old(now)
            if self._left and is_due and each.id not in self._checking:
                self._left -= 1
                self._begin(each)
        return self._known

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
        # Before the chain: an anchor of what came after it would make it a cut one.
        anchors = await self._anchors(repository)
        async with self._records.connect() as conn:
            entries, head = await chain.whole(conn, repository.id)
        verdict = await asyncio.to_thread(verify, entries, anchors, self._key.public_key(), head)
        took = timedelta(seconds=asyncio.get_running_loop().time() - began)
        checked = ChainCheck(verdict=verdict, at=self._clock(), entries=len(entries), took=took)
        self._known[repository.id] = checked
        return checked


PER_PAGE = 100
_ENTRIES_AT_ONCE = 200


class AuditPages:
    """`/ui/audit` and `/ui/audit/export`."""

    def __init__(self, chains: Chains, signing_key: Ed25519PrivateKey) -> None:
        """Show the state of `chains`; sign exports with the key that signs anchors."""
        self._chains = chains
        self._key = signing_key

    def routes(self) -> tuple[PageRoute, ...]:
        """Their addresses."""
        return (
            PageRoute("GET", "/audit", self.page, AccessRule.SIGNED_IN),
            PageRoute("GET", "/audit/export", self.export, AccessRule.SIGNED_IN),
        )

    async def page(self, visit: Visit) -> web.StreamResponse:
        """Search one repository's chain, the newest entries first."""
        chosen = _chosen(visit)
        looked_for, actor = words(visit.query, "q"), words(visit.query, "actor")
        before = whole_number(visit.query, "before")
        found: list[AuditEntry | UnreadableRow] = []
        if chosen is not None:
            async with visit.window() as window:
                found = await window.search_audit(
                    chosen.repository.id,
                    words=looked_for,
                    actor=actor,
                    before=before,
                    limit=PER_PAGE + 1,
                )
        checked = self._chains.last(chosen.repository) if chosen else None
        return visit.page(
            "audit.html",
            chosen=chosen,
            entries=found[:PER_PAGE],
            more=found[PER_PAGE - 1].seq if len(found) > PER_PAGE else None,
            checked=checked,
            verdict=chain_said(checked.verdict) if checked else None,
            said=action_said,
            about=about,
            detail=_detail,
        )

    async def export(self, visit: Visit) -> web.StreamResponse:
        """Send a chain as it is, line by line, and at the end what proves it.

        The last line holds the signed head, the anchors' public key and our own verdict.
        """
        chosen = _chosen(visit)
        if chosen is None:
            raise PageRefused(400, "Say which repository: add repo=owner/name to the address.")
        repository = chosen.repository
        checked = await self._chains.now(repository)
        response = web.StreamResponse(
            headers=HEADERS
            | {
                "Content-Type": "application/jsonl; charset=utf-8",
                "Content-Disposition": f'attachment; filename="audit-{repository.id}.jsonl"',
            }
        )
        await response.prepare(visit.request)
        last: AuditEntry | UnreadableRow | None = None
        async with visit.window() as window:
            while part := await window.chain(
                repository.id, after=last.seq if last else 0, limit=_ENTRIES_AT_ONCE
            ):
                last = part[-1]
                lines = [json.dumps(each.model_dump(mode="json"), sort_keys=True) for each in part]
                await response.write(("\n".join(lines) + "\n").encode())
        head = last.head if isinstance(last, AuditEntry) else None
        proof = {
            "repository": repository.full_name,
            "head": sign(head, self._key, visit.now).model_dump(mode="json") if head else None,
            "public_key": public_pem(self._key.public_key()).decode(),
            "verdict": str(checked.verdict),
            "hash": "entry_hash = SHA-256(domain || prev_hash || RFC 8785 JSON of the entry)",
        }
        await response.write((json.dumps({"proof": proof}, sort_keys=True) + "\n").encode())
        return response


def _chosen(visit: Visit) -> VisibleRepository | None:
    """The repository the address names, or the only one there is."""
    sight, chosen = visit.narrowed()
    if chosen is None and len(sight.seen) == 1:
        return next(iter(sight.seen.values()))
    return chosen


def _detail(entry: AuditEntry) -> str:
    """What an entry refers to and holds, as JSON."""
    content = {"refs": entry.refs, "data": entry.data}
    return json.dumps({k: v for k, v in content.items() if v}, ensure_ascii=False, sort_keys=True)
