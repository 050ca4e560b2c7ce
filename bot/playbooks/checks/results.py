"""Which commit's checks speak for a branch: commits that only bring records home have none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

from bot.github.client import RepositoryClient
from bot.github.models import CheckResult
from bot.playbooks.checks.green import OUR_CHECKS
from bot.triggers import Value

SKIPS_CHECKS = "[skip ci]"
"""In a commit's message: nothing is run on it."""
_PASSED = 20
"""How many such commits are looked behind."""


_HEADS = 5
"""How many heads of pull requests are looked at for the names of checks."""


class CheckedCommit(Value):
    """A commit, and what others than ourselves reported on it."""

    sha: str
    results: tuple[CheckResult, ...]


async def checked(github: RepositoryClient, sha: str) -> CheckedCommit:
    """Look behind commits on which no check runs because they asked for none.

    Args:
        github: the repository.
        sha: the commit whose state is in question.

    Returns:
        That commit; where it has no result and its message says that none will come, the nearest
        one before it, along first parents, of which this is not so.
    """
    us = (await github.app()).id
    found = sha
    for _ in range(_PASSED):
        all_of = await github.checks.results(found)
        results = tuple(r for r in all_of if r.app_id != us and r.name not in OUR_CHECKS)
        if results:
            return CheckedCommit(sha=found, results=results)
        commit = await github.git.commit(found)
        if commit is None or SKIPS_CHECKS not in commit.message or not commit.parents:
            break
        found = commit.parents[0]
    return CheckedCommit(sha=found, results=())


async def names_on_pull_requests(
    github: RepositoryClient, first: Sequence[int], base: str, wanted: Collection[str]
) -> frozenset[str] | None:
    """Name the checks that report on heads of pull requests, others' than ours.

    Args:
        github: the repository.
        first: pull requests to look at before the newest ones.
        base: the branch they go to.
        wanted: names in question; once all of them are seen, no further head is looked at.

    Returns:
        The names seen, on at most five heads; None where there is no pull request.

    Raises:
        GitHubError: GitHub could not be read.
    """
    us = (await github.app()).id
    seen: set[str] = set()
    looked: set[str] = set()
    async for head in _heads(github, first, base):
        if head in looked:
            continue
        looked.add(head)
        results = await github.checks.results(head)
        seen |= {each.name for each in results if each.app_id != us}
        if seen >= {*wanted} or len(looked) >= _HEADS:
            break
    return frozenset(seen - OUR_CHECKS) if looked else None


async def _heads(github: RepositoryClient, first: Sequence[int], base: str) -> AsyncIterator[str]:
    for number in first:
        if (pull := await github.pulls.find(number)) is not None:
            yield pull.head.sha
    async for pull in github.pulls.list(state="all", base=base):
        yield pull.head.sha
