"""What is known about whom alerts blame, read from GitHub and the mirror."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from bot.config import Config
from bot.git.errors import AmbiguousRevision, UnknownRevision
from bot.git.history import describe, first_parents, is_ancestor, resolve
from bot.git.mirror import Mirror
from bot.github.client import RepositoryClient
from bot.playbooks.judge.policy import Suspect
from bot.playbooks.judge.suspects import is_record, only_one, read_suspect
from bot.playbooks.planning.repository_config import read_config
from bot.playbooks.triage.blame import Evidence, naming
from bot.records.intake.alerts import Condition, Said

_WINDOW = 50


async def gather(
    conditions: Sequence[Condition],
    began: datetime,
    *,
    github: RepositoryClient,
    mirror: Mirror,
    settled: Callable[[Config], Awaitable[Config]],
    now: datetime,
) -> tuple[Evidence, Config]:
    """Read everything the decision about firing conditions rests on.

    Args:
        conditions: what fires.
        began: when it began, by our clock at the latest.
        github: the repository.
        mirror: its commits.
        settled: the configuration with its sensitive sections as a Founder approved them.
        now: the time.
    """
    base = (await github.about()).default_branch
    await mirror.refresh()
    head = await mirror.branch_head(base)
    newest, _ = await read_config(mirror.git, head)
    config = await settled(newest)
    evidence = Evidence(conditions=tuple(conditions), autonomy=config.triggers.autonomy)
    named = naming(conditions)

    async def suspect(sha: str) -> Suspect:
        return await read_suspect(
            sha, base, head, config=config, github=github, mirror=mirror, now=now
        )

    if named is None:
        window = timedelta(minutes=config.triggers.suspect_minutes)
        shas = await _merged_between(mirror, head, began - window, began, config)
        one = await only_one(shas, base, github) if shas else None
        suspects = [await suspect(sha) for sha in ([one] if one else shas[:_WINDOW])]
        return evidence.model_copy(update={"suspects": tuple(suspects)}), config
    if named.capability is not None:
        is_known = named.capability in config.capabilities
        return evidence.model_copy(update={"is_known": is_known}), config
    sha = await _commit(named, base, head, github, mirror)
    found = await suspect(sha) if sha else None
    return evidence.model_copy(update={"named": found}), config


async def _merged_between(
    mirror: Mirror, head: str, since: datetime, until: datetime, config: Config
) -> list[str]:
    """The commits that came to the branch in this time, oldest first; no mere records."""
    line = await mirror.read(lambda git: first_parents(git, head, _WINDOW))
    infos = await mirror.read(lambda git: describe(git, line))
    found = [info.sha for info in infos if since <= info.committed_at <= until and info.parents]
    return [sha for sha in reversed(found) if not await is_record(sha, config, mirror)]


async def _commit(
    named: Said, base: str, head: str, github: RepositoryClient, mirror: Mirror
) -> str | None:
    """The commit of the default branch that is named, if there is such a one."""
    wanted = named.commit or ""
    if named.pull_request is not None:
        pull = await github.pulls.find(named.pull_request)
        if pull is None or not pull.is_merged or pull.base.ref != base:
            return None
        wanted = pull.merge_commit_sha or ""
    try:
        sha = await resolve(mirror.git, wanted)
    except (UnknownRevision, AmbiguousRevision):
        return None
    return sha if await is_ancestor(mirror.git, sha, head) else None
