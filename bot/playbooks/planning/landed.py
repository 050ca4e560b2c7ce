"""Which pull requests came by one step of a branch? What history shows, checked with GitHub.

GitHub is asked who the commits belong to, and what merge commits say of themselves is a hint;
whether a pull request really is in it, its head and its merge decide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from bot.git.errors import UnknownRevision
from bot.git.history import describe, is_ancestor, parents_of, resolve
from bot.git.mirror import Mirror
from bot.git.process import Git
from bot.git.pull_commits import Landing, LandingMethod, Unclear, landing_of, landing_of_merge
from bot.git.shared_pushes import LandedPullRequest, part_of, strangers
from bot.github.client import RepositoryClient
from bot.github.models import PullRequest

MOST_LOOKED_INTO = 1_000
"""Commits of one landing whose pull requests are asked for; what is beyond is nobody's."""
_MOST_HINTS = 30
_IN_MERGE = re.compile(r"#([1-9][0-9]{0,8})\b")
_IN_SQUASH = re.compile(r"\(#([1-9][0-9]{0,8})\)$")


@dataclass(frozen=True)
class Landed:
    """What came by one landing.

    Attributes:
        landing: the step of the branch.
        pulls: the merged pull requests that came by it, by number.
        parts: the commits of each.
    """

    landing: Landing
    pulls: dict[int, PullRequest]
    parts: dict[int, frozenset[str]]

    @property
    def strangers(self) -> tuple[str, ...]:
        """The commits that came with no pull request."""
        return strangers(self.landing, self.parts.values())


def needed(pull: PullRequest) -> list[str]:
    """The commits without which it cannot be told what a merged pull request brought."""
    return [sha for sha in (pull.merge_commit_sha, pull.head.sha) if sha]


async def landing_of_pull(
    pull: PullRequest, onto: str, github: RepositoryClient, mirror: Mirror
) -> Landing | Unclear:
    """Find how a merged pull request came to the branch whose head is `onto`.

    Raises:
        UnknownRevision: its commits are not here.
    """
    for sha in needed(pull):
        await mirror.read(partial(resolve, revision=sha))

    async def find(listed: Sequence[str]) -> Landing | Unclear:
        return await mirror.read(
            lambda git: landing_of(
                git,
                onto=onto,
                merge_commit=pull.merge_commit_sha or "",
                head=pull.head.sha,
                pull_commits=listed,
            )
        )

    found = await find(())
    if isinstance(found, Unclear):
        listed = [commit.sha for commit in await github.pulls.commits(pull.number)]
        found = await find(listed)
    return found


async def look_into(
    landing: Landing, github: RepositoryClient, mirror: Mirror, known: Sequence[PullRequest] = ()
) -> Landed:
    """Find everybody who came by a landing.

    Args:
        landing: the step of the branch.
        github: the repository.
        mirror: its commits.
        known: pull requests that came by it, the one it was made for first. Of a single commit
            that a known one brought GitHub is not asked, to spare a request on each revert.
    """
    pulls = {pull.number: pull for pull in known}
    for number in await _named(landing, github, mirror, ask=len(landing.nodes) > 1 or not known):
        if number not in pulls:
            pull = await github.pulls.find(number)
            if pull is not None and pull.is_merged and pull.merge_commit_sha:
                pulls[number] = pull
    base = known[0].base.ref if known else None
    parts: dict[int, frozenset[str]] = {}
    for number, pull in pulls.items():
        if known and number == known[0].number and landing.method is not LandingMethod.MERGE:
            part = frozenset(node.sha for node in landing.nodes)
        else:
            part = await _part(landing, pull, base, github, mirror)
        if part:
            parts[number] = part
    return Landed(landing, {number: pulls[number] for number in parts}, parts)


async def _named(
    landing: Landing, github: RepositoryClient, mirror: Mirror, *, ask: bool
) -> list[int]:
    shas = [landing.at, *(node.sha for node in landing.nodes[:MOST_LOOKED_INTO])]
    asked = await github.pulls.merged_with(list(dict.fromkeys(shas))) if ask else ()
    infos = await mirror.read(lambda git: describe(git, shas))
    said = (
        int(found)
        for info in infos
        for found in (_IN_MERGE if len(info.parents) > 1 else _IN_SQUASH).findall(info.subject)
    )
    hints = [number for number in dict.fromkeys(said) if number not in asked]
    return [*asked, *hints[:_MOST_HINTS]]


async def _part(
    landing: Landing,
    pull: PullRequest,
    base: str | None,
    github: RepositoryClient,
    mirror: Mirror,
) -> frozenset[str]:
    merge = pull.merge_commit_sha or ""
    parents = {node.sha: node.parents for node in landing.nodes}
    facts = LandedPullRequest(number=pull.number, merge_commit=merge, head=pull.head.sha)
    if pull.head.sha in parents and merge not in parents:
        copied = landing.method in (LandingMethod.SQUASH, LandingMethod.REBASE)
        if copied and await mirror.read(lambda git: _has(git, merge, f"{landing.at}^1")):
            # It had come to the branch before; only its commits are below the later ones.
            return frozenset()
    if pull.head.sha in parents and len(parents.get(merge, ())) < 2 and pull.base.ref != base:
        # Stacked by a push: what is below its own commits is another's.
        listed = tuple(commit.sha for commit in await github.pulls.commits(pull.number))
        facts = facts.model_copy(update={"listed": listed or None})
    if merge in parents and pull.head.sha not in parents and len(parents[merge]) < 2:
        try:
            await mirror.refresh([pull.head.sha])
        except UnknownRevision:
            return frozenset({merge})
    return await mirror.read(lambda git: part_of(git, landing, facts))


async def _has(git: Git, commit: str, tip: str) -> bool:
    try:
        await resolve(git, commit)
    except UnknownRevision:
        return False
    return await is_ancestor(git, commit, tip)


async def brought_with(
    sha: str, base: str, onto: str, github: RepositoryClient, mirror: Mirror
) -> Landed | None:
    """Find every pull request that one commit of a branch brought.

    Args:
        sha: the commit.
        base: the branch.
        onto: its head.
        github: the repository.
        mirror: its commits.

    Returns:
        None where the commit is no landing: then it stands for itself.
    """
    parents, _ = await mirror.read(lambda git: parents_of(git, sha))
    if len(parents) > 1:
        landing = await mirror.read(lambda git: landing_of_merge(git, sha))
        return await look_into(landing, github, mirror)
    found: list[tuple[Landing, PullRequest]] = []
    for pull in await github.pulls.of_commit(sha):
        if pull.is_merged and pull.merge_commit_sha == sha and pull.base.ref == base:
            with suppress(UnknownRevision):
                await mirror.refresh(needed(pull))
                of = await landing_of_pull(pull, onto, github, mirror)
                if isinstance(of, Landing) and of.at == sha:
                    found.append((of, pull))
    if len(found) != 1:
        return None
    [(landing, pull)] = found
    return await look_into(landing, github, mirror, [pull])


async def everybody_behind(
    sha: str, base: str, head: str, github: RepositoryClient, mirror: Mirror
) -> tuple[tuple[PullRequest, ...], bool]:
    """Find all whose work goes when one commit of `base` is reverted.

    Returns:
        The merged pull requests, the one that was merged as this very commit first, and whether
        commits go as well that came with none.
    """
    landed = await brought_with(sha, base, head, github, mirror)
    if landed is not None:
        found = [*landed.pulls.values()]
        loose = bool(landed.strangers) or not landed.pulls
    else:
        found = [pull for pull in await github.pulls.of_commit(sha) if pull.is_merged]
        loose = False
    first = sorted(found, key=lambda pull: (pull.base.ref != base, pull.merge_commit_sha != sha))
    return tuple(first), loose
