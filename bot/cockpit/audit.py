"""The audit chains: searched, checked, and taken away as lines of JSON with their proof."""

from __future__ import annotations

import json

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.cockpit.chains import Chains
from bot.cockpit.filters import whole_number, words
from bot.cockpit.rendering import HEADERS
from bot.cockpit.rights import VisibleRepository
from bot.cockpit.routes import AccessRule, PageRoute
from bot.cockpit.visit import PageRefused, Visit
from bot.cockpit.words import about, action_said, chain_said
from bot.records.audit.anchors import public_pem, sign
from bot.records.audit.chain import AuditEntry, UnreadableRow

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
