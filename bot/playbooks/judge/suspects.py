"""Who is suspected: a commit of the default branch as a revert would see it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.config import Config
from bot.git.already import already_reverted
from bot.git.history import describe, parents_of
from bot.git.mirror import Mirror
from bot.git.process import Git
from bot.git.trees import raw_changes
from bot.github.client import RepositoryClient
from bot.github.models import PullRequest
from bot.playbooks.judge.policy import Suspect
from bot.playbooks.planning.autonomy import OPT_OUT, is_self_work
from bot.playbooks.revert.targets import HOTFIX_BRANCH

_MOST_ASKED = 10
"""Commits whose pull request is asked for: beyond that nobody is the only suspect anyway."""


async def brought_by(sha: str, base: str, github: RepositoryClient) -> PullRequest | None:
    """Find the merged pull request a commit of `base` came with."""
    for pull in await github.pulls.of_commit(sha):
        if pull.is_merged and pull.base.ref == base:
            return pull
    return None


async def only_one(shas: Sequence[str], base: str, github: RepositoryClient) -> str | None:
    """Give the one change that all these commits belong to, as its last commit.

    A rebase merge puts several commits on the branch, of which usually only the last is checked.
    """
    if len(shas) == 1:
        return shas[0]
    if not 1 < len(shas) <= _MOST_ASKED:
        return None
    pulls = {pull.number if (pull := await brought_by(s, base, github)) else s for s in shas}
    return shas[-1] if len(pulls) == 1 and shas[-1] not in pulls else None


async def read_suspect(
    sha: str,
    base: str,
    head: str,
    *,
    config: Config,
    github: RepositoryClient,
    mirror: Mirror,
    now: datetime,
) -> Suspect:
    """Read the facts about one suspected commit.

    Args:
        sha: the commit.
        base: the default branch.
        head: its head.
        config: whose labels and record paths count.
        github: the repository.
        mirror: its commits.
        now: the time.
    """
    [info] = await mirror.read(lambda git: describe(git, [sha]))
    reverted = await mirror.read(
        lambda git: already_reverted(git, sha, head, keep_paths=config.record_paths)
    )
    pull = await brought_by(sha, base, github)
    facts = Suspect(
        sha=sha,
        # A commit's clock is its author's: one from the future is young.
        age=max(now - info.committed_at, timedelta(0)),
        is_reverted=reverted is not None,
    )
    if pull is None:
        return facts
    labels = {label.lower() for label in pull.labels}
    ours = HOTFIX_BRANCH.fullmatch(pull.head.ref) is not None
    return facts.model_copy(
        update={
            "pull_request": pull.number,
            "is_self_work": is_self_work(pull, config.self_work),
            "is_opted_out": OPT_OUT in labels,
            "is_hotfix": ours and pull.user.login == (await github.app()).bot_login,
        }
    )


async def is_record(sha: str, config: Config, mirror: Mirror) -> bool:
    """Whether a commit changes nothing but records of incidents."""
    folders = tuple(f"{path}/".encode() for path in config.record_paths)

    async def look(git: Git) -> bool:
        parents, _ = await parents_of(git, sha)
        if not parents:
            return False
        changes = await raw_changes(git, parents[0], sha)
        return bool(changes) and all(change.path.startswith(folders) for change in changes)

    return await mirror.read(look)
