"""Repositories as the REST API shows them, and their addresses."""

from __future__ import annotations

from typing import Any

from fakegithub.shapes import users
from fakegithub.world.model import FakeRepository
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World, node_id, timestamp

_LINKS = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}


def api_url(world: World, repository: FakeRepository) -> str:
    """The repository's address in the REST API."""
    return f"{world.api}/repos/{repository.full_name}"


def html_url(world: World, repository: FakeRepository) -> str:
    """The repository's page."""
    return f"{world.url}/{repository.full_name}"


def present_minimal(world: World, repository: FakeRepository) -> dict[str, Any]:
    """The shortest form, inside check suites and workflow runs."""
    api = api_url(world, repository)
    return {
        "id": repository.id,
        "node_id": node_id("Repository", repository.id),
        "name": repository.name,
        "full_name": repository.full_name,
        "private": repository.private,
        "owner": users.present(world, repository.owner),
        "html_url": html_url(world, repository),
        "description": repository.description,
        "fork": repository.parent is not None,
        "url": api,
        **{name: api + suffix for name, suffix in _LINKS.items()},
    }


def present(world: World, repository: FakeRepository) -> dict[str, Any]:
    """The form inside pull requests and webhook payloads."""
    page = html_url(world, repository)
    open_issues = sum(issue.state == "open" for issue in repository.issues.values())
    forks = len(repository.forks)
    return {
        **present_minimal(world, repository),
        "created_at": timestamp(repository.created_at),
        "updated_at": timestamp(repository.updated_at),
        "pushed_at": timestamp(repository.pushed_at),
        "git_url": page.replace("http://", "git://") + ".git",
        "ssh_url": f"git@{world.url.split('//')[-1].split(':')[0]}:{repository.full_name}.git",
        "clone_url": f"{page}.git",
        "svn_url": page,
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        "size": 1,
        "stargazers_count": 0,
        "watchers_count": 0,
        "watchers": 0,
        "forks_count": forks,
        "forks": forks,
        "open_issues_count": open_issues,
        "open_issues": open_issues,
        "has_issues": repository.has_issues,
        "has_projects": False,
        "has_downloads": True,
        "has_wiki": False,
        "has_pages": False,
        "has_discussions": False,
        "archived": repository.archived,
        "disabled": False,
        "allow_forking": True,
        "is_template": False,
        "web_commit_signoff_required": False,
        "topics": [],
        "visibility": "private" if repository.private else "public",
        "default_branch": repository.default_branch,
    }


STEPS = {"admin": RoleName.ADMIN, "maintain": RoleName.MAINTAIN, "push": RoleName.WRITE,
         "triage": RoleName.TRIAGE, "pull": RoleName.READ}  # fmt: skip
"""What `permissions` has, and the least role that holds it."""


def present_permissions(role: RoleName) -> dict[str, bool]:
    """What somebody with this role may do."""
    return {name: role.at_least(least) for name, least in STEPS.items()}


def present_full(world: World, repository: FakeRepository, role: RoleName) -> dict[str, Any]:
    """The form `GET /repos/{owner}/{repo}` answers, with merge settings.

    Args:
        world: gives the address that links begin with.
        repository: the one that is shown.
        role: the caller's, for what `permissions` says that they may do.
    """
    return {
        **present(world, repository),
        "permissions": present_permissions(role),
        "allow_merge_commit": repository.allow_merge_commit,
        "allow_squash_merge": repository.allow_squash_merge,
        "allow_rebase_merge": repository.allow_rebase_merge,
        "allow_auto_merge": repository.allow_auto_merge,
        "allow_update_branch": repository.allow_update_branch,
        "delete_branch_on_merge": repository.delete_branch_on_merge,
        "squash_merge_commit_title": "COMMIT_OR_PR_TITLE",
        "squash_merge_commit_message": "COMMIT_MESSAGES",
        "merge_commit_title": "MERGE_MESSAGE",
        "merge_commit_message": "PR_TITLE",
        "network_count": 0,
        "subscribers_count": 0,
        **_origin(world, repository),
    }


def _origin(world: World, repository: FakeRepository) -> dict[str, Any]:
    """What a fork was made of: of its parent, and in the end of its source."""
    if repository.parent is None:
        return {}
    source = repository.parent
    while source.parent is not None:
        source = source.parent
    return {"parent": present(world, repository.parent), "source": present(world, source)}
