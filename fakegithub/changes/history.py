"""What happens to an issue or pull request is noted in its history and told to everyone."""

from __future__ import annotations

from typing import Any

from fakegithub.shapes import issue_shape, pull_shape, users
from fakegithub.world.model import (
    FakeApp,
    FakeIssue,
    FakeLabel,
    FakeRepository,
    FakeUser,
    IssueEvent,
)
from fakegithub.world.world import World


def note(
    world: World,
    issue: FakeIssue,
    event: str,
    actor: FakeUser,
    *,
    app: FakeApp | None = None,
    label: FakeLabel | None = None,
    assignee: FakeUser | None = None,
    commit_id: str | None = None,
) -> None:
    """Add a line to the history."""
    issue.updated_at = world.now()
    issue.events.append(
        IssueEvent(
            world.new_id(),
            issue.number,
            event,
            actor,
            world.now(),
            app,
            label,
            assignee,
            commit_id,
        )
    )


def tell(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    action: str,
    sender: FakeUser,
    **extra: Any,
) -> None:
    """Emit `issues` or `pull_request`, whichever it is."""
    if issue.pull is None:
        payload = {"issue": issue_shape.issue(world, repository, issue)}
        world.emit("issues", action, payload | extra, repository=repository, sender=sender,
                   subjects=(issue,))  # fmt: skip
        return
    about: dict[str, Any] = {
        "number": issue.number,
        "pull_request": pull_shape.whole(world, repository, issue),
    }
    world.emit("pull_request", action, about | extra, repository=repository, sender=sender,
               subjects=(issue,))  # fmt: skip


def add_label(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    label: FakeLabel,
    actor: FakeUser,
    app: FakeApp | None,
) -> None:
    """Put a label on; nothing happens when it is there already."""
    if label in issue.labels:
        return
    issue.labels.append(label)
    note(world, issue, "labeled", actor, app=app, label=label)
    tell(world, repository, issue, "labeled", actor,
         label=issue_shape.label(world, repository, label))  # fmt: skip


def remove_label(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    label: FakeLabel,
    actor: FakeUser,
    app: FakeApp | None,
) -> None:
    """Take a label off."""
    issue.labels.remove(label)
    note(world, issue, "unlabeled", actor, app=app, label=label)
    tell(world, repository, issue, "unlabeled", actor,
         label=issue_shape.label(world, repository, label))  # fmt: skip


def assign(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    user: FakeUser,
    actor: FakeUser,
    app: FakeApp | None,
) -> None:
    """Assign a user; nothing happens when they are already."""
    if user in issue.assignees:
        return
    issue.assignees.append(user)
    note(world, issue, "assigned", actor, app=app, assignee=user)
    tell(world, repository, issue, "assigned", actor, assignee=users.present(world, user))


def unassign(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    user: FakeUser,
    actor: FakeUser,
    app: FakeApp | None,
) -> None:
    """Take an assignment back."""
    issue.assignees.remove(user)
    note(world, issue, "unassigned", actor, app=app, assignee=user)
    tell(world, repository, issue, "unassigned", actor, assignee=users.present(world, user))


def close(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    actor: FakeUser,
    *,
    app: FakeApp | None = None,
    reason: str | None = "completed",
) -> None:
    """Close an issue or pull request (merging has been recorded before, if it was that)."""
    if issue.state == "closed":
        return
    issue.state, issue.closed_at, issue.closed_by = "closed", world.now(), actor
    issue.state_reason = None if issue.pull else reason
    note(world, issue, "closed", actor, app=app)
    tell(world, repository, issue, "closed", actor)


def reopen(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    actor: FakeUser,
    app: FakeApp | None = None,
) -> None:
    """Open again."""
    if issue.state == "open":
        return
    issue.state, issue.closed_at, issue.closed_by = "open", None, None
    issue.state_reason = None if issue.pull else "reopened"
    note(world, issue, "reopened", actor, app=app)
    tell(world, repository, issue, "reopened", actor)
