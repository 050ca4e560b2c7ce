"""The GraphQL mutations. https://docs.github.com/graphql/reference/mutations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fakegithub.access.answers import RequestRefused
from fakegithub.changes import history, merge_queue
from fakegithub.graphql.objects import Reader
from fakegithub.rest.pulls import NO_DRAFTS
from fakegithub.rules import requirements
from fakegithub.rules.requirements import Who
from fakegithub.shapes import pull_shape
from fakegithub.world.model import AutoMerge, FakeIssue, FakeRepository, MergeMethod
from fakegithub.world.refusals import Kind
from fakegithub.world.roles import RoleName

Mutation = Callable[[Reader, dict[str, Any]], dict[str, Any]]

_PULLS = "pull_requests=write"
_METHODS: dict[str, MergeMethod] = {"MERGE": "merge", "SQUASH": "squash", "REBASE": "rebase"}


def _writable(
    reader: Reader, node: str, permission: str, kind: Kind
) -> tuple[FakeRepository, FakeIssue]:
    repository, issue = reader.pull(node)
    reader.require(repository, permission, RoleName.WRITE)
    _require(reader, repository, kind, str(issue.number))
    return repository, issue


def _require(reader: Reader, repository: FakeRepository, kind: Kind, about: str) -> None:
    """Refuse what the repository was told to refuse."""
    by_app = reader.caller.kind == "installation"
    met = repository.refusals.meet(kind, about, by_app=by_app)
    if met is not None:
        raise RequestRefused(met.status, met.message, docs=met.docs)


def _check_head(issue: FakeIssue, expected: str | None) -> None:
    if expected and issue.pull is not None and expected != issue.pull.head_sha:
        raise RequestRefused(422, "The head of the pull request is not the expected commit.")


def enable_auto_merge(reader: Reader, given: dict[str, Any]) -> dict[str, Any]:
    """Merge when every requirement is met; refused where it could merge right now."""
    repository, issue = _writable(reader, given["pullRequestId"], _PULLS, "auto_merge")
    pull = pull_shape.pull_of(issue)
    _check_head(issue, given.get("expectedHeadOid"))
    if not repository.allow_auto_merge:
        raise RequestRefused(422, "Auto merge is not allowed for this repository")
    requirements.compute_mergeable(repository, pull)
    state = requirements.mergeable_state(reader.world, repository, issue)
    if issue.state != "open" or state in ("clean", "unstable", "dirty"):
        raise RequestRefused(422, f"Pull request Pull request is in {state} status")
    pull.auto_merge = AutoMerge(
        reader.user, _METHODS[given.get("mergeMethod") or "MERGE"],
        given.get("commitHeadline"), given.get("commitBody"), reader.caller.app,
    )  # fmt: skip
    history.note(reader.world, issue, "auto_merge_enabled", reader.user, app=reader.caller.app)
    history.tell(reader.world, repository, issue, "auto_merge_enabled", reader.user)
    return {"pullRequest": reader.pull_request(repository, issue)}


def disable_auto_merge(reader: Reader, given: dict[str, Any]) -> dict[str, Any]:
    """Take the standing order back."""
    repository, issue = _writable(reader, given["pullRequestId"], _PULLS, "auto_merge")
    pull = pull_shape.pull_of(issue)
    if pull.auto_merge is None:
        raise RequestRefused(422, "Can't disable auto-merge for this pull request")
    pull.auto_merge = None
    history.tell(reader.world, repository, issue, "auto_merge_disabled", reader.user)
    return {"pullRequest": reader.pull_request(repository, issue)}


def enqueue(reader: Reader, given: dict[str, Any]) -> dict[str, Any]:
    """Add to the merge queue."""
    repository, issue = _writable(reader, given["pullRequestId"], "contents=write", "queue")
    _check_head(issue, given.get("expectedHeadOid"))
    who = Who(reader.user, reader.caller.app)
    entry = merge_queue.enqueue(reader.world, repository, issue, who)
    return {"mergeQueueEntry": reader.entry(repository, entry)}


def dequeue(reader: Reader, given: dict[str, Any]) -> dict[str, Any]:
    """Take out of the merge queue; `id` is the pull request's."""
    repository, issue = _writable(reader, given["id"], "contents=write", "queue")
    who = Who(reader.user, reader.caller.app)
    entry = merge_queue.dequeue(reader.world, repository, issue, "MANUAL", who)
    if entry is None:
        raise RequestRefused(422, "Pull request is not in the merge queue.")
    return {"mergeQueueEntry": reader.entry(repository, entry)}


def ready_for_review(reader: Reader, given: dict[str, Any]) -> dict[str, Any]:
    """End being a draft."""
    repository, issue = _writable(reader, given["pullRequestId"], _PULLS, "ready")
    pull = pull_shape.pull_of(issue)
    if pull.draft:
        pull.draft = False
        history.note(reader.world, issue, "ready_for_review", reader.user, app=reader.caller.app)
        history.tell(reader.world, repository, issue, "ready_for_review", reader.user)
    return {"pullRequest": reader.pull_request(repository, issue)}


def convert_to_draft(reader: Reader, given: dict[str, Any]) -> dict[str, Any]:
    """Become a draft."""
    repository, issue = _writable(reader, given["pullRequestId"], _PULLS, "draft")
    pull = pull_shape.pull_of(issue)
    if not repository.has_drafts:
        raise RequestRefused(422, NO_DRAFTS)
    if not pull.draft:
        pull.draft = True
        history.note(reader.world, issue, "convert_to_draft", reader.user, app=reader.caller.app)
        history.tell(reader.world, repository, issue, "converted_to_draft", reader.user)
    return {"pullRequest": reader.pull_request(repository, issue)}


def minimize_comment(reader: Reader, given: dict[str, Any]) -> dict[str, Any]:
    """Fold a comment away."""
    repository, comment = reader.comment_record(given["subjectId"])
    reader.require(repository, "issues=write; pull_requests=write", RoleName.WRITE)
    _require(reader, repository, "hide", str(comment.number))
    if reader.caller.kind == "installation" and repository.issues[comment.number].locked:
        raise RequestRefused(403, "Unable to hide comment because issue is locked.")
    comment.minimized = given["classifier"].lower().replace("_", "-")
    return {"minimizedComment": reader.comment(comment)}


MUTATIONS: dict[str, Mutation] = {
    "enablePullRequestAutoMerge": enable_auto_merge,
    "disablePullRequestAutoMerge": disable_auto_merge,
    "enqueuePullRequest": enqueue,
    "dequeuePullRequest": dequeue,
    "markPullRequestReadyForReview": ready_for_review,
    "convertPullRequestToDraft": convert_to_draft,
    "minimizeComment": minimize_comment,
}
