"""Objects of the GraphQL API, built for one caller and only as far as the caller may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fakegithub.access import sight
from fakegithub.access.answers import RequestRefused
from fakegithub.access.callers import Caller
from fakegithub.actions.runner import WorkflowRunner
from fakegithub.changes import merge_queue
from fakegithub.graphql import commit_checks
from fakegithub.graphql.connections import connection
from fakegithub.rules import requirements
from fakegithub.shapes import issue_shape, pull_shape
from fakegithub.shapes.repositories import html_url
from fakegithub.world.model import (
    FakeComment,
    FakeIssue,
    FakePullRequest,
    FakeQueueEntry,
    FakeRepository,
    FakeReview,
    FakeUser,
)
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World, node_id, node_key, timestamp


@dataclass(frozen=True)
class Reader:
    """Reads the world as `caller` may."""

    world: World
    caller: Caller
    runner: WorkflowRunner

    @property
    def user(self) -> FakeUser:
        """Who asks."""
        if self.caller.user is None:
            raise RequestRefused(401, "Requires authentication")
        return self.caller.user

    # Finding

    def pull(self, node: str) -> tuple[FakeRepository, FakeIssue]:
        """The pull request with this node id.

        Raises:
            RequestRefused: 404 when there is none that the caller can see.
        """
        kind, key = node_key(node)
        for repository in self.world.repositories.values():
            if kind == "PullRequest" and sight.sees(self.caller, repository):
                for issue in repository.issues.values():
                    if issue.pull is not None and str(issue.id) == key:
                        return repository, issue
        raise RequestRefused(404, f"Could not resolve to a node with the global id of '{node}'")

    def comment_record(self, node: str) -> tuple[FakeRepository, FakeComment]:
        """The issue comment with this node id.

        Raises:
            RequestRefused: 404 when there is none that the caller can see.
        """
        kind, key = node_key(node)
        for repository in self.world.repositories.values():
            if kind == "IssueComment" and sight.sees(self.caller, repository):
                for issue in repository.issues.values():
                    for comment in issue.comments:
                        if str(comment.id) == key:
                            return repository, comment
        raise RequestRefused(404, f"Could not resolve to a node with the global id of '{node}'")

    def review_record(self, node: str) -> FakeReview:
        """The review with this node id.

        Raises:
            RequestRefused: 404 when there is none that the caller can see.
        """
        _, key = node_key(node)
        for repository in self.world.repositories.values():
            if sight.sees(self.caller, repository):
                for issue in repository.issues.values():
                    for review in issue.pull.reviews if issue.pull else ():
                        if str(review.id) == key:
                            return review
        raise RequestRefused(404, f"Could not resolve to a node with the global id of '{node}'")

    def require(self, repository: FakeRepository, permission: str, role: RoleName) -> None:
        """Refuse a caller without the permission (an App) or role (a person).

        Raises:
            RequestRefused: 403.
        """
        if self.caller.kind == "installation" and not self.caller.may(permission):
            raise RequestRefused(403, "Resource not accessible by integration")
        if self.caller.kind == "person" and not repository.role_of(self.user).at_least(role):
            raise RequestRefused(403, f"{self.user.login} does not have the correct permissions.")

    def node(self, node: str) -> Any:
        """Any object that has a node id and is known here."""
        kind, _ = node_key(node)
        if kind == "Repository":
            return self.repository(self.repository_record(node))
        if kind == "PullRequest":
            return self.pull_request(*self.pull(node))
        if kind == "IssueComment":
            return self.comment(self.comment_record(node)[1])
        if kind == "PullRequestReview":
            return self.review(self.review_record(node))
        if kind == "CheckSuite":
            return self.check_suite(node)
        raise RequestRefused(404, f"Could not resolve to a node with the global id of '{node}'")

    def nodes(self, ids: Sequence[str]) -> list[Any]:
        """Objects in the order of their ids; an error stands in the place of what is not there.

        Raises:
            RequestRefused: 422 for more than a hundred.
        """
        if len(ids) > _MOST_NODES:
            raise RequestRefused(422, f"You may not provide more than {_MOST_NODES} node ids.")
        found: list[Any] = []
        for each in ids:
            try:
                found.append(self.node(each))
            except RequestRefused as refused:
                found.append(refused)
        return found

    def repository_record(self, node: str) -> FakeRepository:
        """The repository with this node id.

        Raises:
            RequestRefused: 404 when there is none that the caller can see.
        """
        _, key = node_key(node)
        found = self.world.repositories.get(int(key) if key.isdecimal() else 0)
        if found is None or not sight.sees(self.caller, found):
            raise RequestRefused(404, f"Could not resolve to a node with the global id of '{node}'")
        return found

    def repository_named(self, owner: str, name: str) -> Any:
        """A repository by name."""
        repository = self.world.repository(owner, name)
        if repository is None or not sight.sees(self.caller, repository):
            raise RequestRefused(
                404, f"Could not resolve to a Repository with the name '{owner}/{name}'."
            )
        return self.repository(repository)

    def check_suite(self, node: str) -> Any:
        """The runs of one App on one commit."""
        _, identity = node_key(node)
        for repository in self.world.repositories.values():
            suite = repository.check_suites.get(int(identity) if identity.isdecimal() else 0)
            if suite is not None and sight.sees(self.caller, repository):
                return commit_checks.of_suite(self.world, self.runner, repository, suite)
        raise RequestRefused(404, f"Could not resolve to a node with the global id of '{node}'")

    # Shapes: plain values, or functions for what takes arguments or is costly

    def actor(self, user: FakeUser) -> Any:
        """A user, bot or organisation."""
        return {
            "__typename": user.type,
            "id": node_id("User", user.login),
            "login": user.login.removesuffix("[bot]"),
            "url": f"{self.world.url}/{user.login}",
        }

    def repository(self, repository: FakeRepository) -> Any:
        """A repository."""

        def found(number: int, *, pull: bool) -> FakeIssue | None:
            issue = repository.issues.get(number)
            kind = "PullRequest" if pull else "Issue"
            if issue is None or (issue.pull is not None) != pull:
                raise RequestRefused(
                    404, f"Could not resolve to a {kind} with the number of {number}."
                )
            return issue

        return {
            "__typename": "Repository",
            "id": node_id("Repository", repository.id),
            "databaseId": repository.id,
            "name": repository.name,
            "nameWithOwner": repository.full_name,
            "url": html_url(self.world, repository),
            "autoMergeAllowed": repository.allow_auto_merge,
            "pushedAt": timestamp(repository.pushed_at),
            "defaultBranchRef": lambda _: self.ref(
                repository, f"refs/heads/{repository.default_branch}"
            ),
            "ref": lambda _, **asked: self.ref(repository, asked["qualifiedName"]),
            "refs": lambda _, **asked: self.refs(repository, asked["refPrefix"], asked),
            "issues": lambda _, **asked: self.listed(repository, asked, pulls=False),
            "pullRequests": lambda _, **asked: self.listed(repository, asked, pulls=True),
            "pullRequest": lambda _, number: self.pull_request(
                repository, found(number, pull=True)
            ),
            "issue": lambda _, number: self.issue(repository, found(number, pull=False)),
            "mergeQueue": lambda _, branch=None: self.queue(repository, branch),
            "object": lambda _, expression=None, oid=None: self.git_object(
                repository, oid or expression or ""
            ),
        }

    def ref(self, repository: FakeRepository, name: str) -> Any:
        """A branch or tag by its full name; None where there is none."""
        sha = repository.git.ref(name)
        if sha is None:
            return None
        prefix, _, short = name.partition("refs/heads/")
        return {
            "__typename": "Ref",
            "id": node_id("Ref", f"{repository.id}:{name}"),
            "name": short or name,
            "prefix": prefix + "refs/heads/" if short else "",
            "target": lambda _: self.commit(repository, sha),
        }

    def refs(self, repository: FakeRepository, prefix: str, asked: Mapping[str, Any]) -> Any:
        """The refs below a prefix, as many as were asked for."""
        names = sorted(repository.git.refs(prefix))
        show = partial(self.ref, repository)
        return connection("refs", names, show, asked.get("first"), asked.get("after"))

    def listed(self, repository: FakeRepository, asked: Mapping[str, Any], *, pulls: bool) -> Any:
        """Issues or pull requests in the order and the states that were asked for."""
        states, order = asked.get("states"), asked.get("orderBy")
        found = [
            issue
            for issue in repository.issues.values()
            if (issue.pull is not None) is pulls and (states is None or _state(issue) in states)
        ]
        if order is not None:
            by_update = order["field"] == "UPDATED_AT"
            found.sort(
                key=lambda issue: (issue.updated_at if by_update else issue.created_at, issue.id),
                reverse=order["direction"] == "DESC",
            )
        name, show = ("pullRequests", self.pull_request) if pulls else ("issues", self.issue)
        return connection(
            name, found, partial(show, repository), asked.get("first"), asked.get("after")
        )

    def issue(self, repository: FakeRepository, issue: FakeIssue | None) -> Any:
        """An issue."""
        if issue is None:
            return None
        return {
            "__typename": "Issue",
            "id": node_id("Issue", issue.id),
            "number": issue.number,
            "title": issue.title,
            "body": issue.body or "",
            "url": issue_shape.issue_page(self.world, repository, issue),
            "state": issue.state.upper(),
            "author": self.actor(issue.user),
            "updatedAt": timestamp(issue.updated_at),
        }

    def comment(self, comment: FakeComment) -> Any:
        """An issue comment."""
        return {
            "__typename": "IssueComment",
            "id": node_id("IssueComment", comment.id),
            "body": comment.body,
            "isMinimized": comment.minimized is not None,
            "minimizedReason": comment.minimized,
        }

    def review(self, review: FakeReview) -> Any:
        """A review of a pull request."""
        return {
            "__typename": "PullRequestReview",
            "id": node_id("PullRequestReview", review.id),
            "body": review.body,
            "lastEditedAt": timestamp(review.edited_at) if review.edited_at else None,
        }

    def commit(self, repository: FakeRepository, sha: str | None) -> Any:
        """A commit."""
        if not sha:
            return None
        commit = repository.git.commit(sha)
        tree = {"__typename": "Tree", "id": node_id("Tree", commit.tree), "oid": commit.tree}
        return {
            "__typename": "Commit", "id": node_id("Commit", sha), "oid": sha,
            "message": commit.message, "tree": tree,
            "associatedPullRequests": lambda _, first=None, after=None: self.pulls_of(
                repository, sha, first, after
            ),
            **commit_checks.of_commit(self.world, self.runner, repository, sha),
        }  # fmt: skip

    def pulls_of(
        self, repository: FakeRepository, sha: str, first: int | None, after: str | None = None
    ) -> Any:
        """The pull requests a commit was merged by, or is the head of."""
        found = [
            issue
            for issue in repository.issues.values()
            if issue.pull is not None and sha in (issue.pull.merge_commit_sha, issue.pull.head_sha)
        ]
        show = partial(self.pull_request, repository)
        return connection("associatedPullRequests", found, show, first, after)

    def commits_of(
        self, repository: FakeRepository, pull: FakePullRequest, last: int | None
    ) -> Any:
        """The commits of a pull request, oldest first."""
        shas = pull_shape.commit_shas(repository, pull)
        nodes = [
            {"id": node_id("PullRequestCommit", sha), "commit": self.commit(repository, sha)}
            for sha in (shas[-last:] if last else shas)
        ]
        return {"totalCount": len(shas), "nodes": nodes}

    def git_object(self, repository: FakeRepository, revision: str) -> Any:
        """A commit by SHA or revision, or a file by `HEAD:path`; nothing else is known here."""
        if revision.startswith("HEAD:"):
            head = repository.git.ref(f"refs/heads/{repository.default_branch}")
            return _blob(repository, head, revision.removeprefix("HEAD:")) if head else None
        sha = repository.git.commit_sha(revision)
        return self.commit(repository, sha) if sha else None

    def pull_request(self, repository: FakeRepository, issue: FakeIssue | None) -> Any:
        """A pull request; asking for `mergeable` computes it."""
        if issue is None or issue.pull is None:
            return None
        pull = issue.pull
        merged = pull.merged_at is not None
        words = {True: "MERGEABLE", False: "CONFLICTING", None: "UNKNOWN"}
        needs = requirements.of(repository, pull.base_ref)

        def mergeable(_: object) -> str:
            if issue.state == "open":
                requirements.compute_mergeable(repository, pull)
            return words[requirements.known_mergeable(repository, issue)]

        return {
            **self.issue(repository, issue),
            "__typename": "PullRequest",
            "id": node_id("PullRequest", issue.id),
            "fullDatabaseId": str(pull.id),
            "state": "MERGED" if merged else issue.state.upper(),
            "isDraft": pull.draft,
            "merged": merged,
            "mergedAt": timestamp(pull.merged_at) if pull.merged_at else None,
            "mergeable": mergeable,
            "mergeStateStatus": lambda _: requirements.mergeable_state(
                self.world, repository, issue
            ).upper(),
            "reviewDecision": _decision(repository, issue, needs),
            "headRefName": pull.head_ref,
            "headRefOid": pull.head_sha,
            "isCrossRepository": pull.fork is not None,
            "baseRefName": pull.base_ref,
            "baseRefOid": lambda _: pull_shape.base_tip(repository, pull),
            "mergeCommit": lambda _: self.commit(
                repository, pull.merge_commit_sha if merged else None
            ),
            "commits": lambda _, last=None: self.commits_of(repository, pull, last),
            "autoMergeRequest": lambda _: self.auto_merge(repository, issue),
            "isInMergeQueue": merge_queue.entry_of(repository, issue) is not None,
            "isMergeQueueEnabled": needs.queue is not None,
            "mergeQueueEntry": lambda _: self.entry(
                repository, merge_queue.entry_of(repository, issue)
            ),
            "repository": lambda _: self.repository(repository),
        }

    def auto_merge(self, repository: FakeRepository, issue: FakeIssue) -> Any:
        """A standing order to merge."""
        order = issue.pull.auto_merge if issue.pull else None
        if order is None:
            return None
        return {
            "enabledAt": timestamp(issue.updated_at),
            "enabledBy": self.actor(order.enabled_by),
            "mergeMethod": order.method.upper(),
            "commitHeadline": order.title,
            "commitBody": order.message,
            "pullRequest": lambda _: self.pull_request(repository, issue),
        }

    def queue(self, repository: FakeRepository, branch: str | None) -> Any:
        """The merge queue of a branch, if rules ask for one."""
        branch = branch or repository.default_branch
        if requirements.of(repository, branch).queue is None:
            return None
        entries = [
            entry
            for entry in repository.queue
            if pull_shape.pull_of(repository.issues[entry.number]).base_ref == branch
        ]
        return {
            "__typename": "MergeQueue",
            "id": node_id("MergeQueue", f"{repository.id}:{branch}"),
            "url": f"{html_url(self.world, repository)}/queue/{branch}",
            "entries": lambda _, first=None, after=None: connection(
                "entries", entries, partial(self.entry, repository), first, after
            ),
        }

    def entry(self, repository: FakeRepository, entry: FakeQueueEntry | None) -> Any:
        """A place in the merge queue."""
        if entry is None:
            return None
        inside = entry in repository.queue
        return {
            "__typename": "MergeQueueEntry",
            "id": node_id("MergeQueueEntry", entry.id),
            "enqueuedAt": timestamp(entry.enqueued_at),
            "enqueuer": self.actor(entry.enqueued_by),
            "position": repository.queue.index(entry) + 1 if inside else 0,
            "state": entry.state,
            "estimatedTimeToMerge": entry.takes_yet,
            "jump": False,
            "solo": False,
            "headCommit": lambda _: self.commit(repository, entry.head_sha),
            "baseCommit": lambda _: self.commit(repository, entry.base_sha),
            "pullRequest": lambda _: self.pull_request(repository, repository.issues[entry.number]),
        }


def _state(issue: FakeIssue) -> str:
    merged = issue.pull is not None and issue.pull.merged_at is not None
    return "MERGED" if merged else issue.state.upper()


_MOST_NODES = 100
_blobs: dict[tuple[str, str, str], Any] = {}


def _blob(repository: FakeRepository, head: str, path: str) -> Any:
    key = (str(repository.git.path), head, path)
    if key not in _blobs:
        entry = repository.git.entry(head, path)
        _blobs[key] = entry and {
            "__typename": "Blob", "id": node_id("Blob", entry.sha), "oid": entry.sha,
            "byteSize": entry.size or 0,
        }  # fmt: skip
    return _blobs[key]


def _decision(
    repository: FakeRepository, issue: FakeIssue, needs: requirements.Requirements
) -> str | None:
    counted, changes_wanted = requirements.approvals(repository, issue, needs)
    if changes_wanted:
        return "CHANGES_REQUESTED"
    if not needs.reviews:
        return None
    return "APPROVED" if len(counted) >= needs.reviews else "REVIEW_REQUIRED"
