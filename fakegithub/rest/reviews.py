"""Reviews and review comments. https://docs.github.com/rest/pulls/reviews."""

from __future__ import annotations

from typing import Any

from fakegithub.access.answers import Answer, RequestRefused, invalid, not_found
from fakegithub.changes import history
from fakegithub.rest.calls import Call, Routes
from fakegithub.rest.comments import require_author, require_unlocked, rewrite, text_of
from fakegithub.shapes import issue_shape, pull_shape, users
from fakegithub.shapes.repositories import api_url
from fakegithub.world.model import FakeComment, FakeIssue, FakePullRequest, FakeReview
from fakegithub.world.roles import RoleName
from fakegithub.world.world import node_id, timestamp

routes = Routes()

_READ, _WRITE = "pull_requests=read", "pull_requests=write"
_PULL = "/repos/{owner}/{repo}/pulls/{number}"
_COMMENT = "/repos/{owner}/{repo}/pulls/comments/{comment_id}"
_STATES = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}


def pull(call: Call) -> tuple[FakeIssue, FakePullRequest]:
    """The pull request named by the path."""
    issue = call.issue()
    if issue.pull is None:
        raise not_found()
    return issue, issue.pull


def find_comment(call: Call) -> tuple[FakeIssue, FakeComment]:
    """The review comment named by the path, and its pull request."""
    wanted = call.number("comment_id")
    for issue in call.repository.issues.values():
        for comment in issue.pull.comments if issue.pull else []:
            if comment.id == wanted:
                return issue, comment
    raise not_found()


def _shape(call: Call, issue: FakeIssue, review: FakeReview) -> dict[str, Any]:
    page = issue_shape.issue_page(call.world, call.repository, issue)
    url = f"{api_url(call.world, call.repository)}/pulls/{issue.number}"
    html = f"{page}#pullrequestreview-{review.id}"
    shape: dict[str, Any] = {
        "id": review.id,
        "node_id": node_id("PullRequestReview", review.id),
        "user": users.present(call.world, review.user),
        "body": review.body,
        "state": review.state,
        "html_url": html,
        "pull_request_url": url,
        "author_association": issue_shape.association(call.repository, review.user),
        "_links": {"html": {"href": html}, "pull_request": {"href": url}},
        "commit_id": review.commit_id,
    }
    if review.submitted_at is not None:
        shape["submitted_at"] = timestamp(review.submitted_at)
    return shape


def _comment_shape(call: Call, issue: FakeIssue, comment: FakeComment) -> dict[str, Any]:
    api = api_url(call.world, call.repository)
    url, pull_url = f"{api}/pulls/comments/{comment.id}", f"{api}/pulls/{issue.number}"
    page = issue_shape.issue_page(call.world, call.repository, issue)
    html = f"{page}#discussion_r{comment.id}"
    shape: dict[str, Any] = {
        "url": url,
        "pull_request_review_id": comment.review,
        "id": comment.id,
        "node_id": node_id("PullRequestReviewComment", comment.id),
        "diff_hunk": comment.diff_hunk,
        "path": comment.path,
        "commit_id": comment.commit_id,
        "original_commit_id": comment.commit_id,
        "user": users.present(call.world, comment.user),
        "body": comment.body,
        "created_at": timestamp(comment.created_at),
        "updated_at": timestamp(comment.updated_at),
        "html_url": html,
        "pull_request_url": pull_url,
        "author_association": issue_shape.association(call.repository, comment.user),
        "_links": {
            "self": {"href": url}, "html": {"href": html}, "pull_request": {"href": pull_url},
        },
        "reactions": issue_shape.rollup(url, comment.reactions),
        "side": "RIGHT",
        "start_line": None,
        "original_start_line": None,
        "start_side": None,
        "subject_type": "line" if comment.line else "file",
        "position": 1,
        "original_position": 1,
    }  # fmt: skip
    if comment.line is not None:
        shape |= {"line": comment.line, "original_line": comment.line}
    if comment.in_reply_to is not None:
        shape["in_reply_to_id"] = comment.in_reply_to
    return shape


def _tell(call: Call, issue: FakeIssue, review: FakeReview, action: str, **extra: Any) -> None:
    shape = _shape(call, issue, review)
    shape["state"] = review.state.lower()
    shape.setdefault("submitted_at", timestamp(call.world.now()))
    payload = {
        "review": shape,
        "pull_request": pull_shape.simple(call.world, call.repository, issue),
    }
    call.world.emit("pull_request_review", action, payload | extra, repository=call.repository,
                    sender=call.user, subjects=(issue, review))  # fmt: skip


def _tell_comment(
    call: Call, issue: FakeIssue, comment: FakeComment, action: str, **extra: Any
) -> None:
    payload = {
        "comment": _comment_shape(call, issue, comment),
        "pull_request": pull_shape.simple(call.world, call.repository, issue),
    }
    call.world.emit("pull_request_review_comment", action, payload | extra,
                    repository=call.repository, sender=call.user,
                    subjects=(issue, comment))  # fmt: skip


@routes.get(f"{_PULL}/reviews", app=_READ)
def list_reviews(call: Call) -> Answer:
    """Reviews in the order they were made."""
    issue, record = pull(call)
    return call.page([_shape(call, issue, review) for review in record.reviews])


@routes.post(f"{_PULL}/reviews", app=_WRITE, person=RoleName.READ)
def create_review(call: Call) -> Answer:
    """Approve, request changes or comment; nobody approves their own pull request (422)."""
    issue, record = pull(call)
    require_unlocked(call, issue)
    body = call.body
    event, text = body.get("event"), body.get("body") or ""
    if event not in (None, "", *_STATES):
        raise invalid("PullRequestReview", "event")
    if event in ("APPROVE", "REQUEST_CHANGES") and issue.user is call.user:
        verb = "approve" if event == "APPROVE" else "request changes on"
        raise RequestRefused(422, "Unprocessable Entity",
                      errors=[f"Can not {verb} your own pull request"])  # fmt: skip
    if event in ("REQUEST_CHANGES", "COMMENT") and not text and not body.get("comments"):
        raise RequestRefused(422, "Unprocessable Entity", errors=["Body can't be blank"])
    review = FakeReview(
        call.world.new_id(), issue.number, call.user, text, "PENDING",
        body.get("commit_id") or record.head_sha,
    )  # fmt: skip
    record.reviews.append(review)
    for given in body.get("comments") or []:
        _add_comment(call, issue, record, given, review=review)
    if event:
        _submit(call, issue, record, review, event)
    return Answer(200, _shape(call, issue, review))


def _submit(
    call: Call, issue: FakeIssue, record: FakePullRequest, review: FakeReview, event: str
) -> None:
    states: dict[str, Any] = _STATES
    review.state, review.submitted_at = states[event], call.world.now()
    record.requested_reviewers = [u for u in record.requested_reviewers if u is not call.user]
    history.note(call.world, issue, "reviewed", call.user, app=call.caller.app)
    _tell(call, issue, review, "submitted")


def _review(call: Call) -> tuple[FakeIssue, FakePullRequest, FakeReview]:
    issue, record = pull(call)
    wanted = call.number("review_id")
    for review in record.reviews:
        if review.id == wanted:
            return issue, record, review
    raise not_found()


@routes.get(f"{_PULL}/reviews/{{review_id}}", app=_READ)
def get_review(call: Call) -> Answer:
    """One review."""
    issue, _, review = _review(call)
    return Answer(200, _shape(call, issue, review))


@routes.put(f"{_PULL}/reviews/{{review_id}}", app=_WRITE, person=RoleName.READ)
def update_review(call: Call) -> Answer:
    """Edit its body; only its author may. REST does not tell that it was edited."""
    issue, _, review = _review(call)
    if review.user is not call.user:
        raise RequestRefused(403, "Must have admin rights to Repository.")
    before, review.body = review.body, text_of(call, "PullRequestReview")
    review.edited_at = issue.updated_at = call.world.now()
    _tell(call, issue, review, "edited", changes={"body": {"from": before}})
    return Answer(200, _shape(call, issue, review))


@routes.post(f"{_PULL}/reviews/{{review_id}}/events", app=_WRITE, person=RoleName.READ)
def submit_review(call: Call) -> Answer:
    """Submit a pending review."""
    issue, record, review = _review(call)
    event = call.body.get("event")
    if event not in _STATES:
        raise invalid("PullRequestReview", "event")
    _submit(call, issue, record, review, event)
    return Answer(200, _shape(call, issue, review))


@routes.put(f"{_PULL}/reviews/{{review_id}}/dismissals", app=_WRITE, person=RoleName.WRITE)
def dismiss_review(call: Call) -> Answer:
    """Make a review count no longer."""
    issue, _, review = _review(call)
    review.state = "DISMISSED"
    _tell(call, issue, review, "dismissed")
    return Answer(200, _shape(call, issue, review))


@routes.post(f"{_PULL}/requested_reviewers", app=_WRITE, person=RoleName.READ)
def request_reviewers(call: Call) -> Answer:
    """Ask people for a review; the author cannot be asked (422)."""
    issue, record = pull(call)
    for login in call.body.get("reviewers") or []:
        user = call.world.users.get(str(login).lower())
        invited = str(login).lower() in call.repository.roles or user is call.repository.owner
        if user is None or not invited:
            raise RequestRefused(
                422,
                "Reviews may only be requested from collaborators. One or more of the users or "
                "teams you specified is not a collaborator of the "
                f"{call.repository.full_name} repository.",
            )
        if user is issue.user:
            raise RequestRefused(422, "Review cannot be requested from pull request author.")
        if user not in record.requested_reviewers:
            record.requested_reviewers.append(user)
            history.tell(call.world, call.repository, issue, "review_requested", call.user,
                         requested_reviewer=users.present(call.world, user))  # fmt: skip
    return Answer(201, pull_shape.simple(call.world, call.repository, issue))


@routes.get(f"{_PULL}/requested_reviewers", app=_READ)
def list_requested(call: Call) -> Answer:
    """Who was asked and has not answered."""
    _, record = pull(call)
    asked = [users.present(call.world, user) for user in record.requested_reviewers]
    return Answer(200, {"users": asked, "teams": []})


# Review comments


def _add_comment(
    call: Call,
    issue: FakeIssue,
    record: FakePullRequest,
    given: dict[str, Any],
    *,
    review: FakeReview | None = None,
    reply_to: FakeComment | None = None,
) -> FakeComment:
    path = reply_to.path if reply_to else str(given.get("path", ""))
    changed = record.head_sha
    entry = call.repository.git.entry(changed, path) if path else None
    if entry is None and reply_to is None:
        raise invalid("PullRequestReviewComment", "path")
    now = call.world.now()
    comment = FakeComment(
        call.world.new_id(), issue.number, call.user, str(given.get("body", "")), now, now,
        call.caller.app, path=path, line=reply_to.line if reply_to else given.get("line"),
        commit_id=str(given.get("commit_id") or record.head_sha),
        diff_hunk=reply_to.diff_hunk if reply_to else "@@ -1 +1 @@",
        in_reply_to=reply_to.id if reply_to else None, review=review.id if review else None,
    )  # fmt: skip
    record.comments.append(comment)
    issue.updated_at = call.world.now()
    _tell_comment(call, issue, comment, "created")
    return comment


@routes.get(f"{_PULL}/comments", app=_READ)
def list_comments(call: Call) -> Answer:
    """Review comments of one pull request."""
    issue, record = pull(call)
    return call.page([_comment_shape(call, issue, comment) for comment in record.comments])


@routes.post(f"{_PULL}/comments", app=_WRITE, person=RoleName.READ)
def create_comment(call: Call) -> Answer:
    """Comment on a line of the diff; GitHub wraps it in a review of its own."""
    issue, record = pull(call)
    require_unlocked(call, issue)
    text_of(call, "PullRequestReviewComment")
    body = call.body
    if body.get("in_reply_to"):
        return Answer(201, _reply(call, issue, record, int(body["in_reply_to"])))
    now = call.world.now()
    review = FakeReview(call.world.new_id(), issue.number, call.user, "", "COMMENTED",
                    record.head_sha, now)  # fmt: skip
    record.reviews.append(review)
    comment = _add_comment(call, issue, record, body, review=review)
    return Answer(201, _comment_shape(call, issue, comment))


@routes.post(f"{_PULL}/comments/{{comment_id}}/replies", app=_WRITE, person=RoleName.READ)
def create_reply(call: Call) -> Answer:
    """Answer a review comment."""
    issue, record = pull(call)
    require_unlocked(call, issue)
    text_of(call, "PullRequestReviewComment")
    return Answer(201, _reply(call, issue, record, call.number("comment_id")))


def _reply(call: Call, issue: FakeIssue, record: FakePullRequest, to: int) -> dict[str, Any]:
    parent = next((comment for comment in record.comments if comment.id == to), None)
    if parent is None:
        raise not_found()
    comment = _add_comment(call, issue, record, call.body, reply_to=parent)
    comment.review = parent.review
    return _comment_shape(call, issue, comment)


@routes.get(_COMMENT, app=_READ)
def get_comment(call: Call) -> Answer:
    """One review comment."""
    return Answer(200, _comment_shape(call, *find_comment(call)))


@routes.patch(_COMMENT, app=_WRITE, person=RoleName.READ)
def update_comment(call: Call) -> Answer:
    """Edit."""
    issue, comment = find_comment(call)
    require_unlocked(call, issue)
    changes = rewrite(call, comment, "PullRequestReviewComment")
    _tell_comment(call, issue, comment, "edited", changes=changes)
    return Answer(200, _comment_shape(call, issue, comment))


@routes.delete(_COMMENT, app=_WRITE, person=RoleName.READ)
def delete_comment(call: Call) -> Answer:
    """Remove."""
    issue, comment = find_comment(call)
    require_unlocked(call, issue)
    require_author(call, comment)
    if issue.pull is not None:
        issue.pull.comments.remove(comment)
    _tell_comment(call, issue, comment, "deleted")
    return Answer(204)
