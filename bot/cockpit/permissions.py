"""What may this person see and do? GitHub's answer, remembered for a few minutes at most.

What is shown goes by this. What is done is judged again when it is carried out, by admission.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from cachetools import LRUCache
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.errors import Passing
from bot.github.errors import BadCredentials, GitHubError
from bot.github.oauth import Visitor
from bot.records import sessions
from bot.records.sessions import Session
from bot.triggers import Repository, Role

log = structlog.get_logger(__name__)

READ_EVERY = timedelta(minutes=5)
"""How long a right that was taken away may still show pages."""
_READ_AHEAD = timedelta(minutes=1)
"""So much earlier it is read behind the page, so that nobody waits."""
BELIEVED_FOR = timedelta(hours=1)
"""How long what GitHub said last holds while GitHub cannot be asked."""
_TRY_AGAIN = timedelta(seconds=20)
_PATIENCE_S = 3.0
"""Seconds that a page waits for what GitHub says."""
_KEPT = 500


Served = Callable[[], Awaitable[Sequence[Repository]]]
SeenBy = Callable[[SecretStr], Awaitable[Visitor]]
"""Who has this token, and what they may see."""


class LoggedOut(Exception):
    """GitHub takes their token no more: they took it back, or it is over."""


class Unknown(Exception):
    """GitHub cannot be asked, and what it said last is too old."""


@dataclass(frozen=True)
class VisibleRepository:
    """A repository somebody may look at, and their role in it."""

    repository: Repository
    role: Role

    def may(self, needed: Role) -> bool:
        """Tell whether the role is enough."""
        return self.role.at_least(needed)


@dataclass(frozen=True)
class Sight:
    """Everything somebody may look at, by repository id.

    `as_of` where GitHub is not reached.
    """

    seen: Mapping[int, VisibleRepository]
    as_of: datetime | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        """The repositories' ids."""
        return tuple(self.seen)

    @property
    def by_name(self) -> list[VisibleRepository]:
        """The repositories in the order in which people look for them."""
        return sorted(self.seen.values(), key=_name)

    def named(self, full_name: str) -> VisibleRepository | None:
        """The repository of this name; None also where there is one they may not see."""
        wanted = full_name.lower()
        found = (each for each in self.seen.values() if _name(each) == wanted)
        return next(found, None)

    def only(self, seen: VisibleRepository) -> Sight:
        """The same, narrowed to one repository."""
        return Sight({seen.repository.id: seen}, self.as_of)


NOTHING = Sight({})


class _Reading:
    """What GitHub said to one session's question, or why it did not."""

    def __init__(self, began: datetime) -> None:
        self.began = began
        self.found: Visitor | None = None
        self.fault: Exception | None = None
        self.task: asyncio.Task[None]

    def is_in_force(self, now: datetime) -> bool:
        """Whether not to begin another one: it is under way, or has failed just now."""
        failed = self.fault is not None and abs(now - self.began) < _TRY_AGAIN
        return failed or not self.task.done()


class VisitorPermissions:
    """Reads rights, and remembers them with the session."""

    def __init__(
        self,
        records: AsyncEngine,
        served: Served,
        seen_by: SeenBy,
        clock: Callable[[], datetime],
    ) -> None:
        """Prepare.

        Args:
            records: where sessions are.
            served: gives the repositories the App is installed on.
            seen_by: asks GitHub in a person's name; it lists a hundred repositories in a request.
            clock: tells the time (UTC).
        """
        self._records = records
        self._served = served
        self._seen_by = seen_by
        self._clock = clock
        self._known: Sequence[Repository] = ()
        self._readings: LRUCache[str, _Reading] = LRUCache(_KEPT)
        self._served_before: LRUCache[str, AbstractSet[int]] = LRUCache(_KEPT)

    async def of(self, session: Session) -> Sight:
        """Give what the person of this session may see.

        Raises:
            Unknown: GitHub cannot be asked, and was not lately.
            LoggedOut: the session is over.
        """
        now = self._clock()
        served = {each.id: each for each in await self._repositories()}
        before = self._served_before.setdefault(session.token_hash, served.keys())
        roles: Mapping[int, Role] = session.roles
        age, as_of = abs(now - session.read_at), None
        is_due = age > READ_EVERY or not served.keys() <= before
        if is_due or age > READ_EVERY - _READ_AHEAD:
            reading = self._read(session, served.keys(), now)
            if is_due:
                await asyncio.wait([reading.task], timeout=_PATIENCE_S)
            if isinstance(reading.fault, BadCredentials):
                raise LoggedOut(str(reading.fault))
            if reading.found is not None:
                roles = reading.found.repositories
            elif age > BELIEVED_FOR:
                raise Unknown(str(reading.fault or "GitHub does not answer soon enough"))
            elif age > READ_EVERY:
                as_of = session.read_at
        seen = {
            key: VisibleRepository(served[key], role)
            for key, role in roles.items()
            if key in served and role.at_least(Role.READ)
        }
        return Sight(seen, as_of)

    def _read(self, session: Session, served: AbstractSet[int], now: datetime) -> _Reading:
        """Read again; those who ask meanwhile share the answer."""
        last = self._readings.get(session.token_hash)
        if last is not None and last.is_in_force(now):
            return last
        reading = self._readings[session.token_hash] = _Reading(now)
        self._served_before[session.token_hash] = served
        reading.task = asyncio.create_task(self._ask(reading, session), name="rights")
        return reading

    async def _ask(self, reading: _Reading, session: Session) -> None:
        try:
            found = await self._seen_by(session.token)
        except (Passing, GitHubError) as fault:
            log.warning("rights cannot be read", login=session.login, why=str(fault))
            reading.fault = fault
            if not isinstance(fault, BadCredentials):
                return
        async with self._records.begin() as conn:
            if reading.fault is not None:
                await sessions.end(conn, session.token_hash)
                return
            await sessions.note_visitor(
                conn, session.token_hash, found.login, found.repositories, reading.began
            )
        reading.found = found

    async def close(self) -> None:
        """Read no more."""
        for reading in self._readings.values():
            reading.task.cancel()

    async def _repositories(self) -> Sequence[Repository]:
        try:
            self._known = await self._served()
        except (Passing, GitHubError) as fault:
            if not self._known:
                raise Unknown(str(fault)) from fault
        return self._known


def _name(seen: VisibleRepository) -> str:
    return seen.repository.full_name.lower()
