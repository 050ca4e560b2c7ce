"""Commit statuses, the older way of reporting a check.

https://docs.github.com/rest/commits/statuses
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from bot.demo.github import (
    check_suites,
    commit_shape,
    users,
)
from bot.demo.github.calls import Answer, Call, Refused, Routes, invalid
from bot.demo.github.model import Repository, Status, User
from bot.demo.github.repositories import api_url, present_minimal
from bot.demo.github.world import World, node_id, timestamp
from bot.triggers import Role

routes = Routes()

State = Literal["error", "failure", "pending", "success"]
_LONGEST_DESCRIPTION = 140


def create(
    world: World,
    repository: Repository,
    sha: str,
    state: State,
    context: str,
    creator: User,
    *,
    description: str | None = None,
    target_url: str | None = None,
) -> Status:
    """Note a status on a commit and tell everyone."""
    status = Status(
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


def latest(repository: Repository, sha: str) -> list[Status]:
    """The newest status of each context on a commit, newest first."""
    newest = {status.context: status for status in repository.statuses if status.sha == sha}
    return sorted(newest.values(), key=lambda status: status.id, reverse=True)


def combined(statuses: list[Status]) -> Literal["failure", "pending", "success"]:
    """One state for all: failure if any failed, pending if any is (or there is none)."""
    states = {status.state for status in statuses}
    if states & {"error", "failure"}:
        return "failure"
    return "pending" if not states or "pending" in states else "success"


# What is shown


def _present_simple(world: World, repository: Repository, status: Status) -> dict[str, Any]:
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


def present(world: World, repository: Repository, status: Status) -> dict[str, Any]:
    """A status with its creator."""
    whole = _present_simple(world, repository, status)
    return whole | {"creator": users.present(world, status.creator)}


# What can be asked


@routes.post("/repos/{owner}/{repo}/statuses/{sha}", app="statuses=write", person=Role.WRITE)
def create_status(call: Call) -> Answer:
    """Report a state for a commit."""
    body, sha, world = call.body, call.params["sha"], call.world
    if body.get("state") not in get_args(State):
        raise invalid("Status", "state")
    if len(body.get("description") or "") > _LONGEST_DESCRIPTION:
        raise invalid("Status", "description", f"at most {_LONGEST_DESCRIPTION} characters")
    if call.repository.git.object_type(sha) != "commit":
        raise Refused(422, f"No commit found for SHA: {sha}")
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
