"""What may this person see and do? GitHub's answer, remembered for a few minutes at most.

What is shown goes by this. What is done is judged again when it is carried out, by admission.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from cachetools import LRUCache
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.errors import Passing
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.records import sessions
from bot.records.sessions import Session
from bot.triggers import Repository, Role

log = structlog.get_logger(__name__)

READ_EVERY = timedelta(minutes=5)
"""How long a right that was taken away may still show pages."""
READ_EACH_EVERY = timedelta(seconds=5)
"""The same for each repository, where that is more: they are read one by one, and the installation
has some hundred requests a minute for all that people wish."""
BELIEVED_FOR = timedelta(hours=1)
"""How long what GitHub said last holds while GitHub cannot be asked."""
_RARELY = BELIEVED_FOR - timedelta(minutes=10)
_TRY_AGAIN = timedelta(seconds=20)
_TRY_EACH_AGAIN = timedelta(seconds=1)
_PATIENCE_S = 1.0
"""Seconds that a page waits for what GitHub says, where what it said last still holds."""
_AT_FIRST_S = 3.0
"""The same where nothing holds."""
_AT_ONCE = 8
_BESIDE = 2
"""Questions at once while nobody waits for them."""
_KEPT = 500


Served = Callable[[], Awaitable[Sequence[Repository]]]
RoleOf = Callable[[Repository, str, bool], Awaitable[Role]]
"""What somebody may do in a repository; in one that is new since they logged in, nothing where they
may only read it as everybody may."""


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

    `as_of` where GitHub is not reached; `left` are repositories that GitHub is still asked about.
    """

    seen: Mapping[int, VisibleRepository]
    as_of: datetime | None = None
    left: int = 0

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
        return Sight({seen.repository.id: seen}, self.as_of, self.left)


NOTHING = Sight({})


def roles_from(github: GitHub) -> RoleOf:
    """Ask GitHub, as the App, what somebody may do in a repository."""

    async def role_of(repository: Repository, login: str, is_new: bool) -> Role:
        permissions = github.repository(repository, playbook="cockpit").permissions
        role = await permissions.role_of(login)
        # Everybody may read what is public; whom it is shown to was not said when they logged in.
        if is_new and role is Role.READ and not await permissions.is_collaborator(login):
            return Role.NONE
        return role

    return role_of


class _Reading:
    """What GitHub said of some repositories since `began`, and what kept it from saying more."""

    def __init__(self, asked: Sequence[Repository], now: datetime, before: _Reading | None) -> None:
        """Ask about these; what was learnt just before is not asked again."""
        self.asked, self.tried = asked, now
        self.began: datetime = now
        self.found: dict[int, Role] = {}
        if before is not None and abs(now - before.began) < READ_EVERY:
            self.began, self.found = before.began, before.found
        self.fault: Exception | None = None
        self.task: asyncio.Task[None]
        self._begun_s = time.monotonic()

    @property
    def age_s(self) -> float:
        """For how many seconds GitHub has been asked."""
        return time.monotonic() - self._begun_s

    @property
    def left(self) -> list[Repository]:
        """What is not known yet."""
        return [each for each in self.asked if each.id not in self.found]

    def is_in_force(self, now: datetime) -> bool:
        """Whether not to begin another one: it is under way, or has failed just now."""
        if not self.task.done():
            return True
        pause = max(_TRY_AGAIN, len(self.left) * _TRY_EACH_AGAIN)
        return self.fault is not None and abs(now - self.tried) < pause


class VisitorPermissions:
    """Reads rights, and remembers them with the session."""

    def __init__(
        self,
        records: AsyncEngine,
        served: Served,
        role_of: RoleOf,
        clock: Callable[[], datetime],
    ) -> None:
        """Prepare.

        Args:
            records: where sessions are.
            served: gives the repositories the App is installed on.
            role_of: asks what somebody may do in one of them.
            clock: tells the time (UTC).
        """
        self._records = records
        self._served = served
        self._role_of = role_of
        self._clock = clock
        self._known: Sequence[Repository] = ()
        self._readings: LRUCache[str, _Reading] = LRUCache(_KEPT)

    async def at_login(self, shared: Mapping[int, Role | None]) -> Mapping[int, Role] | None:
        """Give what is remembered with a new session, of what GitHub showed to its person.

        What else is served they cannot see: only what is served later is asked about. None where
        nothing is served yet, or it is not known.
        """
        told = {key: role for key, role in shared.items() if role is not None}
        try:
            served = await self._repositories()
        except Unknown:
            return None
        if not served or told.keys() != shared.keys():
            return None
        # An outsider leaves nothing behind, however much is served.
        return {**{each.id: Role.NONE for each in served}, **told} if told else {}

    async def of(self, session: Session) -> Sight:
        """Give what the person of this session may see.

        Raises:
            Unknown: GitHub cannot be asked, and was not lately.
        """
        now = self._clock()
        served = {each.id: each for each in await self._repositories()}
        known = _known(session)
        age = None if session.read_at is None else now - session.read_at
        is_believed = age is not None and age <= BELIEVED_FOR
        theirs = {*session.repositories, *(k for k, v in known.items() if v.at_least(Role.READ))}
        # Who could see nothing where something was served is not asked about again.
        new = served.keys() - known.keys() if known or age is None else set()
        is_due = age is None or age > _how_often(len(theirs & served.keys()))
        wanted = [served[key] for key in served if key in new or (is_due and key in theirs)]
        roles, as_of, left = known if is_believed else {}, None, 0
        if wanted:
            reading = self._read(session, wanted, is_due, now)
            # One page waits for a reading; those after it show what holds meanwhile.
            patience = _PATIENCE_S - reading.age_s if is_believed else _AT_FIRST_S
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(reading.task), max(patience, 0.0))
            roles = {**roles, **reading.found}
            if not is_believed:
                left = len(reading.left)
                if not reading.found:
                    raise Unknown(str(reading.fault or "GitHub does not answer soon enough"))
            elif is_due and reading.fault is not None:
                as_of = session.read_at
        seen = {
            key: VisibleRepository(served[key], role)
            for key, role in roles.items()
            if key in served and role.at_least(Role.READ)
        }
        return Sight(seen, as_of, left)

    def _read(
        self, session: Session, wanted: Sequence[Repository], is_whole: bool, now: datetime
    ) -> _Reading:
        """Read again; those who ask meanwhile share the answer."""
        last = self._readings.get(session.token_hash)
        if last is not None and last.is_in_force(now):
            return last
        reading = _Reading(wanted, now, last if last and last.fault else None)
        self._readings[session.token_hash] = reading
        reading.task = asyncio.create_task(
            self._read_all(reading, session, is_whole), name="rights"
        )
        return reading

    async def _read_all(self, reading: _Reading, session: Session, is_whole: bool) -> None:
        known = _known(session)
        is_waited_for = session.read_at is None or reading.began - session.read_at > BELIEVED_FOR
        turn = asyncio.Semaphore(_AT_ONCE if is_waited_for else _BESIDE)

        async def ask(repository: Repository) -> None:
            is_new = repository.id not in known and repository.id not in session.repositories
            try:
                async with turn:
                    role = await self._role_of(repository, session.login, is_new)
            except (Passing, GitHubError) as fault:
                reading.fault = fault
            else:
                reading.found[repository.id] = role

        await asyncio.gather(*map(ask, reading.left))
        if reading.fault is not None:
            left, why = len(reading.left), str(reading.fault)
            log.warning("rights cannot be read", login=session.login, repositories=left, why=why)
        read_at = self._clock() if is_whole and not reading.left else session.read_at
        if reading.found:
            roles = {**known, **reading.found}
            async with self._records.begin() as conn:
                await sessions.note_roles(conn, session.token_hash, roles, read_at)

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


def _known(session: Session) -> dict[int, Role]:
    return {int(key): role for key, role in session.roles.items()}


def _how_often(repositories: int) -> timedelta:
    return max(READ_EVERY, min(repositories * READ_EACH_EVERY, _RARELY))


def _name(seen: VisibleRepository) -> str:
    return seen.repository.full_name.lower()
