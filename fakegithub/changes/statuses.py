"""Commit statuses, the older way of reporting a check: noted, told, and folded into one state."""

from __future__ import annotations

from typing import Literal

from fakegithub.shapes import commit_shape
from fakegithub.shapes.repositories import api_url
from fakegithub.world.model import FakeRepository, FakeStatus, FakeUser
from fakegithub.world.world import World, timestamp

State = Literal["error", "failure", "pending", "success"]


def create(
    world: World,
    repository: FakeRepository,
    sha: str,
    state: State,
    context: str,
    creator: FakeUser,
    *,
    description: str | None = None,
    target_url: str | None = None,
) -> FakeStatus:
    """Note a status on a commit and tell everyone.

    Args:
        world: gives the id and the time, and tells everyone.
        repository: the one that has the commit.
        sha: full SHA of the commit, which must be there.
        state: how the check stands.
        context: the check's name; a newer status of the same name takes its place.
        creator: who reports it.
        description: a few words for people; None: none.
        target_url: a page with more; None: there is none.
    """
    status = FakeStatus(
        world.new_id(), sha, state, context, creator, world.now(), description, target_url
    )
    repository.statuses.append(status)
    heads = repository.git.refs("refs/heads/")
    api = api_url(world, repository)
    moment = timestamp(status.created_at)
    world.emit(
        "status", None,
        {
            "id": status.id, "sha": sha, "name": repository.full_name, "state": state,
            "context": context, "description": description, "target_url": target_url,
            "avatar_url": f"{world.url}/avatars/{creator.id}",
            "created_at": moment, "updated_at": moment,
            "commit": commit_shape.commit(world, repository, repository.git.commit(sha)),
            "branches": [
                {"name": ref[11:], "protected": ref[11:] in repository.protections,
                 "commit": {"sha": sha, "url": f"{api}/commits/{sha}"}}
                for ref, head in heads.items() if head == sha
            ],
        },
        repository=repository, sender=creator, subjects=(status,),
    )  # fmt: skip
    return status


def latest(repository: FakeRepository, sha: str) -> list[FakeStatus]:
    """The newest status of each context on a commit, newest first."""
    newest = {status.context: status for status in repository.statuses if status.sha == sha}
    return sorted(newest.values(), key=lambda status: status.id, reverse=True)


def combined(statuses: list[FakeStatus]) -> Literal["failure", "pending", "success"]:
    """One state for all: failure if any failed, pending if any is (or there is none)."""
    states = {status.state for status in statuses}
    if states & {"error", "failure"}:
        return "failure"
    return "pending" if not states or "pending" in states else "success"
