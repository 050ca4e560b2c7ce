"""Pull requests as the REST API shows them, and what git says about them."""

from __future__ import annotations

from typing import Any

from fakegithub.rules import requirements
from fakegithub.shapes import issue_shape, users
from fakegithub.shapes.repositories import api_url, present
from fakegithub.world.model import AutoMerge, FakeIssue, FakePullRequest, FakeRepository
from fakegithub.world.world import World, node_id, timestamp


def pull_of(issue: FakeIssue) -> FakePullRequest:
    """The pull request behind an issue known to be one."""
    if issue.pull is None:
        raise LookupError(f"issue {issue.number} is not a pull request")
    return issue.pull


def base_tip(repository: FakeRepository, pull: FakePullRequest) -> str:
    """The commit the pull request merges (or was merged) onto."""
    return pull.merged_onto or repository.git.branch(pull.base_ref) or pull.base_sha


def merge_base(repository: FakeRepository, pull: FakePullRequest) -> str:
    """Where head and base parted."""
    tip = base_tip(repository, pull)
    return repository.git.merge_base(tip, pull.head_sha) or tip


def commit_shas(repository: FakeRepository, pull: FakePullRequest) -> list[str]:
    """The pull request's commits, oldest first."""
    tip = base_tip(repository, pull)
    args = ("--reverse", "--topo-order", pull.head_sha, f"^{tip}")
    return repository.git.rev_list(*args)


def _measure(repository: FakeRepository, pull: FakePullRequest) -> tuple[int, int, int, int]:
    """Commits, additions, deletions, changed files; remembered for this head and base."""
    tip = base_tip(repository, pull)
    if pull.measured is None or pull.measured[:2] != (pull.head_sha, tip):
        changes = repository.git.changes(merge_base(repository, pull), pull.head_sha)
        counts = (
            len(commit_shas(repository, pull)),
            sum(change.additions for change in changes),
            sum(change.deletions for change in changes),
            len(changes),
        )
        pull.measured = (pull.head_sha, tip, counts)
    return pull.measured[2]


def head_repository(repository: FakeRepository, pull: FakePullRequest) -> FakeRepository:
    """Where the head branch is: in a fork, or in the base's own repository."""
    return pull.fork or repository


def _side(world: World, repository: FakeRepository, ref: str, sha: str) -> dict[str, Any]:
    return {
        "label": f"{repository.owner.login}:{ref}",
        "ref": ref,
        "sha": sha,
        "user": users.present(world, repository.owner),
        "repo": present(world, repository),
    }


def auto_merge(world: World, order: AutoMerge | None) -> dict[str, Any] | None:
    """A standing order to merge."""
    if order is None:
        return None
    return {
        "enabled_by": users.present(world, order.enabled_by),
        "merge_method": order.method,
        "commit_title": order.title or "",
        "commit_message": order.message or "",
    }


def simple(world: World, repository: FakeRepository, issue: FakeIssue) -> dict[str, Any]:
    """The form of lists."""
    pull = pull_of(issue)
    api = api_url(world, repository)
    url = f"{api}/pulls/{issue.number}"
    as_issue = issue_shape.issue(world, repository, issue)
    page = as_issue["html_url"]
    kept = (
        "number", "title", "user", "state", "locked", "body", "created_at", "updated_at",
        "closed_at", "labels", "milestone", "assignee", "assignees", "author_association",
        "active_lock_reason", "html_url",
    )  # fmt: skip
    links = {
        "issue": as_issue["url"],
        "comments": as_issue["comments_url"],
        "review_comments": f"{url}/comments",
        "review_comment": f"{api}/pulls/comments{{/number}}",
        "commits": f"{url}/commits",
        "statuses": f"{api}/statuses/{pull.head_sha}",
    }
    return {
        "url": url,
        "id": pull.id,
        "node_id": node_id("PullRequest", issue.id),
        **{key: as_issue[key] for key in kept},
        # Lists of pull requests are described to have text here, where issues have null.
        "labels": [x | {"description": x["description"] or ""} for x in as_issue["labels"]],
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        **{f"{name}_url": link for name, link in links.items()},
        "merged_at": timestamp(pull.merged_at) if pull.merged_at else None,
        "merge_commit_sha": pull.merge_commit_sha,
        "requested_reviewers": [users.present(world, user) for user in pull.requested_reviewers],
        "requested_teams": [],
        "draft": pull.draft,
        "head": _side(world, head_repository(repository, pull), pull.head_ref, pull.head_sha),
        "base": _side(world, repository, pull.base_ref, pull.base_sha),
        "_links": {
            "self": {"href": url},
            "html": {"href": page},
            **{name: {"href": link} for name, link in links.items()},
        },
        "auto_merge": auto_merge(world, pull.auto_merge),
    }


def whole(world: World, repository: FakeRepository, issue: FakeIssue) -> dict[str, Any]:
    """The form of a single pull request and of webhook payloads.

    `mergeable` is null until it was computed for the present head and base.
    """
    pull = pull_of(issue)
    commits, additions, deletions, changed = _measure(repository, pull)
    mergeable = requirements.known_mergeable(repository, issue)
    return {
        **simple(world, repository, issue),
        "merged": pull.merged_at is not None,
        "mergeable": mergeable,
        "rebaseable": None if mergeable is None else pull.rebaseable,
        "mergeable_state": requirements.mergeable_state(world, repository, issue),
        "merged_by": users.present(world, pull.merged_by) if pull.merged_by else None,
        "comments": len(issue.comments),
        "review_comments": len(pull.comments),
        "maintainer_can_modify": pull.maintainer_can_modify,
        "commits": commits,
        "additions": additions,
        "deletions": deletions,
        "changed_files": changed,
    }
