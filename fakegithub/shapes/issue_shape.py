"""Issues, comments, labels and reactions as the REST API shows them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fakegithub.shapes import apps, users
from fakegithub.shapes.repositories import api_url, html_url
from fakegithub.world.model import (
    FakeComment,
    FakeIssue,
    FakeLabel,
    FakeReaction,
    FakeRepository,
    FakeUser,
    IssueEvent,
)
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World, node_id, timestamp

REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")


def association(repository: FakeRepository, user: FakeUser) -> str:
    """How a user stands to a repository: OWNER, MEMBER, COLLABORATOR or NONE."""
    if user is repository.owner:
        return "OWNER"
    if repository.roles.get(user.login.lower(), RoleName.NONE).at_least(RoleName.TRIAGE):
        return "MEMBER" if repository.owner.type == "Organization" else "COLLABORATOR"
    return "NONE"


def label(world: World, repository: FakeRepository, record: FakeLabel) -> dict[str, Any]:
    """A label."""
    return {
        "id": record.id,
        "node_id": node_id("Label", record.id),
        "url": f"{api_url(world, repository)}/labels/{record.name}",
        "name": record.name,
        "color": record.color,
        "default": record.default,
        "description": record.description,
    }


def reaction(world: World, record: FakeReaction) -> dict[str, Any]:
    """One reaction."""
    return {
        "id": record.id,
        "node_id": node_id("Reaction", record.id),
        "user": users.present(world, record.user),
        "content": record.content,
        "created_at": timestamp(record.created_at),
    }


def rollup(url: str, records: list[FakeReaction]) -> dict[str, Any]:
    """How many of each reaction."""
    counts = Counter(record.content for record in records)
    return {
        "url": f"{url}/reactions",
        "total_count": len(records),
        **{content: counts[content] for content in REACTIONS},
    }


def issue_page(world: World, repository: FakeRepository, record: FakeIssue) -> str:
    """The page of an issue or pull request."""
    kind = "pull" if record.pull else "issues"
    return f"{html_url(world, repository)}/{kind}/{record.number}"


def issue(world: World, repository: FakeRepository, record: FakeIssue) -> dict[str, Any]:
    """An issue, or a pull request seen as an issue."""
    api = f"{api_url(world, repository)}/issues/{record.number}"
    assignees = [users.present(world, user) for user in record.assignees]
    shape: dict[str, Any] = {
        "url": api,
        "repository_url": api_url(world, repository),
        "labels_url": f"{api}/labels{{/name}}",
        "comments_url": f"{api}/comments",
        "events_url": f"{api}/events",
        "html_url": issue_page(world, repository, record),
        "id": record.id,
        "node_id": node_id("PullRequest" if record.pull else "Issue", record.id),
        "number": record.number,
        "title": record.title,
        "user": users.present(world, record.user),
        "labels": [label(world, repository, each) for each in record.labels],
        "state": record.state,
        "locked": record.locked,
        "assignee": assignees[0] if assignees else None,
        "assignees": assignees,
        "milestone": None,
        "comments": len(record.comments),
        "created_at": timestamp(record.created_at),
        "updated_at": timestamp(record.updated_at),
        "closed_at": timestamp(record.closed_at) if record.closed_at else None,
        "author_association": association(repository, record.user),
        "active_lock_reason": None,
        "body": record.body,
        "closed_by": users.present(world, record.closed_by) if record.closed_by else None,
        "reactions": rollup(api, record.reactions),
        "timeline_url": f"{api}/timeline",
        "performed_via_github_app": apps.present_app(world, record.app) if record.app else None,
        "state_reason": record.state_reason,
    }
    if record.pull is not None:
        page, merged = issue_page(world, repository, record), record.pull.merged_at
        shape["draft"] = record.pull.draft
        shape["pull_request"] = {
            "url": f"{api_url(world, repository)}/pulls/{record.number}",
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "merged_at": timestamp(merged) if merged else None,
        }
    return shape


def comment(
    world: World, repository: FakeRepository, issue_record: FakeIssue, record: FakeComment
) -> dict[str, Any]:
    """A comment on an issue or on a pull request's conversation."""
    api = api_url(world, repository)
    url = f"{api}/issues/comments/{record.id}"
    page = issue_page(world, repository, issue_record)
    return {
        "url": url,
        "html_url": f"{page}#issuecomment-{record.id}",
        "issue_url": f"{api}/issues/{issue_record.number}",
        "id": record.id,
        "node_id": node_id("IssueComment", record.id),
        "user": users.present(world, record.user),
        "created_at": timestamp(record.created_at),
        "updated_at": timestamp(record.updated_at),
        "author_association": association(repository, record.user),
        "body": record.body,
        "reactions": rollup(url, record.reactions),
        "performed_via_github_app": apps.present_app(world, record.app) if record.app else None,
    }


def event(world: World, repository: FakeRepository, record: IssueEvent) -> dict[str, Any]:
    """One line of an issue's history."""
    api = api_url(world, repository)
    shape: dict[str, Any] = {
        "id": record.id,
        "node_id": node_id("IssueEvent", record.id),
        "url": f"{api}/issues/events/{record.id}",
        "actor": users.present(world, record.actor),
        "event": record.event,
        "commit_id": record.commit_id,
        "commit_url": f"{api}/commits/{record.commit_id}" if record.commit_id else None,
        "created_at": timestamp(record.created_at),
        "performed_via_github_app": apps.present_app(world, record.app) if record.app else None,
    }
    if record.label is not None:
        shape["label"] = {"name": record.label.name, "color": record.label.color}
    if record.assignee is not None:
        shape["assignee"] = users.present(world, record.assignee)
        shape["assigner"] = shape["actor"]
    return shape
