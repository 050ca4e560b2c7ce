"""Deployments: a commit is sent to an environment, and its statuses say how that goes.

https://docs.github.com/rest/deployments
"""

from __future__ import annotations

from fakegithub.changes import statuses
from fakegithub.shapes.deployment_shape import present, present_status
from fakegithub.world.model import FakeDeployment, FakeDeploymentStatus, FakeRepository, FakeUser
from fakegithub.world.world import World


def unmet(repository: FakeRepository, sha: str, required: list[str] | None) -> list[str]:
    """The commit statuses that speak against deploying: of those required, None: of all."""
    states = {each.context: each.state for each in statuses.latest(repository, sha)}
    named = list(states) if required is None else required
    return [context for context in named if states.get(context) != "success"]


def create(world: World, repository: FakeRepository, deployment: FakeDeployment) -> None:
    """Note a deployment and tell everyone."""
    repository.deployments[deployment.id] = deployment
    world.emit(
        "deployment", "created",
        {
            "deployment": present(world, repository, deployment),
            "workflow": None, "workflow_run": None,
        },
        repository=repository, sender=deployment.creator, subjects=(deployment,),
    )  # fmt: skip


def report(
    world: World,
    repository: FakeRepository,
    deployment: FakeDeployment,
    status: FakeDeploymentStatus,
    *,
    auto_inactive: bool = True,
) -> None:
    """Note how far a deployment has come and tell everyone.

    A success makes the successful ones before it in the same environment inactive, except where
    environments are transient or production.
    """
    _note(world, repository, deployment, status)
    if status.state != "success" or not auto_inactive:
        return
    for each in list(repository.deployments.values()):
        if each.id < deployment.id and _is_replaced(each, status.environment):
            _note(world, repository, each, _inactive(world, status.creator, status.environment))


def _is_replaced(former: FakeDeployment, environment: str) -> bool:
    if former.transient or former.production or not former.statuses:
        return False
    newest = former.statuses[-1]
    return newest.environment == environment and newest.state == "success"


def _inactive(world: World, creator: FakeUser, environment: str) -> FakeDeploymentStatus:
    return FakeDeploymentStatus(world.new_id(), "inactive", creator, world.now(), environment)


def _note(
    world: World,
    repository: FakeRepository,
    deployment: FakeDeployment,
    status: FakeDeploymentStatus,
) -> None:
    deployment.statuses.append(status)
    world.emit(
        "deployment_status", "created",
        {
            "deployment_status": present_status(world, repository, deployment, status),
            "deployment": present(world, repository, deployment),
        },
        repository=repository, sender=status.creator, subjects=(deployment, status),
    )  # fmt: skip
