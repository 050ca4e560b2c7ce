"""Reactions on issues and comments. https://docs.github.com/rest/reactions/reactions."""

from __future__ import annotations

from collections.abc import Callable

from bot.demo.github.access.answers import Answer, Refused, invalid, not_found
from bot.demo.github.rest import comments, reviews
from bot.demo.github.rest.calls import Call, Routes
from bot.demo.github.shapes import issue_shape
from bot.demo.github.world.model import Reaction
from bot.triggers import Role

routes = Routes()

Find = Callable[[Call], list[Reaction]]


def _list(find: Find) -> Callable[[Call], Answer]:
    def handler(call: Call) -> Answer:
        wanted = call.query.get("content")
        found = [r for r in find(call) if wanted in (None, r.content)]
        return call.page([issue_shape.reaction(call.world, reaction) for reaction in found])

    return handler


def _create(find: Find) -> Callable[[Call], Answer]:
    def handler(call: Call) -> Answer:
        """201; 200 with the one that is there when the same user reacted so before."""
        content, present = call.body.get("content"), find(call)
        if content not in issue_shape.REACTIONS:
            raise invalid("Reaction", "content")
        for reaction in present:
            if reaction.user is call.user and reaction.content == content:
                return Answer(200, issue_shape.reaction(call.world, reaction))
        reaction = Reaction(call.world.new_id(), call.user, content, call.world.now())
        present.append(reaction)
        return Answer(201, issue_shape.reaction(call.world, reaction))

    return handler


def _delete(find: Find) -> Callable[[Call], Answer]:
    def handler(call: Call) -> Answer:
        present, wanted = find(call), call.number("reaction_id")
        for reaction in present:
            if reaction.id == wanted:
                if reaction.user is not call.user:
                    raise Refused(403, "Must have admin rights to Repository.")
                present.remove(reaction)
                return Answer(204)
        raise not_found()

    return handler


def _declare(path: str, find: Find, reads: str, writes: str) -> None:
    routes.get(f"{path}/reactions", app=reads)(_list(find))
    routes.post(f"{path}/reactions", app=writes, person=Role.READ)(_create(find))
    routes.delete(f"{path}/reactions/{{reaction_id}}", app=writes, person=Role.READ)(_delete(find))


_REPOSITORY = "/repos/{owner}/{repo}"
_READ, _WRITE = "issues=read; pull_requests=read", "issues=write; pull_requests=write"

_declare(
    f"{_REPOSITORY}/issues/comments/{{comment_id}}",
    lambda call: comments.find(call)[1].reactions, _READ, _WRITE,
)  # fmt: skip
_declare(f"{_REPOSITORY}/issues/{{number}}", lambda call: call.issue().reactions, _READ, _WRITE)
_declare(
    f"{_REPOSITORY}/pulls/comments/{{comment_id}}",
    lambda call: reviews.find_comment(call)[1].reactions,
    "pull_requests=read", "pull_requests=write",
)  # fmt: skip
