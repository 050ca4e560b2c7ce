"""Reactions on issues and comments. https://docs.github.com/rest/reactions/reactions.

A locked conversation takes none from whoever may not comment there either.
"""

from __future__ import annotations

from collections.abc import Callable

from fakegithub.access.answers import Answer, RequestRefused, invalid, not_found
from fakegithub.rest import comments, reviews
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes import issue_shape
from fakegithub.world.model import FakeIssue, FakeReaction
from fakegithub.world.roles import RoleName

routes = Routes()

Find = Callable[[Call], tuple[FakeIssue, list[FakeReaction]]]


def _list(find: Find) -> Callable[[Call], Answer]:
    def handler(call: Call) -> Answer:
        wanted = call.query.get("content")
        found = [r for r in find(call)[1] if wanted in (None, r.content)]
        return call.page([issue_shape.reaction(call.world, reaction) for reaction in found])

    return handler


def _create(find: Find) -> Callable[[Call], Answer]:
    def handler(call: Call) -> Answer:
        """201; 200 with the one that is there when the same user reacted so before."""
        content, (issue, present) = call.body.get("content"), find(call)
        comments.require_unlocked(call, issue, "reaction")
        if content not in issue_shape.REACTIONS:
            raise invalid("Reaction", "content")
        for reaction in present:
            if reaction.user is call.user and reaction.content == content:
                return Answer(200, issue_shape.reaction(call.world, reaction))
        reaction = FakeReaction(call.world.new_id(), call.user, content, call.world.now())
        present.append(reaction)
        return Answer(201, issue_shape.reaction(call.world, reaction))

    return handler


def _delete(find: Find) -> Callable[[Call], Answer]:
    def handler(call: Call) -> Answer:
        (issue, present), wanted = find(call), call.number("reaction_id")
        comments.require_unlocked(call, issue, "reaction")
        for reaction in present:
            if reaction.id == wanted:
                if reaction.user is not call.user:
                    raise RequestRefused(403, "Must have admin rights to Repository.")
                present.remove(reaction)
                return Answer(204)
        raise not_found()

    return handler


def _declare(path: str, find: Find, reads: str, writes: str) -> None:
    routes.get(f"{path}/reactions", app=reads)(_list(find))
    routes.post(f"{path}/reactions", app=writes, person=RoleName.READ)(_create(find))
    routes.delete(f"{path}/reactions/{{reaction_id}}", app=writes, person=RoleName.READ)(
        _delete(find)
    )


_REPOSITORY = "/repos/{owner}/{repo}"
_READ, _WRITE = "issues=read; pull_requests=read", "issues=write; pull_requests=write"


def _on_comment(call: Call) -> tuple[FakeIssue, list[FakeReaction]]:
    issue, comment = comments.find(call)
    return issue, comment.reactions


def _on_issue(call: Call) -> tuple[FakeIssue, list[FakeReaction]]:
    issue = call.issue()
    return issue, issue.reactions


def _on_review_comment(call: Call) -> tuple[FakeIssue, list[FakeReaction]]:
    issue, comment = reviews.find_comment(call)
    return issue, comment.reactions


_declare(f"{_REPOSITORY}/issues/comments/{{comment_id}}", _on_comment, _READ, _WRITE)
_declare(f"{_REPOSITORY}/issues/{{number}}", _on_issue, _READ, _WRITE)
_declare(
    f"{_REPOSITORY}/pulls/comments/{{comment_id}}", _on_review_comment,
    "pull_requests=read", "pull_requests=write",
)  # fmt: skip
