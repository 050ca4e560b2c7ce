"""Comments on issues and pull requests. https://docs.github.com/rest/issues/comments."""

from __future__ import annotations

from typing import Any

from fakegithub.access.answers import Answer, RequestRefused, invalid, not_found
from fakegithub.rest.calls import Call, Routes
from fakegithub.rest.issues import LONGEST_BODY
from fakegithub.shapes import issue_shape
from fakegithub.world.model import FakeComment, FakeIssue
from fakegithub.world.roles import RoleName
from fakegithub.world.world import timestamp

routes = Routes()

_READ = "issues=read; pull_requests=read"
_WRITE = "issues=write; pull_requests=write"
_COMMENT = "/repos/{owner}/{repo}/issues/comments/{comment_id}"


def find(call: Call) -> tuple[FakeIssue, FakeComment]:
    """The comment named by the path, and the issue it stands on."""
    wanted = call.number("comment_id")
    for issue in call.repository.issues.values():
        for comment in issue.comments:
            if comment.id == wanted:
                call.require_issues(issue)
                return issue, comment
    raise not_found()


def require_unlocked(call: Call, issue: FakeIssue, what: str = "comment") -> None:
    """Refuse what nobody but people with write access may do in a locked conversation.

    They may "add, hide, and delete comments"; an App is no person, whatever its permissions.
    Changing a comment is refused with the same words: that is what GraphQL's
    `CommentCannotUpdateReason.LOCKED` says.

    https://docs.github.com/communities/moderating-comments-and-conversations/locking-conversations
    https://docs.github.com/graphql/reference/enums#commentcannotupdatereason

    Raises:
        RequestRefused: 403.
    """
    if not issue.locked or call.role().at_least(RoleName.WRITE):
        return
    docs = "https://docs.github.com/articles/locking-conversations/"
    raise RequestRefused(403, f"Unable to create {what} because issue is locked.", docs=docs)


def text_of(call: Call, resource: str) -> str:
    """The body sent, neither missing, blank nor too long."""
    text = call.body.get("body")
    if text is None:
        raise invalid(resource, "body", code="missing_field")
    if not isinstance(text, str) or not text.strip():
        raise RequestRefused(422, "Validation Failed", errors=[
            {"resource": resource, "code": "unprocessable", "field": "data",
             "message": "Body cannot be blank"},
        ])  # fmt: skip
    if len(text) > LONGEST_BODY:
        raise RequestRefused(422, "Validation Failed", errors=[
            {"resource": resource, "code": "unprocessable", "field": "data",
             "message": "Body is too long (maximum is 65536 characters)"},
        ])  # fmt: skip
    return text


def require_author(call: Call, comment: FakeComment) -> None:
    """Only the author or someone with write access may change a comment."""
    by_role = call.caller.kind == "installation" or call.role().at_least(RoleName.WRITE)
    if not by_role and comment.user is not call.user:
        raise RequestRefused(403, "Must have admin rights to Repository.")


def rewrite(call: Call, comment: FakeComment, resource: str) -> dict[str, Any]:
    """Give a comment the body sent; what changed, as its event tells it."""
    require_author(call, comment)
    before, comment.body = comment.body, text_of(call, resource)
    comment.updated_at = call.world.now()
    return {"body": {"from": before}}


def _shape(call: Call, issue: FakeIssue, comment: FakeComment) -> dict[str, Any]:
    return issue_shape.comment(call.world, call.repository, issue, comment)


def _tell(call: Call, issue: FakeIssue, comment: FakeComment, action: str, **extra: Any) -> None:
    payload = {
        "issue": issue_shape.issue(call.world, call.repository, issue),
        "comment": _shape(call, issue, comment),
    }
    call.world.emit(
        "issue_comment", action, payload | extra,
        repository=call.repository, sender=call.user, subjects=(issue, comment),
    )  # fmt: skip


def _since(call: Call, listed: list[FakeComment]) -> list[FakeComment]:
    since = call.query.get("since", "")
    return [comment for comment in listed if timestamp(comment.updated_at) >= since]


@routes.get("/repos/{owner}/{repo}/issues/comments", app=_READ)
def list_all(call: Call) -> Answer:
    """Every comment of the repository, oldest first."""
    pairs = [(i, c) for i in call.repository.issues.values() for c in _since(call, i.comments)]
    pairs.sort(key=lambda pair: pair[1].id, reverse=call.query.get("direction") == "desc")
    return call.page([_shape(call, issue, comment) for issue, comment in pairs])


@routes.get("/repos/{owner}/{repo}/issues/{number}/comments", app=_READ)
def list_on_issue(call: Call) -> Answer:
    """Comments of one issue, oldest first."""
    issue = call.issue()
    return call.page([_shape(call, issue, c) for c in _since(call, issue.comments)])


@routes.post("/repos/{owner}/{repo}/issues/{number}/comments", app=_WRITE, person=RoleName.READ)
def create(call: Call) -> Answer:
    """A new comment; it notifies, and everyone hears `issue_comment.created`."""
    issue, text, now = call.issue(), text_of(call, "IssueComment"), call.world.now()
    require_unlocked(call, issue)
    comment = FakeComment(
        call.world.new_id(), issue.number, call.user, text, now, now, call.caller.app
    )
    issue.comments.append(comment)
    issue.updated_at = now
    _tell(call, issue, comment, "created")
    shape = _shape(call, issue, comment)
    return Answer(201, shape, {"Location": shape["url"]})


@routes.get(_COMMENT, app=_READ)
def get(call: Call) -> Answer:
    """One comment."""
    return Answer(200, _shape(call, *find(call)))


@routes.patch(_COMMENT, app=_WRITE, person=RoleName.READ)
def update(call: Call) -> Answer:
    """Edit; edits notify nobody."""
    issue, comment = find(call)
    require_unlocked(call, issue)
    changes = rewrite(call, comment, "IssueComment")
    _tell(call, issue, comment, "edited", changes=changes)
    return Answer(200, _shape(call, issue, comment))


@routes.delete(_COMMENT, app=_WRITE, person=RoleName.READ)
def delete(call: Call) -> Answer:
    """Remove."""
    issue, comment = find(call)
    require_unlocked(call, issue)
    require_author(call, comment)
    issue.comments.remove(comment)
    _tell(call, issue, comment, "deleted")
    return Answer(204)
