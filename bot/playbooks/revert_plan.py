"""What exactly is to be reverted? Reads GitHub and the mirror, changes nothing.

The answer is a Plan, or a Declined that tells the person why there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, RootModel

from bot import markdown
from bot.config import CONFIG_PATH, Config, InvalidConfig, parse_config
from bot.git.already import already_reverted
from bot.git.errors import AmbiguousRevision, ShallowHistory, UnknownRevision
from bot.git.history import describe, is_ancestor, newest_first, parents_of, resolve
from bot.git.mirror import Mirror
from bot.git.process import Git
from bot.git.pull_commits import Brought, Unclear, commits_of_pull_request
from bot.git.reverting import Clean, Conflict, Empty, EmptyReason, compute_revert
from bot.git.trees import read_blob
from bot.github.client import RepositoryClient
from bot.github.models import PullRequest, RepositoryFacts
from bot.triggers import CommitTarget, PullRequestTarget, RevertRequest, Target, Value

_CONFIG_VERSIONS_TRIED = 20


class Offender(Value):
    """One thing that is reverted, as people know it."""

    number: int | None
    title: str
    sha: str
    commits: tuple[str, ...]
    author: str | None = None


class Plan(Value):
    """What the revert will do, settled before anything is touched."""

    kind: Literal["plan"] = "plan"
    subject: str
    offenders: tuple[Offender, ...]
    base: str
    base_head: str
    default_branch: str
    before: str
    """The last commit of the base branch before the incident."""
    outcome: Annotated[Clean | Conflict, Field(discriminator="status")]
    config: Config
    config_fault: str | None
    """Why the newest `.github/playbooks.yml` was passed over, if it was."""

    @property
    def commits(self) -> tuple[str, ...]:
        """Every commit that is undone."""
        return tuple(sha for offender in self.offenders for sha in offender.commits)


class Declined(Value):
    """There is nothing to do, or a person has to say more. Both fields are Markdown."""

    kind: Literal["declined"] = "declined"
    reason: str
    remedy: str


class Planned(RootModel[Annotated[Plan | Declined, Field(discriminator="kind")]]):
    """A Plan or a Declined, as one storable type."""


class _Stop(Exception):
    """Planning ends with a Declined; carried out of the depths."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.declined = Declined(reason=reason, remedy=remedy)


async def make_plan(request: RevertRequest, *, github: RepositoryClient, mirror: Mirror) -> Planned:
    """Work out what a revert request means on the repository as it is now.

    Raises:
        GitHubError, GitError: GitHub or the mirror could not be read.
    """
    try:
        return Planned(await _plan(request, github, mirror))
    except _Stop as stop:
        return Planned(stop.declined)


async def recompute(plan: Plan, mirror: Mirror) -> Clean | Conflict | Empty:
    """Compute the same revert again on the base branch's newest head."""
    await mirror.refresh()
    head = await mirror.branch_head(plan.base)
    return await mirror.read(
        lambda git: compute_revert(git, plan.commits, head, keep_paths=plan.config.record_paths)
    )


async def _plan(request: RevertRequest, github: RepositoryClient, mirror: Mirror) -> Plan:
    merged = [await _merged(target, github) for target in _pull_requests(request.targets)]
    facts = await github.about()
    await mirror.refresh([pull.head.sha for pull in merged])
    git = mirror.git
    offenders = [await _brought(pull, github, mirror) for pull in merged]
    bases = {pull.base.ref for pull in merged}
    for target in request.targets:
        if isinstance(target, CommitTarget):
            offender, base = await _named_commit(target, facts, github, mirror)
            offenders.append(offender)
            bases.add(base)
    if len(bases) > 1:
        raise _Stop(
            f"These went to different branches: {_listed(sorted(bases))}.",
            "Use one `/revert` for each branch.",
        )
    base = bases.pop()
    base_head = await mirror.branch_head(base)
    config, fault = await read_config(git, await mirror.branch_head(facts.default_branch))
    commits = [sha for offender in offenders for sha in offender.commits]
    outcome = await compute_revert(git, commits, base_head, keep_paths=config.record_paths)
    if isinstance(outcome, Empty):
        raise await _nothing_to_revert(git, outcome, commits, base, base_head, config)
    oldest = (await newest_first(git, commits))[-1]
    parents, _ = await parents_of(git, oldest)
    return Plan(
        subject="+".join(sorted({_subject(offender) for offender in offenders})),
        offenders=tuple(offenders),
        base=base,
        base_head=base_head,
        default_branch=facts.default_branch,
        before=parents[0] if parents else oldest,
        outcome=outcome,
        config=config,
        config_fault=fault,
    )


def _pull_requests(targets: Sequence[Target]) -> list[PullRequestTarget]:
    return [target for target in targets if isinstance(target, PullRequestTarget)]


async def _merged(target: PullRequestTarget, github: RepositoryClient) -> PullRequest:
    pull = await github.pulls.find(target.number)
    if pull is None:
        raise _Stop(
            f"There is no pull request #{target.number} in this repository.",
            "Name the pull request that broke things: `/revert #NUMBER`, or a commit.",
        )
    if pull.is_merged and pull.merge_commit_sha:
        return pull
    if pull.state == "open":
        raise _Stop(
            f"#{pull.number} is not merged, so there is nothing to revert.",
            "Close it, or name the pull request that broke things: `/revert #NUMBER`.",
        )
    raise _Stop(
        f"#{pull.number} was closed without being merged, so there is nothing to revert.",
        "Name the pull request that broke things: `/revert #NUMBER`.",
    )


async def _brought(pull: PullRequest, github: RepositoryClient, mirror: Mirror) -> Offender:
    git = mirror.git
    onto = await _head_of_base(pull, mirror)
    merge = pull.merge_commit_sha or ""
    found = await commits_of_pull_request(git, onto=onto, merge_commit=merge, head=pull.head.sha)
    if isinstance(found, Unclear):
        listed = [commit.sha for commit in await github.pulls.commits(pull.number)]
        found = await commits_of_pull_request(
            git, onto=onto, merge_commit=merge, head=pull.head.sha, pull_commits=listed
        )
    if isinstance(found, Unclear):
        raise _Stop(
            f"I cannot tell which commits #{pull.number} brought: {markdown.text(found.reason)}.",
            _name_commits(found),
        )
    return _offender(pull, found)


async def _head_of_base(pull: PullRequest, mirror: Mirror) -> str:
    try:
        return await mirror.branch_head(pull.base.ref)
    except UnknownRevision:
        raise _Stop(
            f"#{pull.number} was merged into {markdown.code(pull.base.ref)}, "
            "and that branch is gone.",
            "If its commits are on another branch, name them: `/revert SHA`.",
        ) from None


def _offender(pull: PullRequest, brought: Brought) -> Offender:
    return Offender(
        number=pull.number,
        title=pull.title,
        sha=pull.merge_commit_sha or brought.commits[0],
        commits=brought.commits,
        author=pull.user.login,
    )


def _name_commits(unclear: Unclear) -> str:
    if not unclear.candidates:
        return "Name the commits to revert: `/revert SHA SHA`."
    return f"Name the commits to revert, perhaps `/revert {unclear.candidates[0][:12]}`."


async def _named_commit(
    target: CommitTarget, facts: RepositoryFacts, github: RepositoryClient, mirror: Mirror
) -> tuple[Offender, str]:
    git = mirror.git
    try:
        sha = await resolve(git, target.sha)
    except UnknownRevision:
        raise _Stop(
            f"There is no commit {markdown.code(target.sha)} on a branch of this repository.",
            "Check the SHA; commits of forks cannot be named.",
        ) from None
    except AmbiguousRevision as several:
        raise _Stop(
            f"{markdown.code(target.sha)} stands for {len(several.candidates)} commits.",
            "Give more characters of the SHA.",
        ) from None
    base = await _protected_home(sha, facts, github, mirror)
    for pull in await github.pulls.of_commit(sha):
        if pull.is_merged and pull.merge_commit_sha == sha and pull.base.ref == base:
            await mirror.refresh([pull.head.sha])
            return await _brought(pull, github, mirror), base
    [commit] = await describe(git, [sha])
    title = commit.subject
    return Offender(number=None, title=title, sha=sha, commits=(sha,), author=commit.author), base


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
    raise _Stop(
        f"{markdown.code(sha[:12])} is neither on {markdown.code(default)} nor on a protected "
        "branch, so there is nothing to revert.",
        "Name a commit that has been merged.",
    )


async def _nothing_to_revert(
    git: Git, outcome: Empty, commits: list[str], base: str, base_head: str, config: Config
) -> _Stop:
    if outcome.reason is EmptyReason.COMMIT_EMPTY:
        return _Stop("That commit changed nothing, so there is nothing to revert.", "")
    if outcome.reason is EmptyReason.ONLY_RECORDS:
        return _Stop(
            "That commit changed only records of incidents, and a revert leaves those alone.", ""
        )
    found = await already_reverted(git, commits[0], base_head, keep_paths=config.record_paths)
    by = (
        f" by {found.by.sha[:12]} ({markdown.text(found.by.subject)})" if found and found.by else ""
    )
    return _Stop(
        f"It is already reverted on {markdown.code(base)}{by}.",
        "If things are still broken, something else broke them.",
    )


async def read_config(git: Git, default_head: str) -> tuple[Config, str | None]:
    """Read the last good `.github/playbooks.yml` of the default branch.

    Returns:
        The configuration, and why newer versions of the file were passed over, if they were.
    """
    listed = await git.run(
        *("rev-list", f"--max-count={_CONFIG_VERSIONS_TRIED}", default_head, "--", CONFIG_PATH)
    )
    fault: str | None = None
    for commit in listed.text.split():
        found = await git.run("ls-tree", "--format=%(objectname)", commit, "--", CONFIG_PATH)
        if not found.text:
            return Config(), fault
        try:
            blob = await read_blob(git, found.text, limit=1 << 20)
            return parse_config(blob.decode("utf-8", "replace")), fault
        except InvalidConfig as invalid:
            fault = fault or str(invalid)
        except ShallowHistory:
            break
    return Config(), fault


async def own_record_paths(git: Git) -> tuple[str, ...]:
    """The record files of a clone that has a `.github/playbooks.yml` of its own; else nothing."""
    found = await git.run("ls-tree", "--name-only", "HEAD", "--", CONFIG_PATH, ok=(0, 128))
    if not found.text:
        return ()
    return (await read_config(git, "HEAD"))[0].record_paths


def _subject(offender: Offender) -> str:
    return f"pull_request:{offender.number}" if offender.number else f"commit:{offender.sha}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(markdown.code(name) for name in names)
