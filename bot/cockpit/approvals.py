"""What is decided about one commit: who may, and whether this visitor is one of them.

What is shown goes by this; whoever presses is judged again when it is carried out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from cachetools import LRUCache

from bot.errors import Passing
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.records.approvals import Approval
from bot.safety.config_in_force import ConfigInForce
from bot.safety.founders import Objection, founders_of, objection_to
from bot.triggers import Repository

log = structlog.get_logger(__name__)

READ_EVERY = timedelta(minutes=1)
_KEPT = 500

FoundersOf = Callable[[Repository], Awaitable[Sequence[str]]]


@dataclass(frozen=True)
class VisitorQuestion:
    """A question that is bound to one commit, as one visitor sees it.

    Attributes:
        approval: what is asked.
        founders: who may answer; None where GitHub cannot be asked.
        objection: why this visitor's yes would not count.
        is_expired: whether nobody answered in time.
    """

    approval: Approval
    founders: tuple[str, ...] | None
    objection: Objection | None
    is_expired: bool

    @property
    def is_pending(self) -> bool:
        """Whether an answer is still wanted."""
        return self.approval.state == "pending" and not self.is_expired

    @property
    def needs_founder(self) -> bool:
        """Whether only a Founder answers it."""
        return self.approval.of == "founder"

    @property
    def may_approve(self) -> bool:
        """Whether this visitor's yes would count."""
        return self.objection is None

    @property
    def may_reject(self) -> bool:
        """Whether this visitor's no would count."""
        return self.objection is not Objection.NO_FOUNDER


class Approvals:
    """Knows who the Founders are, for a minute at a time."""

    def __init__(self, founders: FoundersOf) -> None:
        """`founders` asks GitHub who they are."""
        self._founders = founders
        self._known: LRUCache[int, tuple[datetime, tuple[str, ...]]] = LRUCache(_KEPT)

    async def question(
        self, approval: Approval, repository: Repository, login: str, now: datetime
    ) -> VisitorQuestion:
        """Show one approval to one person."""
        if approval.state != "pending":
            return VisitorQuestion(approval, (), Objection.NO_FOUNDER, is_expired=False)
        if approval.of == "person":
            # Who had a part in the commit is read from GitHub when the answer is carried out.
            return VisitorQuestion(approval, (), None, approval.is_expired(now))
        founders = await self._of(repository, now)
        objection = (
            None
            if founders is None
            else objection_to(login, founders, asked_by=approval.requested_by)
        )
        return VisitorQuestion(approval, founders, objection, approval.is_expired(now))

    async def _of(self, repository: Repository, now: datetime) -> tuple[str, ...] | None:
        at, known = self._known.get(repository.id, (now, None))
        if known is not None and now - at < READ_EVERY:
            return known
        try:
            found = tuple(await self._founders(repository))
        except (Passing, GitHubError) as fault:
            # Whoever presses is judged again, so nobody is kept from trying.
            log.warning("who the Founders are cannot be read", why=str(fault))
            return known
        self._known[repository.id] = (now, found)
        return found


def founders_from(github: GitHub, config: ConfigInForce, settled: Sequence[str]) -> FoundersOf:
    """Ask GitHub who the Founders are; `settled` are those of the process settings."""

    async def founders(repository: Repository) -> Sequence[str]:
        client = github.repository(repository, playbook="cockpit")
        return await founders_of(client, (await config.of(repository)).config, settled)

    return founders
