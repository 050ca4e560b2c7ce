"""What may this person see and do? GitHub's answer, remembered for a few minutes at most.

What is shown goes by this. What is done is judged again when it is carried out, by admission.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
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
BELIEVED_FOR = timedelta(hours=1)
"""How long what GitHub said last holds while GitHub cannot be asked."""
_PATIENCE_S = 3.0
"""Seconds that a page waits for what GitHub says, where what it said last may hold."""
_AT_ONCE = 8

Served = Callable[[], Awaitable[Sequence[Repository]]]
RoleOf = Callable[[Repository, str], Awaitable[Role]]


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
    """Everything somebody may look at, by repository id; `as_of` where GitHub is not reached."""

    seen: Mapping[int, VisibleRepository]
    as_of: datetime | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        """The repositories' ids."""
        return tuple(self.seen)

    def named(self, full_name: str) -> VisibleRepository | None:
        """The repository of this name; None also where there is one they may not see."""
        wanted = full_name.lower()
        found = (each for each in self.seen.values() if _name(each) == wanted)
        return next(found, None)

    def only(self, seen: VisibleRepository) -> Sight:
        """The same, narrowed to one repository."""
        return Sight({seen.repository.id: seen}, self.as_of)


NOTHING = Sight({})


def roles_from(github: GitHub) -> RoleOf:
    """Ask GitHub, as the App, what somebody may do in a repository."""

    async def role_of(repository: Repository, login: str) -> Role:
        client = github.repository(repository, playbook="cockpit")
        return await client.permissions.role_of(login)

    return role_of


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
        self._reading: dict[str, asyncio.Task[Mapping[int, Role]]] = {}

    async def of(self, session: Session) -> Sight:
        """Give what the person of this session may see.

        Raises:
            Unknown: GitHub cannot be asked, and was not lately.
        """
        now = self._clock()
        roles = {int(key): role for key, role in session.roles.items()}
        as_of = None
        if session.read_at is None or now - session.read_at > READ_EVERY:
            is_believed = session.read_at is not None and now - session.read_at <= BELIEVED_FOR
            try:
                async with asyncio.timeout(_PATIENCE_S if is_believed else None):
                    roles = dict(await self._read(session))
            except (Passing, GitHubError, TimeoutError) as fault:
                log.warning("rights cannot be read", login=session.login, why=str(fault))
                if not is_believed:
                    raise Unknown(str(fault)) from fault
                as_of = session.read_at
        repositories = {each.id: each for each in await self._repositories()}
        return Sight(
            {
                key: VisibleRepository(repositories[key], role)
                for key, role in roles.items()
                if key in repositories and role.at_least(Role.READ)
            },
            as_of,
        )

    async def _read(self, session: Session) -> Mapping[int, Role]:
        """Read again; those who ask meanwhile share the answer."""
        key = session.token_hash
        if key not in self._reading:
            task = asyncio.create_task(self._read_all(session))
            self._reading[key] = task
            task.add_done_callback(lambda _: self._reading.pop(key, None))
        return await asyncio.shield(self._reading[key])

    async def _read_all(self, session: Session) -> Mapping[int, Role]:
        shared = set(session.repositories)
        candidates = [each for each in await self._served() if each.id in shared]
        turn = asyncio.Semaphore(_AT_ONCE)

        async def ask(repository: Repository) -> Role:
            async with turn:
                return await self._role_of(repository, session.login)

        found = await asyncio.gather(*(ask(each) for each in candidates))
        roles = {each.id: role for each, role in zip(candidates, found, strict=True)}
        async with self._records.begin() as conn:
            await sessions.note_roles(conn, session.token_hash, roles, self._clock())
        return roles

    async def _repositories(self) -> Sequence[Repository]:
        try:
            self._known = await self._served()
        except (Passing, GitHubError) as fault:
            if not self._known:
                raise Unknown(str(fault)) from fault
        return self._known


def _name(seen: VisibleRepository) -> str:
    return seen.repository.full_name.lower()
