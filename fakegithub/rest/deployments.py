"""Deployments and their statuses over the REST API. https://docs.github.com/rest/deployments."""

from __future__ import annotations

from typing import get_args

from fakegithub.access.answers import Answer, RequestRefused, invalid, not_found
from fakegithub.changes import deployments
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes.deployment_shape import present, present_status
from fakegithub.world.model import DeploymentState, FakeDeployment, FakeDeploymentStatus
from fakegithub.world.roles import RoleName

routes = Routes()

_STATES = get_args(DeploymentState)
_LONGEST_DESCRIPTION = 140
_FILTERS = ("sha", "ref", "task", "environment")


@routes.get("/repos/{owner}/{repo}/deployments", app="deployments=read")
def list_deployments(call: Call) -> Answer:
    """The deployments, newest first; filtered by sha, ref, task and environment."""
    shown = [present(call.world, call.repository, each) for each in _newest_first(call)]
    wanted = {name: call.query[name] for name in _FILTERS if name in call.query}
    return call.page(
        [each for each in shown if all(each[name] == value for name, value in wanted.items())]
    )


@routes.post("/repos/{owner}/{repo}/deployments", app="deployments=write", person=RoleName.WRITE)
def create_deployment(call: Call) -> Answer:
    """Begin a deployment of a branch or commit."""
    body, repository = call.body, call.repository
    ref = body.get("ref")
    sha = repository.git.commit_sha(ref) if isinstance(ref, str) else None
    if not isinstance(ref, str) or sha is None:
        raise RequestRefused(422, f"No ref found for: {ref}")
    if body.get("auto_merge", True):
        raise RequestRefused(
            422, "The demo GitHub merges nothing to deploy it: pass auto_merge: false."
        )
    if deployments.unmet(repository, sha, body.get("required_contexts")):
        raise RequestRefused(409, f"Conflict: Commit status checks failed for {ref}.")
    environment = body.get("environment") or "production"
    deployment = FakeDeployment(
        call.world.new_id(), sha, ref, body.get("task") or "deploy", environment, call.user,
        call.world.now(), body.get("payload") or {}, body.get("description"),
        transient=bool(body.get("transient_environment", False)),
        production=bool(body.get("production_environment", environment == "production")),
    )  # fmt: skip
    deployments.create(call.world, repository, deployment)
    return Answer(201, present(call.world, repository, deployment))


@routes.get("/repos/{owner}/{repo}/deployments/{deployment_id}", app="deployments=read")
def get_deployment(call: Call) -> Answer:
    """One deployment."""
    return Answer(200, present(call.world, call.repository, _named(call)))


@routes.get("/repos/{owner}/{repo}/deployments/{deployment_id}/statuses", app="deployments=read")
def list_statuses(call: Call) -> Answer:
    """What was said of a deployment, newest first."""
    deployment = _named(call)
    return call.page(
        [
            present_status(call.world, call.repository, deployment, status)
            for status in reversed(deployment.statuses)
        ]
    )


@routes.post(
    "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
    app="deployments=write",
    person=RoleName.WRITE,
)
def create_status(call: Call) -> Answer:
    """Say how far a deployment has come."""
    body, deployment = call.body, _named(call)
    if body.get("state") not in _STATES:
        raise invalid("DeploymentStatus", "state")
    description = body.get("description") or ""
    if len(description) > _LONGEST_DESCRIPTION:
        raise invalid("DeploymentStatus", "description", "at most 140 characters")
    before = deployment.statuses[-1].environment if deployment.statuses else deployment.environment
    status = FakeDeploymentStatus(
        call.world.new_id(), body["state"], call.user, call.world.now(),
        body.get("environment") or before, description,
        log_url=body.get("log_url") or body.get("target_url") or "",
        environment_url=body.get("environment_url") or "",
    )  # fmt: skip
    deployments.report(
        call.world, call.repository, deployment, status,
        auto_inactive=bool(body.get("auto_inactive", True)),
    )  # fmt: skip
    return Answer(201, present_status(call.world, call.repository, deployment, status))


def _newest_first(call: Call) -> list[FakeDeployment]:
    return sorted(call.repository.deployments.values(), key=lambda each: each.id, reverse=True)


def _named(call: Call) -> FakeDeployment:
    found = call.repository.deployments.get(call.number("deployment_id"))
    if found is None:
        raise not_found()
    return found
