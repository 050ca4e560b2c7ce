"""Who is suspected: a commit of the default branch as a revert would see it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.config import Config
from bot.git.already_reverted import already_reverted
from bot.git.history import describe, parents_of
from bot.git.mirror import Mirror
from bot.git.process import Git
from bot.git.trees import raw_changes
from bot.github.client import RepositoryClient
from bot.github.models import PullRequest
from bot.playbooks.incidents.branches import is_hotfix
from bot.playbooks.incidents.own_files import OwnFiles, is_by, own_files
from bot.playbooks.judge.policy import SoleSuspect
from bot.playbooks.planning.autonomy import is_opted_out, is_self_work
from bot.playbooks.planning.landed import everybody_behind

_MOST_ASKED = 10
"""Commits whose pull request is asked for: beyond that nobody is the only suspect anyway."""


async def brought_by(sha: str, base: str, github: RepositoryClient) -> PullRequest | None:
    """Find the merged pull request a commit of `base` came with."""
    for pull in await github.pulls.of_commit(sha):
        if pull.is_merged and pull.base.ref == base:
            return pull
    return None


async def without_hotfixes(
    shas: Sequence[str], base: str, github: RepositoryClient
) -> tuple[str, ...]:
    """Leave out our own hotfixes, which were green before they were merged, if others remain."""
    if not 1 < len(shas) <= _MOST_ASKED:
        return tuple(shas)
    bot = (await github.app()).bot_login
    others = []
    for sha in shas:
        pull = await brought_by(sha, base, github)
        if pull is None or not is_our_hotfix(pull, bot):
            others.append(sha)
    return tuple(others or shas)


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
    named: PullRequest | None = None,
) -> SoleSuspect:
    """Read the facts about one suspected commit.

    Args:
        sha: the commit.
        base: the default branch.
        head: its head.
        config: whose labels and record paths count.
        github: the repository.
        mirror: its commits.
        now: the time.
        named: the pull request that is to be reverted, whatever else came with the commit.
    """
    [info] = await mirror.read(lambda git: describe(git, [sha]))
    own = await mirror.read(lambda git: own_files(config, git))
    reverted = await mirror.read(lambda git: already_reverted(git, sha, head, keep=own.kept))
    facts = SoleSuspect(
        sha=sha,
        # A commit's clock is its author's: one from the future is young.
        age=max(now - info.committed_at, timedelta(0)),
        is_reverted=reverted is not None,
    )
    pulls, loose = (
        ((named,), False) if named else await everybody_behind(sha, base, head, github, mirror)
    )
    if not pulls:
        return facts
    bot = (await github.app()).bot_login
    return facts.model_copy(
        update={
            "pull_request": pulls[0].number,
            "together": () if len(pulls) == 1 else tuple(pull.number for pull in pulls),
            "is_mixed": loose,
            "is_self_work": not loose
            and all(is_self_work(pull, config.self_work) for pull in pulls),
            "is_opted_out": any(is_opted_out(pull) for pull in pulls),
            "is_hotfix": any(is_our_hotfix(pull, bot) for pull in pulls),
        }
    )


def is_our_hotfix(pull: PullRequest, bot: str) -> bool:
    """Whether a pull request is a hotfix of ours; `bot` is the login we act under."""
    return is_hotfix(pull.head.ref) and pull.user.login == bot


async def is_own(sha: str, config: Config, bot: str, mirror: Mirror) -> bool:
    """Whether a commit changes only what this bot wrote: records, reports, the flag document.

    Such a commit is never suspected. That it says it is ours is not enough: anybody can say so.

    Args:
        sha: the commit.
        config: where records and the flag document are.
        bot: the login we commit under.
        mirror: its commits.
    """

    async def look(git: Git) -> bool:
        parents, _ = await parents_of(git, sha)
        if not parents:
            return False
        changes = await raw_changes(git, parents[0], sha)
        own = await own_files(config, git)
        if not changes or not all(_is_named(own, change.path) for change in changes):
            return False
        [info] = await describe(git, [sha])
        if is_by(info.author, info.email, bot):
            return True
        return await own.kept.of(git, sha, parents[0]) >= {change.path for change in changes}

    return await mirror.read(look)


def _is_named(own: OwnFiles, path: bytes) -> bool:
    try:
        return own.named(path.decode())
    except UnicodeDecodeError:
        return False
