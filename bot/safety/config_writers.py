"""Who wrote a version of the configuration: nobody approves what they wrote themselves.

GitHub tells the author and the committer of a commit, not who pushed it.
https://docs.github.com/rest/commits/commits#list-commits
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bot.config import CONFIG_PATH
from bot.github.client import RepositoryClient
from bot.github.models import Commit, PullRequest

_ALL_LISTED = 250
"""GitHub lists no more commits of a pull request."""


async def writers_of(client: RepositoryClient, pull: PullRequest) -> tuple[str, ...]:
    """Name whose pull request it is, and whoever wrote a commit of it that changes the file.

    Raises:
        GitHubError: its commits could not be read.
    """
    brought = {each.sha for each in await client.pulls.commits(pull.number)}
    changing = await client.git.commits_of(CONFIG_PATH, pull.head.sha)
    if len(brought) < _ALL_LISTED:
        changing = tuple(each for each in changing if each.sha in brought)
    # Where not all of its commits are known, whoever changed the file lately counts.
    return _named((pull.user.login,), changing)


async def writers_on_branch(
    client: RepositoryClient, head: str, *, since: datetime | None
) -> tuple[str, ...]:
    """Name whoever changed the file on a branch since a moment; at least whoever did last.

    Raises:
        GitHubError: the commits could not be read.
    """
    found = await client.git.commits_of(CONFIG_PATH, head)
    newer = [
        each
        for each in found[1:]
        if since is None or each.committed_at is None or each.committed_at >= since
    ]
    return _named((), [*found[:1], *newer])


def _named(logins: Iterable[str], commits: Iterable[Commit]) -> tuple[str, ...]:
    named = [*logins]
    for each in commits:
        named += [login for login in (each.login, each.committer) if login is not None]
    return tuple(dict.fromkeys(named))
