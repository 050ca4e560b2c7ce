"""Which commit's checks speak for a branch: commits that only bring records home have none."""

from __future__ import annotations

from bot.github.client import RepositoryClient
from bot.github.models import CheckResult
from bot.playbooks.checks.green import OUR_CHECKS
from bot.triggers import Value

SKIPS_CHECKS = "[skip ci]"
"""In a commit's message: nothing is run on it."""
_PASSED = 20
"""How many such commits are looked behind."""


class Checked(Value):
    """A commit, and what others than ourselves reported on it."""

    sha: str
    results: tuple[CheckResult, ...]


async def checked(github: RepositoryClient, sha: str) -> Checked:
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
            return Checked(sha=found, results=results)
        commit = await github.git.commit(found)
        if commit is None or SKIPS_CHECKS not in commit.message or not commit.parents:
            break
        found = commit.parents[0]
    return Checked(sha=found, results=())
