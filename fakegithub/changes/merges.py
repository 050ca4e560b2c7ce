"""Merging: what may be merged, the commit it makes, and what follows.

https://docs.github.com/rest/pulls/pulls#merge-a-pull-request
"""

from __future__ import annotations

import re

from fakegithub.access.answers import RequestRefused
from fakegithub.changes import history, pushes
from fakegithub.git.bare import Signature
from fakegithub.rules import requirements
from fakegithub.rules.requirements import Requirements, Who
from fakegithub.shapes import commit_shape, pull_shape
from fakegithub.world.model import FakeIssue, FakePullRequest, FakeRepository, MergeMethod
from fakegithub.world.world import World

_CLOSES = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d+)", re.IGNORECASE)


def allowed(repository: FakeRepository, needs: Requirements, method: MergeMethod) -> None:
    """Refuse a merge method that settings or rules switch off.

    Raises:
        RequestRefused: 405.
    """
    enabled = {
        "merge": repository.allow_merge_commit,
        "squash": repository.allow_squash_merge,
        "rebase": repository.allow_rebase_merge,
    }
    word = {"merge": "Merge commits", "squash": "Squash merges", "rebase": "Rebase merges"}[method]
    if not enabled[method] or method not in needs.methods:
        raise RequestRefused(405, f"{word} are not allowed on this repository.")
    if method == "merge" and needs.linear:
        raise RequestRefused(405, "This branch must not contain merge commits.")


def check(
    world: World, repository: FakeRepository, issue: FakeIssue, method: MergeMethod, who: Who
) -> None:
    """Refuse what cannot be merged now: state, rules, conflicts.

    Raises:
        RequestRefused: 405 with GitHub's reason.
    """
    record = pull_shape.pull_of(issue)
    if issue.state != "open":
        raise RequestRefused(405, "Pull Request is not mergeable")
    if record.draft:
        raise RequestRefused(405, "Pull Request is still a draft")
    needs = requirements.of(repository, record.base_ref, who)
    allowed(repository, needs, method)
    if needs.queue is not None:
        raise RequestRefused(405, "Changes must be made through the merge queue")
    for reason in requirements.obstacles(world, repository, issue, needs):
        raise RequestRefused(405, reason)
    if needs.signatures and not _would_be_signed(repository, record, method):
        raise RequestRefused(405, "Commits must have verified signatures.")
    if not requirements.compute_mergeable(repository, record):
        raise RequestRefused(405, "Pull Request is not mergeable")


def _would_be_signed(
    repository: FakeRepository, record: FakePullRequest, method: MergeMethod
) -> bool:
    """A squash is GitHub's own commit; a merge keeps the commits; a rebase loses signatures."""
    commits = pull_shape.commit_shas(repository, record)
    return method == "squash" or (
        method == "merge" and all(sha in repository.signed for sha in commits)
    )


def messages(
    repository: FakeRepository,
    issue: FakeIssue,
    method: MergeMethod,
    title: str | None,
    body: str | None,
) -> str:
    """The commit message GitHub proposes, or the one given.

    https://docs.github.com/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/about-pull-request-merges
    """
    record = pull_shape.pull_of(issue)
    if method == "merge":
        head = pull_shape.head_repository(repository, record)
        origin = f"{head.owner.login}/{record.head_ref}"
        title = title or f"Merge pull request #{issue.number} from {origin}"
        body = issue.title if body is None else body
    else:
        shas = pull_shape.commit_shas(repository, record)
        commits = repository.git.commits(shas)
        single = commits[0].message.strip("\n").partition("\n") if len(commits) == 1 else None
        title = title or f"{single[0] if single else issue.title} (#{issue.number})"
        if body is None:
            listed = "\n\n".join(f"* {commit.message.strip()}" for commit in commits)
            body = single[2].strip("\n") if single else listed
    return f"{title}\n\n{body}" if body else title


def make(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    onto: str,
    method: MergeMethod,
    who: Who,
    message: str,
) -> str:
    """Build the merged history on `onto` and return its head; moves no ref.

    Raises:
        RequestRefused: 405 when git finds conflicts.
    """
    record, git = pull_shape.pull_of(issue), repository.git
    github = commit_shape.web_flow(world)
    if method == "rebase":
        return _rebase(repository, record, onto, commit_shape.signature_of(world, who.user))
    tree = git.merge_trees(onto, record.head_sha)
    if tree is None:
        raise RequestRefused(405, "Pull Request is not mergeable")
    squash = method == "squash"
    author = commit_shape.signature_of(world, issue.user if squash else who.user)
    parents = [onto] if squash else [onto, record.head_sha]
    sha = git.write_commit(tree, parents, message, author, github, sign=True)
    repository.signed.add(sha)
    return sha


def _rebase(
    repository: FakeRepository, record: FakePullRequest, onto: str, committer: Signature
) -> str:
    shas = pull_shape.commit_shas(repository, record)
    head = requirements.rebased(repository.git, shas, onto, committer)
    if head is None:
        raise RequestRefused(405, "This branch can't be rebased")
    return head


def land(
    world: World, repository: FakeRepository, issue: FakeIssue, sha: str, onto: str, who: Who
) -> None:
    """Move the base branch to `sha`, record the merge, and tell everyone."""
    record = pull_shape.pull_of(issue)
    base = f"refs/heads/{record.base_ref}"
    repository.git.update_ref(base, sha)
    pushes.mark_merged(world, repository, issue, sha, onto, who.user, who.app)
    pushes.landed(world, repository, base, onto, sha, who.user, who.app)
    if record.base_ref == repository.default_branch:
        for number in _CLOSES.findall(issue.body or ""):
            mentioned = repository.issues.get(int(number))
            if mentioned is not None and mentioned.pull is None:
                history.close(world, repository, mentioned, who.user, app=who.app)
    head = f"refs/heads/{record.head_ref}"
    if record.fork is not None:
        return
    if repository.delete_branch_on_merge and repository.git.ref(head) == record.head_sha:
        pushes.push(world, repository, head, None, who.user, who.app)


def merge(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    method: MergeMethod,
    who: Who,
    title: str | None = None,
    body: str | None = None,
) -> str:
    """Merge now, if everything required is there; returns the new head of the base branch.

    Args:
        world: signs as GitHub does, and tells everyone.
        repository: the one that has the base branch.
        issue: the pull request, as the issue that it is, too.
        method: merge commit, squash, or rebase.
        who: the person or App that merges; rules may make exceptions for them.
        title: first line of the commit's message; None: the one GitHub proposes.
        body: the rest of the message; None: what GitHub proposes; empty: none.

    Raises:
        RequestRefused: 405 with the reason.
    """
    check(world, repository, issue, method, who)
    record = pull_shape.pull_of(issue)
    onto = repository.git.branch(record.base_ref)
    if onto is None:
        raise RequestRefused(405, "Base branch was modified. Review and try the merge again.")
    message = messages(repository, issue, method, title, body)
    sha = make(world, repository, issue, onto, method, who, message)
    land(world, repository, issue, sha, onto, who)
    return sha
