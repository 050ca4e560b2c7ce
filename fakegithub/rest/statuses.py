"""Commit statuses, the older way of reporting a check.

https://docs.github.com/rest/commits/statuses
"""

from __future__ import annotations

from typing import Any, get_args

from fakegithub.access.answers import Answer, RequestRefused, invalid
from fakegithub.changes.statuses import State, combined, create, latest
from fakegithub.rest import check_suites
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes import users
from fakegithub.shapes.repositories import api_url, present_minimal
from fakegithub.world.model import FakeRepository, FakeStatus
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World, node_id, timestamp

routes = Routes()


_LONGEST_DESCRIPTION = 140


# What is shown


def _present_simple(world: World, repository: FakeRepository, status: FakeStatus) -> dict[str, Any]:
    return {
        "url": f"{api_url(world, repository)}/statuses/{status.sha}",
        "avatar_url": f"{world.url}/avatars/{status.creator.id}",
        "id": status.id,
        "node_id": node_id("Status", status.id),
        "state": status.state,
        "description": status.description,
        "target_url": status.target_url,
        "context": status.context,
        "created_at": timestamp(status.created_at),
        "updated_at": timestamp(status.created_at),
    }


def present(world: World, repository: FakeRepository, status: FakeStatus) -> dict[str, Any]:
    """A status with its creator."""
    whole = _present_simple(world, repository, status)
    return whole | {"creator": users.present(world, status.creator)}


# What can be asked


@routes.post("/repos/{owner}/{repo}/statuses/{sha}", app="statuses=write", person=RoleName.WRITE)
def create_status(call: Call) -> Answer:
    """Report a state for a commit."""
    body, sha, world = call.body, call.params["sha"], call.world
    if body.get("state") not in get_args(State):
        raise invalid("Status", "state")
    if len(body.get("description") or "") > _LONGEST_DESCRIPTION:
        raise invalid("Status", "description", f"at most {_LONGEST_DESCRIPTION} characters")
    if call.repository.git.object_type(sha) != "commit":
        raise RequestRefused(422, f"No commit found for SHA: {sha}")
    status = create(
        world, call.repository, sha, body["state"], body.get("context") or "default", call.user,
        description=body.get("description"), target_url=body.get("target_url"),
    )  # fmt: skip
    return Answer(201, present(world, call.repository, status))


@routes.get("/repos/{owner}/{repo}/commits/{ref:.+}/statuses", app="statuses=read")
def list_statuses(call: Call) -> Answer:
    """Every status ever reported on a commit, newest first."""
    sha = check_suites.sha_of(call)
    found = [status for status in reversed(call.repository.statuses) if status.sha == sha]
    return call.page([present(call.world, call.repository, status) for status in found])


@routes.get("/repos/{owner}/{repo}/commits/{ref:.+}/status", app="statuses=read")
def get_combined_status(call: Call) -> Answer:
    """The newest status of each context, and one state for all."""
    world, repository, sha = call.world, call.repository, check_suites.sha_of(call)
    found = latest(repository, sha)
    api = api_url(world, repository)
    answer = call.page([_present_simple(world, repository, s) for s in found], wrap="statuses")
    answer.body.update(
        state=combined(found), sha=sha, repository=present_minimal(world, repository),
        commit_url=f"{api}/commits/{sha}", url=f"{api}/commits/{sha}/status",
    )  # fmt: skip
    return answer
