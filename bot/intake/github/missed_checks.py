"""Checks that failed on a default branch, as no delivery told.

https://docs.github.com/en/rest/checks/runs#list-check-runs-for-a-git-reference
"""

from __future__ import annotations

from datetime import datetime

from bot.github.client import RepositoryClient
from bot.intake.github.meanings import CheckFailed, OurApp
from bot.playbooks.checks.newest import newest


async def failed_since(client: RepositoryClient, us: OurApp, since: datetime) -> list[CheckFailed]:
    """Read what fails on the newest commit of the default branch, our own checks left out.

    While nothing changes there, these are four conditional requests. A failure on an older commit
    is not read: where it was not mended, the newest fails as well.

    Args:
        client: the repository.
        us: our App.
        since: what failed before is none of our business.
    """
    base = (await client.about()).default_branch
    sha = await client.git.head(base)
    return [
        CheckFailed(client.repository, base=base, check=each.name, sha=sha, url=each.url)
        for each in newest(await client.checks.results(sha))
        if each.conclusion == "failure"
        and each.app_id != us.id
        and each.completed_at is not None
        and each.completed_at >= since
    ]
