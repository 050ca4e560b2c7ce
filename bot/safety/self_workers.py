"""The held: whoever writes self-work. They lift no pause, let nothing through, configure nothing.

By default a label makes a pull request self-work, so no list names the agents: who they are shows
from the pull requests that are open, or were closed lately.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.config import Config
from bot.github.client import RepositoryClient
from bot.github.models import Commit, PullRequest, Push
from bot.names import is_among
from bot.records import gate_reports
from bot.records.database import reading
from bot.safety.founders import is_founder, pushers_of
from bot.safety.gate import why_self_work
from bot.triggers import Role, Value

LATELY = timedelta(days=7)
"""How long a closed pull request still speaks for who is held."""
MOST_LOOKED_INTO = 50
"""Of so many pull requests, the newest, the commits are read: one request each."""

Marked = Callable[[Collection[int]], Awaitable[Collection[int]]]
"""Which of these pull requests were self-work at any time."""


def marked_in(records: AsyncEngine, repository_id: int) -> Marked:
    """Read it from the records of a repository."""

    async def marked(numbers: Collection[int]) -> Collection[int]:
        async with reading(records).connect() as conn:
            return await gate_reports.marked(conn, repository_id, numbers)

    return marked


class HeldBecause(Value):
    """Why somebody is held.

    Attributes:
        number: the pull request; None: the configuration names them.
        is_only_said: whether nothing speaks for it but the author that a commit names, which
            anybody can write there.
    """

    number: int | None = None
    is_only_said: bool = False


class Lifting(Value):
    """Whether one person may lift a pause or let a commit through.

    Attributes:
        held: why they are one of the held; None where they are not.
        has_right: whether their role is enough, or they are a Founder.
        others: who else may: Founders first.
        is_founder: whether they are one.
        is_alone: whether nobody else with write access is there who is not held.
    """

    held: HeldBecause | None = None
    has_right: bool = True
    others: tuple[str, ...] = ()
    is_founder: bool = False
    is_alone: bool = False

    @property
    def may(self) -> bool:
        """Whether they may.

        A Founder who is held may where nobody else is there to ask at all, so that no repository
        stays paused for ever; and where only a commit says that they wrote it, so that nobody
        keeps all Founders out by writing their names on commits.
        """
        if not self.has_right or self.held is None:
            return self.has_right
        named = self.held.number is None
        return self.is_founder and (self.held.is_only_said or (self.is_alone and not named))


class SelfWorkers:
    """The held of one repository, just now."""

    def __init__(
        self, client: RepositoryClient, config: Config, pulls: tuple[PullRequest, ...], us: str
    ) -> None:
        """Prepare; see `read_held`."""
        self._client = client
        self._config = config
        self._pulls = tuple(pull for pull in pulls if pull.user.login != us or pull.is_from_fork)

    async def why(self, login: str) -> HeldBecause | None:
        """Say why this person is one of them; None where they are not.

        Whoever wrote, committed or pushed a commit counts as whoever opened it does; merging the
        base branch into it is no work.

        Raises:
            GitHubError: the commits could not be read.
        """
        if is_among(login, self._config.self_work.authors):
            return HeldBecause()
        for pull in self._pulls:
            if pull.user.login.lower() == login.lower():
                return HeldBecause(number=pull.number)
        if not self._pulls:
            return None
        pushes = await self._client.git.pushes_by(login)
        said = None
        for pull in self._pulls[:MOST_LOOKED_INTO]:
            commits = await self._client.pulls.commits(pull.number)
            work = [each for each in commits if len(each.parents) < 2]
            own = [each for each in work if _names(each, login)]
            if _has_pushed(pull, work, commits, pushes or ()):
                return HeldBecause(number=pull.number)
            if any(each.verified for each in own) or (own and pushes is None):
                return HeldBecause(number=pull.number)
            if own and said is None:
                said = HeldBecause(number=pull.number, is_only_said=True)
        return said

    def opened_by(self, login: str) -> bool:
        """Tell whether they are named, or opened one: what can be told without a request."""
        return is_among(login, self._config.self_work.authors) or any(
            pull.user.login.lower() == login.lower() for pull in self._pulls
        )


def _names(commit: Commit, login: str) -> bool:
    return login.lower() in {(commit.login or "").lower(), (commit.committer or "").lower()}


def _has_pushed(
    pull: PullRequest, work: Sequence[Commit], commits: Sequence[Commit], pushes: Sequence[Push]
) -> bool:
    """Whether these pushes of one person brought any of the work of a pull request."""
    here = [each for each in pushes if each.ref == f"refs/heads/{pull.head.ref}"]
    line = [each.sha for each in commits]
    return not pull.is_from_fork and bool(pushers_of({each.sha for each in work}, line, here))


async def read_held(
    client: RepositoryClient, config: Config, marked: Marked, now: datetime
) -> SelfWorkers:
    """Read which pull requests are self-work: those open, and those closed lately.

    Args:
        client: the repository that the pull requests are in.
        config: says by which authors and label they are told now.
        marked: tells which were self-work before, whatever their labels say now.
        now: the time; what was closed in the seven days before it counts.

    Returns:
        The held: whoever opened those, or wrote commits of them.

    Raises:
        GitHubError: they could not be read.
    """
    found = [pull async for pull in client.pulls.list()]
    found += await client.pulls.closed_since(now - LATELY)
    known = await marked([pull.number for pull in found])
    pulls = tuple(
        pull
        for pull in sorted(found, key=lambda pull: -pull.number)
        if pull.number in known
        or why_self_work(config.self_work, author=pull.user.login, labels=pull.labels)
    )
    return SelfWorkers(client, config, pulls, (await client.app()).bot_login)


async def judge_lifting(
    client: RepositoryClient,
    held: SelfWorkers,
    login: str,
    *,
    needed: Role | None,
    founders: Collection[str],
) -> Lifting:
    """Judge whether a person may, and who else may.

    Args:
        client: the repository.
        held: its held.
        login: the person.
        needed: the weakest role that may; None: Founders only.
        founders: they may, whatever their role.

    Raises:
        GitHubError: roles or commits could not be read.
    """
    founding = is_founder(login, tuple(founders))
    has_right = founding
    if needed is not None and not founding:
        has_right = (await client.permissions.role_of(login)).at_least(needed)
    why = await held.why(login)
    if has_right and why is None:
        return Lifting(is_founder=founding)

    def free(logins: Iterable[str]) -> tuple[str, ...]:
        return tuple(
            each
            for each in dict.fromkeys(logins)
            if each.lower() != login.lower() and not held.opened_by(each)
        )

    writers = [user.login for user in await client.permissions.people(Role.WRITE)]
    named = writers
    if needed is not Role.WRITE:
        named = [u.login for u in await client.permissions.people(needed)] if needed else []
    return Lifting(
        held=why,
        has_right=has_right,
        others=free((*founders, *named)),
        is_founder=founding,
        is_alone=not free((*founders, *writers)),
    )
