"""Deployments and their statuses as the REST API and webhooks show them."""

from __future__ import annotations

from typing import Any

from fakegithub.shapes import users
from fakegithub.shapes.repositories import api_url
from fakegithub.world.model import FakeDeployment, FakeDeploymentStatus, FakeRepository
from fakegithub.world.world import World, node_id, timestamp


def present(world: World, repository: FakeRepository, deployment: FakeDeployment) -> dict[str, Any]:
    """A deployment; its environment is that of its newest status.

    Args:
        world: gives the address that links begin with.
        repository: the one that has the commit.
        deployment: the one that is shown, without its statuses.
    """
    api = api_url(world, repository)
    url = f"{api}/deployments/{deployment.id}"
    newest = deployment.statuses[-1] if deployment.statuses else None
    return {
        "url": url,
        "id": deployment.id,
        "node_id": node_id("Deployment", deployment.id),
        "sha": deployment.sha,
        "ref": deployment.ref,
        "task": deployment.task,
        "payload": deployment.payload,
        "original_environment": deployment.environment,
        "environment": newest.environment if newest else deployment.environment,
        "description": deployment.description,
        "creator": users.present(world, deployment.creator),
        "created_at": timestamp(deployment.created_at),
        "updated_at": timestamp(newest.created_at if newest else deployment.created_at),
        "statuses_url": f"{url}/statuses",
        "repository_url": api,
        "transient_environment": deployment.transient,
        "production_environment": deployment.production,
    }


def present_status(
    world: World,
    repository: FakeRepository,
    deployment: FakeDeployment,
    status: FakeDeploymentStatus,
) -> dict[str, Any]:
    """One status of a deployment.

    Args:
        world: gives the address that links begin with.
        repository: the one that has the commit.
        deployment: what the status is about; it is only linked.
        status: the one that is shown.
    """
    api = api_url(world, repository)
    url = f"{api}/deployments/{deployment.id}"
    links = {"log_url": status.log_url, "environment_url": status.environment_url}
    return {
        "url": f"{url}/statuses/{status.id}",
        "id": status.id,
        "node_id": node_id("DeploymentStatus", status.id),
        "state": status.state,
        "creator": users.present(world, status.creator),
        "description": status.description,
        "environment": status.environment,
        # GitHub sends an empty text where nobody gave one, which its own description forbids.
        "target_url": status.log_url or url,
        **{name: link for name, link in links.items() if link},
        "created_at": timestamp(status.created_at),
        "updated_at": timestamp(status.created_at),
        "deployment_url": url,
        "repository_url": api,
    }
