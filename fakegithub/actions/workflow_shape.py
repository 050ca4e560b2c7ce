"""Workflows, runs and jobs as the REST API and webhooks show them."""

from __future__ import annotations

from typing import Any

from fakegithub.actions.workflow_runs import FakeWorkflowRun, Job, StepResult
from fakegithub.shapes import suite_shape, users
from fakegithub.shapes.repositories import api_url, html_url, present_minimal
from fakegithub.world.model import FakeRepository
from fakegithub.world.world import World, node_id, timestamp


def job_page(world: World, run: FakeWorkflowRun, job_id: int) -> str:
    """The page of a job, with its log."""
    return f"{html_url(world, run.repository)}/actions/runs/{run.id}/job/{job_id}"


def present_workflow(
    world: World, repository: FakeRepository, workflow_id: int, path: str, name: str
) -> dict[str, Any]:
    """A workflow file."""
    page, moment = html_url(world, repository), timestamp(repository.created_at)
    return {
        "id": workflow_id,
        "node_id": node_id("Workflow", workflow_id),
        "name": name,
        "path": path,
        "state": "active",
        "created_at": moment,
        "updated_at": moment,
        "url": f"{api_url(world, repository)}/actions/workflows/{workflow_id}",
        "html_url": f"{page}/blob/{repository.default_branch}/{path}",
        "badge_url": f"{page}/actions/{path.removeprefix('.github/')}/badge.svg",
    }


def present_run(world: World, run: FakeWorkflowRun) -> dict[str, Any]:
    """A workflow run."""
    repository, actions = run.repository, f"{api_url(world, run.repository)}/actions"
    url = f"{actions}/runs/{run.id}"
    minimal = present_minimal(world, repository)
    former = f"{url}/attempts/{run.attempt - 1}" if run.attempt > 1 else None
    actor = users.present(world, run.cause.actor)
    return {
        "id": run.id,
        "name": run.workflow.name,
        "node_id": node_id("WorkflowRun", run.id),
        "check_suite_id": run.suite.id,
        "check_suite_node_id": node_id("CheckSuite", run.suite.id),
        "head_branch": run.cause.branch,
        "head_sha": run.cause.sha,
        "path": run.workflow.path,
        "run_number": run.number,
        "run_attempt": run.attempt,
        "referenced_workflows": [],
        "event": run.cause.event,
        "status": run.status,
        "conclusion": run.conclusion,
        "workflow_id": run.workflow_id,
        "display_title": run.title,
        "url": url,
        "html_url": f"{html_url(world, repository)}/actions/runs/{run.id}",
        "pull_requests": suite_shape.pulls_at(world, repository, run.cause.sha),
        "created_at": timestamp(run.created_at),
        "updated_at": timestamp(run.updated_at),
        "run_started_at": timestamp(run.started_at),
        "actor": actor,
        "triggering_actor": actor,
        "jobs_url": f"{url}/jobs",
        "logs_url": f"{url}/logs",
        "check_suite_url": f"{api_url(world, repository)}/check-suites/{run.suite.id}",
        "artifacts_url": f"{url}/artifacts",
        "cancel_url": f"{url}/cancel",
        "rerun_url": f"{url}/rerun",
        "previous_attempt_url": former,
        "workflow_url": f"{actions}/workflows/{run.workflow_id}",
        "head_commit": suite_shape.present_commit(repository, run.cause.sha),
        "repository": minimal,
        "head_repository": minimal,
    }


def present_job(world: World, run: FakeWorkflowRun, job: Job) -> dict[str, Any]:
    """A job with its steps."""
    api, check = api_url(world, run.repository), job.check
    return {
        "id": job.id,
        "run_id": run.id,
        "workflow_name": run.workflow.name,
        "head_branch": run.cause.branch,
        "run_url": f"{api}/actions/runs/{run.id}",
        "run_attempt": job.attempt,
        "node_id": node_id("CheckRun", job.id),
        "head_sha": run.cause.sha,
        "url": f"{api}/actions/jobs/{job.id}",
        "html_url": job_page(world, run, job.id),
        "status": check.status,
        "conclusion": check.conclusion,
        "created_at": timestamp(job.created_at),
        "started_at": timestamp(check.started_at),
        "completed_at": timestamp(check.completed_at) if check.completed_at else None,
        "name": job.spec.name,
        "steps": [_present_step(step) for step in job.steps],
        "check_run_url": f"{api}/check-runs/{check.id}",
        "labels": ["ubuntu-latest"],
        "runner_id": 1,
        "runner_name": "demo runner",
        "runner_group_id": 1,
        "runner_group_name": "GitHub Actions",
    }


def _present_step(step: StepResult) -> dict[str, Any]:
    return {
        "name": step.name,
        "status": step.status,
        "conclusion": step.conclusion,
        "number": step.number,
        "started_at": timestamp(step.started_at) if step.started_at else None,
        "completed_at": timestamp(step.completed_at) if step.completed_at else None,
    }
