"""From what a person names to the commits that are undone (Decisions 10 and 19)."""

from __future__ import annotations

import re
from contextlib import suppress

from bot import markdown
from bot.git.errors import AmbiguousRevision, UnknownRevision
from bot.git.history import describe, is_ancestor, resolve
from bot.git.mirror import Mirror
from bot.git.pull_commits import Brought, Unclear, commits_of_pull_request
from bot.github.client import RepositoryClient
from bot.github.models import PullRequest, RepositoryFacts
from bot.playbooks.incidents.case import Offender
from bot.playbooks.planning.declined import Stop
from bot.triggers import CommitTarget, PullRequestTarget, Value

HOTFIX_BRANCH = re.compile(r"hotfix/revert-([0-9a-z]{26})(?:-[0-9]+)?")


class Located(Value):
    """An offender, and the branch it is on."""

    offender: Offender
    base: str


async def merged_pull_request(target: PullRequestTarget, github: RepositoryClient) -> PullRequest:
    """Read a pull request that was named.

    Raises:
        Stop: it is unknown or was not merged.
    """
    pull = await github.pulls.find(target.number)
    if pull is None:
        known = await github.issues.find(target.number)
        what = (
            f"#{target.number} is an issue, not a pull request."
            if known
            else f"There is no pull request #{target.number} in this repository."
        )
        raise Stop(what, "Name the pull request that broke things: `/revert #NUMBER`, or a SHA.")
    if pull.is_merged and pull.merge_commit_sha:
        return pull
    if pull.state == "open":
        raise Stop(
            f"#{pull.number} is not merged, so there is nothing to revert.",
            "Close it, or name the pull request that broke things: `/revert #NUMBER`.",
        )
    raise Stop(
        f"#{pull.number} was closed without being merged, so there is nothing to revert.",
        "Name the pull request that broke things: `/revert #NUMBER`.",
    )


def needed(pull: PullRequest) -> list[str]:
    """The commits without which it cannot be told what a merged pull request brought."""
    return [sha for sha in (pull.merge_commit_sha, pull.head.sha) if sha]


async def brought_by(
    pull: PullRequest, facts: RepositoryFacts, github: RepositoryClient, mirror: Mirror
) -> Located:
    """Find the commits a merged pull request put on its base branch.

    Raises:
        Stop: it cannot be told; asks for the commits.
    """
    git = mirror.git
    base, onto = await _base_of(pull, facts, mirror)
    merge = pull.merge_commit_sha or ""
    try:
        for sha in needed(pull):
            await resolve(git, sha)
    except UnknownRevision:
        raise Stop(
            f"I cannot tell which commits #{pull.number} brought: they are no longer on "
            f"{markdown.code(base)}.",
            "Name the commits to revert: `/revert SHA SHA`.",
        ) from None
    found = await commits_of_pull_request(git, onto=onto, merge_commit=merge, head=pull.head.sha)
    if isinstance(found, Unclear):
        listed = [commit.sha for commit in await github.pulls.commits(pull.number)]
        found = await commits_of_pull_request(
            git, onto=onto, merge_commit=merge, head=pull.head.sha, pull_commits=listed
        )
    if isinstance(found, Unclear):
        raise Stop(
            f"I cannot tell which commits #{pull.number} brought: {markdown.text(found.reason)}.",
            _name_commits(found),
        )
    return Located(offender=await _offender(pull, found, github), base=base)


async def _base_of(pull: PullRequest, facts: RepositoryFacts, mirror: Mirror) -> tuple[str, str]:
    """The branch the pull request is on, and its head: the default one where it was renamed."""
    try:
        return pull.base.ref, await mirror.branch_head(pull.base.ref)
    except UnknownRevision:
        head = await mirror.branch_head(facts.default_branch)
    try:
        if await is_ancestor(mirror.git, pull.merge_commit_sha or "", head):
            return facts.default_branch, head
    except UnknownRevision:
        pass
    raise Stop(
        f"#{pull.number} was merged into {markdown.code(pull.base.ref)}, and that branch is gone.",
        "If its commits are on another branch, name them: `/revert SHA`.",
    )


async def _offender(pull: PullRequest, brought: Brought, github: RepositoryClient) -> Offender:
    ours = HOTFIX_BRANCH.fullmatch(pull.head.ref)
    if ours and pull.user.login != (await github.app()).bot_login:
        ours = None
    return Offender(
        number=pull.number,
        title=pull.title,
        sha=pull.merge_commit_sha or brought.commits[0],
        commits=brought.commits,
        author=pull.user.login,
        incident=ours[1] if ours else None,
    )


def _name_commits(unclear: Unclear) -> str:
    if not unclear.candidates:
        return "Name the commits to revert: `/revert SHA SHA`."
    return f"Name the commits to revert, perhaps `/revert {unclear.candidates[0][:12]}`."


async def named_commit(
    target: CommitTarget, facts: RepositoryFacts, github: RepositoryClient, mirror: Mirror
) -> Located:
    """Find a commit that was named, or the pull request whose merge it is.

    Raises:
        Stop: it is unknown, ambiguous, or on no branch that counts.
    """
    git = mirror.git
    try:
        sha = await resolve(git, target.sha)
    except UnknownRevision:
        raise Stop(
            f"There is no commit {markdown.code(target.sha)} on a branch of this repository.",
            "Check the SHA; commits of forks cannot be named.",
        ) from None
    except AmbiguousRevision as several:
        raise Stop(
            f"{markdown.code(target.sha)} stands for {len(several.candidates)} commits.",
            "Give more characters of the SHA.",
        ) from None
    base = await _protected_home(sha, facts, github, mirror)
    for pull in await github.pulls.of_commit(sha):
        if pull.is_merged and pull.merge_commit_sha == sha and pull.base.ref == base:
            with suppress(UnknownRevision):
                await mirror.refresh(needed(pull))
            return await brought_by(pull, facts, github, mirror)
    [commit] = await describe(git, [sha])
    offender = Offender(
        number=None, title=commit.subject, sha=sha, commits=(sha,), author=commit.author
    )
    return Located(offender=offender, base=base)


async def _protected_home(
    sha: str, facts: RepositoryFacts, github: RepositoryClient, mirror: Mirror
) -> str:
    """The default branch or a protected one that has the commit (Decisions 10)."""
    git = mirror.git
    default = facts.default_branch
    if await is_ancestor(git, sha, await mirror.branch_head(default)):
        return default
    for name in await github.protected_branches():
        if name != default and await is_ancestor(git, sha, await mirror.branch_head(name)):
            return name
    raise Stop(
        f"{markdown.code(sha[:12])} is neither on {markdown.code(default)} nor on a protected "
        "branch, so there is nothing to revert.",
        "Name a commit that has been merged.",
    )
